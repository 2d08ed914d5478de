"""Two levels: draws of a posterior in a store, virtual patients of each, on two workers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import tdmx_dask as tdmx
from tdmx_dask.bench.table import Row, timed
from tdmx_dask.bench.workloads import MICS, TARGET, W1, posterior

N_DRAWS = 4000


def rows() -> Iterator[Row]:
    """Ten million profiles, four etas, twelve MICs; random numbers and the reading of the store included."""
    with tempfile.TemporaryDirectory() as folder, tdmx.cluster("local", n_workers=2) as cluster:
        store = Path(folder) / "posterior.zarr"
        tdmx.write_draws(posterior(N_DRAWS), store)
        direct = timed(lambda: tdmx.pta(store, W1, TARGET, mic=MICS, subjects=250, run="direct"), 5) / (
            N_DRAWS * 250
        )
        yield Row("two levels, called directly", direct * 1e9, "ns/profile", 5)
        seconds = timed(lambda: tdmx.pta(store, W1, TARGET, mic=MICS, subjects=2500, on=cluster), 5)
        ideal = direct * N_DRAWS * 2500 / 2
        yield Row(
            "two levels, 1e7 profiles x 12 MICs, two warm workers", seconds, "s", 5,
            f"half the direct time {ideal:.3g} s", seconds / ideal, "<= 1.5 s", seconds <= 1.5,
        )  # fmt: skip
