"""Concentration over time: percentile bands, measured levels, MICs, the window that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from tdmx_dask.domain.level import Level
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError
from tdmx_dask.plot import style
from tdmx_dask.plot.panels import arrangement, chosen, fu_notes, wanted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["concentration", "draw_levels"]

_MOST_PANELS = 24
_SHADE = "#f3f1ea"
_BAND = 0.18
_MIC = "#B03A00"
_SAME = 1e-9


def concentration(
    result: xr.Dataset,
    *,
    levels: Iterable[object] = (),
    mic: float | Sequence[float] | Mapping[str, float] | None = None,
    fu: float | None = None,
    regimen: str | Sequence[str] | None = None,
    scenario: str | Sequence[str] | None = None,
    log: bool = False,
    title: str = "",
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw concentrations over time: the median, bands between percentiles, a panel a scenario and regimen.

    Quantiles that mirror each other (5 and 95 %) are the ends of a band, others are lines.

    Parameters
    ----------
    result : of `tdmx_dask.concentrations`
    levels : measured levels (of the total drug) to draw beside: `Level`, mapping or (time, value), h on the same clock as the result,
        within its times, and mg/L
    mic : mg/L, one or several, or by name: dashed lines
    fu : unbound fraction; the lines of MICs in a result of the total drug then stand at MIC/fu, where the unbound one reaches the MIC
    regimen, scenario : labels; None draws all
    log : a logarithmic axis of concentrations
    title : heading
    ax : where to draw one panel; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The result is of another verb, a label is not in it, a MIC or level is out of range, a level lies outside the result's times
        or is to stand beside unbound concentrations, or `ax` is to hold several panels.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([4.0, 5.0, 6.0]), "Vc": np.array([20.0, 20.0, 20.0])}
    >>> course = tdmx.concentrations(draws, "1000 mg q8h inf 1h")
    >>> tdmx.plot.concentration(course, mic=2).axes[0].get_ylabel()
    'Concentration (mg/L)'
    """
    full = wanted(result, ("concentration", "mean"), "a concentration", "tdmx.concentrations")
    full = chosen(chosen(full, "regimen", regimen), "scenario", scenario)
    pairs = [(s, r) for s in full["scenario"].values for r in full["regimen"].values]
    if len(pairs) > _MOST_PANELS:
        rule = f"at most {_MOST_PANELS} panels can be read"
        raise InputError("result", f"{len(pairs)} panels", rule, "Choose regimen= and scenario=.")
    lines = _mics(mic, _ratio(full, fu))
    seen = _seen(full, levels)
    heights = _heights(full, lines, seen, log=log)
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(pairs), "a scenario and a regimen")
            handles, names = _panel(ax, full, pairs[0], lines, seen, log=log)
            _axis(ax, full, heights, log=log, first=True, last=True)
            ax.legend(handles, names, loc="best", fontsize=8)
            return cast("Figure", ax.get_figure(root=True))
        n_rows, n_columns, width = arrangement(len(pairs))
        height = (3.1 if len(pairs) == 1 else 2.4) * n_rows + 1.3
        figure = style.canvas(figure, width, height)
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for number, axes in enumerate(grid.flat):
            axes.set_visible(number < len(pairs))
            if number < len(pairs):
                handles, names = _panel(axes, full, pairs[number], lines, seen, log=log)
                below = number + n_columns >= len(pairs)
                _axis(axes, full, heights, log=log, first=number % n_columns == 0, last=below)
                text = _heading(full, pairs[number])
                axes.set_title(style.wrapped(text, int(11.5 * (width / n_columns - 0.5)), 2), loc="left")
        style.title(figure, title or "Concentration over time", width)
        style.legend(figure, handles, names, _notes(full, fu, lines), width)
    return figure


def draw_levels(ax: Axes, levels: Sequence[Level]) -> tuple[list[Any], list[str]]:
    """Measured levels as dots, those below quantification as open triangles at the limit; handles and names of what is there."""
    handles, names = [], []
    for below, marker, text in ((False, "o", "measured"), (True, "v", "below quantification, at its limit")):
        here = [level for level in levels if level.below == below]
        if here:
            (dots,) = ax.plot(
                [level.time for level in here],
                [level.value for level in here],
                marker,
                color=style.INK,
                markersize=6,
                markerfacecolor="white" if below else style.INK,
                zorder=5,
            )
            handles.append(dots)
            names.append(text)
    return handles, names


def _panel(
    ax: Axes,
    full: xr.Dataset,
    pair: tuple[Any, Any],
    lines: Mapping[str, float],
    levels: Sequence[Level],
    *,
    log: bool,
) -> tuple[list[Any], list[str]]:
    """One panel; the handles and names of what it shows."""
    one = full.sel(scenario=pair[0], regimen=pair[1])
    time = one["time"].values
    values = one["concentration"].transpose("quantile", "time").values
    shares = one["quantile"].values
    if log:
        values = np.where(values > 0, values, np.nan)
    colour = style.line_style(0)["color"]
    handles: list[Any] = []
    names: list[str] = []
    start, end = (
        float(one[name]) if name in one.coords else np.nan for name in ("window_start", "window_end")
    )
    if np.isfinite(start) and end - start < 0.999 * (time[-1] - time[0]):
        handles.append(ax.axvspan(start, end, color=_SHADE, linewidth=0, zorder=0))
        names.append("window")
    bands, single = _paired(shares.tolist())
    for number, row in enumerate(single):
        median = abs(shares[row] - 0.5) < _SAME
        look = {"linewidth": 1.7} if median else {"linewidth": 1.0, "linestyle": _dashes(number)}
        handles += ax.plot(time, values[row], color=colour, zorder=3, **look)
        names.append("median" if median else f"percentile {_share(shares[row])}")
    for depth, (low, high) in enumerate(bands, 1):
        ax.fill_between(time, values[low], values[high], color=colour, alpha=_BAND, linewidth=0, zorder=2)
        handles.append(_key(colour, depth))
        names.append(f"percentiles {_share(shares[low])}–{_share(shares[high])} %")
    for number, (name, value) in enumerate(lines.items()):
        look = {"linewidth": 1.2, "linestyle": _dashes(number)}
        handles.append(ax.axhline(value, color=_MIC, zorder=4, **look))
        names.append(name)
        if len(lines) > 1:
            _name_line(ax, number, name, value)
    dots, texts = draw_levels(ax, levels)
    return [*handles, *dots], [*names, *texts]


def _paired(shares: Sequence[float]) -> tuple[list[tuple[int, int]], list[int]]:
    """Positions of quantiles that mirror each other, the widest band first, and of the others, the median before all."""
    mirror = {
        low: high
        for low, share in enumerate(shares)
        for high in range(low + 1, len(shares))
        if abs(share + shares[high] - 1) < _SAME
    }
    alone = set(range(len(shares))) - {*mirror, *mirror.values()}
    return list(mirror.items()), sorted(alone, key=lambda row: (abs(shares[row] - 0.5) >= _SAME, row))


def _dashes(number: int) -> Any:
    return style.line_style(7 * (number % 3 + 1))["linestyle"]


def _name_line(ax: Axes, number: int, name: str, value: float) -> None:
    """The name of a MIC on its line, each beside the one before: there are fewer dashes than MICs, and lines lie close."""
    ax.annotate(
        style.wrapped(name.removesuffix(" mg/L").removeprefix("MIC "), 18, 1),
        (0.99 - 0.16 * (number % 6), value),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        fontsize=7,
        color=_MIC,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )


def _key(colour: str, depth: int) -> Any:
    """What so many bands on each other look like."""
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, alpha=1 - (1 - _BAND) ** depth, linewidth=0)


def _heights(
    full: xr.Dataset, lines: Mapping[str, float], levels: Sequence[Level], *, log: bool
) -> tuple[float, float]:
    """Bounds of the concentrations' axis: all bands, levels and lines of MICs lie within."""
    marks = [*lines.values(), *(level.value for level in levels)]
    values = full["concentration"].values
    top = max([float(values.max()), *marks, 1e-6])
    if not log:
        return 0.0, 1.05 * top
    positive = values[values > 1e-4 * top]  # what is four powers of ten below the peak says no more on paper
    low = min([float(positive.min()) if positive.size else 1e-4 * top, *marks])
    return low / 1.3, 1.3 * top


def _axis(
    ax: Axes, full: xr.Dataset, heights: tuple[float, float], *, log: bool, first: bool, last: bool
) -> None:
    time = full["time"].values
    style.hours_axis(ax, float(time[0]), float(time[-1]))
    if log:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.number(value)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(*heights)
    ax.tick_params(labelsize=8.5, labelbottom=last)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6, zorder=0)
    if first:
        what = str(full["concentration"].attrs.get("long_name", "concentration"))
        ax.set_ylabel(f"{what[:1].upper()}{what[1:]} (mg/L)")
    if last:
        ax.set_xlabel(f"{str(full['time'].attrs.get('long_name', 'time')).capitalize()} (h)")


def _heading(full: xr.Dataset, pair: tuple[Any, Any]) -> str:
    many = full.sizes["scenario"] > 1 or str(pair[0]) not in ("all", "")
    return ", ".join(str(part) for part in ((pair[0], pair[1]) if many else (pair[1],)) if str(part))


def _share(value: float) -> str:
    return f"{100 * value:g}"


def _seen(full: xr.Dataset, levels: Iterable[object]) -> list[Level]:
    """Levels that the result has a place for."""
    seen = [Level.read(level) for level in levels]
    if seen and int(full.attrs.get("free", 0)):
        rule = "levels are of the total drug, and these concentrations are of the unbound one"
        raise InputError("levels", len(seen), rule, "Draw them on a result with free=False.")
    start, end = (float(full["time"].values[i]) for i in (0, -1))
    out = next((level for level in seen if not start <= level.time <= end), None)
    if out is not None:
        first = min(start, *(level.time for level in seen))
        last = max(end, *(level.time for level in seen))
        raise InputError(
            "levels",
            out,
            f"a level is drawn within the times of the result, {start:g} to {end:g} h",
            f"Ask for tdmx.concentrations(..., window=({first:g}, {last:g})), on the clock of the levels.",
        )
    return seen


def _ratio(full: xr.Dataset, fu: float | None) -> float:
    if fu is None:
        return 1.0
    if int(full.attrs.get("free", 0)):
        rule = "these concentrations are of the unbound drug already"
        raise InputError("fu", fu, rule, "Leave it out.")
    return real("fu", fu, "an unbound fraction", gt=0, le=1, fix="Give 0.98 for 2 % protein binding.")


def _mics(given: object, fu: float) -> dict[str, float]:
    """Lines by their names; where the drug is bound, at the total concentration whose unbound part is the MIC."""
    if given is None:
        return {}
    by_name: Mapping[str, object]
    if isinstance(given, Mapping):
        by_name = {f"{name}: {_mic_text(value, fu)}": value for name, value in given.items()}
    else:
        listed = given if isinstance(given, Iterable) else (given,)
        by_name = {f"MIC {_mic_text(value, fu)}": value for value in listed}
    fix = "Give mg/L, as in mic=2."
    return {
        name: real("mic", each, "a MIC", unit="mg/L", gt=0, fix=fix) / fu for name, each in by_name.items()
    }


def _mic_text(value: object, fu: float) -> str:
    shown = style.mic_label(float(value)) if isinstance(value, int | float) and value > 0 else str(value)
    return f"{shown} mg/L" if fu == 1 else f"{shown} mg/L unbound"


def _notes(full: xr.Dataset, fu: float | None, lines: Mapping[str, float]) -> list[str]:
    number = full.attrs.get("n_profiles")
    parts = [f"Percentiles of {int(number):,} profiles"] if number else []
    if fu is not None:
        parts.append(f"Lines of MICs stand at MIC / fu, fu = {fu:g}")
    elif lines and not int(full.attrs.get("free", 0)):
        parts.append(
            "Concentrations are of the total drug, MICs of the unbound: fu= puts the lines at MIC / fu"
        )
    return [*parts, *fu_notes(full)]
