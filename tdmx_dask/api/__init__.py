"""The verbs a user types: check the inputs, choose where to run, call the floors below."""
