"""The kernel alone: critical MICs of a million draws on one core, beside the compiled probe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tdmx_dask.bench.reference import Floats, compiled_probe
from tdmx_dask.bench.table import Row, compare, timed
from tdmx_dask.bench.workloads import columns
from tdmx_dask.domain.parameters import parameters_of
from tdmx_dask.kernels.counts import ROWS, keep_freed_memory
from tdmx_dask.kernels.course import Input, course
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.exceedance import exceeded
from tdmx_dask.kernels.interval import steady_state

N = 1_000_000
RUNS = 11


def critical(arrays: list[Floats], out: Floats, tau: float = 8.0, tinf: float = 1.0) -> None:
    """Critical MICs of W1, pass by pass, as the verbs make them."""
    for start in range(0, out.size, ROWS):
        rows = slice(start, start + ROWS)
        profile = steady_state(disposition(*(array[rows] for array in arrays)), tau, tinf)
        np.multiply(exceeded(profile, 0.5), 1000.0, out=out[rows])


def rows() -> Iterator[Row]:
    """One to three compartments; a long infusion; the first day."""
    keep_freed_memory()
    out, other = np.empty(N), np.empty(N)
    draws = columns(N)
    arrays = [draws[name] for name in parameters_of("2C")]
    probe = compiled_probe()
    if probe is None:
        two = timed(lambda: critical(arrays, out), RUNS)
        yield Row(
            "kernel, 2 compartments, 1e6 draws", two / N * 1e9, "ns/draw", RUNS, "no gcc here: no C probe"
        )
    else:
        two, bare, ratio = compare(lambda: critical(arrays, out), lambda: probe(draws, other), RUNS)
        deviation = float(np.abs(other / out - 1).max())
        reference = f"C probe {bare / N * 1e9:.3g} ns, at most {deviation:.1g} away"
        yield Row(
            "kernel, 2 compartments, 1e6 draws",
            two / N * 1e9,
            "ns/draw",
            RUNS,
            reference,
            ratio,
            "<= 3 x",
            ratio <= 3,
        )
    for number, limit in ((1, 0.5), (3, 2.5)):
        draws_n = columns(N, number)
        arrays_n = [draws_n[name] for name in parameters_of(f"{number}C")]
        seconds, _, ratio = compare(partial(critical, arrays_n, other), partial(critical, arrays, out), RUNS)
        yield Row(
            f"kernel, {number} compartment{'s' if number > 1 else ''}", seconds / N * 1e9, "ns/draw", RUNS,
            "2 compartments", ratio, f"<= {limit} x", ratio <= limit,
        )  # fmt: skip
    seconds, _, ratio = compare(
        lambda: critical(arrays, other, 8.0, 4.0), lambda: critical(arrays, out), RUNS
    )
    yield Row(
        "kernel, 2 compartments, infusion of 4 h",
        seconds / N * 1e9,
        "ns/draw",
        RUNS,
        "infusion of 1 h",
        ratio,
    )
    few = [array[:ROWS] for array in arrays]
    inputs = [Input(time, 1000.0, 1.0) for time in (0.0, 8.0, 16.0)]
    seconds = timed(lambda: course_exceeded(course(disposition(*few), inputs, (0.0, 24.0)), 0.5), RUNS)
    yield Row("kernel, 2 compartments, T>MIC of day 1 (3 doses)", seconds / ROWS * 1e9, "ns/draw", RUNS)
