"""Curves of PTA against MIC, with the isolates' distribution below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.plot import style
from tdmx_dask.plot.panels import Panel, arrangement, notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["by_mic", "draw_marks", "mic_axis", "mic_ticks", "on_axes"]

# Fill and hatch of up to six distributions: greys, because colour stands for a regimen.
_BARS = (
    ("#9a9a9a", ""),
    ("#dcdcdc", ""),
    ("#5c5c5c", ""),
    ("#ffffff", "////"),
    ("#c4c4c4", "...."),
    ("#fff", ""),
)


def on_axes(ax: Axes, full: xr.Dataset, panel: Panel, level: float, marks: Mapping[str, float]) -> Figure:
    """One panel on the axes of someone else's figure."""
    mic = full["mic"].values.astype(np.float64)
    _panel(ax, panel, mic, level)
    draw_marks(ax, marks)
    root = cast("Figure", ax.get_figure(root=True))
    mic_axis(ax, mic_ticks(mic, (), marks), ax.get_window_extent().width / root.dpi)
    ax.set_xlabel("MIC (mg/L)")
    ax.set_ylabel("Probability of target attainment")
    ax.set_title(style.wrapped(_heading(panel), 60, 2), loc="left")
    ax.legend(loc="best", fontsize=8, framealpha=0.8, frameon=True, edgecolor="none")
    return root


def by_mic(
    full: xr.Dataset,
    found: Sequence[Panel],
    isolates: Sequence[MICDistribution],
    figure: Figure | None,
    level: float,
    *,
    marks: Mapping[str, float],
) -> Figure:
    """Small multiples, a panel a scenario and target."""
    mic = full["mic"].values.astype(np.float64)
    n = len(found)
    n_rows, n_columns, width = arrangement(n)
    labels = {series.regimen: series for panel in found for series in panel.series}
    height = (3.4 if n == 1 else 2.5) * n_rows + (1.3 if isolates else 0) + 1.0 + 0.1 * len(labels)
    canvas = style.canvas(figure, width, height)
    grid = canvas.subplots(
        n_rows + bool(isolates),
        n_columns,
        squeeze=False,
        sharex=True,
        height_ratios=[1.0] * n_rows + [0.32] * bool(isolates),
    )
    shared = _shared(found)
    for number, axes in enumerate(grid[:n_rows].flat):
        axes.set_visible(number < n)
        if number < n:
            _panel(axes, found[number], mic, level)
            draw_marks(axes, marks)
            text = found[number].scenario if shared else _heading(found[number])
            axes.set_title(style.wrapped(text, int(11.5 * (width / n_columns - 0.5)), 3), loc="left")
            if number % n_columns == 0:
                axes.set_ylabel("PTA" if n > 1 else "Probability of target attainment")
    for axes in grid[-1] if isolates else ():
        _histogram(axes, isolates, first=axes is grid[-1, 0])
    ticks = mic_ticks(mic, isolates, marks)
    for number, axes in enumerate(grid.flat):
        mic_axis(axes, ticks, 0.8 * width / n_columns)
        if number + n_columns >= (grid.size if isolates else n):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("MIC (mg/L)")
    style.title(canvas, shared or "Probability of target attainment", width)
    _legend(canvas, labels, full, isolates, width, single=n == 1)
    return canvas


def _shared(found: Sequence[Panel]) -> str:
    """What all panels have in common: their target, if it is one."""
    targets = {panel.target for panel in found}
    return f"Probability of attaining {found[0].target}" if len(targets) == 1 and found[0].target else ""


def _heading(panel: Panel) -> str:
    return ", ".join(text for text in (panel.scenario, panel.target) if text)


def _panel(axes: Axes, panel: Panel, mic: NDArray[np.float64], level: float) -> None:
    """One panel: bands, lines, rings at the breakpoints, the wanted level."""
    x = np.array([style.mic_position(value) for value in mic])
    axes.axhline(level, color=style.GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    alpha = 0.18 if len(panel.series) <= 5 else 0.1
    for series in panel.series:
        colour = style.line_style(series.slot)["color"]
        axes.fill_between(x, series.lower, series.upper, color=colour, alpha=alpha, linewidth=0, zorder=2)
    for series in panel.series:
        look = style.line_style(series.slot)
        label = style.wrapped(series.regimen, 46, 2)
        axes.plot(x, series.value, label=label, zorder=3, clip_on=False, **look)
        if math.isfinite(series.breakpoint) and series.breakpoint > 0:
            at = style.mic_position(series.breakpoint)
            height = float(np.interp(at, x, series.value))
            ring = {"ms": 10, "mfc": "none", "mec": look["color"], "mew": 1.1}
            axes.plot(at, height, "o", zorder=4, clip_on=False, **ring)
    axes.set_ylim(0, 1)
    style.percent_axis(axes.yaxis)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6, zorder=0)


def draw_marks(axes: Axes, marks: Mapping[str, float]) -> None:
    """Upright lines at named MICs (an ECOFF, a clinical breakpoint), their names along them."""
    for name, mic in marks.items():
        at = style.mic_position(mic)
        axes.axvline(at, color=style.INK, linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=1.5)
        axes.annotate(
            style.wrapped(name, 24, 1),
            (at, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            va="bottom",
            fontsize=7.5,
            zorder=5,
        )


def mic_ticks(
    mic: NDArray[np.float64], isolates: Sequence[MICDistribution], marks: Mapping[str, float]
) -> list[tuple[float, str]]:
    """Positions and labels of the MIC axis: those of the result, of the isolates, and of the marks."""
    values = [*mic.tolist(), *(value for one in isolates for value in one.mic), *marks.values()]
    ticks = {style.mic_position(value): style.mic_label(value) for value in values}
    for one in isolates:
        if one.above > 0:
            ticks.setdefault(_beyond(one), "")
    return sorted(ticks.items())


def _beyond(isolates: MICDistribution) -> float:
    """Where the isolates above the largest concentration tested stand: one dilution on."""
    return style.mic_position(isolates.mic[-1]) + 1


def mic_axis(axes: Axes, ticks: Sequence[tuple[float, str]], width: float) -> None:
    """Ticks at the MICs, or at whole dilutions where they are many; labels as far as they fit (inches)."""
    low, high = ticks[0][0], ticks[-1][0]
    if len(ticks) > 24:
        powers = range(math.ceil(low), math.floor(high) + 1)
        ticks = [(float(power), style.mic_label(2.0**power)) for power in powers] or ticks
    room = width / len(ticks)  # 0.42 side by side, 0.2 on a slant; else every other label
    step = max(1, math.ceil(0.2 / room))
    shown = [label if n % step == 0 else "" for n, (_, label) in enumerate(ticks)]
    axes.set_xticks([at for at, _ in ticks], shown)
    if room < 0.42:
        axes.tick_params(axis="x", labelrotation=45, labelsize=8)
    axes.set_xlim(low - 0.5, high + 0.5)


def _histogram(axes: Axes, isolates: Sequence[MICDistribution], *, first: bool) -> None:
    """Share of the isolates at each MIC; those above the largest concentration tested are one dilution on."""
    bar = 0.8 / len(isolates)
    for number, one in enumerate(isolates):
        fill, hatch = _BARS[number % len(_BARS)]
        shift = (number - 0.5 * (len(isolates) - 1)) * bar
        look: dict[str, Any] = {"facecolor": fill, "hatch": hatch, "edgecolor": "#5c5c5c", "linewidth": 0.5}
        axes.bar([style.mic_position(value) + shift for value in one.mic], one.weight, bar, **look)
        if one.above > 0:
            at = _beyond(one) + shift
            axes.bar(at, one.above, bar, **{**look, "hatch": "xxxx"})
            label = f">{style.mic_label(one.mic[-1])}"
            axes.annotate(label, (at, one.above), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    top = max(max((*one.weight, one.above)) for one in isolates)
    axes.set_ylim(0, 1.1 * top)
    nice = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0) if top / step <= 2.2)
    style.percent_axis(axes.yaxis, [nice * k for k in range(int(1.1 * top / nice) + 1)])
    if first:
        axes.set_ylabel("Isolates")


def _legend(
    canvas: Figure,
    labels: dict[str, Any],
    full: xr.Dataset,
    isolates: Sequence[MICDistribution],
    width: float,
    *,
    single: bool,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], **style.line_style(series.slot)) for series in labels.values()]
    texts = list(labels)
    if single:
        texts = [
            f"{text} (breakpoint {style.mic_label(series.breakpoint)} mg/L)"
            if math.isfinite(series.breakpoint)
            else text
            for text, series in labels.items()
        ]
    for number, one in enumerate(isolates):
        fill, hatch = _BARS[number % len(_BARS)]
        handles.append(Patch(facecolor=fill, hatch=hatch, edgecolor="#5c5c5c", linewidth=0.5))
        detail = [f"n = {one.n_isolates}"] if one.n_isolates else []
        detail += ["illustrative"] if one.illustrative else []
        texts.append(f"{one.organism} ({', '.join(detail)})" if detail else one.organism)
    ring = "Rings: breakpoint, the largest MIC that reaches the dashed line"
    has_ring = any(math.isfinite(series.breakpoint) for series in labels.values())
    style.legend(canvas, handles, texts, [*notes(full, "Bands"), *([ring] if has_ring else [])], width)
