"""A covariate as it was measured in one patient: a number with its unit, or a sex."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tdmx_dask.domain.covariate import SEXES, Covariate
from tdmx_dask.domain.covariate_units import ABSOLUTE, INDEXED, canonical_unit, conversion_factor
from tdmx_dask.domain.units import NUMBER, number_text, real, shortened
from tdmx_dask.errors import InputError

__all__ = ["Measurement"]

_TEXT = re.compile(rf"\s*({NUMBER})\s*([^\d\s,;].*?)?\s*")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value.

    Parameters
    ----------
    value : finite
    unit : in its canonical spelling; empty where it is that of the population; ``female`` or ``male`` where it is 1 for that sex

    Examples
    --------
    >>> Measurement.read("CCr", "75 ml/min")
    Measurement(value=75.0, unit='mL/min')
    >>> weight = Measurement.read("WT", "3200 g").as_covariate(Covariate("WT", "kg"))
    >>> weight, Measurement.read("SEX", "male").as_covariate(Covariate("SEX", "female"))
    (3.2, 0.0)
    """

    value: float
    unit: str = ""

    @classmethod
    def read(cls, name: str, given: object) -> Measurement:
        """A measurement from a number, a text with its unit, or a sex.

        Raises
        ------
        InputError
            Neither of these, or not finite.
        """
        if isinstance(given, Measurement):
            return given
        if isinstance(given, str):
            word = given.strip().lower()
            if word in SEXES:
                return cls(1.0, word)
            match = _TEXT.fullmatch(given)
            if match is None:
                fix = "Write 75, '75 mL/min' or female, with a decimal point."
                raise InputError(name, shortened(given), "this is no value of a covariate", fix)
            number = real(name, float(match[1]), "a covariate", fix="Give a number.")
            return cls(number, canonical_unit(match[2]) if match[2] else "")
        return cls(real(name, given, "a covariate", fix="Give a number, or a text with its unit."))

    def plain(self) -> float | str:
        """The value as `read` takes it."""
        if self.unit in SEXES and self.value == 1.0:
            return self.unit
        return f"{number_text(self.value)} {self.unit}" if self.unit else self.value

    def as_covariate(self, covariate: Covariate) -> float:
        """The value in a covariate's own unit.

        Raises
        ------
        InputError
            The two units do not measure the same; a sex that is neither 0 nor 1.
        """
        sex = covariate.unit in SEXES
        if sex and self.value not in (0.0, 1.0):
            rule = f"1 is {covariate.unit} and 0 is not; no other"
            raise InputError(covariate.name, number_text(self.value), rule, "Write female or male.")
        if self.unit == covariate.unit or not self.unit:
            return self.value
        if sex and self.unit in SEXES:
            return 1.0 - self.value
        if {self.unit, covariate.unit} == {ABSOLUTE, INDEXED}:
            rule = f"the population takes {covariate.unit}, another quantity"
            fix = "Convert it by the patient's body surface: per 1.73 m² = absolute × 1.73 / BSA."
            raise InputError(covariate.name, str(self.plain()), rule, fix)
        return self.value * conversion_factor(self.unit, covariate.unit, covariate.name)
