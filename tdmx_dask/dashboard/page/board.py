"""What was said last of all that runs: kept from the events of workers and clients, bounded whatever they say.

Events are anybody's, for a scheduler takes any topic from any client: each field is made the plain value that it should be, or the event is
passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tdmx_dask.clusters.page_names import CURVE, QUEUE
from tdmx_dask.dashboard.page.chains import FIT, Fit, hear_fit
from tdmx_dask.dashboard.page.told import Curve, Queue, curve_from, queue_from

__all__ = ["Board"]

FITS, ENDED = 2_000, 12
"""Fits that are kept at most, and of these such that have ended."""

CURVES, QUEUES = 20, 20

_STRANGE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What an event of somebody else's topic, or of another version, may raise."""


@dataclass(slots=True)
class Board:
    """State of a page.

    Attributes
    ----------
    fits : by topic and name, the oldest first
    curves : by their client's name for it, the oldest first
    queues : by client and folder
    clock : s since 1970
    """

    fits: dict[tuple[str, str], Fit] = field(default_factory=dict)
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)
    queues: dict[tuple[str, str], Queue] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def hear(self, topic: str, said: Any) -> None:
        """Take an event; one that is none of ours, or is malformed, changes nothing."""
        if not isinstance(topic, str) or not topic.startswith("tdmx-"):
            return
        try:
            if topic == CURVE:
                self._hear_curve(said)
            elif topic == QUEUE:
                self._hear_queue(said)
            elif topic.startswith(FIT):
                hear_fit(self.fits, topic, said, self.clock())
                self._bound_fits()
        except _STRANGE:
            return

    def forget(self, client: str) -> None:
        """A client has left: what it told is true no more; a PTA that was complete stays."""
        for key in [key for key in self.queues if key[0] == client]:
            del self.queues[key]
        for key in [key for key, curve in self.curves.items() if key[0] == client and not curve.over]:
            del self.curves[key]

    def restart(self) -> None:
        """All tasks are gone."""
        for fit in self.fits.values():
            fit.end(self.clock())

    def look(self, places: Callable[[str], str | None]) -> None:
        """Compare what runs with the tasks that there are, as `Fit.look`."""
        now = self.clock()
        for fit in self.fits.values():
            if fit.ended is None:
                fit.look(places, now)
        self._bound_fits()

    def _hear_curve(self, said: Mapping[str, Any]) -> None:
        key = (str(said["client"]), str(said["name"])[:64])
        before = self.curves.get(key)
        if said.get("dropped"):
            self.curves.pop(key, None)
            return
        self.curves[key] = curve_from(said, self.clock() if before is None else before.began)
        _bound(self.curves, CURVES, lambda curve: not curve.over)

    def _hear_queue(self, said: Mapping[str, Any]) -> None:
        key = (str(said["client"]), str(said["queue"])[:400])
        if said.get("closed"):
            self.queues.pop(key, None)
            return
        self.queues[key] = queue_from(said, self.clock())
        _bound(self.queues, QUEUES, lambda _: False)

    def _bound_fits(self) -> None:
        over = [key for key, fit in self.fits.items() if fit.ended is not None]
        for key in over[: max(0, len(over) - ENDED)]:
            del self.fits[key]
        _bound(self.fits, FITS, lambda fit: fit.ended is None)


def _bound(kept: dict[Any, Any], most: int, alive: Callable[[Any], bool]) -> None:
    """Forget the oldest, those that are over before those that are not."""
    if len(kept) > most:
        for key in sorted(kept, key=lambda key: alive(kept[key]))[: len(kept) - most]:
            del kept[key]
