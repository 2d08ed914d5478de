"""A MIC as it is printed: on the scale of two-fold dilutions, and censored at its ends."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tdmx_dask.domain.units import number_text, parse_number, real, shortened
from tdmx_dask.errors import InputError

__all__ = ["Level", "dilution", "in_order", "read_level"]

_LEVEL = re.compile(r"\s*(<=|≤|=<|>=|≥|=>|<|>)?\s*([-+0-9.,eE]+)\s*(?:mg/L)?\s*", re.IGNORECASE)


def dilution(mic: float) -> int | None:
    """The power of two that a MIC stands for: the nearest integer to log2, where it is within 0.1 of it.

    Parameters
    ----------
    mic : mg/L, > 0

    Examples
    --------
    >>> dilution(0.03), dilution(0.016), dilution(8), dilution(3)
    (-5, -6, 3, None)
    """
    log2 = math.log2(real("mic", mic, "a MIC", unit="mg/L", gt=0))
    power = round(log2)
    return power if abs(log2 - power) <= 0.1 else None


@dataclass(frozen=True, slots=True)
class Level:
    """One column of a distribution: ``<=`` and a MIC counts at it, ``>`` and a MIC is above all tested.

    Parameters
    ----------
    sign : empty, ``<=`` or ``>``
    value : mg/L
    """

    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.sign}{number_text(self.value)}"

    def at_least(self, mic: float) -> bool:
        """Whether it is not below a MIC (mg/L), the same dilution included."""
        power = dilution(self.value)
        return self.value >= mic or (power is not None and power == dilution(mic))


def read_level(given: object) -> Level:
    """A MIC from a number or from ``0.25``, ``0,25``, ``<=0.25`` or ``>32``.

    Raises
    ------
    InputError
        No number > 0, or ``<`` and ``>=``, which leave open where the isolate counts.
    """
    if not isinstance(given, str):
        return Level("", real("mic", given, "a MIC", unit="mg/L", gt=0))
    match = _LEVEL.fullmatch(given)
    if match is None:
        raise InputError("mic", shortened(given), "this is not a MIC", "Write 0.25, <=0.25 or >32, in mg/L.")
    value = real("mic", parse_number(match[2], "mic"), "a MIC", unit="mg/L", gt=0)
    sign = {"≤": "<=", "=<": "<=", "≥": ">=", "=>": ">="}.get(match[1], match[1] or "")
    if sign == "<":
        fix = f"Write <={number_text(value / 2)} if that is the dilution below."
        raise InputError("mic", given.strip(), "below a MIC is not a dilution at which it could count", fix)
    if sign == ">=":
        fix = f"Write >{number_text(value / 2)} if that is the dilution below."
        raise InputError("mic", given.strip(), "from a MIC on is not above the highest one tested", fix)
    return Level(sign, value)


def in_order(mic: Sequence[float]) -> None:
    """Refuse MICs (mg/L) that do not ascend, or of which two are the same dilution."""
    for lower, upper in itertools.pairwise(mic):
        if (dilution(lower) is not None and dilution(lower) == dilution(upper)) or lower == upper:
            shown = f"{number_text(lower)}, {number_text(upper)}"
            raise InputError("mic", shown, "one dilution must not be there twice", "Add their weights.")
        if lower > upper:
            shown = f"{number_text(lower)}, {number_text(upper)}"
            raise InputError("mic", shown, "MICs must ascend", "Sort them with their weights.")
