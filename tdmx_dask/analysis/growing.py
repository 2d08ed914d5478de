"""The PTA of what is counted so far, with the interval that it would have were there no more to come."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.summarise import Kind, summarise
from tdmx_dask.analysis.tally import Tally

__all__ = ["Growing", "so_far"]

Floats = NDArray[np.float64]


class Growing(NamedTuple):
    """PTA of each (pair, target, mic) so far.

    Attributes
    ----------
    pta, lower, upper : fractions; bounds are NaN where no interval can be given yet
    n : profiles that are counted in it
    kind : of the interval: credible, monte_carlo or none
    """

    pta: Floats
    lower: Floats
    upper: Floats
    n: int
    kind: str


def so_far(tally: Tally, interval: Kind, level: float, dependent: bool) -> Growing | None:
    """Summarise the counts so far.

    Of counts that are kept by draw, those draws enter of which equally many subjects are counted, as many profiles as that can be; where no
    draw has two subjects yet, and will have more, all counts enter, without an interval.

    Parameters
    ----------
    tally : some of whose blocks are done
    interval, level, dependent : as of `summarise`

    Returns
    -------
    None where nothing is counted yet. Once all is counted, the figures are those of `summarise`.
    """
    n = tally.n_profiles_done
    if not n:
        return None
    plan, counts = tally.plan, tally.n_attained
    part, size = counts, (plan.n_chains, plan.n_draws, plan.n_subjects)
    if not tally.done.all() and plan.per_draw:
        subjects = _subjects(tally)
        alike = _most_alike(subjects, least=min(2, plan.n_subjects))
        part = counts[:, :, :, subjects == alike][:, :, :, None]
        size = (1, part.shape[4], alike)
    elif not tally.done.all():
        size = (1, n, 1)
    if not size[2]:
        pta = counts.sum(axis=(3, 4), dtype=np.int64) / n
        unknown = np.full(pta.shape, np.nan)
        return Growing(pta, unknown, unknown, n, "none")
    smaller = replace(plan, n_chains=size[0], n_draws=size[1], n_subjects=size[2])
    found = summarise(smaller, part, interval, level, dependent)
    return Growing(found.pta, found.lower, found.upper, math.prod(size), found.kind)


def _most_alike(subjects: NDArray[np.int64], *, least: int) -> int:
    """The number of subjects, at least some, that most profiles belong to draws of; 0 where no draw has as many."""
    numbers, draws = np.unique(subjects[subjects >= least], return_counts=True)
    return int(numbers[np.argmax(numbers * draws)]) if len(numbers) else 0


def _subjects(tally: Tally) -> NDArray[np.int64]:
    """Subjects of each (chain, draw) that are counted."""
    counted = np.zeros((tally.plan.n_chains, tally.plan.n_draws), dtype=np.int64)
    for at in np.flatnonzero(tally.done).tolist():
        block = tally.blocks[at]
        counted[block.chain, block.start : block.stop] += block.subject_stop - block.subject_start
    return counted
