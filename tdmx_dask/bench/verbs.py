"""The public verbs on the peers' workloads, beside plain NumPy on a time grid in this process."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import tdmx_dask as tdmx
from tdmx_dask.bench.reference import numpy_grid
from tdmx_dask.bench.table import Row, compare, timed
from tdmx_dask.bench.workloads import MICS, REGIMENS, TARGET, W1, W2, columns

MEGABYTE = 1e6


def rows() -> Iterator[Row]:
    """W1, W2, W3 on a thousand draws; W5 on a million."""
    draws = columns(1000)
    isolates = tdmx.MICDistribution.parse(W2)
    both = compare(
        lambda: tdmx.pta(draws, W1, TARGET, mic=16), lambda: numpy_grid(draws, [16.0], 1000, 8, 1), 31
    )
    yield _row("W1, PTA at MIC 16, 1,000 draws", both, 2)
    both = compare(
        lambda: tdmx.cfr(tdmx.pta(draws, W1, TARGET, mic=isolates), isolates),
        lambda: numpy_grid(draws, list(isolates.mic), 1000, 8, 1),
        31,
    )
    yield _row("W2, CFR over 6 MICs", both, 4)
    arguments = [(r.cycle.events[0].amount, r.cycle.tau, r.cycle.events[0].tinf) for r in REGIMENS if r.cycle]
    both = compare(
        lambda: tdmx.pta(draws, REGIMENS, TARGET, mic=16),
        lambda: [numpy_grid(draws, [16.0], *each) for each in arguments],
        31,
    )
    yield _row("W3, PTA of 5 regimens", both, 5)
    many = columns(1_000_000)
    seconds = timed(lambda: tdmx.pta(many, W1, TARGET, mic=MICS, run="direct"), 7)
    part = {name: array[:20_000] for name, array in many.items()}
    grid = timed(lambda: numpy_grid(part, MICS, 1000, 8, 1), 3) * 50
    yield Row(
        "W5, 1e6 draws x 12 MICs, one core", seconds * 1e3, "ms", 7,
        f"NumPy grid {grid:.3g} s (from 20,000 draws)", seconds / grid, "<= 100 ms", seconds <= 0.1,
    )  # fmt: skip
    tracemalloc.start()
    tdmx.pta(many, W1, TARGET, mic=MICS, run="direct")
    peak = tracemalloc.get_traced_memory()[1] / MEGABYTE
    tracemalloc.stop()
    yield Row("W5, peak memory above the draws", peak, "MB", 1, reach="<= 100 MB", met=peak <= 100)


def _row(name: str, measured: tuple[float, float, float], limit_ms: float) -> Row:
    seconds, reference, ratio = measured
    return Row(
        name, seconds * 1e3, "ms", 31, f"NumPy grid {reference * 1e3:.3g} ms", ratio,
        f"<= {limit_ms:g} ms", seconds * 1e3 <= limit_ms,
    )  # fmt: skip
