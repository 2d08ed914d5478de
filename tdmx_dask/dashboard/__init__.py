"""Pages that people look at: one on the scheduler's dashboard, and the workbench.

Laws of this floor: a page shows what the floors below know and computes nothing of its own; what a user or a name says is text, never
markup; a page listens on the loopback alone.
"""
