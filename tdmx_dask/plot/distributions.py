"""How an exposure is spread over the profiles, and which share of them lies within the limits of a target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.plot import style
from tdmx_dask.plot.chains import density_of
from tdmx_dask.plot.panels import arrangement, chosen, fu_notes, wanted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["exposure"]

Floats = NDArray[np.float64]
Limits = tuple[float | None, float | None]

_MOST_ROWS = 40
_DIMS = ("scenario", "regimen", "chain", "draw", "subject")
_WITHIN = "#e3efe9"
_TALL = 0.72
"""Of a row: the highest density."""
_EQUAL = 1e-9
"""Of a value: what all profiles have in common but for rounding."""


def exposure(
    result: xr.Dataset,
    *,
    index: str | None = None,
    limits: Mapping[str, Limits | float] | None = None,
    regimen: str | list[str] | None = None,
    scenario: str | list[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the distribution of each exposure: a row a scenario and regimen, a column an index.

    Each row is a density with its median and 90 % interval; limits are lines, what lies within them is shaded, and the share of
    profiles within is printed at the right.

    Parameters
    ----------
    result : of `tdmx_dask.exposures`
    index : which one to draw; None draws all
    limits : of a target, by index: (lower, upper), either of them None, or the lower one alone
    regimen, scenario : labels; None draws all
    title : heading
    ax : where to draw one index; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        The result is of another verb, a label or index is not in it, a limit is none, or `ax` is to hold several panels.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([2.0, 4.0, 5.0, 8.0]), "Vc": np.full(4, 20.0)}
    >>> found = tdmx.exposures(draws, "1000 mg q12h", "AUC24")            # 1000, 500, 400 and 250 mg·h/L
    >>> figure = exposure(found, limits={"AUC24": (400, 600)})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['50 %']
    """
    full = wanted(result, (), "an exposure", "tdmx.exposures")
    if not set(_DIMS[2:]) <= set(full.dims) or not full.data_vars:
        wanted(result, (" ",), "an exposure", "tdmx.exposures")
    names = [str(name) for name in full.data_vars]
    shown = names if index is None else [index]
    bounds = {name: _limits(name, pair, names) for name, pair in (limits or {}).items()}
    if shown[0] not in names:
        raise InputError(
            "index", index, f"is not in the result, which holds {'; '.join(names)}", "Give one of them."
        )
    full = chosen(chosen(full, "regimen", regimen), "scenario", scenario)
    pairs = [(s, r) for s in full["scenario"].values for r in full["regimen"].values]
    if len(pairs) > _MOST_ROWS:
        rule = f"at most {_MOST_ROWS} rows can be read"
        raise InputError("result", f"{len(pairs)} rows", rule, "Choose regimen= and scenario=.")
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(shown), "an index")
            _column(ax, full, shown[0], pairs, bounds, first=True)
            return cast("Figure", ax.get_figure(root=True))
        n_rows, n_columns, width = arrangement(len(shown))
        figure = style.canvas(figure, width + 0.8, (0.46 * len(pairs) + 0.8) * n_rows + 0.9)
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        for number, axes in enumerate(grid.flat):
            axes.set_visible(number < len(shown))
            if number < len(shown):
                _column(axes, full, shown[number], pairs, bounds, first=number % n_columns == 0)
        style.title(figure, title or "Exposure", width)
        style.legend(figure, [], [], _notes(full, shown, limits=bool(bounds)), width)
    return figure


def _notes(full: xr.Dataset, shown: list[str], *, limits: bool) -> list[str]:
    number = int(full.attrs.get("n_profiles", 0))
    notes = [
        f"Densities of {number:,} profiles, each row scaled to its own maximum; an upright line where all are equal; dot and bar: "
        "median and 90 % interval"
    ]
    if limits:
        notes.append("Shaded: within the limits, with the share of profiles at the right")
    steady = [name for name in shown if "steady state" in str(full[name].attrs.get("window", ""))]
    if steady:
        which = "" if len(steady) == len(shown) else f"{', '.join(steady)}: "
        notes.append(f"{which}{'at' if which else 'At'} steady state, over one dosing interval")
    return [*notes, *fu_notes(full)]


def _limits(name: str, given: Any, names: list[str]) -> Limits:
    if name not in names:
        raise InputError(
            "limits", name, f"is not in the result, which holds {'; '.join(names)}", "Give one of them."
        )
    pair = given if isinstance(given, tuple | list) else (given, None)
    sound = len(pair) == 2 and any(each is not None for each in pair)
    sound = sound and all(
        each is None or (isinstance(each, int | float) and math.isfinite(each) and each >= 0) for each in pair
    )
    if not sound or (None not in pair and not pair[0] < pair[1]):
        rule = "limits are (lower, upper), in the index's unit, either of them None"
        raise InputError(f"limits[{name}]", given, rule, "Write (400, 600).")
    return pair[0], pair[1]


def _column(
    ax: Axes,
    full: xr.Dataset,
    name: str,
    pairs: list[tuple[Any, Any]],
    bounds: Mapping[str, Limits],
    *,
    first: bool,
) -> None:
    """The rows of one index, from the top down."""
    values = [full[name].sel(scenario=s, regimen=r).values.reshape(-1).astype(np.float64) for s, r in pairs]
    low, high = _range(values)
    limit = bounds.get(name)
    if limit is not None:
        marks = [each for each in limit if each is not None]
        low, high = min([low, *marks]), max([high, *marks])
    room = 0.03 * (high - low)
    low, high = max(0.0, low - room), high + room
    if limit is not None:
        ends = (low if limit[0] is None else limit[0], high if limit[1] is None else limit[1])
        ax.axvspan(*ends, color=_WITHIN, linewidth=0, zorder=0)
        for each in limit:
            if each is not None:
                ax.axvline(each, color=style.GREY, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for row, one in enumerate(values):
        _row(ax, one, -float(row), style.line_style(row % full.sizes["regimen"])["color"], limit)
    labels = [_label(full, pair) for pair in pairs] if first else [""] * len(pairs)
    ax.set_yticks([-float(row) for row in range(len(pairs))], [style.wrapped(text, 34, 2) for text in labels])
    ax.tick_params(axis="y", length=0, labelsize=8.5)
    ax.tick_params(axis="x", labelsize=8.5)
    ax.set_ylim(-len(pairs) + 0.6, 0.85)
    ax.spines["left"].set_visible(False)
    unit = str(full[name].attrs.get("units", ""))
    ax.set_xlim(low, high)
    if unit == "1":
        ax.set_xlim(0, 1)
        style.percent_axis(ax.xaxis)
    else:
        ax.locator_params(axis="x", nbins=6)
    what = style.wrapped(str(full[name].attrs.get("long_name", name)), 40, 2)
    ax.set_xlabel(what if unit in ("", "1") else f"{what} ({unit})")


def _row(ax: Axes, values: Floats, base: float, colour: str, limit: Limits | None) -> None:
    if np.ptp(values) <= _EQUAL * abs(float(values[0])):
        ax.plot(
            [values[0], values[0]], [base, base + _TALL], color=colour, linewidth=1.6, zorder=3, clip_on=False
        )
    else:
        x, height = density_of(values)
        scale = _TALL / height.max() if height.max() > 0 else 0.0
        ax.fill_between(x, base, base + scale * height, color=colour, alpha=0.3, linewidth=0, zorder=2)
        ax.plot(x, base + scale * height, color=colour, linewidth=1.1, zorder=3)
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    ax.plot([low, high], [base, base], color=colour, linewidth=2.5, solid_capstyle="butt", zorder=3)
    ax.plot(middle, base, "o", color=colour, markerfacecolor="white", markersize=5, zorder=4, clip_on=False)
    if limit is not None:
        within = np.ones(values.shape, dtype=bool)
        within &= True if limit[0] is None else values >= limit[0]
        within &= True if limit[1] is None else values <= limit[1]
        ax.annotate(
            style.percent(float(within.mean())),
            (1.0, base),
            xycoords=("axes fraction", "data"),
            xytext=(4, 2),
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            annotation_clip=False,
        )


def _range(values: list[Floats]) -> tuple[float, float]:
    """From the 0.5th to the 99.5th percentile of every row: a far tail must not press the others flat."""
    low = min(float(np.quantile(each, 0.005)) for each in values)
    high = max(float(np.quantile(each, 0.995)) for each in values)
    return (low, high) if high > low else (0.9 * low, 1.1 * high or 1.0)


def _label(full: xr.Dataset, pair: tuple[Any, Any]) -> str:
    many = full.sizes["scenario"] > 1
    return " · ".join(str(part) for part in (pair if many else pair[1:]) if str(part))
