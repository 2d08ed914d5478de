"""Numbers as people write them: checked, with their unit, and printed so that they read back bit for bit.

Everything inside is mg, h, mg/L and fractions; only the text at the edge says ``2 g``, ``30min`` or ``50%``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Integral, Real

from tdmx_dask.errors import InputError

__all__ = [
    "NUMBER",
    "fraction_text",
    "hours_text",
    "known_keys",
    "nearest",
    "number_text",
    "parse_dose",
    "parse_fraction",
    "parse_hours",
    "parse_number",
    "real",
    "shortened",
    "whole",
]

NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
"""A decimal number as text; no thousands separators, no decimal comma."""

HOURS: Mapping[str, float] = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("d", "day", "days"), 24.0),
}
MILLIGRAMS: Mapping[str, int] = {"mg": 0, "g": 3, "mcg": -3, "ug": -3, "µg": -3, "μg": -3}  # powers of ten


def shortened(text: str, most: int = 200) -> str:
    """A text on one line, cut where an error would print pages of it."""
    plain = " ".join(text.split())
    return plain if len(plain) <= most else f"{plain[:most]}…"


def nearest(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'load'? `` where one known word is close, otherwise an empty text."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:40], list(by_lower), n=1, cutoff=0.5)
    return f"Did you mean '{by_lower[close[0]]}'? " if close else ""


def known_keys(name: str, mapping: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse a key that is not known.

    Raises
    ------
    InputError
        For the first unknown key, naming the nearest known one.
    """
    known = tuple(known)
    for key in mapping:
        if key not in known:
            fix = f"{nearest(str(key), known)}Known keys: {', '.join(known)}."
            raise InputError(name, key, "this key is not known", fix)


def real(
    name: str,
    value: object,
    what: str,
    *,
    unit: str = "",
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    fix: str = "",
) -> float:
    """The value as a finite float inside its bounds; a bool or a text is no number.

    Parameters
    ----------
    name : the argument, as the error names it
    value : what was given
    what : the noun that the rule speaks of, ``a dose``
    unit : printed behind the bounds
    gt, ge, le : bounds, the first exclusive
    fix : what to do, one sentence

    Raises
    ------
    InputError
        Not a number, not finite, or outside.

    Examples
    --------
    >>> real("dose", 1000, "a dose", unit="mg", gt=0)
    1000.0
    """
    bounds = [
        f"{sign} {number_text(bound)}"
        for sign, bound in ((">", gt), (">=", ge), ("<=", le))
        if bound is not None
    ]
    rule = " ".join(f"{what} must be a finite number {' and '.join(bounds)} {unit}".split())
    shown = number_text(value) if isinstance(value, float) else value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(name, shown, rule, fix)
    try:
        number = float(value) + 0.0  # -0.0 becomes 0.0
    except OverflowError:
        raise InputError(name, shown, rule, fix) from None
    low = (gt is None or number > gt) and (ge is None or number >= ge)
    if not (math.isfinite(number) and low and (le is None or number <= le)):
        raise InputError(name, shown, rule, fix)
    return number


def whole(name: str, value: object, what: str, *, ge: int = 1, fix: str = "") -> int:
    """The value as an int that is at least `ge`.

    Raises
    ------
    InputError
        Not a whole number (``6.0`` is not one), a bool, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < ge:
        raise InputError(name, value, f"{what} must be a whole number >= {ge}", fix)
    return int(value)


def number_text(value: float) -> str:
    """The shortest text that reads back as the same float: ``1000``, ``0.5``, ``1e-07``."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def hours_text(hours: float) -> str:
    """A duration that reads back as the same float, in minutes where that is shorter.

    Examples
    --------
    >>> hours_text(0.5), hours_text(40 / 60)
    ('0.5h', '40min')
    """
    plain = number_text(hours)
    if len(plain) > 6 and math.isfinite(hours * 60):
        minutes = number_text(round(hours * 60, 6))
        if len(minutes) < len(plain) and float(minutes) / 60 == hours:
            return f"{minutes}min"
    return f"{plain}h"


def fraction_text(fraction: float) -> str:
    """A fraction as a percentage that reads back as the same float.

    Examples
    --------
    >>> fraction_text(0.5), fraction_text(0.07)
    ('50%', '7%')
    """
    percent = Decimal(repr(float(fraction))).scaleb(2).normalize()
    return f"{percent:f}%" if percent.adjusted() >= -6 else f"{percent}%"


def parse_hours(text: str, name: str = "time") -> float:
    """Hours from ``3h``, ``0.5 h``, ``30min`` or ``2d``; the unit must be there.

    Examples
    --------
    >>> parse_hours("30min"), parse_hours("2d")
    (0.5, 48.0)
    """
    match = re.fullmatch(rf"\s*({NUMBER})\s*([a-zA-Z]*)\s*", text)
    if match is None:
        raise InputError(
            name, text, "a time must be a number with its unit, h or min", "For example 3h or 30min."
        )
    number, unit = float(match[1]), match[2].lower()
    if unit == "":
        raise InputError(
            name, text, "a time needs its unit, h or min", f"Write {match[1]}h or {match[1]}min."
        )
    if unit not in HOURS:
        rule = f"'{match[2]}' is not a unit of time"
        raise InputError(name, shortened(text), rule, f"{nearest(unit, HOURS)}Write h, min or d, as in 3h.")
    return number / 60 if unit.startswith("m") else number * HOURS[unit]


def parse_dose(text: str, name: str = "dose") -> tuple[float, bool]:
    """An amount in mg, or in mg/kg with True, from ``1000 mg``, ``2 g`` or ``15 mg/kg``.

    Examples
    --------
    >>> parse_dose("2 g"), parse_dose("15 mg/kg")
    ((2000.0, False), (15.0, True))
    """
    match = re.fullmatch(rf"\s*({NUMBER})\s*([a-zA-Zµμ]*)\s*(/\s*kg)?\s*", text)
    if match is None:
        raise InputError(
            name, text, "a dose must be a number with its unit", "For example 1000 mg, 2 g or 15 mg/kg."
        )
    unit = match[2].lower()
    if unit not in MILLIGRAMS:
        rule = f"'{match[2]}' is not a unit of a dose" if unit else "a dose needs its unit"
        raise InputError(
            name, shortened(text), rule, f"{nearest(unit, MILLIGRAMS)}Write mg, g or mg/kg, as in 1000 mg."
        )
    amount = float(match[1])
    if amount and math.isfinite(amount):
        amount = float(Decimal(match[1]).scaleb(MILLIGRAMS[unit]))
    return amount, match[3] is not None


def parse_fraction(text: str, name: str = "fraction") -> float:
    """A fraction in (0, 1] from ``50%`` or ``0.5``.

    Examples
    --------
    >>> parse_fraction("50%"), parse_fraction("0.5")
    (0.5, 0.5)
    """
    match = re.fullmatch(rf"\s*({NUMBER})\s*(%?)\s*", text)
    fix = "Write 50% or 0.5."
    if match is None:
        raise InputError(
            name, shortened(text), "a fraction must be a number in (0, 1], or a percentage up to 100%", fix
        )
    number = float(match[1])
    if match[2]:
        if not 0 < number <= 100:
            raise InputError(name, shortened(text), "a percentage must be > 0% and <= 100%", fix)
        return float(Decimal(match[1]).scaleb(-2))
    if number > 1:
        fix = f"Write {match[1]}% or {number_text(number / 100)}." if number <= 100 else fix
    return real(name, number, "a fraction", gt=0, le=1, fix=fix)


def parse_number(text: str, name: str) -> float:
    """A number from ``0.25``, ``0,25``, ``10%`` (0.1) or ``1e-3``.

    Raises
    ------
    InputError
        No number, or a comma that could separate thousands (``1,000``).

    Examples
    --------
    >>> parse_number("0,25", "mic"), parse_number("10%", "weight")
    (0.25, 0.1)
    """
    plain = text.strip()
    if re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", plain):
        rule = "a comma before three digits can mean two things"
        raise InputError(
            name, shortened(plain), rule, f"Write {plain.replace(',', '.')} or {plain.replace(',', '')}."
        )
    plain = re.sub(r"^(\d*),(\d+)(?=\s*%?$)", r"\1.\2", plain)
    match = re.fullmatch(rf"({NUMBER})\s*(%?)", plain)
    if match is None:
        raise InputError(name, shortened(text), "this is not a number", "Write it as in 0.25.")
    number = float(match[1])
    return float(Decimal(match[1]).scaleb(-2)) if match[2] and math.isfinite(number) else number
