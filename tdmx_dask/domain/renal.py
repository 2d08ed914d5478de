"""Renal function and body size by published equations.

Ages are in years, weights in kg, heights in cm, creatinine in mg/dL (IDMS-traceable where the equation was made for
it), ``female`` is 1 or 0. All arguments broadcast. A creatinine clearance in mL/min and a filtration rate in
mL/min/1.73 m² are different quantities: `absolute_clearance` and `indexed_clearance` convert by body surface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.domain.covariate_units import ABSOLUTE, INDEXED

__all__ = [
    "BSA_EQUATIONS",
    "EQUATIONS",
    "INPUT_UNITS",
    "WEIGHTS",
    "Equation",
    "absolute_clearance",
    "adjusted_weight",
    "bsa_dubois",
    "bsa_mosteller",
    "chosen_weight",
    "ckd_epi_2021",
    "cockcroft_gault",
    "ideal_weight",
    "indexed_clearance",
    "lean_weight",
    "mdrd",
]

Floats = NDArray[np.float64]

CM_PER_INCH = 2.54
REFERENCE_BSA = 1.73
"""Body surface to which filtration rates are indexed, m²."""


def _floats(*values: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.asarray(value, dtype=np.float64) for value in values)


def ideal_weight(height: ArrayLike, female: ArrayLike) -> Floats:
    """Ideal body weight of an adult, kg: 50 (45.5 in women) + 2.3 for each inch above 60.

    References
    ----------
    Devine 1974, Drug Intell Clin Pharm 8:650; its origin: Pai and Paloucek 2000, doi:10.1345/aph.19381.

    Examples
    --------
    >>> float(ideal_weight(60 * 2.54, 0)), float(ideal_weight(70 * 2.54, 1))
    (50.0, 68.5)
    """
    height, female = _floats(height, female)
    return np.asarray(50.0 - 4.5 * female + 2.3 * (height / CM_PER_INCH - 60.0))


def adjusted_weight(weight: ArrayLike, height: ArrayLike, female: ArrayLike) -> Floats:
    """Adjusted body weight, kg: ideal + 0.4 × (total - ideal).

    References
    ----------
    The factor 0.4 with Cockcroft-Gault: Winter et al. 2012, doi:10.1002/j.1875-9114.2012.01098.x.

    Examples
    --------
    >>> float(adjusted_weight(100, 60 * 2.54, 0))
    70.0
    """
    ideal = ideal_weight(height, female)
    return np.asarray(ideal + 0.4 * (np.asarray(weight, dtype=np.float64) - ideal))


def lean_weight(weight: ArrayLike, height: ArrayLike, female: ArrayLike) -> Floats:
    """Lean body weight, kg: 9270 WT / (6680 + 216 BMI), in women 9270 WT / (8780 + 244 BMI).

    References
    ----------
    Janmahasatian et al. 2005, doi:10.2165/00003088-200544100-00004.

    Examples
    --------
    >>> round(float(lean_weight(80, 200, 0)), 2)  # BMI 20: 741600 / 11000
    67.42
    """
    weight, height, female = _floats(weight, height, female)
    bmi = weight / (height / 100.0) ** 2
    return np.asarray(9270.0 * weight / (6680.0 + 2100.0 * female + (216.0 + 28.0 * female) * bmi))


def bsa_mosteller(weight: ArrayLike, height: ArrayLike) -> Floats:
    """Body surface area, m²: sqrt(HT × WT / 3600).

    References
    ----------
    Mosteller 1987, doi:10.1056/NEJM198710223171717.

    Examples
    --------
    >>> float(bsa_mosteller(80, 180))
    2.0
    """
    weight, height = _floats(weight, height)
    return np.asarray(np.sqrt(height * weight / 3600.0))


def bsa_dubois(weight: ArrayLike, height: ArrayLike) -> Floats:
    """Body surface area, m²: 0.007184 × WT^0.425 × HT^0.725.

    References
    ----------
    Du Bois and Du Bois 1916, doi:10.1001/archinte.1916.00080130010002.

    Examples
    --------
    >>> round(float(bsa_dubois(70, 170)), 2)
    1.81
    """
    weight, height = _floats(weight, height)
    return np.asarray(0.007184 * weight**0.425 * height**0.725)


def cockcroft_gault(age: ArrayLike, weight: ArrayLike, scr: ArrayLike, female: ArrayLike) -> Floats:
    """Creatinine clearance, mL/min: (140 - AGE) × WT / (72 × SCR), in women × 0.85.

    Parameters
    ----------
    age, scr, female : years, mg/dL, 1 or 0
    weight : kg; the total weight in the original: say which one is used

    References
    ----------
    Cockcroft and Gault 1976, doi:10.1159/000180580.

    Examples
    --------
    >>> float(cockcroft_gault(age=68, weight=72, scr=1.0, female=0))
    72.0
    """
    age, weight, scr, female = _floats(age, weight, scr, female)
    return np.asarray((140.0 - age) * weight / (72.0 * scr) * (1.0 - 0.15 * female))


def ckd_epi_2021(age: ArrayLike, scr: ArrayLike, female: ArrayLike) -> Floats:
    """Glomerular filtration rate, mL/min/1.73 m², by creatinine, without race.

    142 × min(SCR/κ, 1)^α × max(SCR/κ, 1)^-1.200 × 0.9938^AGE (women × 1.012), κ = 0.9 (0.7), α = -0.302 (-0.241).

    References
    ----------
    Inker et al. 2021, doi:10.1056/NEJMoa2102953, creatinine equation.

    Examples
    --------
    >>> round(float(ckd_epi_2021(age=55, scr=1.2, female=0)))
    71
    """
    age, scr, female = _floats(age, scr, female)
    ratio = scr / np.where(female == 1, 0.7, 0.9)
    below = np.minimum(ratio, 1.0) ** np.where(female == 1, -0.241, -0.302)
    return np.asarray(
        142.0 * below * np.maximum(ratio, 1.0) ** -1.2 * 0.9938**age * np.where(female == 1, 1.012, 1.0)
    )


def mdrd(age: ArrayLike, scr: ArrayLike, female: ArrayLike, *, race_factor: float = 1.0) -> Floats:
    """Glomerular filtration rate, mL/min/1.73 m²: 175 × SCR^-1.154 × AGE^-0.203, in women × 0.742.

    Parameters
    ----------
    age, scr, female : years, mg/dL (IDMS-traceable), 1 or 0
    race_factor : the original multiplies by 1.212 for Black patients; left out unless asked for

    References
    ----------
    Levey et al. 2006, doi:10.7326/0003-4819-145-4-200608150-00004, re-expressed four-variable equation.

    Examples
    --------
    >>> round(float(mdrd(age=55, scr=1.09, female=0)), 1)
    70.2
    """
    age, scr, female = _floats(age, scr, female)
    return np.asarray(175.0 * scr**-1.154 * age**-0.203 * np.where(female == 1, 0.742, 1.0) * race_factor)


def absolute_clearance(indexed: ArrayLike, bsa: ArrayLike) -> Floats:
    """Clearance in mL/min of one in mL/min/1.73 m²: × BSA / 1.73.

    Examples
    --------
    >>> float(absolute_clearance(100, 1.73))
    100.0
    """
    indexed, bsa = _floats(indexed, bsa)
    return np.asarray(indexed * bsa / REFERENCE_BSA)


def indexed_clearance(absolute: ArrayLike, bsa: ArrayLike) -> Floats:
    """Clearance in mL/min/1.73 m² of one in mL/min: × 1.73 / BSA."""
    absolute, bsa = _floats(absolute, bsa)
    return np.asarray(absolute * REFERENCE_BSA / bsa)


INPUT_UNITS = {"AGE": "years", "WT": "kg", "HT": "cm", "SCR": "mg/dL", "SEX": "female"}
"""Inputs of the equations by their usual names, and the unit in which each is taken; SEX is 1 for female."""

WEIGHTS = ("total", "ideal", "adjusted", "lean")
"""Weights that an equation can be given."""


@dataclass(frozen=True, slots=True)
class Equation:
    """A named equation that a covariate can be derived by.

    Parameters
    ----------
    name : as a study names it
    unit : of its result
    inputs : names of `INPUT_UNITS`; where ``weight`` is to be named, HT and SEX are added for all but the total one
    function : of the inputs by name
    names_weight : the weight that it takes must be named, one of `WEIGHTS`
    """

    name: str
    unit: str
    inputs: tuple[str, ...]
    function: Callable[[Mapping[str, Floats]], Floats]
    names_weight: bool = False

    @property
    def is_clearance(self) -> bool:
        """Whether the result can be converted by body surface."""
        return self.unit in {ABSOLUTE, INDEXED}


def chosen_weight(weight: str, values: Mapping[str, Floats]) -> Floats:
    """Weight of one of the kinds in `WEIGHTS`, kg, from WT, HT and SEX."""
    if weight == "total":
        return values["WT"]
    if weight == "ideal":
        return ideal_weight(values["HT"], values["SEX"])
    function = adjusted_weight if weight == "adjusted" else lean_weight
    return function(values["WT"], values["HT"], values["SEX"])


BSA_EQUATIONS = {"mosteller": bsa_mosteller, "dubois": bsa_dubois}
EQUATIONS = {
    each.name: each
    for each in (
        Equation(
            "cockcroft-gault",
            ABSOLUTE,
            ("AGE", "WT", "SCR", "SEX"),
            lambda v: cockcroft_gault(v["AGE"], v["WT"], v["SCR"], v["SEX"]),
            names_weight=True,
        ),
        Equation(
            "ckd-epi-2021",
            INDEXED,
            ("AGE", "SCR", "SEX"),
            lambda v: ckd_epi_2021(v["AGE"], v["SCR"], v["SEX"]),
        ),
        Equation("mdrd", INDEXED, ("AGE", "SCR", "SEX"), lambda v: mdrd(v["AGE"], v["SCR"], v["SEX"])),
        Equation("mosteller", "m2", ("WT", "HT"), lambda v: bsa_mosteller(v["WT"], v["HT"])),
        Equation("dubois", "m2", ("WT", "HT"), lambda v: bsa_dubois(v["WT"], v["HT"])),
        Equation("ideal-weight", "kg", ("HT", "SEX"), lambda v: ideal_weight(v["HT"], v["SEX"])),
        Equation(
            "adjusted-weight",
            "kg",
            ("WT", "HT", "SEX"),
            lambda v: adjusted_weight(v["WT"], v["HT"], v["SEX"]),
        ),
        Equation("lean-weight", "kg", ("WT", "HT", "SEX"), lambda v: lean_weight(v["WT"], v["HT"], v["SEX"])),
    )
}
"""Equations by the name that a study gives."""
