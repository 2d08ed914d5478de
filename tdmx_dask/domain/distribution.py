"""Distributions that a covariate of virtual patients can follow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.section import Item, Section
from tdmx_dask.domain.variability import LARGEST, omega_of_cv, read_fraction
from tdmx_dask.errors import InputError, TdmxWarning

__all__ = ["KINDS", "Distribution"]

Floats = NDArray[np.float64]
KINDS = ("normal", "lognormal", "uniform", "discrete")

_LEAST_MASS = 1e-6


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution, drawn by its inverse from one uniform number a patient.

    Parameters
    ----------
    kind : normal, lognormal, uniform or discrete
    location : mean of a normal; median of a lognormal
    scale : SD of a normal; SD of the log of a lognormal
    low, high : bounds of a uniform; where a normal or lognormal is cut off and renormalised (not clamped: no value
        is moved to a bound), infinite where it is not
    values, weights : of a discrete one; weights sum to 1
    """

    kind: Literal["normal", "lognormal", "uniform", "discrete"]
    location: float = 0.0
    scale: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    values: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError("low", f"{self.low:g}", f"it must be below high={self.high:g}", "Swap the two.")
        if self.kind in {"normal", "lognormal"}:
            self._check_continuous()
        elif self.kind == "uniform" and not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InputError(
                "uniform", f"{self.low:g}..{self.high:g}", "its bounds must be finite", "Give both."
            )
        elif self.kind == "discrete":
            self._check_discrete()

    def _check_continuous(self) -> None:
        name = "sd" if self.kind == "normal" else "omega"
        if not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.location)):
            raise InputError(
                name, f"{self.scale:g}", "the spread must be above 0", "Use value: for a fixed one."
            )
        if self.kind == "lognormal" and not self.location > 0:
            raise InputError(
                "median", f"{self.location:g}", "the median of a lognormal must be above 0", "Mend it."
            )
        if math.isfinite(self.low) or math.isfinite(self.high):
            mass = self._tails()[1] - self._tails()[0]
            if mass < _LEAST_MASS:
                kept = f"{self.low:g}..{self.high:g}"
                raise InputError("low..high", kept, "the bounds leave almost nothing of it", "Widen them.")

    def _check_discrete(self) -> None:
        if not self.values or len(self.values) != len(self.weights):
            counts = f"{len(self.values)} and {len(self.weights)}"
            raise InputError("discrete", counts, "it needs as many weights as values", "Give one for each.")
        if not all(map(math.isfinite, self.values)) or len(set(self.values)) < len(self.values):
            raise InputError("values", self.values, "values must be finite and differ", "Keep one of each.")
        if not all(0 <= weight <= 1 for weight in self.weights) or abs(sum(self.weights) - 1) > 1e-9:
            raise InputError(
                "weights", self.weights, "weights are at least 0 and sum to 1", "Normalise them."
            )

    def quantile(self, uniform: Floats) -> Floats:
        """Return the values below which given fractions of patients are.

        Parameters
        ----------
        uniform : any shape, in the open interval (0, 1)

        Returns
        -------
        the same shape, within [low, high], ascending in ``uniform``

        Examples
        --------
        >>> Distribution("uniform", low=20.0, high=40.0).quantile(np.array([0.5]))
        array([30.])
        """
        if self.kind == "uniform":
            return self.low + uniform * (self.high - self.low)
        if self.kind == "discrete":
            edges = np.cumsum(self.weights)[:-1]
            return np.asarray(self.values)[np.searchsorted(edges, uniform, side="right")]
        return self._continuous(uniform)

    def _standard(self, bound: float) -> float:
        """Bound on the scale of a standard normal."""
        if self.kind == "normal":
            return (bound - self.location) / self.scale
        return (math.log(bound) - math.log(self.location)) / self.scale if bound > 0 else -math.inf

    def _tails(self) -> tuple[float, float, float]:
        """Fractions below the bounds, and the sign: -1 counts from above, where a tail is counted precisely."""
        low, high = self._standard(self.low), self._standard(self.high)
        sign = -1.0 if low > 0 else 1.0
        if sign < 0:
            low, high = -high, -low
        return 0.5 * math.erfc(-low / math.sqrt(2)), 0.5 * math.erfc(-high / math.sqrt(2)), sign

    def _continuous(self, uniform: Floats) -> Floats:
        from scipy.special import ndtri

        below, within, sign = self._tails()
        if sign < 0:  # counted from above: keep the values ascending
            uniform = 1.0 - uniform
        normal = sign * ndtri(below + uniform * (within - below))
        value = (
            self.location + self.scale * normal
            if self.kind == "normal"
            else self.location * np.exp(self.scale * normal)
        )
        return np.clip(value, self.low, self.high)  # the last bits of a rounded inverse, no more

    @classmethod
    def from_item(cls, kind: str, item: Item, code: Callable[[Item], float]) -> Distribution:
        """Read the mapping under ``normal:``, ``lognormal:``, ``uniform:`` or ``discrete:``.

        Parameters
        ----------
        kind : one of `KINDS`
        item : the mapping
        code : turns a value that may be a label (female) into its number
        """
        section = item.section()
        reader = {"normal": _normal, "lognormal": _lognormal, "uniform": _uniform}
        fields = _discrete(section, code) if kind == "discrete" else reader[kind](section)
        with item.naming():
            return cls(kind, **fields)  # type: ignore[arg-type]

    def to_mapping(self) -> dict[str, object]:
        """Return what `from_item` reads, with the kind as its key."""
        bounds = {"low": self.low, "high": self.high}
        finite: dict[str, object] = {key: bound for key, bound in bounds.items() if math.isfinite(bound)}
        if self.kind == "normal":
            return {"normal": {"mean": self.location, "sd": self.scale, **finite}}
        if self.kind == "lognormal":
            return {"lognormal": {"median": self.location, "omega": self.scale, **finite}}
        if self.kind == "uniform":
            return {"uniform": finite}
        return {"discrete": {"values": list(self.values), "weights": list(self.weights)}}


def _bounds(section: Section) -> dict[str, Any]:
    return {key: section.number(key) for key in ("low", "high") if key in section}


def _normal(section: Section) -> dict[str, Any]:
    section.only("mean", "sd", "cv", "low", "high")
    mean = section.number("mean")
    if ("sd" in section) == ("cv" in section):
        section.item.fail("a normal has a mean and its sd or cv", "Give one of the two.")
    sd = section.number("sd") if "sd" in section else read_fraction(section.at("cv"), LARGEST) * abs(mean)
    return {"location": mean, "scale": sd, **_bounds(section)}


def _lognormal(section: Section) -> dict[str, Any]:
    section.only("median", "omega", "mean", "sd", "cv", "low", "high")
    forms = {"median": ("omega", "cv"), "mean": ("sd", "cv")}
    given = [(key, spread) for key in forms for spread in forms[key] if key in section and spread in section]
    if len(given) != 1 or len([key for key in section if key not in ("low", "high")]) != 2:
        fix = "Give median with omega or cv, or mean with sd or cv."
        section.item.fail("a lognormal has a middle and a spread", fix)
    (key, spread) = given[0]
    center = section.number(key)
    if not center > 0:
        section.at(key).fail("the middle of a lognormal must be above 0")
    if spread == "omega":
        omega = read_fraction(section.at(spread), LARGEST)
    elif spread == "sd":
        omega = omega_of_cv(section.number(spread, low=0.0) / center)
    else:
        omega = omega_of_cv(read_fraction(section.at(spread), LARGEST))
    median = center if key == "median" else center * math.exp(-0.5 * omega**2)
    return {"location": median, "scale": omega, **_bounds(section)}


def _uniform(section: Section) -> dict[str, Any]:
    section.only("low", "high")
    return {"low": section.number("low"), "high": section.number("high")}


def _discrete(section: Section, code: Callable[[Item], float]) -> dict[str, Any]:
    section.only("values", "weights")
    values = tuple(code(item) for item in section.items("values"))
    if "weights" not in section:
        return {"values": values, "weights": (1 / len(values),) * len(values)}
    weights = [item.number(low=0.0) for item in section.items("weights")]
    total = math.fsum(weights)
    if not total > 0:
        section.at("weights").fail("at least one weight must be above 0")
    if abs(total - 1) > 1e-6:
        text = f"{section.item.path}.weights sum to {total:g}, not to 1: they were divided by their sum"
        warnings.warn(text, TdmxWarning, stacklevel=2)
    return {"values": values, "weights": tuple(weight / total for weight in weights)}
