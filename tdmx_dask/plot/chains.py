"""What a fit drew: densities of its parameters beside their priors, and the chains themselves.

Densities are those of ArviZ (`arviz_stats`), R-hat and ESS those by which fits are judged. The drawing is not that of `arviz_plots`, which
makes its figures by pyplot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.typical import prior_of
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.convergence import convergence
from tdmx_dask.plot import style
from tdmx_dask.plot.panels import arrangement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["density_of", "posterior", "trace"]

Floats = NDArray[np.float64]
Prior = Mapping[str, tuple[float, float]]

_MOST = 24
_SHOWN = 250
"""Draws of a chain that a line shows; more could not be told apart."""

_WIDE = 0.9
"""Probability of the bar under a density."""

_LOOKS = 28
"""Chains that colour and dashes tell apart."""

_ALARM = "#D55E00"


@dataclass(frozen=True, slots=True)
class _Quantity:
    """Draws of one number: (chain, draw), its unit, and draws of its prior if there are any."""

    name: str
    values: Floats
    unit: str
    prior: Floats | None = None

    @property
    def label(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit not in ("", "1") else self.name


def posterior(
    fit: Any,
    *,
    names: str | Sequence[str] | None = None,
    prior: Prior | Patient | None = None,
    title: str = "",
    ax: Axes | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the density of each parameter's posterior, its median and 90 % interval, its prior, and where draws diverged.

    Parameters
    ----------
    fit : a `Fit`, a DataTree with a group ``posterior`` (and ``sample_stats``, ``prior``), or a Dataset (chain, draw)
    names : variables; None: those that were estimated, or all numbers that vary
    prior : log-normal priors to draw beside, by name: (median, SD of the log), or the patient whose prior it is; default: draws of a
        group ``prior``, if there is one
    title : heading
    ax : where to draw one parameter; default: a figure of its own
    figure : where to draw; default: a new one, of a size that fits

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        It holds no draws, or not those that are named; a prior is no log-normal; or `ax` is to hold several panels.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> draws = xr.Dataset({"CL": (("chain", "draw"), np.random.default_rng(1).lognormal(1, 0.2, (2, 200)), {"units": "L/h"})})
    >>> posterior(draws, prior={"CL": (3.0, 0.4)}).axes[0].get_xlabel()
    'CL (L/h)'
    """
    found, diverging = _quantities(fit, names)
    priors = _priors(prior)
    with style.styled():
        if ax is not None:
            style.one_panel(ax, len(found), "one name")
            handles, texts = _density(ax, found[0], priors, diverging)
            ax.legend(handles, texts, loc="best", fontsize=8)
            return cast("Figure", ax.get_figure(root=True))
        n_rows, n_columns, width = arrangement(len(found))
        figure = style.canvas(figure, width, (2.9 if len(found) == 1 else 2.0) * n_rows + 1.2)
        grid = figure.subplots(n_rows, n_columns, squeeze=False)
        key: dict[str, Any] = {}
        for axes, one in zip(grid.flat, found, strict=False):
            handles, texts = _density(axes, one, priors, diverging)
            key |= {text: handle for text, handle in zip(texts, handles, strict=True) if text not in key}
        for axes in grid.flat[len(found) :]:
            axes.set_visible(False)
        style.title(figure, title or "Posterior", width)
        style.legend(figure, list(key.values()), list(key), [_draws_note(found[0].values)], width)
    return figure


def trace(
    fit: Any, *, names: str | Sequence[str] | None = None, title: str = "", figure: Figure | None = None
) -> Figure:
    """Draw the chains: the density of each at the left, its draws in order at the right, divergent ones marked.

    Chains that are sound lie on each other and wander nowhere; R-hat (Vehtari et al. 2021, doi:10.1214/20-BA1221) says so in a number.

    Parameters
    ----------
    fit, names, title, figure : as for `posterior`

    Returns
    -------
    the figure

    Raises
    ------
    InputError
        It holds no draws, or not those that are named.
    """
    found, diverging = _quantities(fit, names)
    with style.styled():
        width = 8.6
        n_chains = found[0].values.shape[0]
        key = 0.19 * max(0, math.ceil(min(n_chains, _LOOKS) / 4) - 2)
        figure = style.canvas(figure, width, 1.45 * len(found) + 1.2 + key)
        grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=[1, 2.6])
        every = max(1, math.ceil(found[0].values.shape[1] / _SHOWN))
        for row, one in enumerate(found):
            _chains(grid[row, 0], grid[row, 1], one, diverging, every)
            last = row == len(found) - 1
            grid[row, 1].set_xlabel("Draw" if last else "")
        style.title(figure, title or "Chains", width)
        handles, texts = _chain_key(n_chains, diverging)
        notes = [_draws_note(found[0].values)]
        if every > 1:
            notes.append(f"Lines show one draw in {every}; densities and divergences are of all")
        if n_chains > _LOOKS:
            notes.append(f"Chains from the {_LOOKS + 1}th on have the looks of the first again")
        style.legend(figure, handles, texts, notes, width)
    return figure


def _quantities(
    fit: Any, names: str | Sequence[str] | None
) -> tuple[list[_Quantity], NDArray[np.bool_] | None]:
    """Draws of what is to be drawn, and which of them diverged."""
    tree = fit if isinstance(fit, xr.DataTree) else getattr(fit, "tree", None)
    groups: dict[str, xr.Dataset] = {}
    if isinstance(fit, xr.Dataset):
        groups["posterior"] = fit
    elif isinstance(tree, xr.DataTree):
        groups = {str(name): child.to_dataset() for name, child in tree.children.items()}
    draws = groups.get("posterior")
    if draws is None or not {"chain", "draw"} <= set(draws.dims):
        rule = "it is a Fit, a DataTree with a group posterior, or a Dataset with dimensions chain and draw"
        raise InputError("fit", type(fit).__name__, rule, "Open one with tdmx.open_fit or tdmx.open_draws.")
    listed = [names] if isinstance(names, str) else list(names or _estimated(fit, draws))
    unknown = [name for name in listed if name not in draws]
    if unknown:
        known = ", ".join(map(str, draws.data_vars))
        raise InputError(
            "names", unknown[0], f"is not among the draws, which hold {known}", "Give one of them."
        )
    found = [one for name in listed for one in _elements(str(name), draws[name], groups.get("prior"))]
    if not 0 < len(found) <= _MOST:
        rule = f"1 to {_MOST} numbers are drawn"
        raise InputError("names", f"{len(found)} numbers", rule, "Name those to draw.")
    stats = groups.get("sample_stats")
    diverging = None
    if stats is not None and "diverging" in stats:
        diverging = stats["diverging"].transpose("chain", "draw").values.astype(bool)
    return found, diverging


def _estimated(fit: Any, draws: xr.Dataset) -> list[str]:
    """What was estimated; where that is not known, every number that varies."""
    known = [name for name in getattr(fit, "parameters", ()) if name in draws.data_vars]
    if known:
        return known
    plain = [name for name, each in draws.data_vars.items() if set(each.dims) == {"chain", "draw"}]
    return [str(name) for name in plain if np.ptp(draws[name].values) > 0] or [str(name) for name in plain]


def _elements(name: str, array: xr.DataArray, prior: xr.Dataset | None) -> list[_Quantity]:
    """The numbers of a variable, each with its index."""
    values = array.transpose("chain", "draw", ...).values.astype(np.float64)
    before = None
    if prior is not None and name in prior and prior[name].ndim == array.ndim:
        before = prior[name].transpose("chain", "draw", ...).values.astype(np.float64)
    unit = str(array.attrs.get("units", ""))
    if not np.isfinite(values).all():
        raise InputError(name, "not finite", "densities are of finite draws", "Leave it out of names.")
    rest = values.shape[2:]
    return [
        _Quantity(
            name + (f"[{','.join(str(k + 1) for k in index)}]" if rest else ""),
            values[(slice(None), slice(None), *index)],
            unit,
            None if before is None else before[(slice(None), slice(None), *index)],
        )
        for index in np.ndindex(rest)
    ]


def _priors(given: Prior | Patient | None) -> dict[str, tuple[float, float]]:
    found = {}
    if isinstance(given, Patient):
        given = _prior_of(given)
    for name, pair in (given or {}).items():
        try:
            median, omega = (float(part) for part in pair)
        except (TypeError, ValueError):
            median = omega = math.nan
        if not (median > 0 and omega >= 0 and math.isfinite(median * omega)):
            rule = "a prior is log-normal: (median > 0, SD of the log >= 0)"
            raise InputError(f"prior[{name}]", pair, rule, "Write (5.0, 0.3).")
        found[str(name)] = (median, omega)
    return found


def _prior_of(patient: Patient) -> dict[str, tuple[float, float]]:
    """Medians and SDs of the logs of what is not fixed, at the patient's covariates."""
    known = patient.priors
    if isinstance(known, Population):
        known, _ = prior_of(known, patient.covariates, patient.varying)
    if known is None:
        return {}
    rows = zip(known.parameters, known.median, np.diag(known.covariance), strict=True)
    return {name: (median, math.sqrt(variance)) for name, median, variance in rows if variance > 0}


def _density(
    ax: Axes, one: _Quantity, priors: Prior, diverging: NDArray[np.bool_] | None
) -> tuple[list[Any], list[str]]:
    """One parameter; handles and texts of what there is."""
    colour = style.line_style(0)["color"]
    x, height = density_of(one.values.reshape(-1))
    handles: list[Any] = [ax.fill_between(x, height, color=colour, alpha=0.25, linewidth=0, zorder=2)]
    ax.plot(x, height, color=colour, linewidth=1.4, zorder=3)
    texts = ["posterior"]
    low, middle, high = np.quantile(one.values, [0.5 - _WIDE / 2, 0.5, 0.5 + _WIDE / 2])
    base = -0.06 * height.max()
    (bar,) = ax.plot([low, high], [base, base], color=colour, linewidth=3, solid_capstyle="butt")
    ax.plot(middle, base, "o", color=colour, markerfacecolor="white", markersize=5, zorder=4)
    handles.append(bar)
    texts.append(f"median and {100 * _WIDE:g} % interval")
    density = _prior_density(one, priors, x)
    if density is not None:
        (line,) = ax.plot(*density, color=style.GREY, linewidth=1.3, linestyle=(0, (5, 2)), zorder=3)
        handles.append(line)
        texts.append("prior")
    if diverging is not None and diverging.any() and diverging.shape == one.values.shape:
        there = one.values[diverging]
        (marks,) = ax.plot(
            there, np.full(there.shape, 2.1 * base), "|", color=_ALARM, markersize=7, markeredgewidth=1.2
        )
        handles.append(marks)
        texts.append(f"divergent draws ({there.size})")
    top = max(height.max(), 0.0 if density is None else float(density[1].max()))
    if density is not None and one.name in priors:
        low, high = _middle(
            *priors[one.name], x, 2.0
        )  # 95 % of the prior; its curve leaves at the axis' ends
        ax.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    ax.set_ylim(2.8 * base, 1.06 * min(top, 3 * height.max()))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.tick_params(labelsize=8.5)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(style.wrapped(one.label, 34, 2))
    return handles, texts


def _prior_density(one: _Quantity, priors: Prior, x: Floats) -> tuple[Floats, Floats] | None:
    """The prior's curve: all of it, also what lies beyond the axis."""
    if one.name in priors:
        median, omega = priors[one.name]
        if omega == 0:
            return None
        low, high = _middle(median, omega, x, 4.5)
        at = np.geomspace(low, high, 600)
        exponent = -0.5 * (np.log(at / median) / omega) ** 2
        return at, np.exp(exponent) / (at * omega * math.sqrt(2 * math.pi))
    if one.prior is not None and np.ptp(one.prior) > 0:
        middle = one.prior[np.abs(one.prior - np.median(one.prior)) <= 4 * np.std(one.prior)]
        return density_of(middle.reshape(-1))
    return None


def _middle(median: float, omega: float, x: Floats, z: float) -> tuple[float, float]:
    """From `z` SDs below to `z` above the median of a log-normal prior, or further where the posterior goes."""
    low, high = median * math.exp(-z * omega), median * math.exp(z * omega)
    return max(min(float(x[0]), low), 1e-12 * median), max(float(x[-1]), high)


def density_of(values: Floats) -> tuple[Floats, Floats]:
    """Grid and density by ArviZ's estimate; a narrow peak where all draws are the same."""
    if np.ptp(values) <= 1e-12 * max(abs(float(values[0])), 1e-300):
        step = 0.01 * abs(float(values[0])) or 1.0
        return values[0] + step * np.array([-1.0, 0.0, 1.0]), np.array([0.0, 1.0 / step, 0.0])
    from arviz_stats.base.array import array_stats

    grid, density, _ = array_stats.kde(values)
    return np.asarray(grid, dtype=float), np.asarray(density, dtype=float)


def _chains(left: Axes, right: Axes, one: _Quantity, diverging: NDArray[np.bool_] | None, every: int) -> None:
    """Density and draws of each chain."""
    n_draws = one.values.shape[1]
    at = np.arange(1, n_draws + 1)
    for chain, values in enumerate(one.values):
        look = style.line_style(chain)
        drawn = {"color": look["color"], "linewidth": 1.2, "linestyle": look["linestyle"]}
        left.plot(*density_of(values), **drawn)
        right.plot(at[::every], values[::every], **{**drawn, "linewidth": 0.5, "alpha": 0.85})
    if diverging is not None and diverging.shape == one.values.shape and diverging.any():
        where = np.nonzero(diverging)[1] + 1
        low, high = float(one.values.min()), float(one.values.max())
        base = low - 0.06 * (high - low)
        right.plot(where, np.full(where.shape, base), "|", color=_ALARM, markersize=7, markeredgewidth=1.2)
        left.plot(one.values[diverging], np.zeros(where.shape), "|", color=_ALARM, markersize=7)
    right.set_xlim(1, max(2, n_draws))
    for axes in (left, right):
        axes.tick_params(labelsize=8)
        axes.locator_params(axis="x" if axes is left else "y", nbins=5)
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.set_title(style.wrapped(one.label, 24, 1), loc="left", fontsize=8.5)
    right.set_title(_soundness(one.values), loc="left", fontsize=8.5)


def _soundness(values: Floats) -> str:
    """R-hat and ESS in words; nothing where the draws cannot tell."""
    if values.shape[1] < 4 or np.ptp(values) == 0:
        return ""
    found = convergence(values[..., None])
    parts = [f"R-hat {float(found.rhat[0]):.3f}"] if values.shape[0] > 1 else []
    parts += [
        f"ESS {float(ess[0]):,.0f} {tail}"
        for ess, tail in ((found.ess_bulk, "bulk"), (found.ess_tail, "tail"))
    ]
    return ", ".join(parts)


def _chain_key(n_chains: int, diverging: NDArray[np.bool_] | None) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for chain in range(min(n_chains, _LOOKS)):
        look = style.line_style(chain)
        handles.append(Line2D([], [], color=look["color"], linestyle=look["linestyle"], linewidth=1.4))
    texts = [f"chain {chain + 1}" for chain in range(len(handles))]
    if diverging is not None and diverging.any():
        handles.append(Line2D([], [], color=_ALARM, marker="|", linestyle="none", markersize=8))
        texts.append(f"divergent draws ({int(diverging.sum())})")
    return handles, texts


def _draws_note(values: Floats) -> str:
    return f"{values.shape[0]} chain{'s' if values.shape[0] > 1 else ''} of {values.shape[1]:,} draws"
