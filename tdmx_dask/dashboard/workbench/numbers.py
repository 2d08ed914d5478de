"""Numbers as texts of a form."""

from __future__ import annotations

import re

from tdmx_dask.domain.units import NUMBER, shortened
from tdmx_dask.errors import InputError

__all__ = ["number_of", "whole_of"]

_LONGEST = 40


def number_of(name: str, text: str, what: str, fix: str = "Write it with a decimal point.") -> float:
    """A number.

    Parameters
    ----------
    name, what : for the complaint
    text : as it was typed
    fix : for the complaint

    Raises
    ------
    InputError
        It is none.
    """
    if len(text) > _LONGEST or not re.fullmatch(NUMBER, text.strip()):
        raise InputError(name, shortened(text.strip()), f"{what} is a number", fix)
    return float(text)


def whole_of(name: str, text: str, what: str) -> int:
    """A whole number, of any sign; its range is checked by whoever takes it.

    Parameters
    ----------
    name, what : for the complaint
    text : as it was typed

    Raises
    ------
    InputError
        It is none.
    """
    if len(text) > _LONGEST or not re.fullmatch(r"[+-]?\d+", text.strip()):
        raise InputError(name, shortened(text.strip()), f"{what} is a whole number", "Write it in digits.")
    return int(text)
