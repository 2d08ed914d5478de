"""The MICs at which PTA is counted, as a list or as a range of doubling dilutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from tdmx_dask.errors import InputError

__all__ = ["MAX_MICS", "parse_mic_grid"]

MAX_MICS = 60


def parse_mic_grid(given: str | float | Sequence[float]) -> tuple[float, ...]:
    """Read a grid of MICs.

    Parameters
    ----------
    given : mg/L; ``"0.25..64"`` (doubling dilutions, with both ends), ``"0.5, 1, 2"``, or numbers

    Returns
    -------
    mg/L, ascending

    Raises
    ------
    InputError
        Not positive, not finite, given twice, none or more than 60, or a range that starts at no dilution.

    Examples
    --------
    >>> parse_mic_grid("0.25..4")
    (0.25, 0.5, 1.0, 2.0, 4.0)
    """
    if isinstance(given, str):
        low, dots, high = given.partition("..")
        if dots:
            return _doubling(given, low, high)
        values = [_number(given, part) for part in given.split(",")]
    elif isinstance(given, int | float):
        values = [float(given)]
    else:
        values = [float(value) for value in given]
    return _checked(values, given)


def _number(given: str, part: str) -> float:
    try:
        return float(part)
    except ValueError:
        raise InputError("mic", given, "MICs are numbers in mg/L", "Write 0.25..64, or 0.5, 1, 2.") from None


def _doubling(given: str, low: str, high: str) -> tuple[float, ...]:
    first, last = (_checked([_number(given, part)], given)[0] for part in (low, high))
    steps = [round(math.log2(end)) for end in (first, last)]
    for step, end in zip(steps, (first, last), strict=True):
        if abs(math.log2(end) - step) > 0.1:
            rule = f"a range runs over doubling dilutions (…, 0.5, 1, 2, …), and {end:g} mg/L is none"
            raise InputError("mic", given, rule, "List the MICs one by one.")
    if steps[1] < steps[0]:
        raise InputError("mic", given, "a range runs from the lower to the higher MIC", "Exchange its ends.")
    if steps[1] - steps[0] >= MAX_MICS:
        raise InputError("mic", given, f"at most {MAX_MICS} MICs are counted at once", "Narrow the range.")
    return tuple(2.0**step for step in range(steps[0], steps[1] + 1))


def _checked(values: list[float], given: object) -> tuple[float, ...]:
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise InputError("mic", value, "a MIC is a finite number above 0 mg/L", "Remove it.")
    if not values or len(values) > MAX_MICS:
        raise InputError("mic", given, f"1 to {MAX_MICS} MICs are counted at once", "Shorten the list.")
    ordered = sorted(values)
    for one, next_one in pairwise(ordered):
        if one == next_one:
            raise InputError("mic", one, "this MIC is given twice", "Keep one.")
    return tuple(ordered)
