"""The choice of where to run: never slower than the kernel called directly, by more than a tenth."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import tdmx_dask as tdmx
from tdmx_dask.bench.table import Row, compare
from tdmx_dask.bench.workloads import MICS, TARGET, W1, columns


def rows() -> Iterator[Row]:
    """The automatic choice beside a direct call, at 10², 10⁴ and 10⁶ draws."""
    for n, runs in ((100, 51), (10_000, 51), (1_000_000, 15)):
        draws = columns(n)
        seconds, direct, ratio = compare(
            partial(tdmx.pta, draws, W1, TARGET, mic=MICS),
            partial(tdmx.pta, draws, W1, TARGET, mic=MICS, run="direct"),
            runs,
        )
        mode = tdmx.pta(draws, W1, TARGET, mic=MICS).attrs["run_mode"]
        yield Row(
            f"automatic choice at {n:,} draws ({mode})", seconds * 1e3, "ms", runs,
            f"direct {direct * 1e3:.3g} ms", ratio, "<= 1.1 x", ratio <= 1.1,
        )  # fmt: skip
