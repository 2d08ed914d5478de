"""Serve the page from the start: ``dask scheduler --preload tdmx_dask.dashboard.preload``.

A cluster of this package, and any that it joins, gets the page without it.
"""

from __future__ import annotations

from typing import Any

from tdmx_dask.clusters.page import Page

__all__ = ["dask_setup"]


def dask_setup(scheduler: Any) -> None:
    """Called by Dask once the scheduler is there."""
    if Page.name not in scheduler.plugins:
        plugin = Page()
        scheduler.add_plugin(plugin)
        plugin.begin(scheduler)
