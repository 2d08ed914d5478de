"""One window: what its tabs share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from bokeh.document import Document

from tdmx_dask.api.individual import Individual
from tdmx_dask.dashboard.workbench.question import Answer

__all__ = ["Session", "Shop"]


@dataclass(frozen=True, slots=True)
class Shop:
    """What all windows of a server share.

    Parameters
    ----------
    quick : one thread, for what takes milliseconds
    slow : one thread, for reports and files
    library : folder of fits; None: as configured
    on : a cluster for fits, or None: child processes of this machine
    """

    quick: Executor
    slow: Executor
    library: Path | None = None
    on: object = None


@dataclass(slots=True)
class Session:
    """What the tabs of one window know of each other.

    Parameters
    ----------
    document : of the window
    shop : shared with other windows
    """

    document: Document
    shop: Shop
    fits: dict[str, Individual] = field(default_factory=dict)
    attained: Answer | None = None
    compared: Answer | None = None
    on_fit: list[Callable[[str], object]] = field(default_factory=list)

    def add_fit(self, found: Individual) -> None:
        """Keep a fit, and tell the tabs; a later one of the same name replaces it."""
        self.fits[found.fit.name] = found
        for call in self.on_fit:
            call(found.fit.name)
