"""Results as a clinician reads them: tables of percent, breakpoints, and what the intervals are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tdmx_dask.api.records import Row, cfr_rows, pta_rows
from tdmx_dask.cli.tables import MARK, layout, legend, percent, print_grid

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from tdmx_dask.api.deviation import Deviation

__all__ = ["print_cfr", "print_comparison", "print_pta"]

_KINDS = {
    "credible": "credible interval over draws of the parameters",
    "monte_carlo": "Monte-Carlo interval (how exact the simulation is, not how well the parameters are known)",
}


def print_pta(console: Console, pta: xr.Dataset) -> None:
    """Print PTA as percent: a row a scenario and regimen, a column a MIC, the breakpoint last.

    Parameters
    ----------
    console : where to
    pta : result of `pta`
    """
    rows, relative = pta_rows(pta), _relative(pta)
    level = float(pta["breakpoint"].attrs.get("level", 0.9))
    cells = {_key(row): percent(_number(row["pta"]), level=level) for row in rows}
    breakpoints = {
        (str(row["scenario"]), str(row["regimen"]), str(row["target"])): _breakpoint(row, pta) for row in rows
    }
    short = legend([str(label) for label in pta["regimen"].values.tolist()])
    meaning = "; the break point is the largest MIC that reaches it, mg/L" if len(pta["mic"]) > 1 else ""
    console.print("Probability of target attainment (PTA), %", style="bold")
    console.print(f"{MARK} = {100 * level:g} % or more{meaning}")
    console.print()
    for grid in layout(cells, relative, breakpoints):
        print_grid(console, grid, short=short)
    _print_legend(console, pta, short)
    _print_interval(console, pta, rows, "pta")
    if pta.attrs.get("fu_note"):
        console.print(f"Unbound fraction: {pta.attrs['fu_note']}.")


def print_cfr(console: Console, cfr: xr.Dataset) -> None:
    """Print CFR as percent with its interval: a row a scenario and regimen, a column an organism."""
    rows = cfr_rows(cfr)
    targets = list(dict.fromkeys(str(row["target"]) for row in rows))
    short = legend([str(label) for label in cfr["regimen"].values.tolist()])
    console.print("Cumulative fraction of response (CFR), %, with its interval", style="bold")
    for organism, about in _organisms(cfr).items():
        console.print(f"{organism}: {about}" if about else organism)
    console.print()
    from tdmx_dask.cli.tables import Grid

    for target in targets:
        organisms = list(dict.fromkeys(str(row["organism"]) for row in rows))
        grid = Grid(target, ("scenario", "regimen"), tuple(organisms))
        values = {
            (row["scenario"], row["regimen"], row["organism"]): row for row in rows if row["target"] == target
        }
        for pair in dict.fromkeys((str(row["scenario"]), str(row["regimen"])) for row in rows):
            grid.rows.append((pair, tuple(_with_interval(values.get((*pair, each))) for each in organisms)))
        print_grid(console, grid, short=short, mark="")
    _print_legend(console, cfr, short)
    _print_interval(console, cfr, rows, "cfr")


def print_comparison(console: Console, comparison: Sequence[Deviation], source: str, pta: xr.Dataset) -> None:
    """Print the deviation from a published table, cell by cell, in percentage points.

    Parameters
    ----------
    console : where to
    comparison : at least one cell
    source : of the table
    pta : the result that it was held against; gives the order
    """
    relative = _relative(pta)
    places = [{str(x): i for i, x in enumerate(pta[dim].values.tolist())} for dim in ("scenario", "regimen")]
    comparison = sorted(comparison, key=lambda e: (places[0][e.cell.scenario], places[1][e.cell.regimen]))
    judged = [each for each in comparison if each.judged]
    outside = [each for each in judged if not each.within]
    console.print("Computed less published PTA, percentage points", style="bold")
    console.print(f"Published: {source}")
    marks = "! = beyond the tolerance" * bool(outside)
    marks += (
        ("; " if marks else "") + "( ) = left out of the judgement" if len(judged) < len(comparison) else ""
    )
    if marks:
        console.print(marks)
    console.print()
    cells = {
        (each.cell.scenario, each.cell.regimen, each.cell.target, each.cell.mic): _difference(each)
        for each in comparison
    }
    labels = list(dict.fromkeys(each.cell.regimen for each in comparison))
    for grid in layout(cells, {t: relative[t] for t in relative if any(key[2] == t for key in cells)}):
        print_grid(console, grid, short=legend(labels), mark="!")
    if judged:
        worst = max(judged, key=lambda each: abs(each.difference))
        where = f"{worst.cell.scenario}, {worst.cell.regimen}, {worst.cell.target}"
        where += f", MIC {worst.cell.mic:g}" if worst.cell.mic is not None else ""
        console.print(
            f"{len(judged) - len(outside)} of {len(judged)} cells are within the tolerance; the largest deviation is "
            f"{100 * worst.difference:+.1f} points ({where}: published {100 * worst.cell.pta:g}, "
            f"computed {100 * worst.computed:.1f})."
        )
    for reason in dict.fromkeys(each.cell.left_out for each in comparison if not each.judged):
        n_cells = sum(each.cell.left_out == reason for each in comparison)
        console.print(f"{n_cells} left out: {reason}.")


def _key(row: Row) -> tuple[str, str, str, float | None]:
    return str(row["scenario"]), str(row["regimen"]), str(row["target"]), _number(row["mic"])


def _relative(pta: xr.Dataset) -> dict[str, bool]:
    """Each target of a result, and whether it has a MIC."""
    targets = [str(target) for target in pta["target"].values.reshape(-1).tolist()]
    without = json.loads(pta.attrs.get("without_mic", "[]"))
    return {target: target not in without for target in targets}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _breakpoint(row: Row, pta: xr.Dataset) -> str:
    value = _number(row.get("breakpoint"))
    return f"{value:.3g}" if value is not None else f"< {float(pta['mic'].min()):g}"


def _with_interval(row: Row | None) -> str:
    if row is None:
        return ""
    value, lower, upper = (_number(row[name]) for name in ("cfr", "lower", "upper"))
    text = percent(value)
    return text if lower is None or upper is None else f"{text} ({percent(lower)}-{percent(upper)})"


def _difference(each: Deviation) -> str:
    text = f"{100 * each.difference:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0")
    if not each.judged:
        return f"({text})"
    return text + (" " if each.within else "!")


def _organisms(cfr: xr.Dataset) -> dict[str, str]:
    """What is known of each distribution of MICs, as one line."""
    given = json.loads(cfr.attrs.get("organisms", "{}"))
    items = given.items() if isinstance(given, dict) else [(each.get("organism", ""), each) for each in given]
    found = {}
    for name, about in items:
        parts = ["ILLUSTRATIVE, not counts of isolates" if about.get("illustrative") else ""]
        n = about.get("n_isolates", about.get("n"))
        parts += [f"{n:,} isolates" if n else "", str(about.get("source") or "")]
        parts += [
            f"{100 * about['above']:.3g} % above the highest MIC count as not attained"
            if about.get("above")
            else ""
        ]
        parts += ["printed as " + ", ".join(about["censored"]) if about.get("censored") else ""]
        found[str(name)] = "; ".join(part for part in parts if part)
    return found


def _print_legend(console: Console, result: xr.Dataset, short: Mapping[str, str]) -> None:
    for label, code in short.items():
        console.print(f"{code} = {label}")
    for regimen in json.loads(result.attrs.get("regimens", "[]")):
        name = regimen.get("name")
        if name and len(result["regimen"]) <= 20:
            from tdmx_dask.domain.regimen import Regimen

            console.print(f"{short.get(name, name)} = {Regimen.from_mapping(regimen)!s}")


def _print_interval(console: Console, result: xr.Dataset, rows: Sequence[Row], name: str) -> None:
    kind = str(result.attrs.get("interval", "none"))
    if kind not in _KINDS:
        reason = result.attrs.get("interval_reason")
        console.print(f"No interval is given{f': {reason}' if reason else ''}.")
        return
    level = float(result.attrs.get("interval_level", 0.95))
    bounds = [(_number(row["lower"]), _number(row["upper"])) for row in rows]
    widths = [upper - lower for lower, upper in bounds if lower is not None and upper is not None]
    widest = f"; at most {100 * max(*widths, 0.001):.1f} points wide" if widths and name == "pta" else ""
    console.print(f"{100 * level:g} % {_KINDS[kind]}{widest}.")
