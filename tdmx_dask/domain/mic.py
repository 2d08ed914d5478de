"""Distributions of minimum inhibitory concentrations, and how a MIC is matched to a dilution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = ["MICDistribution", "dilution", "match_mic"]


def dilution(mic: float) -> int | None:
    """The power of two that a MIC stands for: the nearest integer to log2, where it is within 0.1 of it.

    Examples
    --------
    >>> dilution(0.03), dilution(0.016), dilution(8), dilution(3)
    (-5, -6, 3, None)
    """
    log2 = math.log2(mic)
    nearest = round(log2)
    return nearest if abs(log2 - nearest) <= 0.1 else None


def match_mic(wanted: Sequence[float], counted: Sequence[float]) -> NDArray[np.intp]:
    """Where each wanted MIC is among those counted.

    The same value first, then the same dilution (EUCAST prints 0.03 for 2^-5).

    Parameters
    ----------
    wanted : (m,), mg/L
    counted : (n,), mg/L

    Returns
    -------
    (m,), indices into `counted`

    Raises
    ------
    InputError
        A wanted MIC was not counted.

    Examples
    --------
    >>> match_mic([0.03125, 3], [0.03, 2, 3]).tolist()
    [0, 2]
    """
    values = {float(mic): index for index, mic in reversed(list(enumerate(counted)))}
    by_dilution = {dilution(mic): index for mic, index in reversed(values.items())}
    found = []
    for mic in wanted:
        power = dilution(mic)
        index = values.get(float(mic), None if power is None else by_dilution.get(power))
        if index is None:
            known = ", ".join(f"{value:g}" for value in counted)
            raise InputError(
                "mic", f"{mic:g}", f"this MIC was not counted; counted are {known} mg/L", "Add it to mic."
            )
        found.append(index)
    return np.array(found, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class MICDistribution:
    """The share of isolates at each MIC.

    Parameters
    ----------
    organism : what tables print
    mic : (m,), mg/L, ascending, > 0; no dilution twice
    weight : (m,), fractions >= 0; with `above` they sum to 1
    above : weight of the isolates above the largest concentration tested (``>32``): they count as not attained
    n_isolates : number of isolates, if known
    censored : as printed, ``<=0.25`` (counts at 0.25) and ``>32``
    source : where it comes from
    illustrative : not from isolates: an example

    Raises
    ------
    InputError
        A weight is negative or no number, a dilution is there twice, there is no MIC, or all weights are 0.

    Warns
    -----
    TdmxWarning
        The weights do not sum to 1: they are normalised.
    """

    organism: str
    mic: tuple[float, ...]
    weight: tuple[float, ...]
    above: float = 0.0
    n_isolates: int | None = None
    censored: tuple[str, ...] = ()
    source: str = ""
    illustrative: bool = False

    @classmethod
    def parse(
        cls, text: str, *, organism: str = "isolates", source: str = "", illustrative: bool = False
    ) -> MICDistribution:
        """A distribution from ``0.25:0.1, 0.5:0.2``; whole numbers that exceed 1 in sum are counts."""
        raise NotImplementedError

    @classmethod
    def from_counts(
        cls,
        mic: Sequence[float | str],
        counts: Sequence[int],
        *,
        organism: str = "isolates",
        source: str = "",
        illustrative: bool = False,
    ) -> MICDistribution:
        """A distribution from numbers of isolates; a MIC may be censored, ``<=0.25`` or ``>32``."""
        raise NotImplementedError

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object] | str) -> MICDistribution:
        """A distribution from its text, or from keys."""
        raise NotImplementedError

    def to_mapping(self) -> dict[str, object]:
        """Plain values for YAML, JSON and attributes; `from_mapping` reads them back."""
        raise NotImplementedError

    @classmethod
    def read_csv(
        cls, path: str | Path, *, source: str | None = None, illustrative: bool = False
    ) -> tuple[MICDistribution, ...]:
        """Distributions from a long table (organism, mic, count or weight) or a EUCAST-style wide one."""
        raise NotImplementedError
