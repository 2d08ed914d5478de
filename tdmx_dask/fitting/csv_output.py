"""CmdStan's CSV files as an engine reads them: every bit of a number, the adapted metric, the timings; NumPy alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.fitting.so_far import WATCHED

__all__ = ["CutShortError", "GrowingCsv", "Output", "column_names", "read_metric", "read_output"]

Floats = NDArray[np.float64]
_ELAPSED = re.compile(r"([-+.\deE]+) seconds \(([\w-]+)\)")
_INDEX = re.compile(r"^([A-Za-z]\w*)((?:\.\d+)+)$")


class CutShortError(Exception):
    """A file ends too early, or holds what is no number; the text says where."""


@dataclass(frozen=True, slots=True)
class Output:
    """What stands in one file.

    Parameters
    ----------
    header : columns, as the file has them
    rows : (row, column)
    step_size : of the adaptation block, None where there is none
    inv_metric : (n,) or (n, n) of the adaptation block, rounded by CmdStan to 6 digits
    seconds : phase ("Warm-up", "Sampling", "Total") -> s
    """

    header: tuple[str, ...]
    rows: Floats
    step_size: float | None
    inv_metric: Floats | None
    seconds: dict[str, float]


def read_output(path: Path, n_rows: int | None) -> Output:
    """Read a file that CmdStan has finished.

    Parameters
    ----------
    path : of the file
    n_rows : rows that it must have; None: at least one

    Raises
    ------
    CutShortError
        It is not whole.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise CutShortError("it wrote no CSV file") from error
    comments, lines = [], []
    for line in text.split("\n"):
        if line.startswith("#"):
            comments.append(line.lstrip("# "))
        elif line:
            lines.append(line)
    if not lines:
        raise CutShortError("its CSV file has no header")
    header, rows = tuple(lines[0].split(",")), lines[1:]
    wanted = "some" if n_rows is None else n_rows
    for number, row in enumerate(rows, start=1):
        if row.count(",") + 1 != len(header):
            rule = f"row {number} (of {wanted}) has {row.count(',') + 1} of {len(header)} columns"
            raise CutShortError(f"its CSV file was cut short: {rule}")
    if len(rows) < (n_rows or 1) or not text.endswith("\n"):
        raise CutShortError(f"its CSV file was cut short after {len(rows)} of {wanted} rows")
    if n_rows is not None and len(rows) > n_rows:
        raise CutShortError(f"its CSV file has {len(rows)} rows, {n_rows} were asked for")
    step_size, inv_metric = _adaptation(comments)
    seconds = {name: float(value) for value, name in _ELAPSED.findall("\n".join(comments))}
    return Output(header, _numbers(rows), step_size, inv_metric, seconds)


def _numbers(rows: Sequence[str]) -> Floats:
    try:
        return np.loadtxt(rows, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        raise CutShortError(f"its CSV file holds what is no number ({error})") from error


def _adaptation(comments: Sequence[str]) -> tuple[float | None, Floats | None]:
    """Step size and metric of the comments after the words that adaptation ended."""
    step_size, metric, inside = None, [], False
    for line in comments:
        key, _, value = line.partition(" = ")
        if key == "Step size":
            step_size = float(value)
        elif line.startswith(("Diagonal elements of inverse mass", "Elements of inverse mass")):
            inside = True
        elif inside and re.fullmatch(r"[-+.\deEinfa]+(, [-+.\deEinfa]+)*\s*", line):
            metric.append([float(each) for each in line.split(",")])
        else:
            inside = False
    if not metric:
        return step_size, None
    return step_size, np.array(metric[0] if len(metric) == 1 else metric, dtype=np.float64)


def read_metric(path: Path) -> tuple[float, Floats] | None:
    """Step size and inverse metric as CmdStan 2.34 and later save them, with every digit; None where there is no such file."""
    try:
        saved = json.loads(path.read_text())
        return float(saved["stepsize"]), np.array(saved["inv_metric"], dtype=np.float64)
    except (OSError, ValueError, KeyError):
        return None


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Names as Stan writes them, from those of a CSV file.

    Examples
    --------
    >>> column_names(["lp__", "theta.1", "omega.1.2", "pair:1"])
    ('lp__', 'theta[1]', 'omega[1,2]', 'pair:1')
    """
    return tuple(
        _INDEX.sub(lambda found: f"{found[1]}[{found[2][1:].replace('.', ',')}]", each) for each in header
    )


class GrowingCsv:
    """Reads what was added to a CSV file since it was last looked at; warm-up is not in it.

    Parameters
    ----------
    path : of the file; it need not be there yet
    """

    def __init__(self, path: Path) -> None:
        self.draws = 0
        self.divergences = 0
        self.step_size: float | None = None
        self._path = path
        self._offset = 0
        self._columns: tuple[int, int] | None = None
        self._watched: list[int] = []
        self._taken: list[list[float]] = []

    def look(self) -> None:
        """Count whole new rows; one that is cut or holds no number is left for `read_output` to refuse."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return
        new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        for line in new.split(b"\n"):
            if not line or line.startswith(b"#"):
                continue
            if self._columns is None:
                header = line.split(b",")
                with suppress(ValueError):
                    columns = (header.index(b"stepsize__"), header.index(b"divergent__"))
                    named = [at for at, name in enumerate(header) if not name.endswith(b"__")]
                    self._watched = [header.index(b"lp__"), *named[:WATCHED]]
                    self._columns = columns
                continue
            cells = line.split(b",", max(*self._columns, *self._watched) + 1)
            with suppress(IndexError, ValueError):
                step_size = float(cells[self._columns[0]])
                self._taken.append([float(cells[at]) for at in self._watched])
                self.step_size = step_size
                self.divergences += cells[self._columns[1]] == b"1"
                self.draws += 1

    def take(self) -> Floats:
        """New draws of the log density and the first parameters since they were taken last, (draw, cell)."""
        taken, self._taken = self._taken, []
        return np.array(taken, dtype=np.float64).reshape(len(taken), len(self._watched))
