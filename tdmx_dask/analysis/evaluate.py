"""One block of profiles: from draws to critical MICs, or to counts. What every scheduler calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.exposure import Exposures, critical_mic_of
from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.counts import ROWS, attained, attained_in_all, keep_freed_memory
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.random import BLOCK
from tdmx_dask.store.schema import check_values

__all__ = ["Pass", "count_block", "critical_block", "refuse_unknown", "solved_passes"]

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]


class Pass(NamedTuple):
    """Profiles solved together: `n_draws` from `first` of the block on, `n_subjects` from `subject` on of each."""

    first: int
    n_draws: int
    subject: int
    n_subjects: int


def count_block(
    plan: Plan, block: Block, values: Values | None = None, *, rows: int = ROWS
) -> NDArray[np.integer]:
    """Count attainment in a block.

    Parameters
    ----------
    plan : the question
    block : chain, draws and subjects
    values : variable -> (draw, …) for the block's draws; None where the task reads them from the plan's store, or
        where the population alone makes the profiles
    rows : profiles of a pass; a matter of speed alone

    Returns
    -------
    (pair, target, mic, draw): int32 for each draw, summed over the block's subjects; or one sum over the draws, int64, with a last
    dimension of one, where the plan does not keep the draws apart
    """
    n_draws = block.stop - block.start
    shape = (len(plan.pairs), len(plan.targets), len(plan.mic))
    if plan.per_draw:
        counts = np.zeros((*shape, n_draws), dtype=np.int32)
    else:
        counts = np.zeros((*shape, 1), dtype=np.int64)

    def add(pair: int, target: int, here: Pass, critical: Floats) -> None:
        cell = counts[pair, target]
        if plan.per_draw:
            part = cell[:, here.first : here.first + here.n_draws]
            part += attained(critical.reshape(here.n_subjects, here.n_draws), plan.mic)
        else:
            cell[:, 0] += attained_in_all(critical, plan.mic)

    _each_pass(plan, block, values, add, rows)
    return counts


def critical_block(plan: Plan, block: Block, values: Values | None = None, *, rows: int = ROWS) -> Floats:
    """Critical MICs of a block; (pair, target, draw, subject), mg/L."""
    n_subjects = block.subject_stop - block.subject_start
    critical = np.empty((len(plan.pairs), len(plan.targets), block.stop - block.start, n_subjects))

    def put(pair: int, target: int, here: Pass, found: Floats) -> None:
        subject = here.subject - block.subject_start
        draws = critical[pair, target, here.first : here.first + here.n_draws]
        draws[:, subject : subject + here.n_subjects] = found.reshape(here.n_subjects, here.n_draws).T

    _each_pass(plan, block, values, put, rows)
    return critical


def _each_pass(
    plan: Plan,
    block: Block,
    values: Values | None,
    take: Callable[[int, int, Pass, Floats], None],
    n_rows: int,
) -> None:
    """Hand the critical MICs of every pass to ``take(pair, target, pass, critical)``."""
    for here, exposures, fu, wanted in solved_passes(plan, block, values, n_rows):
        for position, regimen in wanted:
            for i, target in enumerate(plan.targets):
                critical = critical_mic_of(exposures, target, plan.needs[regimen][i], fu)
                if np.isnan(critical.sum()):
                    refuse_unknown(plan, block, here, critical)
                take(position, i, here, critical)


def solved_passes(
    plan: Plan, block: Block, values: Values | None, n_rows: int = ROWS
) -> Iterator[tuple[Pass, Exposures, float | Floats, list[tuple[int, int]]]]:
    """Go through a block pass by pass, and each pass scenario by scenario.

    Parameters
    ----------
    plan, block, values : as `count_block` takes them
    n_rows : profiles of a pass

    Yields
    ------
    here : the pass
    exposures : of its profiles, subject after subject
    fu : unbound fraction, a number or (profile,)
    wanted : (position of the pair, position of its regimen) that this scenario is crossed with
    """
    keep_freed_memory()
    if values is None and plan.names:
        from tdmx_dask.store.slices import read_slice  # Zarr is imported where a store is read

        assert plan.store is not None  # noqa: S101  a plan without a store is given its values
        values = read_slice(
            plan.store.path,
            plan.names,
            block.chain,
            block.start,
            block.stop,
            digest=plan.store.digest,
            check=False,
        )
    values = values or {}
    by_scenario: dict[int, list[tuple[int, int]]] = {}
    for position, (scenario, regimen) in enumerate(plan.pairs):
        by_scenario.setdefault(scenario, []).append((position, regimen))
    factor = None
    for here in _passes(plan, block, n_rows):
        rows = {name: array[here.first : here.first + here.n_draws] for name, array in values.items()}
        if here.subject == block.subject_start:
            check_values(rows, chain=block.chain, start=block.start + here.first)
            factor = None
            if plan.population is not None and "omega" in rows:
                factor = plan.population.factor_of(rows["omega"], here.n_draws)
        for scenario, wanted in by_scenario.items():
            profiles = _profiles(plan, block, here, rows, factor, scenario)
            exposures = Exposures(disposition(*(profiles[name] for name in plan.parameters)), profiles)
            yield here, exposures, profiles.get("fu", plan.fu), wanted


def refuse_unknown(plan: Plan, block: Block, here: Pass, found: Floats) -> None:
    """A profile without a number must never count as one that does not attain.

    Parameters
    ----------
    plan, block, here : which profiles
    found : (profile,), NaN for at least one
    """
    row = int(np.argmax(np.isnan(found)))
    draw = block.start + here.first + row % here.n_draws
    raise InputError(
        "draws",
        f"chain={block.chain}, draw={draw}",
        f"its concentration is no number: {', '.join(plan.parameters)} are too many orders of magnitude apart",
        "Check the units and the value of each parameter there.",
    )


def _passes(plan: Plan, block: Block, n_rows: int) -> Iterator[Pass]:
    """Some thousand profiles at a time, so that a pass fits the cache."""
    n_draws = block.stop - block.start
    if plan.n_subjects == 1:
        for first in range(0, n_draws, n_rows):
            yield Pass(first, min(n_rows, n_draws - first), block.subject_start, 1)
        return
    for first in range(0, n_draws, BLOCK):
        size = min(BLOCK, n_draws - first)
        together = max(1, n_rows // size)
        for subject in range(block.subject_start, block.subject_stop, together):
            yield Pass(first, size, subject, min(together, block.subject_stop - subject))


def _profiles(
    plan: Plan, block: Block, here: Pass, rows: Values, factor: list[list[Floats]] | None, scenario: int
) -> dict[str, Floats]:
    """Parameters and covariates of a pass, (profile,) each, subject after subject."""
    setting = plan.scenarios[scenario]
    rows = {
        name: np.ascontiguousarray(array[:, scenario]) if array.ndim == 2 else array
        for name, array in rows.items()
    }
    if plan.population is None:
        profiles = rows
    else:
        made = plan.population.simulate(
            seed=plan.seed,
            chain=block.chain,
            draw_start=block.start + here.first,
            n_draws=here.n_draws,
            subject_start=here.subject,
            n_subjects=here.n_subjects,
            scenario=setting.covariates,
            thetas={name: array for name, array in rows.items() if name != "omega"},
            factor=factor,
            covariates=[name for name in plan.weight_names if name in plan.population.covariates],
        )
        profiles = {name: array.reshape(-1) for name, array in made.items()}
        if "fu" in rows:
            profiles["fu"] = np.tile(rows["fu"], here.n_subjects)
    fixed = {**dict(plan.weights), **setting.covariates}
    for name in plan.weight_names:
        if name not in profiles:
            profiles[name] = np.full(here.n_draws * here.n_subjects, fixed[name])
    return profiles
