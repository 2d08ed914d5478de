"""Where tasks run when they run elsewhere: starting a cluster, joining one, sending blocks to it.

Laws of this floor: nothing listens beyond loopback unless TLS is on; a cluster that we start is closed by us, one that we join is not.
"""
