"""The tables of a report as plain rows of cells, ready to be printed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from tdmx_dask.plot.panels import Panel, Series, panels, select
from tdmx_dask.plot.style import class_of, classes, mic_label, percent
from tdmx_dask.report.comparison import Compared

__all__ = [
    "Cell",
    "Row",
    "Table",
    "cfr_tables",
    "class_texts",
    "comparison_tables",
    "illustrative",
    "organism_rows",
    "plain",
    "pta_tables",
]

CLASSES = ("hit", "near", "half", "low")
MARKS = ("✓", "≈", "", "")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what it says, what stands small below it, its class and the class's sign."""

    text: str
    small: str = ""
    kind: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; the scenario is printed when it changes."""

    scenario: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its caption, what its columns are together, and their heads."""

    caption: str
    columns_are: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    rows_are: str = "Regimen"

    def groups(self) -> Iterator[tuple[str, list[Row]]]:
        """Rows of one scenario after the other."""
        for scenario in dict.fromkeys(row.scenario for row in self.rows):
            yield scenario, [row for row in self.rows if row.scenario == scenario]


def class_texts(level: float) -> list[tuple[str, str, str]]:
    """The classes that there are at a wanted level: (kind, mark, what it holds)."""
    found = []
    above = ""
    for number, least in classes(level):
        if not above:
            text = f"at least {percent(least)}"
        else:
            text = f"{percent(least)} to {above}" if least > 0 else f"below {above}"
        found.append((CLASSES[number], MARKS[number], text))
        above = percent(least)
    return found


def _share(value: float, lower: float, upper: float, level: float) -> Cell:
    if math.isnan(value):
        return Cell("–", kind="none")
    bounds = _bounds(lower, upper) if math.isfinite(lower) and math.isfinite(upper) else ""
    kind = class_of(value, level)
    return Cell(percent(value).removesuffix(" %"), bounds, CLASSES[kind], MARKS[kind])


def _bounds(lower: float, upper: float) -> str:
    """Bounds in per cent, with a decimal where whole numbers would hide the difference: near the ends, or together."""
    near = upper - lower < 0.02
    texts = [_bound(v) if v < 0.02 or v > 0.98 or near else f"{100 * v:.0f}" for v in (lower, upper)]
    return texts[0] if lower == upper else "–".join(texts)


def _bound(value: float) -> str:
    """A share in per cent with a decimal; what is rounded to 0 or 100 but is not, says so."""
    text = f"{100 * value:.1f}"
    if text in ("0.0", "100.0"):
        return {"0.0": "<0.1", "100.0": ">99.9"}[text] if 0 < value < 1 else text.removesuffix(".0")
    return text


def pta_tables(pta: xr.Dataset, level: float) -> list[Table]:
    """A table a target, regimens by MICs with the breakpoint; what has one value alone shares a table."""
    full = select(pta, "mic", target=None, scenario=None)
    found = panels(full, "pta")
    mic = [mic_label(float(value)) for value in full["mic"].values.tolist() if value]
    targets = dict.fromkeys(panel.target for panel in found)
    by_mic = [target for target in targets if "MIC" in target and len(mic) > 1]
    tables = [
        Table(target, "MIC (mg/L)", (*mic, "Breakpoint"), _curve_rows(found, target, level))
        for target in by_mic
    ]
    single = [target for target in targets if target not in by_mic]
    if single:
        at = (
            f"at a MIC of {mic[0]} mg/L"
            if len(mic) == 1 and any("MIC" in target for target in single)
            else ""
        )
        tables += _single_tables(found, single, at, level)
    return tables


def _curve_rows(found: Sequence[Panel], target: str, level: float) -> tuple[Row, ...]:
    rows = []
    for panel in found:
        for one in panel.series if panel.target == target else ():
            broken = math.isfinite(one.breakpoint)
            last = Cell(mic_label(one.breakpoint) if broken else "none", kind="break")
            rows.append(Row(panel.scenario, one.regimen, (*_shares(one, level), last)))
    return tuple(rows)


def _single_tables(found: Sequence[Panel], targets: Sequence[str], at: str, level: float) -> list[Table]:
    """One value a cell: scenarios by regimens, a table a target; or, where few pairs are, pairs by targets."""
    cells = {
        (panel.scenario, one.regimen, panel.target): _shares(one, level)[0]
        for panel in found
        for one in panel.series
    }
    pairs = list(dict.fromkeys((scenario, regimen) for scenario, regimen, _ in cells))
    scenarios = list(dict.fromkeys(scenario for scenario, _ in pairs))
    regimens = list(dict.fromkeys(regimen for _, regimen in pairs))
    empty = Cell("–", kind="none")
    if len(scenarios) > 2 and len(regimens) <= 12 and 2 * len(pairs) > len(scenarios) * len(regimens):
        return [
            Table(
                " ".join(text for text in (target, at) if text),
                "",
                tuple(regimens),
                tuple(
                    Row("", s, tuple(cells.get((s, r, target), empty) for r in regimens)) for s in scenarios
                ),
                "Scenario",
            )
            for target in targets
        ]
    rows = tuple(Row(*pair, tuple(cells.get((*pair, target), empty) for target in targets)) for pair in pairs)
    return [Table(at[:1].upper() + at[1:], "", tuple(targets), rows)]


def _shares(one: Series, level: float) -> tuple[Cell, ...]:
    bounds = zip(one.value.tolist(), one.lower.tolist(), one.upper.tolist(), strict=True)
    return tuple(_share(value, lower, upper, level) for value, lower, upper in bounds)


def cfr_tables(cfr: xr.Dataset, level: float) -> list[Table]:
    """A table a target: regimens by organisms."""
    full = select(cfr, "organism", target=None, scenario=None)
    found = panels(full, "cfr")
    made_up = illustrative(cfr)
    heads = tuple(
        f"{name} (illustrative)" if name in made_up else name for name in map(str, full["organism"].values)
    )
    tables = []
    for target in dict.fromkeys(panel.target for panel in found):
        rows = tuple(
            Row(
                panel.scenario,
                one.regimen,
                _shares(one, level),
            )
            for panel in found
            if panel.target == target
            for one in panel.series
        )
        tables.append(Table(target, "", heads, rows))
    return tables


def illustrative(cfr: xr.Dataset) -> frozenset[str]:
    """Organisms whose distribution of MICs is no count of isolates."""
    known = _listed(cfr.attrs.get("organisms", "[]"))
    return frozenset(str(entry.get("organism", "")) for entry in known if entry.get("illustrative"))


def organism_rows(cfr: xr.Dataset) -> list[tuple[str, str]]:
    """What is known of each distribution of MICs: (organism, sentence)."""
    rows = []
    for entry in _listed(cfr.attrs.get("organisms", "[]")):
        parts = []
        if entry.get("illustrative"):
            parts.append("illustrative, not counted isolates")
        number = entry.get("n_isolates", entry.get("n"))
        if number:
            parts.append(f"{number} isolates")
        if entry.get("censored"):
            parts.append("printed as " + ", ".join(str(text) for text in _sequence(entry["censored"])))
        above = entry.get("above")
        if isinstance(above, int | float) and above > 0:
            parts.append(
                f"{percent(float(above))} above the largest concentration tested count as not attained"
            )
        if entry.get("source"):
            parts.append(f"source: {entry['source']}")
        rows.append((str(entry.get("organism", "")), "; ".join(parts)))
    return rows


def _listed(text: object) -> list[Mapping[str, object]]:
    value = json.loads(text) if isinstance(text, str) else text
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def comparison_tables(comparison: Sequence[Compared]) -> list[Table]:
    """A table a target: computed PTA and its deviation from the published one in percentage points."""
    tables = []
    for target in dict.fromkeys(one.cell.target for one in comparison):
        chosen = [one for one in comparison if one.cell.target == target]
        mics = sorted({one.cell.mic for one in chosen if one.cell.mic is not None})
        columns: list[float | None] = [
            *mics,
            *([None] if any(one.cell.mic is None for one in chosen) else []),
        ]
        by_key = {(one.cell.scenario, one.cell.regimen, one.cell.mic): one for one in chosen}
        rows = tuple(
            Row(scenario, regimen, tuple(_compared(by_key.get((scenario, regimen, mic))) for mic in columns))
            for scenario, regimen in dict.fromkeys((one.cell.scenario, one.cell.regimen) for one in chosen)
        )
        heads = tuple("PTA" if mic is None else mic_label(mic) for mic in columns)
        tables.append(Table(target, "MIC (mg/L)" if mics else "", heads, rows))
    return tables


def _compared(one: Compared | None) -> Cell:
    if one is None:
        return Cell("", kind="none")
    points = points_of(one.difference)
    small = f"{100 * one.cell.pta:g} → {100 * one.computed:.1f}"
    if not one.judged:
        return Cell(points, small, "left-out", "*")
    return Cell(points, small, "within" if one.within else "beyond", "" if one.within else "!")


def points_of(difference: float) -> str:
    """A deviation in percentage points, with its sign."""
    if math.isnan(difference):
        return "–"
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def plain(value: object) -> str:
    """A setting as text: numbers with six digits, lists and mappings with commas."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        parts = ((name, plain(part)) for name, part in value.items())
        return ", ".join(f"{name} {text}" for name, text in parts if text)
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    if isinstance(value, str) and value[:1] in ('"', "{", "["):  # an attribute that holds JSON
        try:
            return plain(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return "" if value is None else str(value)
