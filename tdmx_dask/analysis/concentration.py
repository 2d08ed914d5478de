"""Concentrations of all profiles at a grid of times, and their quantiles over the profiles: exact, some pairs at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.evaluate import refuse_unknown, solved_passes
from tdmx_dask.analysis.execute import DIRECT_DRAWS, load
from tdmx_dask.analysis.exposure import Need
from tdmx_dask.analysis.inputs import Inputs
from tdmx_dask.analysis.plan import Plan
from tdmx_dask.errors import InputError

__all__ = ["MOST_VALUES", "Quantiles", "quantiles_of"]

Floats = NDArray[np.float64]

MOST_VALUES = 1 << 26
"""Concentrations held at once, 512 MiB of them: a quantile needs those of all profiles together."""


class Quantiles(NamedTuple):
    """Summary over the profiles.

    Attributes
    ----------
    quantile : (pair, quantile, time), mg/L
    mean : (pair, time), mg/L
    """

    quantile: Floats
    mean: Floats


def quantiles_of(
    plan: Plan,
    inputs: Inputs,
    needs: Sequence[Need],
    times: Sequence[float],
    quantiles: Sequence[float],
    *,
    free: bool,
) -> Quantiles:
    """Quantiles (linear between order statistics) and mean over all profiles of each (scenario, regimen) pair.

    Parameters
    ----------
    plan, inputs : the question and its draws
    needs : of each regimen, as `course_need` of `analysis.exposure` makes them
    times : h, ascending
    quantiles : in [0, 1], ascending
    free : multiply by the unbound fraction

    Raises
    ------
    InputError
        One pair alone has more concentrations than can be held, or a profile has no number.
    """
    held = plan.n_profiles * len(times)
    if held > MOST_VALUES:
        raise InputError(
            "times",
            f"{len(times)} x {plan.n_profiles:,} profiles",
            f"quantiles are exact, so at most {MOST_VALUES:,} concentrations are held at once, and these are {held:,}",
            f"Ask for at most {max(1, MOST_VALUES // plan.n_profiles):,} times, or for fewer profiles.",
        )
    found = Quantiles(
        np.empty((len(plan.pairs), len(quantiles), len(times))), np.empty((len(plan.pairs), len(times)))
    )
    together = max(1, MOST_VALUES // held)
    for first in range(0, len(plan.pairs), together):
        some = replace(plan, pairs=plan.pairs[first : first + together])
        values = _values(some, inputs, needs, times, free=free)
        for pair in range(len(some.pairs)):
            for row, concentrations in enumerate(values[pair]):
                found.quantile[first + pair, :, row] = _quantiles(concentrations, quantiles)
                found.mean[first + pair, row] = concentrations.mean()
    return found


def _values(
    plan: Plan, inputs: Inputs, needs: Sequence[Need], times: Sequence[float], *, free: bool
) -> Floats:
    """All concentrations, (pair, time, profile); the order of the profiles does not matter to who asks."""
    values = np.empty((len(plan.pairs), len(times), plan.n_profiles))
    ends = [0] * len(plan.pairs)
    for block in plan.blocks(min(plan.n_draws, DIRECT_DRAWS), plan.n_subjects):
        given = load(inputs.values(block))
        given = given.load() if hasattr(given, "load") else given
        for here, exposures, fu, wanted in solved_passes(plan, block, given):
            for position, regimen in wanted:
                start = ends[position]
                ends[position] = start + here.n_draws * here.n_subjects
                part = values[position, :, start : ends[position]]
                part[:] = exposures.at_times(needs[regimen], times)
                if free:
                    part *= fu
                if np.isnan(part[-1].sum()):
                    refuse_unknown(plan, block, here, part[-1])
    return values


def _quantiles(values: Floats, quantiles: Sequence[float]) -> list[float]:
    """Quantiles by linear interpolation (Hyndman & Fan 1996, Am Stat 50:361, type 7); sorts the values, which is faster than to select."""
    values.sort()
    last = values.shape[0] - 1
    found = []
    for quantile in quantiles:
        at = quantile * last
        low = int(at)
        below, above = float(values[low]), float(values[min(low + 1, last)])
        found.append(below + (at - low) * (above - below))
    return found
