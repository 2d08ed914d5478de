"""Drawing virtual patients of a population, block by block.

The unit of work is a tile: one block of draws (at most 1,024) of one subject. Whatever is asked for in one call, a
tile is computed from the same inputs by the same operations on arrays of the same length, so its bits do not depend
on how draws and subjects are split over calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.domain.covariate import Covariate
from tdmx_dask.domain.distribution import Distribution
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.parameters import LARGEST, PARAMETERS, SMALLEST, canonical_names
from tdmx_dask.domain.section import nearest
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.random import BLOCK, PURPOSE_ETA, normal_block, uniform_block

if TYPE_CHECKING:
    from tdmx_dask.domain.population import Population

__all__ = ["Address", "Request", "simulate"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Address:
    """Which virtual patients: their place in the streams of random numbers.

    Parameters
    ----------
    seed, chain : whole numbers from 0 to 2^64 - 1
    draw_start, n_draws : draws of the chain; the first is the first of a block of 1,024
    subject_start, n_subjects : subjects of each draw
    """

    seed: int
    chain: int
    draw_start: int
    n_draws: int
    subject_start: int
    n_subjects: int

    def __post_init__(self) -> None:
        if self.draw_start < 0 or self.draw_start % BLOCK:
            fix = f"Start at {self.draw_start // BLOCK * BLOCK if self.draw_start > 0 else 0}."
            raise InputError("draw_start", self.draw_start, f"draws start at a multiple of {BLOCK}", fix)
        for name in ("n_draws", "n_subjects"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "at least one is simulated", "Ask for 1 or more.")

    def blocks(self) -> Iterator[tuple[int, slice]]:
        """Number of each block in the chain, and its draws among those asked for."""
        for start in range(0, self.n_draws, BLOCK):
            yield (self.draw_start + start) // BLOCK, slice(start, min(start + BLOCK, self.n_draws))


@dataclass(frozen=True, slots=True)
class Request:
    """What replaces a population's own values, sorted by what it replaces.

    Parameters
    ----------
    thetas : by name; () or (draw,)
    typical : typical values of PK parameters by the seed's names; () or (draw,)
    covariates : values of covariates; () or (draw,)
    fu : unbound fraction, () or (draw,), or None
    wanted : names of covariates to return besides those used
    """

    thetas: Mapping[str, Floats]
    typical: Mapping[str, Floats]
    covariates: Mapping[str, Floats]
    fu: Floats | None
    wanted: tuple[str, ...]

    @classmethod
    def sort(
        cls,
        population: Population,
        n_draws: int,
        scenario: Mapping[str, float],
        thetas: Mapping[str, ArrayLike],
        wanted: Collection[str],
    ) -> Request:
        """Sort what a call gave; refuse what could be meant in two ways."""
        given = {name: _per_draw(name, values, n_draws) for name, values in thetas.items()}
        aliases = canonical_names(name for name in given if name not in population.thetas)
        own: dict[str, Floats] = {name: np.asarray(value) for name, value in population.thetas.items()}
        typical: dict[str, Floats] = {}
        covariates: dict[str, Floats] = {}
        for name, values in given.items():
            if name in own:
                own[name] = values
            elif name in population.covariates:
                covariates[name] = values
            elif name in aliases:
                typical[aliases[name]] = _typical(population, name, aliases[name], values)
        known = list(population.covariates)
        for name in (*scenario, *wanted):
            if name not in population.covariates:
                fix = nearest(name, known) if known else f"Declare {name} under covariates."
                raise InputError("covariate", name, f"{population.name} has no covariate of this name", fix)
        for name, value in scenario.items():
            covariates[name] = np.asarray(population.covariates[name].coded(value))
        return cls(own, typical, covariates, given.get("fu"), tuple(dict.fromkeys((*scenario, *wanted))))


def _per_draw(name: str, values: ArrayLike, n_draws: int) -> Floats:
    array = (
        np.ascontiguousarray(values, dtype=np.float64) if np.ndim(values) else np.asarray(values, np.float64)
    )
    if array.shape not in {(), (n_draws,)}:
        raise InputError(
            f"thetas.{name}", array.shape, f"one value or ({n_draws},), one a draw", "Check its shape."
        )
    return array


def _typical(population: Population, name: str, canonical: str, values: Floats) -> Floats:
    if canonical not in population.parameters:
        rule = f"the draws have {name}, which the {population.model} model of {population.name} lacks"
        raise InputError("thetas", name, rule, "Change the model, or leave the variable out.")
    formula = population.parameters[canonical]
    if formula.constant is None:
        rule = f"the draws have {canonical} and the population computes it as {formula}"
        fix = f"Declare {canonical} under thetas and write its formula with it, as {canonical} * (...)."
        raise InputError("thetas", name, rule, fix)
    return values


class _Plan:
    """One call, prepared: what is constant, what differs between draws, and what between patients."""

    def __init__(self, population: Population, request: Request) -> None:
        self.request = request
        formulas: dict[str, Expression | Floats] = {**population.parameters, **request.typical}
        fu = request.fu if request.fu is not None else population.fu
        if fu is not None:
            formulas["fu"] = fu if isinstance(fu, Expression) else np.asarray(fu, dtype=np.float64)
        self.formulas = formulas
        names = {name for each in formulas.values() if isinstance(each, Expression) for name in each.names}
        self.covariates = _closure(population, request, names | set(request.wanted))
        self.units = {name: each.unit for name, each in population.covariates.items()}
        self.by_patient = _by_patient(self.covariates, request)

    def split(self) -> tuple[dict[str, Floats], dict[str, Expression | Floats], dict[str, Expression]]:
        """Typical values that are numbers, formulas that differ between draws, and those between patients."""
        constant: dict[str, Floats] = {}
        shared: dict[str, Expression | Floats] = {}
        personal: dict[str, Expression] = {}
        for name, each in self.formulas.items():
            if isinstance(each, Expression) and not self.by_patient.isdisjoint(each.names):
                personal[name] = each
            elif isinstance(each, Expression) and not each.names:
                constant[name] = each.evaluate({})
            else:
                shared[name] = each
        return constant, shared, personal


def _closure(population: Population, request: Request, names: set[str]) -> dict[str, Covariate]:
    """Covariates that are needed for some names, each after those that it is derived from."""
    needed = set(names)
    for name in reversed(population.order):
        if name in needed and name not in request.covariates:
            needed.update(population.covariates[name].sources)
    return {name: population.covariates[name] for name in population.order if name in needed}


def _by_patient(covariates: Mapping[str, Covariate], request: Request) -> frozenset[str]:
    """Covariates that differ between the subjects of one draw."""
    found: set[str] = set()
    for name, covariate in covariates.items():
        if name not in request.covariates and (covariate.is_drawn or not found.isdisjoint(covariate.sources)):
            found.add(name)
    return frozenset(found)


def simulate(
    population: Population, address: Address, request: Request, factor: list[list[Floats]]
) -> dict[str, Floats]:
    """Draw virtual patients; see `Population.simulate`."""
    plan = _Plan(population, request)
    shape = (address.n_subjects, address.n_draws)
    names = [*population.parameters, *plan.covariates, *(["fu"] if "fu" in plan.formulas else [])]
    result = {name: np.empty(shape) for name in names}
    constant, shared, personal = plan.split()
    normals = np.empty((BLOCK, len(population.etas)))
    with np.errstate(all="ignore"):
        for block, draws in address.blocks():
            values = _shared_values(plan, draws, result)
            typical = constant | {name: _evaluate(each, values, draws) for name, each in shared.items()}
            rows = [[_cut(each, draws) for each in row] for row in factor]
            z = normals[: draws.stop - draws.start]
            for s in range(address.n_subjects):
                subject = address.subject_start + s
                tile = {name: array[s, draws] for name, array in result.items()}
                if plan.by_patient:
                    where = (address.seed, address.chain, block, subject)
                    mine = {**values, **_personal_values(plan, values, where, tile)}
                    typical |= {name: each.evaluate(mine) for name, each in personal.items()}
                if population.etas:
                    normal_block(address.seed, PURPOSE_ETA, address.chain, block, subject, *z.shape, out=z)
                _fill(population.etas, rows, z, typical, tile)
    _check(result, address, plan)
    return result


def _cut(values: Floats, draws: slice) -> Floats:
    return values[draws] if values.ndim else values


def _evaluate(formula: Expression | Floats, values: Mapping[str, Floats], draws: slice) -> Floats:
    return formula.evaluate(values) if isinstance(formula, Expression) else _cut(formula, draws)


def _shared_values(plan: _Plan, draws: slice, result: Mapping[str, Floats]) -> dict[str, Floats]:
    """Values of thetas and covariates that all subjects of a draw share; the covariates are written out."""
    values = {name: _cut(each, draws) for name, each in plan.request.thetas.items()}
    for name, covariate in plan.covariates.items():
        if name in plan.by_patient:
            continue
        if name in plan.request.covariates:
            values[name] = _cut(plan.request.covariates[name], draws)
        elif covariate.sources or isinstance(covariate.rule, Expression):
            values[name] = covariate.derived(values, plan.units)
        elif isinstance(covariate.rule, float):
            values[name] = np.asarray(covariate.rule)
        else:
            fix = f"Give it a value, or name it in every scenario: covariates: {{{name}: ...}}."
            raise InputError(f"covariates.{name}", None, "it has no value of its own and none was given", fix)
        result[name][:, draws] = values[name]
    return values


def _personal_values(
    plan: _Plan, values: Mapping[str, Floats], where: tuple[int, int, int, int], tile: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Values of covariates that each patient has of their own, drawn or derived, written out too."""
    seed, chain, block, subject = where
    mine: dict[str, Floats] = {}
    for name in plan.covariates:
        if name not in plan.by_patient:
            continue
        covariate, row = plan.covariates[name], tile[name]
        if isinstance(covariate.rule, Distribution):
            uniform = uniform_block(seed, covariate.purpose, chain, block, subject, row.size, 1)
            row[...] = covariate.rule.quantile(uniform[:, 0])
        else:
            row[...] = covariate.derived({**values, **mine}, plan.units)
        mine[name] = row
    return mine


def _fill(
    etas: tuple[str, ...],
    factor: list[list[Floats]],
    z: Floats,
    typical: Mapping[str, Floats],
    tile: Mapping[str, Floats],
) -> None:
    """Write each parameter of one tile: its typical value × exp(the sum of its deviations), in a fixed order."""
    for name, value in typical.items():
        if name not in etas:
            tile[name][...] = value
    for i, name in enumerate(etas):
        row = tile[name]
        np.multiply(z[:, 0], factor[i][0], out=row)
        for j in range(1, i + 1):
            if factor[i][j].ndim or factor[i][j] != 0.0:  # adding 0 × z changes no bit
                row += z[:, j] * factor[i][j]
        np.exp(row, out=row)
        row *= typical[name]


def _check(result: Mapping[str, Floats], address: Address, plan: _Plan) -> None:
    """Refuse a parameter that is not finite or not positive, naming the patient's covariates."""
    for name, values in result.items():
        if name not in PARAMETERS and name != "fu":
            continue
        largest = 1.0 if name == "fu" else LARGEST
        smallest = 0.0 if name in PARAMETERS and PARAMETERS[name].may_be_zero else SMALLEST
        least, most = values.min(), values.max()  # NaN where any is NaN
        if least >= smallest and most <= largest:
            continue
        right = (values >= smallest) & (values <= largest)
        s, d = np.unravel_index(int(np.argmin(right)), right.shape)
        rule = "the unbound fraction must be above 0 and at most 1"
        if name in PARAMETERS:
            rule = PARAMETERS[name].rule
        place = [f"draw {address.draw_start + d}", f"subject {address.subject_start + s}"]
        given = [f"{each}={result[each][s, d]:g}" for each in plan.covariates]
        raise InputError(name, f"{values[s, d]:g}", rule, f"It is of {', '.join((*place, *given))}.")
