"""Results of jobs for people and files: PTA and CFR as their commands print them, tables as tables, all else as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.store.digest import json_safe

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.api.records import Row

__all__ = ["plain", "print_result", "summary", "write_result"]

_LONGEST = 120


def plain(result: Any) -> Any:
    """A result as JSON can hold it: a table is a list of rows."""
    if isinstance(result, xr.Dataset | pd.DataFrame):
        return _rows(result)
    if isinstance(result, Fit):
        return {"fit": str(result.path), "engine": result.engine, "summary": _rows(result.summary())}
    if isinstance(result, Mapping):
        return {str(key): plain(each) for key, each in result.items()}
    if isinstance(result, list | tuple):
        return [plain(each) for each in result]
    if isinstance(result, xr.DataArray):
        return plain(result.values)
    return json_safe(result)


def summary(result: Any) -> str:
    """What a result is, in a line."""
    if isinstance(result, xr.Dataset):
        sizes = " × ".join(f"{n} {name}" for name, n in result.sizes.items())
        names = ", ".join(str(name) for name in list(result.data_vars)[:3])
        best = result.attrs.get("reason", "")
        return str(best) or f"{names} of {sizes or 'one cell'}; --result prints it"
    if isinstance(result, pd.DataFrame):
        return f"a table of {len(result)} rows; --result prints it"
    if isinstance(result, Fit):
        return f"a fit, {result.path}"
    if isinstance(result, np.ndarray):
        return f"an array of {' × '.join(map(str, result.shape))}"
    text = (
        json.dumps(plain(result), ensure_ascii=False)
        if not isinstance(result, Mapping)
        else ", ".join(result)
    )
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def print_result(screen: Console, result: Any) -> None:
    """Print a result."""
    from tdmx_dask.cli.present import print_cfr, print_pta

    if isinstance(result, xr.Dataset) and "n_attained" in result:
        print_pta(screen, result)
    elif isinstance(result, xr.Dataset) and "cfr" in result:
        print_cfr(screen, result)
    elif isinstance(result, xr.Dataset | pd.DataFrame):
        if isinstance(result, xr.Dataset) and result.attrs.get("reason"):
            screen.print(result.attrs["reason"])
            screen.print()
        _print_rows(screen, _rows(result))
    elif isinstance(result, Fit):
        screen.print(f"fit: {result.path}", soft_wrap=True)
        _print_rows(screen, _rows(result.summary()))
    elif isinstance(result, Mapping) and any(isinstance(each, xr.Dataset | Fit) for each in result.values()):
        for name, each in result.items():
            if each is None or (isinstance(each, pd.DataFrame) and "fit" in result):  # said by the fit
                continue
            if not isinstance(each, xr.Dataset):
                screen.print(f"{name}:", style="bold")
            print_result(screen, each)
            screen.print()
    else:
        screen.print(json.dumps(plain(result), ensure_ascii=False, indent=1), soft_wrap=True)


def write_result(result: Any, path: Path) -> None:
    """Write a result that is a table to a CSV file.

    Raises
    ------
    InputError
        It is no table.
    """
    from tdmx_dask.api.records import write_csv
    from tdmx_dask.store.publish import staging

    if isinstance(result, Fit):
        result = result.summary()
    elif isinstance(result, Mapping) and isinstance(result.get("pta"), xr.Dataset):
        result = result["pta"]
    if not isinstance(result, xr.Dataset | pd.DataFrame):
        rule = "the result of this job is no table"
        raise InputError("--csv", path, rule, "`--result --json` prints it.")
    rows = _rows(result)
    with staging(path) as partial:
        write_csv(rows, partial)


def _rows(table: xr.Dataset | pd.DataFrame) -> list[Row]:
    from tdmx_dask.api.records import cfr_rows, pta_rows

    if isinstance(table, xr.Dataset) and "n_attained" in table:
        return pta_rows(table)
    if isinstance(table, xr.Dataset) and "cfr" in table:
        return cfr_rows(table)
    if isinstance(table, xr.Dataset):
        outer = next(iter(table.sizes), None)
        own = [name for name in table.data_vars if table[name].dims in ((), (outer,))]
        table = table[own].drop_dims([dim for dim in table.sizes if dim != outer]).to_dataframe()
    named = table.reset_index() if any(name is not None for name in table.index.names) else table
    found: list[Row] = [
        {str(key): _cell(value) for key, value in row.items()} for row in named.to_dict("records")
    ]
    return found


def _cell(value: Any) -> Any:
    value = json_safe(value)
    return None if value == "nan" else value


def _print_rows(screen: Console, rows: list[Row]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, value in (rows[0] if rows else {}).items():
        table.add_column(
            name, justify="left" if isinstance(value, str) else "right", overflow="fold", min_width=5
        )
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    screen.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
