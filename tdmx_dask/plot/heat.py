"""Heat maps with the number in each cell: what is left to read where lines would be too many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.plot import style
from tdmx_dask.plot.dots import at_mic
from tdmx_dask.plot.panels import Panel, Series, level_of, notes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Percent", "Table", "by_mic", "by_organism", "by_regimen", "draw_table"]

_MOST_ROWS = 80
_LABEL = 90  # characters on one line of a row's label


def by_mic(full: xr.Dataset, found: Sequence[Panel], figure: Figure | None, level: float) -> Figure:
    """PTA, a row a scenario and regimen, a column a MIC; the breakpoints alone where there are too many rows."""
    if max(_count(found, target) for target in _targets(found)) > _MOST_ROWS:
        return _breakpoints(full, found, figure)
    columns = [style.mic_label(float(mic)) for mic in full["mic"].values]
    return _by_last(full, found, columns, "MIC (mg/L)", "Probability of target attainment", figure, level)


def by_organism(full: xr.Dataset, found: Sequence[Panel], figure: Figure | None, level: float) -> Figure:
    """CFR, a row a scenario and regimen, a column an organism."""
    columns = [str(name) for name in full["organism"].values]
    return _by_last(full, found, columns, "", "Cumulative fraction of response", figure, level)


def by_regimen(full: xr.Dataset, found: Sequence[Panel], figure: Figure | None, level: float) -> Figure:
    """PTA that does not depend on the MIC: scenarios by regimens, or pairs of both by targets where few pairs are."""
    targets = _targets(found)
    pairs = list(dict.fromkeys((panel.scenario, one.regimen) for panel in found for one in panel.series))
    regimens = list(dict.fromkeys(regimen for _, regimen in pairs))
    scenarios = list(dict.fromkeys(scenario for scenario, _ in pairs))
    value = {
        (panel.scenario, one.regimen, panel.target): float(one.value[0])
        for panel in found
        for one in panel.series
    }
    heading = f"Probability of target attainment{at_mic(full, found)}"
    nan = float("nan")
    if 2 * len(pairs) > len(regimens) * len(scenarios):
        tables = [
            (
                target,
                scenarios,
                regimens,
                np.array([[value.get((s, r, target), nan) for r in regimens] for s in scenarios]),
            )
            for target in targets
        ]
    else:
        rows = [_row(*pair) for pair in pairs]
        cells = np.array([[value.get((*pair, target), nan) for target in targets] for pair in pairs])
        tables = [("", rows, list(targets), cells)]
    return _figure(tables, heading, "", Percent(level), notes(full), figure)


def _by_last(
    full: xr.Dataset,
    found: Sequence[Panel],
    columns: list[str],
    axis: str,
    heading: str,
    figure: Figure | None,
    level: float,
) -> Figure:
    tables = []
    scenarios = {panel.scenario for panel in found}
    if len(scenarios) == 1:
        heading = ", ".join(text for text in (heading, *scenarios) if text)
    for target in _targets(found):
        series = [(panel.scenario, one) for panel in found if panel.target == target for one in panel.series]
        rows = [_row(scenario if len(scenarios) > 1 else "", one.regimen) for scenario, one in series]
        tables.append((target, rows, columns, np.array([one.value for _, one in series])))
    return _figure(tables, heading, axis, Percent(level), notes(full), figure)


def _row(scenario: str, regimen: str) -> str:
    return " · ".join(text for text in (scenario, regimen) if text)


def _breakpoints(full: xr.Dataset, found: Sequence[Panel], figure: Figure | None) -> Figure:
    tables = []
    for target in _targets(found):
        chosen = [panel for panel in found if panel.target == target]
        regimens = list(dict.fromkeys(one.regimen for panel in chosen for one in panel.series))
        cells = np.full((len(chosen), len(regimens)), np.nan)
        for i, panel in enumerate(chosen):
            for one in panel.series:
                cells[i, regimens.index(one.regimen)] = _breakpoint(one)
        tables.append((target, [panel.scenario for panel in chosen], regimens, cells))
    smallest, largest = (float(mic) for mic in (full["mic"].values.min(), full["mic"].values.max()))
    form = _Mic(style.mic_position(smallest) - 1, style.mic_position(largest), style.mic_label(smallest))
    wanted = style.percent(level_of(full))
    heading = f"PK/PD breakpoint (mg/L): the largest MIC with PTA of at least {wanted}"
    return _figure(tables, heading, "", form, notes(full), figure)


def _breakpoint(series: Series) -> float:
    """The breakpoint; 0 where the regimen was computed and no MIC reaches the level; NaN where it was not."""
    if math.isfinite(series.breakpoint):
        return series.breakpoint
    return 0.0 if np.isfinite(series.value).any() else float("nan")


def _targets(found: Sequence[Panel]) -> list[str]:
    return list(dict.fromkeys(panel.target for panel in found))


def _count(found: Sequence[Panel], target: str) -> int:
    return sum(len(panel.series) for panel in found if panel.target == target)


class Form(Protocol):
    """How the cells of a table are coloured and printed, and the key to both."""

    unit: str

    def colour(self, value: float) -> str: ...

    def text(self, value: float) -> str: ...

    def key(self) -> tuple[list[Artist], list[str]]: ...


class Percent:
    """Cells are fractions: in classes from the wanted level down, printed as per cent."""

    def __init__(self, level: float) -> None:
        self.level = level

    def colour(self, value: float) -> str:
        """Fill of a cell."""
        return style.class_colour(value, self.level)

    def text(self, value: float) -> str:
        """What a cell says."""
        return style.percent(value).removesuffix(" %")

    def key(self) -> tuple[list[Artist], list[str]]:
        """Legend of the fills."""
        return style.class_key(self.level)

    unit = "Cells: per cent; empty where not computed"


class _Mic:
    """Cells are MICs, on a log2 scale; 0 where not even the smallest MIC of the grid is reached."""

    unit = "Cells: mg/L; empty where not computed"

    def __init__(self, low: float, high: float, smallest: str) -> None:
        self.low, self.high, self.smallest = low, high, smallest

    def colour(self, value: float) -> str:
        import matplotlib as mpl

        at = self.low if value == 0 else style.mic_position(value)
        share = min(1.0, max(0.0, (at - self.low) / max(self.high - self.low, 1.0)))
        return str(mpl.colors.to_hex(mpl.colormaps["Blues"](0.75 * share)))

    def text(self, value: float) -> str:
        return f"<{self.smallest}" if value == 0 else style.mic_label(value)

    def key(self) -> tuple[list[Artist], list[str]]:
        return [], []


Table = tuple[str, list[str], list[str], NDArray[np.float64]]


def _figure(
    tables: Sequence[Table],
    heading: str,
    axis: str,
    form: Form,
    below: Sequence[str],
    figure: Figure | None,
) -> Figure:
    """Tables below one another; the cells are as wide as their columns' labels need."""
    longest = max(len(row) for _, rows, _, _ in tables for row in rows)
    label = min(_LABEL, longest)
    row = 0.21 if longest <= _LABEL else 0.31
    head = max(len(column) for _, _, columns, _ in tables for column in columns)
    most = max(len(columns) for _, _, columns, _ in tables)
    cell = 0.46 if head <= 6 else min(1.25, max(0.5, 9.0 / most))
    width = max(6.4, 0.072 * label + cell * most + 0.5)
    slanted = head * 0.075 > cell * 2.6
    top = (min(head, 30) * 0.05 + 0.1) if slanted else (0.2 if head * 0.075 <= cell else 0.5)
    tall = [row * len(rows) + top + 0.35 for _, rows, _, _ in tables]
    canvas = style.canvas(figure, width, sum(tall) + 0.95)
    grid = canvas.subplots(len(tables), 1, squeeze=False, height_ratios=tall)
    single = tables[0][0] if len(tables) == 1 else ""
    for axes, table in zip(grid[:, 0], tables, strict=True):
        draw_table(axes, table, form, chars=30 if slanted else int(cell / 0.072), slanted=slanted)
        if axis:
            axes.set_xlabel(axis)
        if table[0] and not single:
            axes.set_title(style.wrapped(table[0], int(width * 11), 2), loc="left")
    style.title(canvas, f"{heading}: {single}" if single else heading, width)
    style.legend(canvas, *form.key(), [form.unit, *below], width)
    return canvas


def draw_table(axes: Axes, table: Table, form: Form, *, chars: int, slanted: bool) -> None:
    """Draw one table, its columns' labels above it.

    Parameters
    ----------
    axes : where
    table : title, labels of the rows and of the columns, (row, column) numbers
    form : how a cell is coloured and printed
    chars : of a column's label on one line
    slanted : whether those labels are
    """
    import matplotlib as mpl

    _, rows, columns, cells = table
    image = np.ones((*cells.shape, 3))
    for index, value in np.ndenumerate(cells):
        if math.isfinite(value):
            colour = form.colour(float(value))
            image[index] = mpl.colors.to_rgb(colour)
            axes.text(
                index[1],
                index[0],
                form.text(float(value)),
                ha="center",
                va="center",
                fontsize=7.5,
                color=style.ink_on(colour),
            )
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), [style.wrapped(column, chars, 3) for column in columns])
    axes.tick_params(
        axis="x", top=not slanted, bottom=False, labeltop=True, labelbottom=False, length=0, labelsize=8
    )
    if slanted:
        for text in axes.get_xticklabels():
            text.set(rotation=35, ha="left", rotation_mode="anchor")
    axes.xaxis.set_label_position("top")
    axes.set_yticks(range(len(rows)), [style.wrapped(row, _LABEL, 2) for row in rows], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="minor", length=0)
