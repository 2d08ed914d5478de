"""Dots with intervals: one row a regimen, for what does not depend on the MIC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from tdmx_dask.plot import style
from tdmx_dask.plot.panels import Panel, notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MOST_ROWS", "Group", "Row", "at_mic", "by_target", "chart", "on_axes"]

MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One dot: fractions, and the slot of its regimen's colour and marker."""

    label: str
    slot: int
    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under one heading (which may be empty)."""

    heading: str
    rows: tuple[Row, ...]


def by_target(full: xr.Dataset, found: Sequence[Panel], figure: Figure | None, level: float) -> Figure:
    """PTA of targets that need no MIC: a column a target, the regimens grouped by scenario."""
    columns = {}
    for target in dict.fromkeys(panel.target for panel in found):
        columns[target] = [
            Group(
                panel.scenario,
                tuple(
                    Row(one.regimen, one.slot, float(one.value[0]), float(one.lower[0]), float(one.upper[0]))
                    for one in panel.series
                ),
            )
            for panel in found
            if panel.target == target
        ]
    return chart(
        columns, f"Probability of target attainment{at_mic(full, found)}", "PTA", full, figure, level
    )


def at_mic(full: xr.Dataset, found: Sequence[Panel]) -> str:
    """At which MIC, where the result has one and a target needs it."""
    mic = full["mic"].values.tolist()
    needed = any("MIC" in panel.target for panel in found)
    return f" at MIC {style.mic_label(mic[0])} mg/L" if needed and len(mic) == 1 and mic[0] else ""


def chart(
    columns: dict[str, list[Group]],
    heading: str,
    name: str,
    full: xr.Dataset,
    figure: Figure | None,
    level: float,
) -> Figure:
    """A chart of one or several columns, each with its own rows.

    Parameters
    ----------
    columns : title → groups of rows; titles may be empty
    heading : of the figure
    name : of the axis
    full : the result, for its notes
    figure, level : as for `pta`
    """
    n = len(columns)
    longest = max(len(row.label) for groups in columns.values() for group in groups for row in group.rows)
    chars = min(max(longest, 12), 40)
    each = 3.7 + 0.075 * chars
    per_row = max(1, min(n, int(11.5 / each)))
    width = max(7.0, per_row * each)
    n_rows = math.ceil(n / per_row)
    tall = [_height(groups) for groups in columns.values()]
    ratios = [max(tall[row * per_row : (row + 1) * per_row]) for row in range(n_rows)]
    canvas = style.canvas(figure, width, 0.225 * sum(ratios) + 0.75 * n_rows + 0.7)
    grid = canvas.subplots(n_rows, per_row, squeeze=False, height_ratios=[ratio + 2 for ratio in ratios])
    for axes in grid.flat[n:]:
        axes.set_visible(False)
    only = next(iter(columns)) if n == 1 else ""
    for axes, (column, groups) in zip(grid.flat, columns.items(), strict=False):
        on_axes(axes, groups, level, chars=chars)
        axes.set_title("" if only else style.wrapped(column, 36, 3), loc="left")
        axes.set_xlabel(name)
    style.title(canvas, f"{heading}: {only}" if only else heading, width)
    style.legend(canvas, [], [], notes(full, "Bars"), width)
    return canvas


def on_axes(axes: Axes, groups: Sequence[Group], level: float, *, chars: int) -> None:
    """Rows from the top down, headings in bold above their rows."""
    y, ticks, texts = 0.0, [], []
    axes.axvline(level, color=style.GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for group in groups:
        if group.heading:
            axes.annotate(
                style.wrapped(group.heading, 32, 1),
                (0.0, y),
                xycoords=("axes fraction", "data"),
                fontweight="bold",
                va="center",
                fontsize=8.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )
            y += 1.0
        for row in group.rows:
            _dot(axes, row, y)
            text = style.wrapped(row.label, chars, 2)
            ticks.append(y)
            texts.append(text)
            y += 1.0
        y += 0.35
    axes.set_yticks(ticks, texts)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - 0.35 - 0.4, -0.7)
    axes.set_xlim(0, 1)
    style.percent_axis(axes.xaxis)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6, zorder=0)
    axes.spines["left"].set_visible(False)


def _dot(axes: Axes, row: Row, y: float) -> None:
    look = style.line_style(row.slot)
    if math.isfinite(row.lower) and math.isfinite(row.upper):
        axes.plot(
            [row.lower, row.upper], [y, y], color=look["color"], linewidth=2.0, alpha=0.55, clip_on=False
        )
    if math.isfinite(row.value):
        dot = {key: look[key] for key in ("color", "marker", "markerfacecolor", "markeredgecolor")}
        axes.plot([row.value], [y], linestyle="none", markersize=6, clip_on=False, zorder=3, **dot)
    axes.annotate(
        style.percent(row.value),
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        annotation_clip=False,
    )


def _height(groups: Sequence[Group]) -> float:
    return sum(len(group.rows) + bool(group.heading) + 0.35 for group in groups)
