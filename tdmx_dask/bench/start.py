"""From a cold process: import, help, and the first answer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tdmx_dask.bench.table import Row, timed
from tdmx_dask.bench.workloads import TARGET, W1, columns

RUNS = 7


def rows() -> Iterator[Row]:
    """Whole processes, the interpreter's own start included."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draws.npz"
        draws: dict[str, Any] = dict(columns(1000))
        np.savez(file, **draws)
        first = (
            f"import numpy, tdmx_dask; draws = dict(numpy.load({str(file)!r}));"
            f"print(tdmx_dask.pta(draws, {W1!r}, {TARGET!r}, mic=16).pta.item())"
        )
        bare = timed(lambda: _python("-c", "import numpy"), RUNS)
        for name, arguments, limit in (
            ("import tdmx_dask", ("-c", "import tdmx_dask"), 0.4),
            ("tdmx --help", ("-m", "tdmx_dask.cli.main", "--help"), 0.6),
            ("a fresh process to the first W1", ("-c", first), 1.3),
        ):
            seconds = timed(partial(_python, *arguments), RUNS)
            yield Row(
                name, seconds, "s", RUNS, f"python -c 'import numpy' {bare:.2g} s", seconds / bare,
                f"<= {limit} s", seconds <= limit,
            )  # fmt: skip


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603  fixed commands
