"""The workbench: a page in which a question of dosing is answered without writing code (``tdmx serve``).

A session is one window. Its texts are read by the nouns of the domain, so a complaint reads as on the command line; its work is done
by the verbs: what takes milliseconds at once, fits in child processes, the rest in a thread.
"""
