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
from tdmx_dask.plot.panels import arrangement, chosen, wanted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["concentration", "draw_levels"]

_MOST_PANELS = 24
_SHADE = "#f3f1ea"
_BAND = 0.18


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

    Parameters
    ----------
    result : of `tdmx_dask.concentrations`
    levels : measured levels to draw beside: `Level`, mapping or (time, value), h on the same clock as the result and mg/L
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
        The result is of another verb, a label is not in it, a MIC or level is out of range, or `ax` is to hold several panels.

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
    seen = [Level.read(level) for level in levels]
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
        style.legend(figure, handles, names, _notes(full, fu), width)
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
    middle = int(np.argmin(np.abs(shares - 0.5)))
    n_bands = min(middle, len(shares) - 1 - middle)
    bands = []
    for k in range(n_bands):
        low, high = (k, len(shares) - 1 - k)
        ax.fill_between(time, values[low], values[high], color=colour, alpha=_BAND, linewidth=0, zorder=2)
        bands.append(f"{_share(shares[low])}–{_share(shares[high])} %")
    (line,) = ax.plot(time, values[middle], color=colour, linewidth=1.7, zorder=3)
    handles.append(line)
    names.append("median" if abs(shares[middle] - 0.5) < 1e-9 else f"{_share(shares[middle])}th percentile")
    for k, name in enumerate(bands):
        handles.append(_key(colour, k + 1))
        names.append(f"percentiles {name}")
    for number, (name, value) in enumerate(lines.items()):
        dashes = style.line_style(7 * (number % 3 + 1))["linestyle"]
        handles.append(ax.axhline(value, color="#B03A00", linewidth=1.2, linestyle=dashes, zorder=4))
        names.append(name)
    dots, texts = draw_levels(ax, levels)
    return [*handles, *dots], [*names, *texts]


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


def _notes(full: xr.Dataset, fu: float | None) -> list[str]:
    number = full.attrs.get("n_profiles")
    parts = [f"Percentiles of {int(number):,} profiles"] if number else []
    if fu is not None:
        parts.append(f"Lines of MICs stand at MIC / fu, fu = {fu:g}")
    note = str(full.attrs.get("fu_note", ""))
    return [text for text in (*parts, note) if text]
