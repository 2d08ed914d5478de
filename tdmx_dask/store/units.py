"""Units of draws: how each may be spelled, and the factor from another unit to ours."""

from __future__ import annotations

from tdmx_dask.errors import InputError, SchemaError

__all__ = ["factor", "same_unit"]

# our unit -> {another unit: how many of ours one of it is}
_FACTORS: dict[str, dict[str, float]] = {
    "L/h": {
        "ml/h": 1e-3,
        "ml/min": 0.06,
        "l/min": 60.0,
        "l/day": 1 / 24,
        "ml/day": 1e-3 / 24,
        "ml/s": 3.6,
    },
    "L": {"ml": 1e-3, "dl": 0.1},
    "1/h": {"1/min": 60.0, "1/day": 1 / 24, "1/s": 3600.0},
    "h": {"min": 1 / 60, "day": 24.0, "s": 1 / 3600},
    "mg/h": {"mg/min": 60.0, "mg/day": 1 / 24, "g/h": 1e3, "g/day": 1e3 / 24, "ug/h": 1e-3},
    "mg/L": {"ug/ml": 1.0, "ng/ml": 1e-3, "ug/l": 1e-3, "mg/dl": 10.0, "g/l": 1e3},
    "kg": {"g": 1e-3},
    "1": {"%": 0.01, "percent": 0.01},
}
_SPELLINGS = {
    "l/hr": "l/h",
    "l/hour": "l/h",
    "lh-1": "l/h",
    "l.h-1": "l/h",
    "l/d": "l/day",
    "ml/d": "ml/day",
    "mg/d": "mg/day",
    "g/d": "g/day",
    "ml/hr": "ml/h",
    "mlmin-1": "ml/min",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "/h": "1/h",
    "h-1": "1/h",
    "1/hr": "1/h",
    "hr-1": "1/h",
    "/min": "1/min",
    "min-1": "1/min",
    "d": "day",
    "litre": "l",
    "liter": "l",
    "litres": "l",
    "liters": "l",
    "mcg/ml": "ug/ml",
    "": "1",
    "fraction": "1",
    "dimensionless": "1",
    "unitless": "1",
}
_PER_SIZE = ("/kg", "/1.73", "/m2", "/70kg")


def _plain(unit: str) -> str:
    text = unit.casefold().strip().strip("[]()")
    for old, new in (("µ", "u"), ("μ", "u"), ("⁻¹", "-1"), ("^", ""), ("·", ""), ("*", ""), (" ", "")):
        text = text.replace(old, new)
    return _SPELLINGS.get(text, text)


def same_unit(unit: str, ours: str) -> bool:
    """Whether `unit` is another spelling of `ours`.

    Examples
    --------
    >>> same_unit("l h^-1", "L/h"), same_unit("mL/min", "L/h")
    (True, False)
    """
    return _plain(unit) == _plain(ours)


def factor(name: str, unit: str, ours: str) -> float:
    """Return the number by which a value in `unit` is multiplied to be in `ours`.

    Parameters
    ----------
    name : the variable, for the message
    unit : the unit that the values have
    ours : the unit that they shall have

    Raises
    ------
    SchemaError
        The unit is not one of this quantity.

    Examples
    --------
    >>> factor("CL", "mL/min", "L/h")
    0.06
    """
    if same_unit(unit, ours):
        return 1.0
    if ours not in _FACTORS:
        raise InputError(
            f"units[{name}]", unit, f"the unit of {name} is {ours or 'not known'}", "Leave it out."
        )
    known = _FACTORS[ours]
    plain = _plain(unit)
    if plain not in known:
        fix = f"Known: {ours}, {', '.join(known)}."
        if any(part in plain for part in _PER_SIZE):
            fix = "Multiply by the patient's weight or body surface first."
        raise SchemaError(f"units[{name}]", unit, f"it is no unit of {name}, which is in {ours}", fix)
    return known[plain]
