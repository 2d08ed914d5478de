"""Topics of the events by which clients tell a scheduler what only they know, for its page: see `page`."""

from __future__ import annotations

__all__ = ["CURVE", "QUEUE"]

CURVE = "tdmx-curve"
"""A PTA as its blocks arrive: counts and intervals are the client's, and workers know nothing of the whole."""

QUEUE = "tdmx-queue"
"""A queue of jobs, which lies in a folder of the client."""
