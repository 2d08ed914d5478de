"""Tell a cluster's page how a PTA grows: once a second at most, in a small part of the time, a few curves at most."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.analysis.growing import Growing, so_far
from tdmx_dask.analysis.summarise import Kind
from tdmx_dask.analysis.tally import Tally
from tdmx_dask.api.question import Question
from tdmx_dask.clusters.messenger import Messenger
from tdmx_dask.clusters.page_names import CURVE

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Curve"]

CURVES = 8
"""Curves that are told at most, the first."""

MICS = 60
"""MICs of a curve at most, evenly chosen."""

FIRST = 0.3
"""s from the beginning to the first curve: a short run shows but its end."""

PERIOD = 0.8
"""s between two."""

SHARE = 0.03
"""Part of the time that may be spent on it."""

LAST = 2.0
"""s to wait at most until the scheduler has the result, for a client that is closed right after could not tell it any more."""


class Curve:
    """The curves of one run, told while its blocks arrive; where the scheduler does not listen, no run fails for it.

    Parameters
    ----------
    client : distributed.Client of the cluster
    question : what is computed
    interval, level : as of `pta`
    """

    def __init__(self, client: Any, question: Question, interval: Kind, level: float) -> None:
        plan = question.plan
        self._messenger, self._dependent = Messenger(client, CURVE), question.inputs.dependent
        self._interval, self._level = interval, level
        at = np.unique(np.linspace(0, len(plan.mic) - 1, MICS).round().astype(int))
        self._at, self._pairs = at, np.array(plan.pairs)
        cells = [(pair, target) for pair in range(len(plan.pairs)) for target in range(len(plan.targets))]
        self._cells = cells[:CURVES]
        self._fixed: dict[str, Any] = {
            "client": client.id,
            "name": uuid.uuid4().hex,
            "mic": [plan.mic[i] for i in at],
            "title": plan.targets[0].label if len(plan.targets) == 1 else "",
            "labels": [_label(question, *cell) for cell in self._cells],
            "more": len(cells) - len(self._cells),
            "total": plan.n_profiles,
            "level": level,
        }
        unknown = np.full((len(plan.pairs), len(plan.targets), len(plan.mic)), np.nan)
        self._send(Growing(unknown, unknown, unknown, 0, "none"), over=False)
        self._next = time.monotonic() + FIRST

    def say(self, tally: Tally) -> None:
        """Tell how far it is, if it is time."""
        if time.monotonic() < self._next:
            return
        began = time.thread_time()
        found = so_far(tally, self._interval, self._level, self._dependent)
        if found is not None:
            self._send(found, over=False)
        self._next = time.monotonic() + max(PERIOD, (time.thread_time() - began) / SHARE)

    def end(self, result: xr.Dataset) -> None:
        """Tell the result."""
        dims = ("scenario", "regimen", "target", "mic")
        parts = [
            result[name].transpose(*dims).values[self._pairs[:, 0], self._pairs[:, 1]]
            for name in ("pta", "lower", "upper")
        ]
        kind = result.attrs["interval"]
        self._send(Growing(parts[0], parts[1], parts[2], self._fixed["total"], kind), over=True)

    def drop(self) -> None:
        """Say that nothing more comes: it failed, or was interrupted."""
        self._messenger.send({"client": self._fixed["client"], "name": self._fixed["name"], "dropped": True})

    def _send(self, found: Growing, *, over: bool) -> None:
        curves = [
            [_plain(each[pair, target, self._at]) for each in (found.pta, found.lower, found.upper)]
            for pair, target in self._cells
        ]
        message = {**self._fixed, "curves": curves, "done": found.n, "kind": found.kind, "over": over}
        self._messenger.send(message, wait=LAST if over else 0.0)


def _plain(values: Sequence[float]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _label(question: Question, pair: int, target: int) -> str:
    plan = question.plan
    scenario, regimen = plan.pairs[pair]
    parts = [plan.regimens[regimen].label]
    if len(plan.scenarios) > 1:
        parts.insert(0, plan.scenarios[scenario].name)
    if len(plan.targets) > 1:
        parts.append(plan.targets[target].label)
    return ", ".join(part for part in parts if part)[:120]
