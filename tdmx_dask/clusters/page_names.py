"""By what the page of a scheduler is found, and the topics of the events by which clients tell it what only they know: see `page`."""

from __future__ import annotations

__all__ = ["CURVE", "PATH", "QUEUE", "SERVED", "page_of"]

PATH = "tdmx"
"""Of the page, below the root of the dashboard."""

SERVED = "tdmx-page"
"""Of the scheduler's metadata: whether it serves the page."""

CURVE = "tdmx-curve"
"""A PTA as its blocks arrive: counts and intervals are the client's, and workers know nothing of the whole."""

QUEUE = "tdmx-queue"
"""A queue of jobs, which lies in a folder of the client."""


def page_of(dashboard: str) -> str:
    """Address of the page, from that of the dashboard; empty where there is none.

    Examples
    --------
    >>> page_of("http://127.0.0.1:8787/status")
    'http://127.0.0.1:8787/tdmx'
    """
    root, slash, _ = dashboard.rpartition("/")
    return f"{root}/{PATH}" if slash else ""
