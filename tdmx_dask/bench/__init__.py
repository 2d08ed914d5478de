"""Benchmarks that print: each figure beside a reference that ran in the same process. They never fail on time."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print their table.

    Parameters
    ----------
    argv : names of groups (``kernel``, ``verbs``, ``where``, ``two-level``, ``start``, ``cluster``, ``fit``, ``queue``, ``long``);
        default all but the last four
    """
    from tdmx_dask.bench.table import run

    return run(list(argv or []))
