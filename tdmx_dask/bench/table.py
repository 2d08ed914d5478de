"""Timing and the table."""

from __future__ import annotations

import importlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tdmx_dask.errors import InputError

__all__ = ["Row", "compare", "run", "timed"]

GROUPS = {
    "kernel": "tdmx_dask.bench.kernel",
    "verbs": "tdmx_dask.bench.verbs",
    "where": "tdmx_dask.bench.where",
    "two-level": "tdmx_dask.bench.two_level",
    "start": "tdmx_dask.bench.start",
    "cluster": "tdmx_dask.bench.cluster",
    "fit": "tdmx_dask.bench.fit",
    "queue": "tdmx_dask.bench.queue",
    "long": "tdmx_dask.bench.long",
}

SLOW = ("cluster", "fit", "queue", "long")
"""Groups that run only where they are named: they take minutes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Parameters
    ----------
    name : what was measured
    value, unit : median
    runs : how many
    reference : what it is held against, with its own figure
    ratio : value by reference; None without one
    reach : what is wanted, as text
    met : whether it is; None where nothing is wanted
    """

    name: str
    value: float
    unit: str
    runs: int
    reference: str = ""
    ratio: float | None = None
    reach: str = ""
    met: bool | None = None


def timed(function: Callable[[], object], runs: int) -> float:
    """Median seconds of several runs, after one that is not counted."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def compare(
    first: Callable[[], object], second: Callable[[], object], runs: int
) -> tuple[float, float, float]:
    """Median seconds of both, run in turns, and the median of their ratios: a machine that drifts does so for both."""
    first(), second()
    pairs = []
    for _ in range(runs):
        times = []
        for function in (first, second):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        pairs.append(times)
    a, b = zip(*pairs, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in pairs)


def run(groups: list[str]) -> int:
    """Run groups of benchmarks and print each row as it is known."""
    for group in groups:
        if group not in GROUPS:
            raise InputError(
                "group", group, "there is no such group of benchmarks", f"Known: {', '.join(GROUPS)}."
            )
    print(_machine())
    print(f"{'':<58}{'median':>10} {'':<11}{'runs':>5}  {'ratio':>7}  reference, and what is wanted")
    missed = 0
    for group in groups or [each for each in GROUPS if each not in SLOW]:
        rows: Callable[[], Iterator[Row]] = importlib.import_module(GROUPS[group]).rows
        for row in rows():
            missed += row.met is False
            print(_line(row), flush=True)
    print(
        f"{missed} of the figures above miss what is wanted."
        if missed
        else "All figures reach what is wanted."
    )
    return 0


def _line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} x"
    mark = {True: "ok", False: "MISSED", None: ""}[row.met]
    notes = "; ".join(
        part for part in (row.reference, f"want {row.reach} {mark}" if row.reach else "") if part
    )
    return f"{row.name:<58}{row.value:>10.3g} {row.unit:<11}{row.runs:>5}  {ratio:>7}  {notes}"


def _machine() -> str:
    from importlib.metadata import version

    packages = " ".join(
        f"{name} {version(name)}" for name in ("tdmx-dask", "numpy", "dask", "xarray", "zarr")
    )
    return (
        f"{_processor()}, {_cores()} cores; Python {platform.python_version()} on {sys.platform}; {packages}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    from tdmx_dask.clusters.resources import available_cores

    return available_cores()
