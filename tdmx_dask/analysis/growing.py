"""The PTA of what is counted so far, with the interval that it would have were there no more to come."""

from __future__ import annotations

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

    Of counts that are kept by draw, those draws enter whose subjects are all counted; where there is none, all counts, without an interval.

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
    if tally.done.all():
        part, n_draws, n_chains = counts, plan.n_draws, plan.n_chains
    elif not plan.per_draw:
        part, n_draws, n_chains = counts, n, 1
    else:
        whole = _subjects(tally) == plan.n_subjects
        part, n_draws, n_chains = counts[:, :, :, whole][:, :, :, None], int(whole.sum()), 1
    if not n_draws:
        pta = counts.sum(axis=(3, 4), dtype=np.int64) / n
        unknown = np.full(pta.shape, np.nan)
        return Growing(pta, unknown, unknown, n, "none")
    found = summarise(replace(plan, n_chains=n_chains, n_draws=n_draws), part, interval, level, dependent)
    return Growing(found.pta, found.lower, found.upper, n_draws * n_chains * plan.n_subjects, found.kind)


def _subjects(tally: Tally) -> NDArray[np.int64]:
    """Subjects of each (chain, draw) that are counted."""
    counted = np.zeros((tally.plan.n_chains, tally.plan.n_draws), dtype=np.int64)
    for at in np.flatnonzero(tally.done).tolist():
        block = tally.blocks[at]
        counted[block.chain, block.start : block.stop] += block.subject_stop - block.subject_start
    return counted
