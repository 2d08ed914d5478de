"""From the columns of a file to draws: chains, vectors, names, units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.parameters import PARAMETERS, canonical_names
from tdmx_dask.domain.section import nearest
from tdmx_dask.errors import InputError, SchemaError
from tdmx_dask.store.schema import (
    ANY,
    OMEGA_DIMS,
    POSTERIOR,
    QUANTITIES,
    SAMPLE_STATS,
    SAMPLINGS,
    check_draws,
    standardise,
)
from tdmx_dask.store.units import factor, same_unit

__all__ = ["ARVIZ_NAMES", "INDEX_COLUMNS", "Options", "build", "by_chain", "flatten", "gather"]

Variables = dict[str, xr.DataArray]
Columns = Mapping[str, NDArray[Any]]

_CHAIN = ("chain", ".chain", "chain__", "chain_id", "chain_")
_DRAW = (".iteration", "iteration", "iter", "iter__", "draw", ".draw", "draw__", "draw_")  # the best first
INDEX_COLUMNS = frozenset((*_CHAIN, *_DRAW))
"""Names, in small letters, of columns that say where a row belongs."""

_ELEMENT = re.compile(r"(?P<base>.+?)(\[(?P<comma>\d+(?:,\s*\d+)*)\]|\.(?P<dot>\d+(?:\.\d+)*)\.?)")

# CmdStan's names of the sampler's columns -> (ArviZ's, dtype)
ARVIZ_NAMES: dict[str, tuple[str, Any]] = {
    "lp__": ("lp", np.float64),
    "accept_stat__": ("acceptance_rate", np.float64),
    "stepsize__": ("step_size", np.float64),
    "treedepth__": ("tree_depth", np.int64),
    "n_leapfrog__": ("n_steps", np.int64),
    "divergent__": ("diverging", np.bool_),
    "energy__": ("energy", np.float64),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a user says about a source; see `importing.import_draws`.

    Parameters
    ----------
    columns, units, sampling, model, etas : as there
    """

    columns: Mapping[str, str] | Sequence[str] | None = None
    units: Mapping[str, str] | None = None
    sampling: str | None = None
    model: str | None = None
    etas: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.sampling is not None and self.sampling not in SAMPLINGS:
            raise InputError(
                "sampling", self.sampling, f"it is {' or '.join(SAMPLINGS)}", "Choose one, or leave it out."
            )
        if isinstance(self.columns, str):
            raise InputError("columns", self.columns, "columns is a list or a mapping", "Write columns=[…].")


def by_chain(columns: Columns) -> tuple[dict[str, NDArray[Any]], bool]:
    """Arrange the rows of a table as (chain, draw), by its columns of chain and iteration if it has them.

    Parameters
    ----------
    columns : name -> (row, …)

    Returns
    -------
    name -> (chain, draw, …), without the columns of chain and iteration; and whether there was one of chain

    Raises
    ------
    InputError
        The chains have unequal numbers of draws, or a draw is there twice.
    """
    lower = {name.casefold(): name for name in columns}
    chain_name = next((lower[each] for each in _CHAIN if each in lower), None)
    draw_name = next((lower[each] for each in _DRAW if each in lower), None)
    rest = {name: values for name, values in columns.items() if name.casefold() not in INDEX_COLUMNS}
    n_rows = len(next(iter(columns.values()))) if columns else 0
    chain = columns[chain_name] if chain_name else np.zeros(n_rows)
    draw = columns[draw_name] if draw_name else np.arange(n_rows)
    for name, values in ((chain_name, chain), (draw_name, draw)):
        if not np.all(np.isfinite(values)):
            at = int(np.argmin(np.isfinite(values)))
            raise InputError(
                str(name), values[at], f"row {at + 1} does not say where it belongs", "Mend the column."
            )
    labels, counts = np.unique(chain, return_counts=True)
    if len(set(counts.tolist())) > 1:
        listed = ", ".join(f"{label:g}: {count}" for label, count in zip(labels, counts, strict=True))
        raise InputError(
            "chains", f"{{{listed}}}", "all chains have the same number of draws", "Import whole chains."
        )
    order = np.lexsort((draw, chain))
    same = (np.diff(chain[order]) == 0) & (np.diff(draw[order]) == 0)
    if draw_name and same.any():
        at = order[int(same.argmax())]
        where = f"{draw_name}={draw[at]:g}" + (f", {chain_name}={chain[at]:g}" if chain_name else "")
        fix = "Name the chains in a column chain, or remove the column."
        raise InputError("draws", where, "each draw is there once", fix)
    if np.all(order[1:] > order[:-1]):
        order = slice(None)  # type: ignore[assignment]  # a view
    shape = (max(len(labels), 1), n_rows // max(len(labels), 1))
    return {
        name: values[order].reshape(*shape, *values.shape[1:]) for name, values in rest.items()
    }, chain_name is not None


def gather(columns: Columns) -> Variables:
    """Bring the elements ``theta[1]``, ``theta[2]`` or ``theta.1``, ``theta.2`` of a vector together.

    Parameters
    ----------
    columns : name -> (chain, draw)

    Returns
    -------
    name -> (chain, draw), or (chain, draw, theta_dim_0, …)

    Raises
    ------
    SchemaError
        An element of a vector is missing.
    """
    elements: dict[str, dict[tuple[int, ...], NDArray[Any]]] = {}
    for name, values in columns.items():
        if "[" in name and "]" not in name:
            raise SchemaError(
                "column", name, "a name that contains a comma is in quotes", 'Write "omega[1,1]".'
            )
        base, index = _element(name)
        elements.setdefault(base, {})[index] = values
    variables = {}
    for base, parts in elements.items():
        if list(parts) == [()]:
            variables[base] = xr.DataArray(parts[()], dims=("chain", "draw"))
            continue
        n_dims = {len(index) for index in parts}
        size = tuple(max(each) for each in zip(*parts, strict=False))
        whole = (
            len(n_dims) == 1
            and 0 not in n_dims
            and len(parts) == int(np.prod(size))
            and min(map(min, parts)) == 1
        )
        if not whole:
            listed = ", ".join(_spelled(base, index) for index in list(parts)[:6])
            raise SchemaError(
                "columns",
                listed,
                f"{base} has all elements from 1 on, with as many indices each",
                "Add them.",
            )
        some = next(iter(parts.values()))
        values = np.empty((*some.shape, *size), dtype=np.float64)
        for index, part in parts.items():
            place: Any = (..., *(each - 1 for each in index))
            values[place] = part
        dims = ("chain", "draw", *(f"{base}_dim_{each}" for each in range(len(size))))
        variables[base] = xr.DataArray(values, dims=dims)
    return variables


def flatten(variables: Mapping[str, xr.DataArray]) -> dict[str, NDArray[Any]]:
    """Take vectors apart: the inverse of `gather`.

    Parameters
    ----------
    variables : name -> (chain, draw, …)

    Returns
    -------
    name or ``name[i,j]``, counted from 1 -> (chain, draw)
    """
    columns: dict[str, NDArray[Any]] = {}
    for name, variable in variables.items():
        values: NDArray[Any] = np.asarray(variable.values)
        for index in np.ndindex(*values.shape[2:]):
            element: Any = (slice(None), slice(None), *index)
            columns[_spelled(name, tuple(each + 1 for each in index))] = values[element]
    return columns


def build(variables: Variables, options: Options, *, chains: bool, source: str) -> dict[str, xr.Dataset]:
    """Make checked draws of variables as a file has them.

    Parameters
    ----------
    variables : name -> (chain, draw, …); those whose names end in ``__`` are the sampler's own
    options : what the user says
    chains : whether the source says that there are chains
    source : where the draws came from, for the attributes

    Returns
    -------
    groups posterior and, if there are sampler's columns, sample_stats

    Raises
    ------
    InputError, SchemaError
        As `schema.check_draws`; a column is missing; a unit is not one of the quantity.
    """
    stats = {name: variable for name, variable in variables.items() if name.endswith("__")}
    rest = {name: variable for name, variable in variables.items() if name not in stats}
    chosen = _select(rest, options.columns)
    if not chosen:
        raise SchemaError("draws", "no variables", "draws have at least one variable", "Check the source.")
    names = {**{name: name for name in chosen}, **canonical_names(chosen, options.model)}
    units = {names.get(name, name): unit for name, unit in (options.units or {}).items()}
    named = {names[name]: variable for name, variable in chosen.items()}
    for name in units:
        if name not in named:
            raise InputError("units", name, "there is no such variable", nearest(name, list(named)))
    if "omega" in named:
        named["omega"] = _as_omega(named["omega"], options.etas)
    converted = {name: _convert(name, variable, units.get(name)) for name, variable in named.items()}
    sampling = options.sampling or ("mcmc" if chains else "independent")
    posterior = xr.Dataset(converted).assign_attrs(sampling=sampling, source=source)
    posterior = standardise(posterior, model=options.model)
    check_draws(posterior, model=options.model)
    groups = {POSTERIOR: posterior}
    if stats:
        groups[SAMPLE_STATS] = _as_stats(stats)
    return groups


def _element(name: str) -> tuple[str, tuple[int, ...]]:
    """``theta[2,1]`` and ``theta.2.1`` -> ("theta", (2, 1)); ``CL`` -> ("CL", ())."""
    match = _ELEMENT.fullmatch(name)
    if match is None:
        return name, ()
    index = match["comma"].split(",") if match["comma"] else match["dot"].split(".")
    return match["base"], tuple(int(each) for each in index)


def _spelled(base: str, index: tuple[int, ...]) -> str:
    return f"{base}[{','.join(map(str, index))}]" if index else base


def _select(variables: Variables, columns: Mapping[str, str] | Sequence[str] | None) -> Variables:
    """The variables that the user wants, by the user's names."""
    if columns is None:
        return variables
    mapping = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    chosen, used = {}, set()
    for ours, theirs in mapping.items():
        base, index = _element(theirs)
        if theirs in variables:
            chosen[ours] = variables[theirs]
            used.add(theirs)
        elif index and base in variables and _inside(index, variables[base].shape[2:]):
            chosen[ours] = variables[base][(..., *(each - 1 for each in index))].reset_coords(drop=True)
            used.add(base)
        else:
            raise InputError(
                f"columns[{ours}]", theirs, "there is no such column", nearest(theirs, list(variables))
            )
    if isinstance(columns, Mapping):
        chosen |= {name: variable for name, variable in variables.items() if name not in used | set(chosen)}
    return chosen


def _inside(index: tuple[int, ...], size: tuple[int, ...]) -> bool:
    return len(index) == len(size) and all(1 <= each <= most for each, most in zip(index, size, strict=True))


def _as_omega(omega: xr.DataArray, etas: Sequence[str] | None) -> xr.DataArray:
    """Name the dimensions of omega, and its rows if their names are known."""
    if omega.ndim != len(OMEGA_DIMS):
        raise SchemaError(
            "omega",
            f"{omega.ndim - 2} indices",
            "omega is a matrix a draw: the covariance of the log of the parameters",
            "Give omega[i,j], or another name to a column that is no covariance.",
        )
    labels = omega.coords.get(omega.dims[2])
    if etas is None and labels is not None and labels.dtype.kind in "UOT":
        etas = [str(each) for each in labels.values.tolist()]
    plain = xr.DataArray(omega.values, dims=OMEGA_DIMS, attrs=omega.attrs)
    if etas is None:
        return plain
    if len(etas) != plain.sizes["eta"]:
        raise InputError(
            "etas", ", ".join(etas), f"omega has {plain.sizes['eta']} rows", "Name each row once."
        )
    return plain.assign_coords(eta=list(etas), eta2=list(etas))


def _convert(name: str, variable: xr.DataArray, unit: str | None) -> xr.DataArray:
    """Values in our unit; converted only where the user said what unit they have."""
    if name in PARAMETERS and variable.ndim > 2 and variable.dims[2:] != ("scenario",):
        size = ", ".join(map(str, variable.shape[2:]))
        fix = f'Choose one: columns={{"{name}": "{_spelled(name, (1,) * (variable.ndim - 2))}"}}.'
        raise SchemaError(name, f"{size} elements", "a parameter has one value a draw", fix)
    ours = QUANTITIES.get(name, ANY).unit
    written = variable.attrs.get("units")
    if unit is None:
        return variable
    if written and not same_unit(str(written), unit):
        raise InputError(
            f"units[{name}]", unit, f"the source itself says {written}", "Correct one of the two."
        )
    if not ours:
        return variable.assign_attrs(units=unit)
    times = factor(name, unit, ours)
    return (variable if times == 1.0 else variable * times).assign_attrs({**variable.attrs, "units": ours})


def _as_stats(stats: Variables) -> xr.Dataset:
    """The sampler's columns by ArviZ's names."""
    result = {}
    for name, variable in stats.items():
        named, dtype = ARVIZ_NAMES.get(name, (name.removesuffix("__"), np.float64))
        whole = dtype is np.float64 or bool(np.all(np.isfinite(variable.values)))
        result[named] = variable.astype(dtype if whole else np.float64)
    return xr.Dataset(result)
