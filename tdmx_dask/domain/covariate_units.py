"""Units of covariates: one spelling of each, and the factor between two that measure the same."""

from __future__ import annotations

from tdmx_dask.errors import InputError

__all__ = ["ABSOLUTE", "INDEXED", "canonical_unit", "conversion_factor"]

ABSOLUTE = "mL/min"
INDEXED = "mL/min/1.73m2"
"""A clearance per 1.73 m² of body surface: another quantity than one in mL/min, equal only where BSA = 1.73 m²."""

UMOL_PER_MG_DL = 88.4
"""µmol/L of creatinine (113.12 g/mol) in 1 mg/dL, as laboratories convert it."""

_FAMILIES: dict[str, dict[str, float]] = {
    "age": {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25, "days": 1 / 365.25},
    "weight": {"kg": 1.0, "g": 1e-3},
    "height": {"cm": 1.0, "m": 100.0},
    "creatinine": {"mg/dL": 1.0, "umol/L": 1 / UMOL_PER_MG_DL},
    "surface": {"m2": 1.0},
}
_SPELLINGS = {
    "year": "years", "yr": "years", "yrs": "years", "y": "years", "a": "years", "month": "months", "mo": "months",
    "week": "weeks", "wk": "weeks", "day": "days", "d": "days",
    "ml/min/1.73m**2": INDEXED, "ml/min/1.73": INDEXED, "ml/min/(1.73m2)": INDEXED, "ml/min*1.73m2": INDEXED,
    "micromol/l": "umol/L", "mcmol/l": "umol/L",
    "": "1", "-": "1", "none": "1", "fraction": "1", "ratio": "1",
}  # fmt: skip
_SPELLINGS |= {unit.lower(): unit for family in _FAMILIES.values() for unit in family}
_SPELLINGS |= {
    unit.lower(): unit
    for unit in (ABSOLUTE, INDEXED, "L/h", "g/L", "g/dL", "mg/L", "kg/m2", "1", "%", "female", "male")
}


def canonical_unit(text: str) -> str:
    """Return the one spelling of a unit; a unit that is not known here is returned as it was given.

    Examples
    --------
    >>> canonical_unit("ml/min/1.73 m²"), canonical_unit("µmol/l"), canonical_unit("IU/L")
    ('mL/min/1.73m2', 'umol/L', 'IU/L')
    """
    plain = "".join(text.split()).replace("µ", "u").replace("μ", "u").replace("²", "2").replace("^", "")
    return _SPELLINGS.get(plain.lower(), text.strip())


def conversion_factor(unit: str, wanted: str, name: str) -> float:
    """Return the number by which a value in one unit is multiplied to be in another.

    Parameters
    ----------
    unit, wanted : in their canonical spelling
    name : what has the unit, for complaints

    Raises
    ------
    InputError
        Where the two do not measure the same thing.

    Examples
    --------
    >>> round(conversion_factor("umol/L", "mg/dL", "SCR") * 88.4, 12)
    1.0
    """
    for family in _FAMILIES.values():
        if unit in family and wanted in family:
            return family[unit] / family[wanted]
    if unit == wanted:
        return 1.0
    others = next((list(family) for family in _FAMILIES.values() if wanted in family), [wanted])
    raise InputError(name, unit, f"its unit must be {' or '.join(others)}", "State the unit of its values.")
