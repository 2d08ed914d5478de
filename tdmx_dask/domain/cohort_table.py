"""The cells of a table of doses and levels, each with the place that a complaint names."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tdmx_dask.domain.covariate import SEXES
from tdmx_dask.domain.covariate_units import canonical_unit
from tdmx_dask.domain.section import nearest
from tdmx_dask.domain.units import NUMBER, shortened
from tdmx_dask.errors import InputError

__all__ = ["COLUMNS", "Row", "Table", "read_table"]

COLUMNS = (
    *("ID", "TIME", "AMT", "RATE", "TINF", "DUR", "DV", "EVID", "MDV", "CENS", "BLQ", "LLOQ", "SS", "II"),
    *("ADDL", "CMT", "DVID"),
)
_UNITS = {
    "TIME": ("h", "hr", "hours", "hour"),
    "AMT": ("mg",),
    "RATE": ("mg/h",),
    **dict.fromkeys(("TINF", "DUR", "II"), ("h", "hr", "hours", "hour")),
    **dict.fromkeys(("DV", "LLOQ"), ("mg/l", "ug/ml", "µg/ml", "mcg/ml")),
}
_HEADER = re.compile(r"(.*?)\s*[\[(]\s*([^\[\]]+?)\s*[\])]")
_EMPTY = ("", ".", "NA", "na", "NaN", "nan")
MOST_BYTES, MOST_ROWS = 100_000_000, 500_000
_FORM = "Give the columns ID, TIME, AMT and DV."


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its file, its line and its cells by column."""

    file: str
    number: int
    cells: Mapping[str, str] = field(repr=False)

    def fail(self, column: str, rule: str, fix: str) -> NoReturn:
        """Complain about a cell."""
        name = f"{self.file}, line {self.number}, {column}"
        raise InputError(name, shortened(self.cells.get(column, ""), 60), rule, fix)

    def text(self, column: str) -> str:
        """The cell, empty where it says nothing."""
        cell = self.cells.get(column, "")
        return "" if cell in _EMPTY else cell

    def optional(self, column: str) -> float | None:
        """The cell as a finite number, or None where it says nothing."""
        text = self.text(column)
        if not text:
            return None
        if re.fullmatch(NUMBER, text) is None:
            fix = "Write a number."
            if re.fullmatch(r"[+-]?\d*,\d+", text):
                fix = f"Write {text.replace(',', '.')}, with a decimal point."
            elif column == "TIME" and ":" in text:
                fix = "Write the hours since the start, not a time of day."
            self.fail(column, "this is not a number", fix)
        number = float(text)
        if not math.isfinite(number):
            self.fail(column, "the number must be finite", "Mend it.")
        return number

    def number_of(self, column: str, *, low: float = -math.inf) -> float:
        """The cell as a number that must be there."""
        number = self.optional(column)
        if number is None:
            self.fail(column, "a number is missing", "Fill it in.")
        if number < low:
            self.fail(column, f"it must be at least {low:g}", "Mend it.")
        return number

    def flag(self, column: str, *, lowest: int = 0, highest: int = 1) -> int:
        """The cell as a whole number in a range; 0 where it says nothing."""
        number = self.optional(column) or 0.0
        if not (number.is_integer() and lowest <= number <= highest):
            self.fail(column, f"it is a whole number from {lowest} to {highest:g}", "Mend it.")
        return int(number)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with known columns, and which columns are covariates.

    Parameters
    ----------
    path : the file
    rows : at least one
    covariates : headers of the columns that are covariates
    units : unit of a covariate, by header, where it is stated
    names : name of a covariate by header
    """

    path: Path
    rows: tuple[Row, ...]
    covariates: tuple[str, ...]
    units: Mapping[str, str]
    names: Mapping[str, str]

    def name_of(self, column: str) -> str:
        """Name of a covariate."""
        return self.names[column]


def read_table(path: Path, wanted: Collection[str] | None = None) -> Table:
    """Read a table; `wanted` names the covariates to take, None: all columns of numbers or sexes.

    Raises
    ------
    InputError
        The file cannot be read, is empty, has no such columns, one twice, or a row of another length.
    """
    lines = _lines(path)
    header, names, units = _header(path, lines[0][1])
    rows = []
    for number, cells in lines[1:]:
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            rule = f"this line has {len(cells)} columns, the header {len(header)}"
            fix = (
                "Write decimal points, not commas."
                if len(cells) > len(header)
                else "Fill empty cells with a point."
            )
            raise InputError(f"{path.name}, line {number}", shortened(",".join(cells), 60), rule, fix)
        rows.append(Row(path.name, number, dict(zip(header, cells, strict=True))))
    for row in rows:
        if not row.text("ID"):
            row.fail("ID", "the id of the patient is missing", "Repeat it in each row.")
    given = _wanted(path, names, wanted, rows)
    return Table(path, tuple(rows), given, {key: units[key] for key in given if key in units}, names)


def _wanted(
    path: Path, names: Mapping[str, str], wanted: Collection[str] | None, rows: list[Row]
) -> tuple[str, ...]:
    if wanted is None:
        return tuple(column for column in names if all(_is_value(row.text(column)) for row in rows))
    known = {name: column for column, name in names.items()}
    for name in wanted:
        if name not in known:
            raise InputError(
                "covariates", name, f"{path.name} has no column of this name", nearest(name, tuple(known))
            )
    return tuple(known[name] for name in wanted)


def _is_value(text: str) -> bool:
    """Whether a cell may be of a covariate; a decimal comma is one, so that it is refused rather than passed over."""
    return not text or text.lower() in SEXES or re.fullmatch(rf"{NUMBER}|[+-]?\d*,\d+", text) is not None


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Lines with their numbers; blank ones and comments left out, but not a header that begins with #."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError("file", path, f"it cannot be read: {error.strerror}", "Check the path.") from None
    except UnicodeDecodeError as error:
        rule = f"it is not UTF-8 text (byte {error.start})"
        raise InputError("file", path, rule, "Save it as CSV in UTF-8.") from None
    if len(raw) > MOST_BYTES or "\0" in text:
        raise InputError("file", path, "a table is a text of at most 100 MB", "Save it as CSV.")
    stated = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("# "))
    first = next(stated, "")
    separator = next((sign for sign in (";", "\t") if sign in first), ",")
    lines: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            comment = bool(cells) and cells[0].lstrip().startswith("#")
            if not any(cell.strip() for cell in cells) or (comment and (lines or not _is_header(cells))):
                continue
            lines.append((reader.line_num, [cell.strip() for cell in cells]))
            if len(lines) > MOST_ROWS:
                raise InputError("file", path, f"a cohort has at most {MOST_ROWS:,} rows", "Split it.")
    except csv.Error as error:
        rule = f"this line cannot be split into cells ({error})"
        raise InputError(f"{path.name}, line {reader.line_num}", "", rule, "Check its quotes.") from None
    if len(lines) < 2:
        rule = "the file is empty" if not lines else "there is no row below the header"
        raise InputError("file", path, rule, _FORM)
    return lines


def _is_header(cells: list[str]) -> bool:
    return {"ID", "TIME"} <= {
        cell.strip().lstrip("#").strip().upper().split("(")[0].strip() for cell in cells
    }


def _header(path: Path, cells: list[str]) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Columns as they are called here, names of the covariates, and units where they are stated."""
    header: list[str] = []
    names: dict[str, str] = {}
    units: dict[str, str] = {}
    for index, cell in enumerate(cells):
        plain = cell.lstrip("#").strip() or f"column {index + 1}"
        match = _HEADER.fullmatch(plain)
        name, unit = (match[1], match[2]) if match else (plain, "")
        if name.upper() in COLUMNS:
            name = name.upper()
            _check_unit(path, name, unit)
        elif name != "C" and name.isidentifier():
            names[name] = name
            if unit:
                units[name] = canonical_unit(unit)
        if name in header:
            raise InputError(f"{path.name}, header", name, "this column is there twice", "Keep one.")
        header.append(name)
    missing = [name for name in ("ID", "TIME", "AMT", "DV") if name not in header]
    if missing:
        rule = f"a cohort needs the column {missing[0]}"
        raise InputError(f"{path.name}, header", shortened(",".join(cells), 80), rule, _FORM)
    return header, names, units


def _check_unit(path: Path, name: str, unit: str) -> None:
    known = _UNITS.get(name, ())
    if unit and "".join(unit.lower().split()) not in known:
        rule = f"its unit is {known[0]}" if known else "it has no unit"
        raise InputError(f"{path.name}, header, {name}", unit, rule, "Convert the column.")
