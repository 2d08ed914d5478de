"""What a figure shows, taken from a result: panels of series, plain arrays, no matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = [
    "ALL",
    "Panel",
    "Series",
    "arrangement",
    "chosen",
    "fu_notes",
    "interval_note",
    "level_of",
    "notes",
    "of_draws",
    "panels",
    "select",
    "wanted",
]

_DIMS = ("scenario", "regimen", "target")

ALL = "all"
"""Name of the scenario of a result that has none: alone, it is not printed."""


@dataclass(frozen=True, slots=True)
class Series:
    """One regimen in one panel.

    Parameters
    ----------
    regimen : label
    slot : index of the regimen among those of the figure: its colour and marker
    value, lower, upper : (n,), fractions, over the MICs or the organisms; bounds are NaN where there are none
    breakpoint : mg/L; NaN where there is none
    """

    regimen: str
    slot: int
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    breakpoint: float = float("nan")


@dataclass(frozen=True, slots=True)
class Panel:
    """One scenario and one target."""

    scenario: str
    target: str
    series: tuple[Series, ...]


def select(
    result: xr.Dataset, last: str, *, target: str | None, scenario: str | Sequence[str] | None
) -> xr.Dataset:
    """Take the wanted targets and scenarios; a dimension of one that was dropped comes back.

    Parameters
    ----------
    result : PTA or CFR
    last : ``mic`` or ``organism``
    target, scenario : labels; None takes all

    Raises
    ------
    InputError
        A label is not in the result.
    """
    full = result
    for dim in (*_DIMS, last):
        if dim not in full.dims:
            if dim not in full.coords:
                full = full.assign_coords({dim: ""})
            full = full.expand_dims(dim)
    full = full.transpose(*_DIMS, last, ...)
    for dim, wanted in (("target", target), ("scenario", scenario)):
        if wanted is not None:
            labels = [wanted] if isinstance(wanted, str) else list(wanted)
            full = full.sel({dim: [_known(full, dim, label) for label in labels]})
    return full


def wanted(result: Any, names: Sequence[str], what: str, maker: str) -> xr.Dataset:
    """Refuse what is no result of the verb that a figure draws.

    Parameters
    ----------
    result : what was given
    names : variables that it must have
    what : the figure, as the error calls it
    maker : the verb that makes such a result

    Raises
    ------
    InputError
        It is no Dataset, or lacks one of the variables.
    """
    if not isinstance(result, xr.Dataset) or any(name not in result for name in names):
        shown = type(result).__name__
        if isinstance(result, xr.Dataset):
            shown = ", ".join(map(str, list(result.data_vars)[:5])) or "nothing"
        raise InputError("result", shown, f"{what} is drawn of a result of {maker}", f"Call {maker} first.")
    return result


def chosen(result: xr.Dataset, dim: str, labels: str | Sequence[str] | None) -> xr.Dataset:
    """Take the wanted labels of a dimension, all where None; a dimension of one that was dropped comes back.

    Raises
    ------
    InputError
        A label is not in the result.
    """
    if dim not in result.dims:
        if dim not in result.coords:
            result = result.assign_coords({dim: ""})
        result = result.expand_dims(dim)
    if labels is None:
        return result
    listed = [labels] if isinstance(labels, str) else list(labels)
    return result.sel({dim: [_known(result, dim, label) for label in listed]})


def arrangement(n: int) -> tuple[int, int, float]:
    """Rows, columns and width (inches) of small multiples."""
    n_columns = n if n <= 3 else 2 if n == 4 else 3
    return math.ceil(n / n_columns), n_columns, (7.4, 8.6, 10.6)[n_columns - 1]


def _known(result: xr.Dataset, dim: str, label: str) -> str:
    known = [str(value) for value in result[dim].values]
    if str(label) not in known:
        raise InputError(
            dim, label, f"is not in the result, which holds {'; '.join(known)}", "Give one of them."
        )
    return str(label)


def panels(full: xr.Dataset, name: str) -> tuple[Panel, ...]:
    """All panels with something in them, scenario by scenario, in the order of the result.

    Parameters
    ----------
    full : as `select` returns it
    name : ``pta`` or ``cfr``

    Raises
    ------
    InputError
        There is no number to draw.
    """
    value = full[name].values.astype(np.float64)
    lower, upper = (
        full[bound].values.astype(np.float64) if bound in full else np.full_like(value, np.nan)
        for bound in ("lower", "upper")
    )
    breaks = np.full(value.shape[:3], np.nan)
    if "breakpoint" in full:
        own = full["breakpoint"]  # a dropped MIC that came back is no dimension of it
        own = own.isel({dim: 0 for dim in own.dims if dim not in _DIMS})
        breaks = own.transpose(*_DIMS).values.astype(np.float64)
    regimens = [str(label) for label in full["regimen"].values]
    asked = [j for j in range(len(regimens)) if np.isfinite(value[:, j]).any()]
    found = []
    scenarios = [str(label) for label in full["scenario"].values]
    if scenarios == [ALL]:
        scenarios = [""]
    for i, scenario in enumerate(scenarios):
        for k, target in enumerate(full["target"].values):
            series = tuple(
                Series(
                    regimens[j], slot, value[i, j, k], lower[i, j, k], upper[i, j, k], float(breaks[i, j, k])
                )
                for slot, j in enumerate(asked)
                if np.isfinite(value[i, j, k]).any()
            )
            if series:
                found.append(Panel(scenario, str(target), series))
    if not found:
        raise InputError(name, "no number", "there is nothing to draw", "Draw a result that was computed.")
    return tuple(found)


def level_of(result: xr.Dataset, level: float | None = None) -> float:
    """PTA or CFR that is wanted: the one given, or that of the result's breakpoints; 0.9 where it says none."""
    if level is not None:
        return level
    said = result["breakpoint"].attrs.get("level") if "breakpoint" in result else None
    return float(result.attrs.get("breakpoint_level", 0.9) if said is None else said)


def of_draws(result: xr.Dataset) -> bool:
    """Whether the profiles are the draws themselves, of a posterior say, and not patients simulated from them or of a population."""
    named = str(result.attrs.get("population", "")).strip('"')
    return not named and int(result.attrs.get("n_subjects", 1)) == 1


def interval_note(result: xr.Dataset) -> str:
    """What the interval of a result is, in words; empty where it has none."""
    level = f"{100 * float(result.attrs.get('interval_level', 0.95)):g} %"
    number = "draws" if of_draws(result) else "simulated patients"
    return {
        "credible": f"{level} credible interval (uncertainty of the model's parameters)",
        "monte_carlo": f"{level} Monte-Carlo interval (finite number of {number})",
    }.get(str(result.attrs.get("interval", "none")), "")


def fu_notes(result: xr.Dataset) -> list[str]:
    """With which unbound fraction the free drug was computed; nothing where none was."""
    fu, assumed = (str(result.attrs.get(name, "")) for name in ("fu", "fu_note"))
    if assumed:
        return [assumed]
    return [f"Unbound fraction: {fu}"] if fu else []


def notes(result: xr.Dataset, shown_as: str = "") -> tuple[str, ...]:
    """What a reader must know beside the figure: what its bands (if it shows any) are, and the unbound fraction."""
    interval = interval_note(result) if shown_as else ""
    return (*([f"{shown_as}: {interval}"] if interval else []), *fu_notes(result))
