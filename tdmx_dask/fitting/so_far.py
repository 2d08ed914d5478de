"""The draws of a chain that still runs, summarised for whoever watches it.

It only watches: no draw depends on it. It takes about a hundredth of the time at most, and holds at most `MOST` draws: of a longer chain
every second, fourth, … one, so that its ESS is then rather too small.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.kernels.running import packed, summary

__all__ = ["MOST", "WATCHED", "SoFar"]

WATCHED = 7
"""Parameters that are summarised at most, the first of the program, besides its log density."""

MOST = 1 << 14
"""Draws that are held at most."""

_SHARE = 0.01
_FEWEST = 20


class SoFar:
    """Draws so far of the log density and the first parameters."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []
        self._n = self._passed = 0
        self._step = 1
        self._new = False
        self._next = 0.0

    def clear(self) -> None:
        """Begin again."""
        self._parts, self._new = [], False
        self._n, self._passed, self._step = 0, 0, 1
        self._next = 0.0

    def add(self, draws: NDArray[np.float64]) -> None:
        """Take draws, (draw, cell)."""
        kept = draws[-self._passed % self._step :: self._step]
        self._passed += len(draws)
        if len(kept):
            self._parts.append(kept)
            self._n += len(kept)
            self._new = True
        while self._n > MOST:
            self._parts = [np.concatenate(self._parts)[::2]]
            self._n, self._step = len(self._parts[0]), 2 * self._step

    def take(self, *, last: bool = False) -> str:
        """A summary of all draws, as `kernels.running.packed` writes it; empty where there is none, nothing new, or no time for it.

        Parameters
        ----------
        last : there are no more to come: there is time for these
        """
        if not self._new or self._n < _FEWEST or (time.perf_counter() < self._next and not last):
            return ""
        began = time.thread_time()
        self._parts = [np.concatenate(self._parts)]
        text = packed(summary(self._parts[0]))
        self._new = False
        self._next = time.perf_counter() + (time.thread_time() - began) / _SHARE
        return text
