"""What is to be computed, without its data: small, frozen, sent to every worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from tdmx_dask.analysis.exposure import Need, need, single_targets
from tdmx_dask.domain.parameters import parameters_of
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.scenario import Scenario
from tdmx_dask.domain.target import AllOf, Target
from tdmx_dask.kernels.random import BLOCK

__all__ = ["Block", "Plan", "StoreAddress"]


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where tasks read their draws: the path of a store and the digest that it must have."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Block:
    """The profiles of one task: some draws of one chain, some subjects of each."""

    chain: int
    start: int
    stop: int
    subject_start: int
    subject_stop: int

    @property
    def n_profiles(self) -> int:
        """Draws times subjects."""
        return (self.stop - self.start) * (self.subject_stop - self.subject_start)


@dataclass(frozen=True, slots=True)
class Plan:
    """A question: which model, regimens, targets and MICs, over how many chains, draws and subjects.

    Parameters
    ----------
    model : 1C, 2C or 3C
    names : variables of the draws that a task needs; none where the population alone makes the profiles
    regimens, targets, mic : the axes of the answer; MICs in mg/L, ascending
    scenarios : settings of covariates; one without a name where there are none
    pairs : (scenario, regimen) positions that are asked for, ordered by scenario
    n_chains, n_draws, n_subjects : of the profiles
    seed : of the virtual patients
    population : makes virtual patients; None where each draw is one profile
    per_draw : counts are kept for each draw (two levels, or dependent draws), else summed
    fu : unbound fraction where neither target nor draws give one
    weights : covariates of fixed value that mg/kg doses use
    store : where tasks read their draws
    """

    model: str
    names: tuple[str, ...]
    regimens: tuple[Regimen, ...]
    targets: tuple[Target | AllOf, ...]
    mic: tuple[float, ...]
    scenarios: tuple[Scenario, ...]
    pairs: tuple[tuple[int, int], ...]
    n_chains: int
    n_draws: int
    n_subjects: int
    seed: int
    population: Population | None
    per_draw: bool
    fu: float = 1.0
    weights: tuple[tuple[str, float], ...] = ()
    store: StoreAddress | None = None
    needs: tuple[tuple[tuple[Need, ...], ...], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        asked = {regimen for _, regimen in self.pairs}
        needs = tuple(
            tuple(
                tuple(need(regimen, single) for single in single_targets(target)) for target in self.targets
            )
            if i in asked
            else ()
            for i, regimen in enumerate(self.regimens)
        )
        object.__setattr__(self, "needs", needs)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The model's parameters, in the order of the kernels."""
        return parameters_of(self.model)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Covariates that mg/kg doses are multiplied by."""
        return tuple(
            sorted({need.weight for row in self.needs for cell in row for need in cell if need.weight})
        )

    @property
    def n_profiles(self) -> int:
        """Profiles of one scenario: chains times draws times subjects."""
        return self.n_chains * self.n_draws * self.n_subjects

    @property
    def used_scenarios(self) -> tuple[int, ...]:
        """Positions of the scenarios that are asked for."""
        return tuple(sorted({scenario for scenario, _ in self.pairs}))

    def blocks(self, draws_per_task: int, subjects_per_task: int) -> tuple[Block, ...]:
        """Cut the profiles into tasks; cuts along draws are at multiples of the random blocks."""
        return tuple(self._blocks(-(-draws_per_task // BLOCK) * BLOCK, subjects_per_task))

    def _blocks(self, draws: int, subjects: int) -> Iterator[Block]:
        for chain in range(self.n_chains):
            for start in range(0, self.n_draws, draws):
                stop = min(start + draws, self.n_draws)
                for first in range(0, self.n_subjects, subjects):
                    yield Block(chain, start, stop, first, min(first + subjects, self.n_subjects))

    def digest(self) -> str:
        """Of everything that the counts depend on, the draws excepted (whose digest is in `store`)."""
        population = None if self.population is None else self.population.to_mapping()
        content = [
            self.model,
            self.names,
            [str(regimen) for regimen in self.regimens],
            [str(target) for target in self.targets],
            self.mic,
            [(scenario.name, dict(scenario.covariates)) for scenario in self.scenarios],
            self.pairs,
            (self.n_chains, self.n_draws, self.n_subjects, self.seed, self.per_draw),
            population,
            self.fu,
            self.weights,
            None if self.store is None else self.store.digest,
        ]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]
