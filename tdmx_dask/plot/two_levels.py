"""Two-level uncertainty: the PTA of single draws of the parameters, and the credible interval about their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.units import whole
from tdmx_dask.errors import InputError
from tdmx_dask.plot import curves, style
from tdmx_dask.plot.panels import ALL, Panel, arrangement, chosen, level_of, notes, panels, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["uncertainty"]

_MOST_PANELS = 9


def uncertainty(
    result: xr.Dataset,
    *,
    target: str | None = None,
    scenario: str | Sequence[str] | None = None,
    regimen: str | Sequence[str] | None = None,
    n_lines: int = 60,
    level: float | None = None,
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the PTA of single draws as thin lines, their mean, and its credible interval: a panel a scenario, target and regimen.

    Parameters
    ----------
    result : of `pta` with several subjects a draw
    target, scenario, regimen : labels; None draws all
    n_lines : draws that are drawn as lines, evenly among all
    level : of the dashed line, a fraction; default: that of the result's breakpoints
    ax : where to draw one panel; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The result has one level, one MIC or no target with a MIC; a label is not in it; or `ax` is to hold several panels.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> population = tdmx.Population.from_mapping({"name": "x", "parameters": {"CL": 5, "Vc": 20}, "bsv": {"CL": {"cv": 0.3}}})
    >>> draws = {"CL": np.random.default_rng(1).lognormal(1.6, 0.1, 200)}
    >>> result = tdmx.pta(draws, "500 mg q8h", "T>MIC >= 50%", mic=[1, 2, 4, 8], population=population, subjects=20, seed=1)
    >>> len(uncertainty(result, n_lines=30).axes[0].collections[0].get_segments())
    30
    """
    if (
        not isinstance(result, xr.Dataset)
        or "attained_by_draw" not in result
        or int(result.attrs.get("n_subjects", 1)) < 2
    ):
        rule = "two levels are drawn of a result of tdmx.pta with several subjects a draw"
        raise InputError("result", type(result).__name__, rule, "Call tdmx.pta with subjects=.")
    level = level_of(result, level)
    n_lines = whole("n_lines", n_lines, "the number of lines")
    full = select(result, "mic", target=target, scenario=scenario)
    found = _curves(full, regimen)
    if full.sizes["mic"] < 2 or not found:
        rule = "curves need several MICs, and a target that depends on them"
        raise InputError("result", f"{full.sizes['mic']} MIC", rule, "Draw plot.pta.")
    if len(found) > _MOST_PANELS:
        rule = f"at most {_MOST_PANELS} panels can be read"
        raise InputError("result", f"{len(found)} panels", rule, "Choose target=, scenario= and regimen=.")
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(found), "a target, a scenario and a regimen")
            handles, texts = _panel(ax, result, full, found[0], n_lines, level)
            ax.legend(handles, texts, loc="best", fontsize=8)
            ax.set_ylabel("Probability of target attainment")
            return cast("Figure", ax.get_figure(root=True))
        n_rows, n_columns, width = arrangement(len(found))
        canvas = style.canvas(figure, width, (3.2 if len(found) == 1 else 2.5) * n_rows + 1.3)
        grid = canvas.subplots(n_rows, n_columns, squeeze=False)
        for position, axes in enumerate(grid.flat):
            axes.set_visible(position < len(found))
            if position < len(found):
                handles, texts = _panel(axes, result, full, found[position], n_lines, level)
                axes.set_title(
                    style.wrapped(_heading(*found[position]), int(11.5 * (width / n_columns - 0.5)), 3),
                    loc="left",
                )
                axes.set_ylabel("PTA" if position % n_columns == 0 else "")
        style.title(canvas, "Probability of target attainment: draws and their mean", width)
        style.legend(canvas, handles, texts, _notes(result, full), width)
    return canvas


def _curves(full: xr.Dataset, regimen: str | Sequence[str] | None) -> list[tuple[Panel, int]]:
    """Panels, and positions in them, of the wanted regimens' curves over MICs."""
    kept = chosen(full, "regimen", regimen)["regimen"].values
    return [
        (panel, number)
        for panel in panels(full, "pta")
        for number, one in enumerate(panel.series)
        if "MIC" in panel.target and np.isfinite(one.value).any() and one.regimen in kept
    ]


def _panel(
    ax: Axes, result: xr.Dataset, full: xr.Dataset, which: tuple[Panel, int], n_lines: int, level: float
) -> tuple[list[Any], list[str]]:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    panel, number = which
    one = panel.series[number]
    mic = full["mic"].values.astype(np.float64)
    x = np.array([style.mic_position(value) for value in mic])
    by_draw = _by_draw(result, panel, one.regimen)
    rows = np.unique(np.linspace(0, len(by_draw) - 1, min(n_lines, len(by_draw))).round().astype(int))
    look = style.line_style(0)
    lines = LineCollection(
        [np.column_stack([x, by_draw[row]]) for row in rows],
        colors=style.GREY,
        linewidths=0.5,
        alpha=0.45,
        zorder=1.5,
    )
    ax.add_collection(lines, autolim=False)
    handles: list[Any] = [Line2D([], [], color=style.GREY, linewidth=0.8)]
    texts = ["single draws"]
    if np.isfinite(one.lower).any():
        band = ax.fill_between(
            x, one.lower, one.upper, color=look["color"], alpha=0.25, linewidth=0, zorder=2
        )
        handles.append(band)
        texts.append(f"{100 * float(result.attrs.get('interval_level', 0.95)):g} % {_kind(result)} interval")
    (line,) = ax.plot(x, one.value, zorder=3, clip_on=False, **look)
    handles.append(line)
    texts.append("mean of all draws")
    ax.axhline(level, color=style.GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    ax.set_ylim(0, 1)
    style.percent_axis(ax.yaxis)
    root = cast("Figure", ax.get_figure(root=True))
    curves.mic_axis(ax, curves.mic_ticks(mic, (), {}), ax.get_window_extent().width / root.dpi)
    ax.set_xlabel("MIC (mg/L)")
    return handles, texts


def _kind(result: xr.Dataset) -> str:
    return {"credible": "credible", "monte_carlo": "Monte-Carlo"}.get(str(result.attrs.get("interval")), "")


def _by_draw(result: xr.Dataset, panel: Panel, regimen: str) -> NDArray[np.float64]:
    """PTA of each draw among its own subjects, (draw, mic)."""
    counts = result["attained_by_draw"]
    at = (result["pair_scenario"].values == (panel.scenario or ALL)) & (
        result["pair_regimen"].values == regimen
    )
    target = result["target"].values.tolist().index(panel.target)
    own = counts.isel(pair=int(np.flatnonzero(at)[0]), target=target).transpose("chain", "draw", "mic")
    return own.values.reshape(-1, own.sizes["mic"]) / int(result.attrs["n_subjects"])


def _heading(panel: Panel, number: int) -> str:
    scenario = "" if panel.scenario == "all" else panel.scenario
    return ", ".join(text for text in (scenario, panel.series[number].regimen, panel.target) if text)


def _notes(result: xr.Dataset, full: xr.Dataset) -> list[str]:
    subjects = int(result.attrs["n_subjects"])
    chance = (
        f"A line is one draw among its own {subjects:,} patients, and shows their chance too; the interval does not"
        if result.attrs.get("interval") == "credible"
        else f"A line is one draw among its own {subjects:,} patients"
    )
    return [chance, *notes(full)]
