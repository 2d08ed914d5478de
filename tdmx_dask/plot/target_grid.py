"""Attainment over a grid of regimens: dose by dosing interval, or by length of infusion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.mic import match_mic
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError
from tdmx_dask.plot import heat, style
from tdmx_dask.plot.panels import arrangement, level_of, notes, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["target_map"]

Side = Literal["dose", "daily_dose", "tau", "tinf"]

_NAMES = {
    "dose": "Dose",
    "daily_dose": "Daily dose",
    "tau": "Dosing interval (h)",
    "tinf": "Length of infusion (h)",
}
_MOST_PANELS = 9


def target_map(
    result: xr.Dataset,
    *,
    x: Side = "tau",
    y: Side = "dose",
    mic: float | None = None,
    organism: str | None = None,
    target: str | None = None,
    scenario: str | Sequence[str] | None = None,
    level: float | None = None,
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw PTA at one MIC, or CFR for one organism, as a map of regimens: a panel a scenario and target.

    Parameters
    ----------
    result : of `pta` or `cfr`, over regimens that are one repeated dose each
    x, y : what the columns and the rows are: ``dose``, ``daily_dose``, ``tau`` or ``tinf``
    mic : mg/L, one of the result's; needed where it has several
    organism : of a CFR; needed where it has several
    target, scenario : labels; None draws all
    level : that is wanted, a fraction: cells that reach it are the darkest; default: that of the result's breakpoints
    ax : where to draw one panel; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The result is of another verb, a label is not in it, a regimen has no place on the map or two have the same, or `ax` is to hold
        several panels.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([4.0, 5.0, 6.0]), "Vc": np.array([20.0, 20.0, 20.0])}
    >>> regimens = [f"{dose} mg q{tau}h" for dose in (500, 1000) for tau in (8, 12)]
    >>> figure = target_map(tdmx.pta(draws, regimens, "T>MIC >= 50%", mic=[2, 8]), mic=8)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['1000 mg', '500 mg']
    """
    name = next((each for each in ("pta", "cfr") if isinstance(result, xr.Dataset) and each in result), None)
    if name is None:
        rule = "a map is drawn of a result of tdmx.pta or tdmx.cfr"
        raise InputError("result", type(result).__name__, rule, "Call tdmx.pta first.")
    if x == y or x not in _NAMES or y not in _NAMES:
        rule = f"the sides are two of {', '.join(_NAMES)}"
        raise InputError("x, y", f"{x}, {y}", rule, "For example x='tau', y='dose'.")
    level = level_of(result, level)
    last = "mic" if name == "pta" else "organism"
    full = select(result, last, target=target, scenario=scenario)
    place, where = _place(full, last, mic if name == "pta" else organism)
    full = full.isel({last: place})
    cells = _cells(full, x, y)
    panels = [(s, t) for s in range(full.sizes["scenario"]) for t in range(full.sizes["target"])]
    if len(panels) > _MOST_PANELS:
        rule = f"at most {_MOST_PANELS} panels can be read"
        raise InputError("result", f"{len(panels)} panels", rule, "Choose target= and scenario=.")
    values = full[name].transpose("scenario", "target", "regimen").values.astype(np.float64)
    tables = [_table(full, pair, values[pair], cells, (x, y)) for pair in panels]
    what = "Probability of target attainment" if name == "pta" else "Cumulative fraction of response"
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(panels), "a target and a scenario")
            _panel(ax, tables[0], level, (x, y), first=True)
            ax.set_title(style.wrapped(tables[0][0], 60, 2), loc="left")
            return cast("Figure", ax.get_figure(root=True))
        return _figure(tables, f"{what}{where}", level, (x, y), notes(full), figure)


def _figure(
    tables: Sequence[heat.Table],
    heading: str,
    level: float,
    sides: tuple[Side, Side],
    below: Sequence[str],
    figure: Figure | None,
) -> Figure:
    n_rows, n_columns, least = arrangement(len(tables))
    _, rows, columns, _ = tables[0]
    width = max(least, n_columns * (0.5 * len(columns) + 1.4))
    canvas = style.canvas(figure, width, n_rows * (0.34 * len(rows) + 1.15) + 1.15)
    grid = canvas.subplots(n_rows, n_columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        axes.set_visible(number < len(tables))
        if number < len(tables):
            _panel(axes, tables[number], level, sides, first=number % n_columns == 0)
            if len(tables) > 1:
                axes.set_title(
                    style.wrapped(tables[number][0], int(11 * width / n_columns) - 6, 3), loc="left"
                )
    only = f": {tables[0][0]}" if len(tables) == 1 and tables[0][0] else ""
    style.title(canvas, heading + only, width)
    form = heat.Percent(level)
    style.legend(canvas, *form.key(), [form.unit, *below], width)
    return canvas


def _panel(ax: Axes, table: heat.Table, level: float, sides: tuple[Side, Side], *, first: bool) -> None:
    heat.draw_table(ax, table, heat.Percent(level), chars=8, slanted=False)
    ax.xaxis.set_label_position("bottom")
    ax.tick_params(axis="x", top=False, labeltop=False, labelbottom=True)
    ax.set_xlabel(_NAMES[sides[0]])
    ax.set_ylabel(_NAMES[sides[1]] if first else "")


def _place(full: xr.Dataset, last: str, wanted: float | str | None) -> tuple[int, str]:
    """Position of the wanted MIC or organism, and how the heading names it."""
    labels = full[last].values.tolist()
    unit = " mg/L" if last == "mic" else ""
    if wanted is None:
        if len(labels) > 1:
            rule = f"the result has several, {', '.join(f'{each:g}' if unit else str(each) for each in labels[:8])}"
            raise InputError(last, None, rule, f"Choose one of them with {last}=.")
        place = 0
    elif last == "mic":
        place = int(match_mic([real("mic", wanted, "a MIC", unit="mg/L", gt=0)], labels)[0])
    else:
        if wanted not in labels:
            rule = f"is not in the result, which holds {'; '.join(map(str, labels))}"
            raise InputError(last, wanted, rule, "Give one of them.")
        place = labels.index(wanted)
    shown = labels[place]
    if last == "organism":
        return place, f", {shown}" if shown else ""
    needed = any("MIC" in str(target) for target in full["target"].values)
    return place, f" at MIC {style.mic_label(float(shown))} mg/L" if needed and shown != "" else ""


def _cells(full: xr.Dataset, x: Side, y: Side) -> dict[tuple[float, float], tuple[int, str]]:
    """(x, y) -> position and unit of the regimen that stands there."""
    known: dict[str, Regimen] = {}
    for mapping in json.loads(str(full.attrs.get("regimens", "[]"))):
        made = Regimen.from_mapping(mapping)
        known[made.label] = made
    cells: dict[tuple[float, float], tuple[int, str]] = {}
    for position, label in enumerate(full["regimen"].values.tolist()):
        regimen = known.get(str(label))
        if regimen is None or not _plain(regimen):
            rule = "a regimen on the map is one dose that repeats, without a load"
            raise InputError("regimen", label, rule, "Select the regimens that are.")
        at = (_side(regimen, x), _side(regimen, y))
        if at in cells:
            other = full["regimen"].values[cells[at][0]]
            rule = f"it stands in one cell of {y} by {x} with {other}"
            raise InputError("regimen", label, rule, "Choose other sides, or select some of the regimens.")
        cells[at] = (position, regimen.unit)
    if len({unit for _, unit in cells.values()}) > 1:
        raise InputError(
            "regimen", "mg and mg/kg", "doses on the map have one unit", "Select some of the regimens."
        )
    return cells


def _plain(regimen: Regimen) -> bool:
    return not regimen.history and regimen.cycle is not None and len(regimen.cycle.events) == 1


def _side(regimen: Regimen, side: Side) -> float:
    assert regimen.cycle is not None  # noqa: S101  checked before
    event = regimen.cycle.events[0]
    found = {
        "dose": event.amount,
        "daily_dose": regimen.daily_dose,
        "tau": regimen.cycle.tau,
        "tinf": event.tinf,
    }
    return float(found[side])


def _table(
    full: xr.Dataset,
    pair: tuple[int, int],
    values: NDArray[np.float64],
    cells: dict[tuple[float, float], tuple[int, str]],
    sides: tuple[Side, Side],
) -> heat.Table:
    """Rows with the largest at the top; empty where no regimen stands."""
    columns = sorted({x for x, _ in cells})
    rows = sorted({y for _, y in cells}, reverse=True)
    numbers = np.full((len(rows), len(columns)), np.nan)
    for (x, y), (position, _) in cells.items():
        numbers[rows.index(y), columns.index(x)] = values[position]
    unit = next(iter(cells.values()))[1]
    parts = [str(full["scenario"].values[pair[0]]), str(full["target"].values[pair[1]])]
    heading = ", ".join(part for part in parts if part and part != "all")
    texts = [
        [_text(value, side, unit) for value in each]
        for side, each in zip(sides, (columns, rows), strict=True)
    ]
    return heading, texts[1], texts[0], numbers


def _text(value: float, side: str, unit: str) -> str:
    if side == "tau":
        return f"{value:g}"
    if side == "tinf":
        return "bolus" if value == 0 else f"{value:g}"
    return f"{value:g} {unit}" if side == "dose" else f"{value:g} {unit}/d"
