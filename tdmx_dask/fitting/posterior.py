"""From chains to the groups of a store: the posterior by plain names, what the sampler recorded, likelihoods, predictions, data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.task import STATS, ChainResult

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.question import FitQuestion

__all__ = ["Chains", "groups_of", "select"]

Floats = NDArray[np.float64]

_LIKELIHOOD, _REPLICATED = "log_lik", "_rep"
_INTERNAL = frozenset({"raw", "sigma_raw", "theta"})
"""Variables of the shipped programs that stand for others: not stored."""

_UNITS = {"sigma_additive": "mg/L", "sigma_proportional": "1", "predicted": "mg/L", "level": "mg/L"}
_ELEMENT = re.compile(r"(?P<base>.+)\[(?P<index>[\d,]+)\]")


@dataclass(frozen=True, slots=True)
class Chains:
    """Draws of all chains that are kept, rounds joined.

    Parameters
    ----------
    names : columns, as CmdStan names them
    draws : (chain, draw, column)
    stats : (chain, draw, `STATS`)
    ends : rows at which rounds end, the last is the number of draws
    """

    names: tuple[str, ...]
    draws: Floats
    stats: Floats
    ends: tuple[int, ...]

    @classmethod
    def join(cls, chains: Sequence[Sequence[ChainResult]], ends: Sequence[int], skip: int = 0) -> Chains:
        """Join the rounds of each chain.

        Parameters
        ----------
        chains : rounds of each chain, in order; equally many rows in all
        ends : rows at which rounds end
        skip : rows that are left out, as warm-up
        """
        draws = np.stack([_rows([each.draws for each in rounds], skip) for rounds in chains])
        stats = np.stack([_rows([each.stats for each in rounds], skip) for rounds in chains])
        return cls(chains[0][0].names, draws, stats, tuple(end - skip for end in ends if end > skip))

    def stat(self, name: str) -> Floats:
        """One of the sampler's columns, (chain, draw)."""
        return np.asarray(self.stats[..., STATS.index(name)])


def _rows(parts: list[Floats], skip: int) -> Floats:
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return whole[skip:]


def select(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of the quantities that diagnostics judge; all but internals, likelihoods and replicates where none is named."""
    bases = _layout(names)
    chosen = set(wanted) & set(bases) or {
        base
        for base in bases
        if base not in _INTERNAL and base != _LIKELIHOOD and not base.endswith((_REPLICATED, "__"))
    }
    return tuple(name for name in names if name in wanted or name.partition("[")[0] in chosen)


def groups_of(
    question: FitQuestion, chains: Chains, attrs: Mapping[str, Any]
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Groups of a store of draws, in memory.

    Parameters
    ----------
    question : what was asked
    chains : what is kept
    attrs : of the posterior

    Returns
    -------
    groups by name; and notes on what was left out because it holds values that are not finite
    """
    import xarray as xr

    from tdmx_dask.store.columns import ARVIZ_NAMES
    from tdmx_dask.store.schema import (
        CONSTANT_DATA,
        LOG_LIKELIHOOD,
        POSTERIOR,
        POSTERIOR_PREDICTIVE,
        SAMPLE_STATS,
    )

    groups: dict[str, dict[str, Any]] = {
        POSTERIOR: {}, SAMPLE_STATS: {}, LOG_LIKELIHOOD: {}, POSTERIOR_PREDICTIVE: {}, CONSTANT_DATA: {}
    }  # fmt: skip
    notes = []
    for base, index in _layout(chains.names).items():
        if (question.model and base in _INTERNAL) or base in question.internal:
            continue
        values = chains.draws[..., index]
        group, name = _home(base, question)
        if not np.isfinite(values).all() and base not in question.parameters:
            notes.append(f"{base} is not stored: it has values that are not finite")
            continue
        dims = ("chain", "draw", *_dims(base, index.shape, question))
        groups[group][name] = xr.Variable(
            dims, values, {"units": _UNITS[name]} if question.model and name in _UNITS else {}
        )
    n_chains, n_draws = chains.draws.shape[:2]
    for name, value in question.carried.items():
        groups[POSTERIOR].setdefault(
            name, xr.Variable(("chain", "draw"), np.full((n_chains, n_draws), float(value)))
        )
    for position, column in enumerate(STATS):
        values = chains.stats[..., position]
        if np.isfinite(values).all():
            name, dtype = ARVIZ_NAMES[column]
            groups[SAMPLE_STATS][name] = xr.Variable(("chain", "draw"), values.astype(dtype))
    for name, array in question.constant.items():
        groups[CONSTANT_DATA][name] = xr.Variable(question.dims.get(name, ()), array)
    made = {name: _dataset(variables, question) for name, variables in groups.items() if variables}
    if POSTERIOR not in made:
        rule = "no quantity of it has finite values in all draws"
        raise FitError("program", question.program.name, rule, "Look for reject() in generated quantities.")
    made[POSTERIOR] = made[POSTERIOR].assign_attrs(attrs)
    return made, notes


def _dataset(variables: dict[str, Any], question: FitQuestion) -> xr.Dataset:
    """Variables with the labels of their dimensions."""
    import xarray as xr

    dims = {dim: size for variable in variables.values() for dim, size in variable.sizes.items()}
    labels = {
        dim: list(question.coords[dim])
        for dim, size in dims.items()
        if dim in question.coords and len(question.coords[dim]) == size
    }
    return xr.Dataset(variables, labels)


def _home(base: str, question: FitQuestion) -> tuple[str, str]:
    """Group and name of a variable; what is observed has one name in all groups."""
    from tdmx_dask.store.schema import LOG_LIKELIHOOD, POSTERIOR, POSTERIOR_PREDICTIVE

    if base == _LIKELIHOOD:
        return LOG_LIKELIHOOD, "level" if question.model else base
    if base.endswith(_REPLICATED):
        return POSTERIOR_PREDICTIVE, base.removesuffix(_REPLICATED)
    return POSTERIOR, base


def _dims(base: str, shape: tuple[int, ...], question: FitQuestion) -> tuple[str, ...]:
    if len(question.outputs.get(base, ())) == len(shape) > 0:
        return question.outputs[base]
    if question.model and len(shape) == 1 and base in ("predicted", "log_lik", "level_rep"):
        return ("observation",)
    if base == "omega" and len(shape) == 2 and shape[0] == shape[1]:
        return ("eta", "eta2")
    return tuple(f"{base}_dim_{each}" for each in range(len(shape)))


@lru_cache(maxsize=64)
def _layout(names: tuple[str, ...]) -> dict[str, NDArray[np.intp]]:
    """Variables, each with the columns of its elements in C order: () for a number, (i, j) for a matrix."""
    cells: dict[str, dict[tuple[int, ...], int]] = {}
    for column, name in enumerate(names):
        match = _ELEMENT.fullmatch(name)
        base = match["base"] if match else name
        at = tuple(int(each) - 1 for each in match["index"].split(",")) if match else ()
        cells.setdefault(base, {})[at] = column
    layout = {}
    for base, found in cells.items():
        shape = tuple(max(axis) + 1 for axis in zip(*found, strict=True))
        index = np.zeros(shape, dtype=np.intp)
        for at, column in found.items():
            index[at] = column
        layout[base] = index
    return layout
