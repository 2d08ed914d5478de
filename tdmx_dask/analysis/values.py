"""Exposures of all profiles, one number each: AUC, peaks, troughs, time above a MIC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.concentration import MOST_VALUES
from tdmx_dask.analysis.evaluate import refuse_unknown, solved_passes
from tdmx_dask.analysis.execute import DIRECT_DRAWS, load
from tdmx_dask.analysis.exposure import Exposures, course_need
from tdmx_dask.analysis.inputs import Inputs
from tdmx_dask.analysis.plan import Plan
from tdmx_dask.domain.target import Target
from tdmx_dask.errors import InputError

__all__ = ["exposure_values"]

Floats = NDArray[np.float64]


def exposure_values(plan: Plan, inputs: Inputs, wanted: Sequence[tuple[int, float | None]]) -> Floats:
    """Exposure of each profile.

    Parameters
    ----------
    plan, inputs : the question, whose targets name the indices
    wanted : (position of the target, MIC in mg/L or None where it needs none)

    Returns
    -------
    (pair, wanted, chain, draw, subject): mg/L, mg·h/L or a fraction

    Raises
    ------
    InputError
        They do not fit into memory, or a profile has no number.
    """
    shape = (len(plan.pairs), len(wanted), plan.n_chains, plan.n_draws, plan.n_subjects)
    number = plan.n_profiles * shape[0] * shape[1]
    if number > MOST_VALUES:
        raise InputError(
            "exposures",
            f"{number:,}",
            f"one number a profile, regimen and index is kept: at most {MOST_VALUES:,}",
            "Ask for fewer profiles, regimens or indices.",
        )
    out = np.empty(shape)
    for block in plan.blocks(min(plan.n_draws, DIRECT_DRAWS), plan.n_subjects):
        given = load(inputs.values(block))
        given = given.load() if hasattr(given, "load") else given
        for here, exposures, fu, pairs in solved_passes(plan, block, given):
            first, subject = block.start + here.first, here.subject
            for position, regimen in pairs:
                for i, (target, mic) in enumerate(wanted):
                    found = _value(exposures, plan, regimen, target, mic, fu)
                    if np.isnan(found.sum()):
                        refuse_unknown(plan, block, here, found)
                    cell = out[position, i, block.chain, first : first + here.n_draws]
                    cell[:, subject : subject + here.n_subjects] = found.reshape(
                        here.n_subjects, here.n_draws
                    ).T
    return out


def _value(
    exposures: Exposures, plan: Plan, regimen: int, index: int, mic: float | None, fu: float | Floats
) -> Floats:
    target = plan.targets[index]
    assert isinstance(target, Target)  # noqa: S101  an index is one target
    at_site: float | Floats = target.penetration
    if target.free:
        at_site = at_site * (fu if target.fu is None else target.fu)
    if mic is None:
        return exposures.value(plan.needs[regimen][index][0], at_site)
    span = target.span(plan.regimens[regimen])
    return exposures.time_above(
        course_need(plan.regimens[regimen], span), mic * target.mic_multiple / at_site
    )
