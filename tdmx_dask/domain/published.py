"""A published table of PTA, read cell by cell, so that a run can be held against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tdmx_dask.domain.mic import match_mic
from tdmx_dask.domain.section import Item, Section

__all__ = ["Cell", "Published"]

_NOUNS = ("scenario", "regimen", "target", "mic")
_Resolve = Callable[[Item], str]
_Key = tuple[str, str, str, float | None]


@dataclass(frozen=True, slots=True)
class Cell:
    """One published PTA.

    Parameters
    ----------
    scenario, regimen, target : labels of the study
    mic : mg/L; None where the target needs no MIC
    pta : fraction
    tolerance : fraction, how far a right computation may be from it
    left_out : why the cell is printed but not judged; empty for a cell that is judged
    """

    scenario: str
    regimen: str
    target: str
    mic: float | None
    pta: float
    tolerance: float
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A published table.

    Parameters
    ----------
    source : where it was printed
    cells : in the order of the table
    """

    source: str
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, section: Section, labels: Mapping[str, _Resolve], mic: tuple[float, ...]) -> Published:
        """Read the ``published`` part of a study.

        A table has ``columns`` and ``rows``. The columns ``scenario``, ``regimen``, ``target`` and ``mic``
        name the cell, or stand once for the whole table; the column ``pta`` holds its value, or each other
        column does and is headed by a MIC, a target or a regimen.

        Parameters
        ----------
        section : with source, unit (percent or fraction), tolerance, and a table or several
        labels : for scenario, regimen and target: what turns an item into a label of the study
        mic : the study's grid, mg/L

        Raises
        ------
        InputError
            a cell that the study does not compute, is given twice, or is no PTA
        """
        section.only("source", "unit", "tolerance_pp", "standard_errors", "n", "tables", "exclude", *_TABLE)
        tables = section.items("tables") if "tables" in section else [section.item]
        tolerance = _Tolerance.read(section)
        left_out = _left_out(section, labels, mic)
        found: dict[_Key, Cell] = {}
        for table in tables:
            for item, key in _cells(table.section(), labels, mic):
                pta = item.number(0, 100 * tolerance.unit) / (100 * tolerance.unit)
                if key in found and found[key].pta != pta:
                    item.fail(f"this cell is also given as {found[key].pta:g}", "Keep one of them.")
                found[key] = Cell(*key, pta, tolerance.of(pta), left_out.pop(key, ""))
        for key in left_out:
            where = ", ".join(str(part) for part in key if part is not None)
            section.at("exclude").fail(f"the table has no cell for {where}", "Exclude cells of the table.")
        return cls(section.text("source"), tuple(found.values()))


_TABLE = ("columns", "rows", *_NOUNS)


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """Either percentage points, or standard errors of a simulation of n, with the rounding of the table."""

    unit: float
    points: float | None
    standard_errors: float
    n: int

    @classmethod
    def read(cls, section: Section) -> _Tolerance:
        unit = section.text("unit")
        if unit not in ("percent", "fraction"):
            section.at("unit").fail("the unit of a published PTA is percent or fraction")
        hundred = 1.0 if unit == "percent" else 0.01
        if "standard_errors" in section:
            errors = section.number("standard_errors", low=0)
            points = section.number("tolerance_pp", 0.0, low=0, high=100)
            return cls(hundred, points, errors, section.integer("n", low=1))
        return cls(hundred, section.number("tolerance_pp", low=0, high=100), 0.0, 1)

    def of(self, pta: float) -> float:
        """The tolerance of one cell, a fraction."""
        error = math.sqrt(pta * (1 - pta) / self.n)
        return (self.points or 0.0) / 100 + self.standard_errors * error


def _left_out(section: Section, labels: Mapping[str, _Resolve], mic: tuple[float, ...]) -> dict[_Key, str]:
    """The cells that are not judged, each with its reason."""
    found = {}
    for each in section.items("exclude") if "exclude" in section else []:
        table = each.section().only("reason", "columns", "rows", *_NOUNS)
        reason = table.text("reason")
        defaults = _defaults(table, labels, mic)
        columns = [item.text() for item in table.items("columns")]
        for row in table.items("rows"):
            part = dict(defaults)
            for name, item in zip(columns, _row(row, len(columns)), strict=True):
                if name not in _NOUNS:
                    row.fail(f"the column {name} is not one of scenario, regimen, target, mic")
                if (name, item.value) == ("mic", None):
                    continue
                part[name] = _resolve(name, item, labels, mic)
            found[_key(part, row)] = reason
    return found


def _cells(table: Section, labels: Mapping[str, _Resolve], mic: tuple[float, ...]) -> list[tuple[Item, _Key]]:
    """Every value of a table with the cell it stands for."""
    if table.item.path != "published":
        table.only(*_TABLE)
    defaults = _defaults(table, labels, mic)
    heads = [_head(item, labels, mic) for item in table.items("columns")]
    found = []
    for row in table.items("rows"):
        items = _row(row, len(heads))
        part = dict(defaults)
        for (name, value), item in zip(heads, items, strict=True):
            if name in _NOUNS and value is None and (name, item.value) != ("mic", None):
                part[name] = _resolve(name, item, labels, mic)
        for (name, value), item in zip(heads, items, strict=True):
            if item.value is None or (name in _NOUNS and value is None):
                continue
            found.append((item, _key({**part, name: value} if name in _NOUNS else part, row)))
    return found


def _defaults(
    table: Section, labels: Mapping[str, _Resolve], mic: tuple[float, ...]
) -> dict[str, str | float]:
    return {name: _resolve(name, table.at(name), labels, mic) for name in _NOUNS if name in table}


def _row(row: Item, width: int) -> list[Item]:
    items = row.items()
    if len(items) != width:
        row.fail(f"this row has {len(items)} values where the table has {width} columns")
    return items


def _head(
    item: Item, labels: Mapping[str, _Resolve], mic: tuple[float, ...]
) -> tuple[str, str | float | None]:
    """What a column stands for: (noun, None) names the cell; (noun, value) holds its PTA."""
    if isinstance(item.value, int | float) and not isinstance(item.value, bool):
        return "mic", _resolve("mic", item, labels, mic)
    text = item.text()
    if text in _NOUNS or text == "pta":
        return text, None
    for name in ("target", "regimen"):
        try:
            return name, labels[name](item)
        except ValueError:
            continue
    rule = "a column is scenario, regimen, target, mic, pta, or headed by a MIC, a target or a regimen"
    return item.fail(rule, "Use those of the study.")


def _resolve(name: str, item: Item, labels: Mapping[str, _Resolve], mic: tuple[float, ...]) -> str | float:
    if name != "mic":
        return labels[name](item)
    with item.naming():
        return mic[int(match_mic([item.number(low=1e-9)], mic)[0])]


def _key(part: Mapping[str, str | float | None], row: Item) -> _Key:
    for name in _NOUNS[:3]:
        if name not in part:
            row.fail(f"the table does not say which {name} a value belongs to", f"Add a column `{name}`.")
    value = part.get("mic")
    return (
        str(part["scenario"]),
        str(part["regimen"]),
        str(part["target"]),
        None if value is None else float(value),
    )
