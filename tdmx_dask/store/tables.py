"""Tables of draws, a row each: CSV and Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import warnings
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError, TdmxError, TdmxWarning
from tdmx_dask.store.cmdstan import GZIP, exact, read_text
from tdmx_dask.store.extras import need_parquet
from tdmx_dask.store.schema import QUANTITIES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NOTE", "read_csv", "read_parquet"]

NOTE = b"tdmx"  # Parquet's metadata key under which dimensions, names and units stand
_COMMA_INSIDE = re.compile(r"\d,\d")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def read_csv(path: str | PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Read a table with one header line; separated by commas, semicolons, tabs or spaces.

    Decimal commas are read where the separator is not a comma. Lines that begin with ``#`` are comments.

    Parameters
    ----------
    path : file, may be gzipped

    Returns
    -------
    name -> (row,); a column of text alone is left out with a warning

    Raises
    ------
    InputError
        The lines have unequal numbers of columns, names are there twice, or a value is no number.
    """
    import pandas as pd

    head, skipped, compressed = _head(path)
    if len(head) < 2:
        raise InputError(
            "file", os.fspath(path), "it holds no draws", "Give a header line and a line a draw."
        )
    separator = _separator(head[0])
    names = (
        head[0].split()
        if separator == " "
        else next(csv.reader([head[0]], delimiter=separator, skipinitialspace=True))
    )
    names = [name.strip() for name in names]
    _check_header(names, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep=r"\s+" if separator == " " else separator,
                header=None,
                names=names,
                index_col=False,
                skiprows=skipped + 1,
                comment="#",
                decimal=","
                if separator != "," and any(_COMMA_INSIDE.search(line) for line in head[1:])
                else ".",
                **exact(),
                skipinitialspace=True,
                encoding="utf-8-sig",
                compression="gzip" if compressed else None,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _unequal(path, separator, len(names)) from error
    except UnicodeDecodeError:
        read_text(path)
        raise
    return numbers(table, path, text=True)


def _head(path: str | PathLike[str]) -> tuple[list[str], int, bool]:
    """The first lines that are no comments, how many lines precede them, and whether the file is gzipped."""
    with Path(path).open("rb") as file:
        compressed = file.read(2) == GZIP
    opened = gzip.open if compressed else open
    kept: list[str] = []
    skipped = 0
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline=None) as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    kept.append(line.rstrip("\n"))
                elif not kept:
                    skipped += 1
                if len(kept) == 50:
                    break
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
        read_text(path)
        raise
    return kept, skipped, compressed


def read_parquet(path: str | PathLike[str]) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """Read a Parquet file.

    Parameters
    ----------
    path : file

    Returns
    -------
    name -> (row,); and what `exporting` noted beside the columns, empty for a file of others
    """
    pa, pq = need_parquet()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        rule = f"it is no whole Parquet file ({' '.join(str(error).split())[:120]})"
        raise InputError("file", os.fspath(path), rule, "Write it again.") from error
    note = (table.schema.metadata or {}).get(NOTE)
    return numbers(table.to_pandas(), path), json.loads(note) if note else {}


def numbers(
    table: pd.DataFrame, path: str | PathLike[str], *, text: bool = False
) -> dict[str, NDArray[np.float64]]:
    """The columns of a table as float64.

    Parameters
    ----------
    table : a row a draw
    path : for messages
    text : whether the file is text, so that a line of it can be named
    """
    import pandas as pd

    columns, texts = {}, []
    for key in table.columns:
        name, column = str(key), table[key]
        if name == "" or name.startswith("Unnamed:"):
            continue  # row numbers, as R writes them
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
            columns[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            continue
        parsed = pd.to_numeric(column, errors="coerce")
        bad = (parsed.isna() & column.notna()).to_numpy()
        if bad.all() and name not in QUANTITIES:
            texts.append(name)
            continue
        raise _no_number(name, column.iloc[int(bad.argmax())], int(bad.argmax()), path, text=text)
    if texts:
        warnings.warn(
            f"{os.fspath(path)}: columns of text are left out: {', '.join(texts)}.", TdmxWarning, stacklevel=4
        )
    return columns


def _separator(header: str) -> str:
    """Semicolon, tab, comma or space, whichever the header has."""
    plain = re.sub(r"\[[^]]*\]|\"[^\"]*\"", "", header)
    return next((each for each in (";", "\t", ",", " ") if each in plain.strip()), ",")


def _check_header(names: list[str], path: str | PathLike[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            "file", os.fspath(path), f"its header has {', '.join(twice)} more than once", "Rename one."
        )
    if all(re.fullmatch(r"[-+.,\deE]+", name) for name in names):
        raise InputError(
            "file",
            os.fspath(path),
            "its first line is no header of names",
            "Write the names of the columns first.",
        )


def _unequal(path: str | PathLike[str], separator: str, wanted: int) -> TdmxError:
    """The error for a line with too many columns."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = len(line.split()) if separator == " " else len(next(csv.reader([line], delimiter=separator)))
        if found > wanted:
            fix = (
                "With decimal commas, separate the columns by semicolons."
                if separator == ","
                else "Mend the line."
            )
            return InputError(
                "file",
                f"{os.fspath(path)}, line {number}",
                f"it has {found} columns and the header {wanted}",
                fix,
            )
    return InputError("file", os.fspath(path), "its lines do not fit its header", "Mend the file.")


def _no_number(name: str, value: object, row: int, path: str | PathLike[str], *, text: bool) -> TdmxError:
    where = f"row {row + 1}"
    if text:
        lines = enumerate(read_text(path).splitlines(), start=1)
        kept = [number for number, line in lines if line.strip() and not line.startswith("#")]
        where = f"line {kept[row + 1]}"
    fix = "Mend the value."
    if _DECIMAL_COMMA.fullmatch(str(value)):
        fix = "Write decimals with a point."
    elif str(value).strip().endswith("%"):
        fix = "Write a fraction: 0.5, not 50%."
    return InputError(name, value, f"it is no number ({os.fspath(path)}, {where})", fix)
