"""Results as rows, for CSV, JSON and tables: one row a cell that was asked for."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Row", "cfr_rows", "pta_rows", "write_csv"]

Row = dict[str, str | int | float | None]
_DIMS = ("scenario", "regimen", "target")


def pta_rows(pta: xr.Dataset) -> list[Row]:
    """One row a (scenario, regimen, target, mic) that was simulated.

    Parameters
    ----------
    pta : result of `pta`; a dimension of one may have been dropped

    Returns
    -------
    rows with the labels, ``mic`` (mg/L; a target without MIC has one row, with None), ``pta, lower, upper, mcse``
    (fractions; None for NaN), ``n_attained``, ``n_simulated`` and ``breakpoint`` (mg/L; None where there is none)
    """
    names = ("pta", "lower", "upper", "mcse", "n_attained", "n_simulated", "breakpoint")
    rows = _rows(pta, "mic", names)
    without = json.loads(pta.attrs.get("without_mic", "[]"))
    first = float(pta["mic"].values.reshape(-1)[0])
    kept = [row for row in rows if row["target"] not in without or row["mic"] == first]
    return [{**row, "mic": None} if row["target"] in without else row for row in kept]


def cfr_rows(cfr: xr.Dataset) -> list[Row]:
    """One row a (scenario, regimen, target, organism): ``cfr, lower, upper, mcse`` as fractions."""
    return _rows(cfr, "organism", ("cfr", "lower", "upper", "mcse"))


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV, UTF-8, with a heading; numbers with all their digits, an empty cell for None."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _rows(result: xr.Dataset, last: str, names: Sequence[str]) -> list[Row]:
    dims = (*_DIMS, last)
    full = result.expand_dims([dim for dim in dims if dim not in result.dims])
    arrays = {}
    for name in names:
        if name in full:
            own = [dim for dim in dims if dim in full[name].dims]
            arrays[name] = (full[name].transpose(*own).values, [dims.index(dim) for dim in own])
    labels = [full[dim].values.tolist() for dim in dims]
    rows: list[Row] = []
    for i, scenario in enumerate(labels[0]):
        for j, regimen in enumerate(labels[1]):
            for k, target in enumerate(labels[2]):
                for m, value in enumerate(labels[3]):
                    index = (i, j, k, m)
                    row: Row = {"scenario": scenario, "regimen": regimen, "target": target, last: value}
                    for name, (array, own_axes) in arrays.items():
                        row[name] = _plain(array[tuple(index[axis] for axis in own_axes)].item())
                    if _asked(row, names[0]):
                        rows.append(row)
    return rows


def _asked(row: Mapping[str, object], name: str) -> bool:
    return row[name] is not None and row.get("n_simulated", 1) != 0


def _plain(value: float | int) -> float | int | None:
    return None if isinstance(value, float) and math.isnan(value) else value
