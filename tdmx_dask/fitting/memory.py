"""How much memory a batch of chains may need: a formula at first, then what earlier fits of the kind really used.

The formula was fitted to the peaks of stanli children (Linux, 3 to 1,016 columns, 5 to 400,000 data): a forked child has 40 MB; 4.2 MB of
JSON cost 34 MB more, as numbers and on the autodiff stack; draws and statistics of a chain are held twice (100,000 draws of 9 columns, 7.2
MB: +15 MB; 10,000 of 1,009, 81 MB: +164 MB), and once more while the next chain of the same child runs (+245 MB).

The learned model is the same law with coefficients that move from the formula's towards the records (ridge regression on relative errors),
times a quantile of the ratios of records to their prediction from all others (split conformal prediction, here by leaving one out).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = ["LEAST_MB", "MemoryEstimate", "MemoryRecord", "estimate_memory"]

Floats = NDArray[np.float64]

LEAST_MB = 50.0
"""The least that a batch asks for, MB (10^6 bytes)."""

QUANTILE = 0.95
"""Fits of the kind that are to stay within their estimate."""

FEWEST = 8
"""Records of a kind from which something is learned."""

LATEST = 500
"""Records of a kind that are looked at; older ones are forgotten."""

_FORMULA = {"stanli": (45.0, 10.0, 1.0), "cmdstan": (80.0, 20.0, 1.0)}
"""Coefficients of `MemoryRecord.law`: MB, MB a MB of JSON, MB a MB of draws held."""

_MARGIN = 1.3
"""Of the formula, for programs unlike those it was fitted to."""

_FORMULA_ERROR = 0.3
_PULL = 0.02
"""Weight of the formula against one record."""


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """What one batch asked of one child, and what the child's peak was; plain, to be kept as JSON.

    Parameters
    ----------
    program : digest
    engine : stanli or cmdstan
    data_bytes : of the data as JSON
    chains : that one child runs in turn, >= 1
    draws : kept, a chain; warm-up is not
    columns : of the output; the statistics of the sampler come on top
    peak_mb : largest resident memory of a child (`ChainResult.peak_mb`), MB (10^6 bytes); 0: to be estimated
    """

    program: str
    engine: str
    data_bytes: int
    chains: int
    draws: int
    columns: int
    peak_mb: float = 0.0

    @property
    def law(self) -> tuple[float, float, float]:
        """What the peak is linear in: 1, MB of data, MB of draws times how often they are held."""
        held = 2 if self.chains == 1 else 3
        return 1.0, self.data_bytes / 1e6, held * self.draws * (self.columns + 7) * 8 / 1e6


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a batch should ask for.

    Parameters
    ----------
    mb : MB (10^6 bytes) of all its children together
    basis : "formula", or which records it is from
    error : median relative error of single predictions, a fraction; of records left out in turn where it is learned
    n_records : that it was learned from
    """

    mb: float
    basis: str
    error: float
    n_records: int


def estimate_memory(
    asked: MemoryRecord, records: Sequence[MemoryRecord] = (), *, parallel: int = 1
) -> MemoryEstimate:
    """Estimate the memory of a batch.

    Parameters
    ----------
    asked : of one child
    records : of earlier fits of any kind, the latest last; those of the same program are taken where there are enough, else those of the
        same engine, else the formula
    parallel : children that run at the same time, >= 1

    Raises
    ------
    InputError
        A number out of range, an unknown engine.
    """
    _check(asked, parallel)
    kin = [record for record in records if record.engine == asked.engine and record.peak_mb > 0]
    same = [record for record in kin if record.program == asked.program]
    formula = _MARGIN * math.fsum(np.multiply(_FORMULA[asked.engine], asked.law))
    for found, basis in ((same, "records of this program"), (kin, f"records of {asked.engine}")):
        if len(found) >= FEWEST:
            found = found[-LATEST:]
            mb, error = _learned(asked, found)
            if _is_far(asked, found):
                mb = max(mb, formula)
            return MemoryEstimate(parallel * max(LEAST_MB, mb), f"{len(found)} {basis}", error, len(found))
    return MemoryEstimate(parallel * max(LEAST_MB, formula), "formula", _FORMULA_ERROR, 0)


def _is_far(asked: MemoryRecord, records: list[MemoryRecord]) -> bool:
    """Whether it is more than twice as large as any record, in data or in draws: then the formula is a floor."""
    return bool((np.array(asked.law) > 2 * np.max([record.law for record in records], axis=0)).any())


def _learned(asked: MemoryRecord, records: list[MemoryRecord]) -> tuple[float, float]:
    """Upper quantile of the peak, MB, and the median relative error."""
    prior = np.array(_FORMULA[asked.engine])
    peaks = np.array([record.peak_mb for record in records])
    laws = (
        np.array([record.law for record in records]) * prior / peaks[:, None]
    )  # in units of the formula's coefficients
    ratios = 1 / _left_out(laws)
    error = float(np.median(np.abs(1 / ratios - 1)))
    rank = math.ceil(
        (len(records) + 1) * QUANTILE
    )  # Lei et al. 2018, doi:10.1080/01621459.2017.1307116, eq. 4
    ordered = np.sort(ratios)
    upper = ordered[rank - 1] if rank <= len(ordered) else ordered[-1] * (1 + error)
    predicted = float(np.dot(np.array(asked.law) * prior, _coefficients(laws)))
    return predicted * float(upper), error


def _coefficients(laws: Floats) -> Floats:
    """Coefficients >= 0, in units of the formula's, that make `laws @ coefficients` near 1."""
    free = np.ones(laws.shape[1], bool)
    found = np.zeros(laws.shape[1])
    while free.any():
        a = laws[:, free]
        solved = np.linalg.solve(a.T @ a + _PULL * np.eye(a.shape[1]), a.sum(axis=0) + _PULL)
        if (solved >= 0).all():
            found[free] = solved
            break
        free[np.flatnonzero(free)[solved < 0]] = False
    return found


def _left_out(laws: Floats) -> Floats:
    """Prediction of each record, relative to its peak, from all others."""
    every = np.arange(len(laws))
    return np.array([max(1e-3, float(laws[i] @ _coefficients(laws[every != i]))) for i in every])


def _check(asked: MemoryRecord, parallel: int) -> None:
    if asked.engine not in _FORMULA:
        raise InputError("engine", asked.engine, "it is stanli or cmdstan", "Give one of the two.")
    numbers = {
        "data_bytes": (asked.data_bytes, 0),
        "chains": (asked.chains, 1),
        "draws": (asked.draws, 0),
        "columns": (asked.columns, 0),
        "parallel": (parallel, 1),
    }
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(name, value, f"a whole number >= {least}", f"For example {max(1, least)}.")
