"""Warm starts: where an earlier fit of the same program and like data ended, a new one may begin.

What is reused is the metric, the step size and positions; warm-up is cut to `WARMUP` iterations, in which Stan keeps the metric and
adapts the step size. The policy of chains (`policy.keep_warm_start`) looks at the figures of such a run, and lets it be done again cold
where they are not as good as a cold run's. A cohort's fits look for their starts when the cohort is asked for, so that none depends on
which of the others ended first.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.fitting.task import ChainResult, Sampling, Start

if TYPE_CHECKING:
    from tdmx_dask.fitting.library import Library
    from tdmx_dask.fitting.question import FitQuestion

__all__ = ["NEAR", "WARMUP", "WarmStart", "find_start", "start_record"]

NEAR = 0.5
"""Largest root mean square difference of features of fits that are like: logs of sizes, times, doses, levels and prior medians."""

WARMUP = 100
"""Iterations of a warm start's warm-up: below 150 Stan keeps the metric that it is given."""

LATEST = 1000
"""Fits of other patients that are looked at, the latest of the program."""

_LOGS = ("log_", "omega_")
_EXACT = ("error_model",)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A start that an earlier fit left.

    Parameters
    ----------
    address : of the earlier request
    patient : whose it was; empty where there is none
    same : whether it is the same patient
    distance : of the features
    positions : one a chain of the earlier fit
    inv_metric : (n,) or (n, n), of all its chains together
    step_size : of all its chains together
    warmup_seconds : that its own warm-up took, a chain
    """

    address: str
    patient: str
    same: bool
    distance: float
    positions: tuple[Mapping[str, Any], ...]
    inv_metric: np.ndarray
    step_size: float
    warmup_seconds: float

    def start(self, chain: int) -> Start:
        """Where a chain begins."""
        return Start(self.positions[chain % len(self.positions)], self.inv_metric, self.step_size)

    def describe(self) -> dict[str, Any]:
        """What a fit records of it."""
        return {
            "address": self.address,
            "patient": self.patient,
            "same_patient": self.same,
            "distance": round(self.distance, 4),
            "cold_warmup_seconds": self.warmup_seconds,
        }


def find_start(
    library: Library, question: FitQuestion, sampling: Sampling, *, without: str = ""
) -> WarmStart | None:
    """The best start that a library holds: of the same patient the newest, else of the nearest like fit.

    Parameters
    ----------
    library : where to look
    question : what is asked now
    sampling : its settings; the metric must be of the same kind
    without : address of this very request
    """
    patient = question.patient.id if question.patient is not None else ""
    shape = _shape(question, sampling)
    records = library.records(question.program.digest)
    best: tuple[tuple[bool, float, float], dict[str, Any]] | None = None
    for age, record in enumerate(reversed(records)):
        same = patient != "" and record.get("patient") == patient
        if not (same or age < LATEST) or not record.get("healthy") or record["address"] == without:
            continue
        if record.get("shape") != shape or not record.get("start"):
            continue
        distance = _distance(question.features, record.get("features", {}))
        if distance > (sys.float_info.max if same else NEAR):
            continue
        rank = (not same, 0.0 if same else distance, -float(record.get("created", 0.0)))
        if best is None or rank < best[0]:
            best = (rank, {**record, "distance": distance})
    return None if best is None else _start_of(best[1], same=not best[0][0])


def _start_of(record: Mapping[str, Any], *, same: bool) -> WarmStart:
    start = record["start"]
    return WarmStart(
        address=record["address"],
        patient=record.get("patient", ""),
        same=same,
        distance=record["distance"],
        positions=tuple(start["positions"]),
        inv_metric=np.asarray(start["inv_metric"], dtype=np.float64),
        step_size=float(start["step_size"]),
        warmup_seconds=float(start["warmup_seconds"]),
    )


def start_record(
    question: FitQuestion, sampling: Sampling, first: Sequence[ChainResult], last: Sequence[ChainResult]
) -> dict[str, Any]:
    """What a fit leaves for later ones.

    Parameters
    ----------
    question, sampling : of the fit
    first, last : first and last round of each chain
    """
    metrics = [each.end.inv_metric for each in last if each.end.inv_metric is not None]
    steps = [each.end.step_size for each in last if each.end.step_size]
    record: dict[str, Any] = {
        "patient": question.patient.id if question.patient is not None else "",
        "features": dict(question.features),
        "shape": _shape(question, sampling),
        "created": time.time(),
    }
    if len(metrics) == len(last) == len(steps) and all(each.end.position for each in last):
        record["start"] = {
            "positions": [dict(each.end.position) for each in last],
            "inv_metric": np.mean(metrics, axis=0).tolist(),
            "step_size": float(np.exp(np.mean(np.log(steps)))),
            "warmup_seconds": float(np.mean([each.seconds_warmup for each in first])),
        }
    return record


def _shape(question: FitQuestion, sampling: Sampling) -> list[Any]:
    """What the metric's shape depends on: of a shipped program what is estimated, of another each whole number of its data."""
    if question.patient is not None:
        return [sampling.metric, list(question.parameters), question.data.get("centred")]
    whole = {
        name: value
        for name, value in question.data.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    return [sampling.metric, sorted([name, value] for name, value in whole.items())]


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Root mean square difference of features; infinite where they are of another kind."""
    if set(one) != set(other) or any(one[name] != other[name] for name in _EXACT if name in one):
        return math.inf
    squares = [
        (_scale(name, one[name]) - _scale(name, other[name])) ** 2 for name in one if name not in _EXACT
    ]
    return math.sqrt(sum(squares) / len(squares)) if squares else 0.0


def _scale(name: str, value: float) -> float:
    """Logs are compared as they are, sizes by their logs."""
    return value if name.startswith(_LOGS) else math.copysign(math.log1p(abs(value)), value)
