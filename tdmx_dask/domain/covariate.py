"""Covariates of virtual patients: fixed, distributed, or derived by a named equation or a formula."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.covariate_units import ABSOLUTE, INDEXED, canonical_unit, conversion_factor
from tdmx_dask.domain.distribution import KINDS, Distribution
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.formula import check_name
from tdmx_dask.domain.renal import (
    BSA_EQUATIONS,
    EQUATIONS,
    INPUT_UNITS,
    WEIGHTS,
    absolute_clearance,
    chosen_weight,
    indexed_clearance,
)
from tdmx_dask.domain.section import Item, Section, nearest
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.random import PURPOSE_COVARIATE

__all__ = ["SEXES", "Covariate", "Derivation", "in_order"]

Floats = NDArray[np.float64]

SEXES = ("female", "male")
"""Units of a covariate that is 1 for that sex and 0 for the other."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """A covariate computed from others by a published equation.

    Parameters
    ----------
    equation : a name of `renal.EQUATIONS`
    weight : the weight that it is given (total, ideal, adjusted, lean), where it takes one; never assumed
    bsa : mosteller or dubois, to turn mL/min into mL/min/1.73 m² or back by each patient's own body surface
    inputs : usual name of an input (AGE, WT, HT, SCR, SEX) -> the covariate that gives it, where the names differ
    """

    equation: str
    weight: str | None = None
    bsa: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.equation not in EQUATIONS:
            fix = nearest(self.equation, list(EQUATIONS))
            raise InputError("equation", self.equation, "there is no equation of this name", fix)
        takes_weight = EQUATIONS[self.equation].names_weight
        if takes_weight and self.weight is None:
            rule = f"{self.equation} needs to know which weight it is given"
            raise InputError("weight", None, rule, "Write weight: total (or ideal, adjusted, lean).")
        if self.weight is not None and (not takes_weight or self.weight not in WEIGHTS):
            rule = (
                f"one of {', '.join(WEIGHTS)}"
                if takes_weight
                else f"{self.equation} takes no choice of weight"
            )
            raise InputError("weight", self.weight, rule, "Choose one." if takes_weight else "Remove it.")
        if self.bsa is not None and self.bsa not in BSA_EQUATIONS:
            fix = nearest(self.bsa, list(BSA_EQUATIONS))
            raise InputError("bsa", self.bsa, "body surface is by mosteller or dubois", fix)
        for usual, _ in self.inputs:
            if usual not in self.usual_names:
                rule = f"{self.equation} is computed from {', '.join(self.usual_names)}"
                raise InputError("inputs", usual, rule, nearest(usual, list(self.usual_names)))

    @property
    def usual_names(self) -> tuple[str, ...]:
        """Usual names of the inputs, those of the weight and the body surface included."""
        names = dict.fromkeys(EQUATIONS[self.equation].inputs)
        if self.weight is not None and self.weight != "total":
            names |= dict.fromkeys(("HT", "SEX"))
        if self.bsa is not None:
            names |= dict.fromkeys(("WT", "HT"))
        return tuple(name for name in names if name != "WT" or self.weight != "ideal" or self.bsa is not None)

    @property
    def sources(self) -> dict[str, str]:
        """Usual name of each input -> covariate that gives it."""
        return {name: dict(self.inputs).get(name, name) for name in self.usual_names}

    def check_unit(self, unit: str) -> None:
        """Refuse a unit that the result does not have and no conversion gives."""
        equation = EQUATIONS[self.equation]
        converts = equation.is_clearance and unit in {ABSOLUTE, INDEXED} and unit != equation.unit
        if converts and self.bsa is None:
            rule = f"{self.equation} gives {equation.unit}, another quantity"
            fix = f"Write bsa: mosteller (or dubois), or state unit: {equation.unit} if the model was made with it."
            raise InputError("unit", unit, rule, fix)
        if self.bsa is not None and not converts:
            rule = f"{self.equation} gives {equation.unit}, so nothing is converted to {unit}"
            raise InputError("bsa", self.bsa, rule, "Remove it, or mend the unit.")
        if not converts:
            conversion_factor(equation.unit, unit, "unit")

    def evaluate(self, unit: str, values: Mapping[str, Floats], units: Mapping[str, str]) -> Floats:
        """Return the covariate from its sources, each converted from its own unit to the equation's."""
        equation = EQUATIONS[self.equation]
        inputs = {
            usual: _converted(usual, name, values[name], units[name]) for usual, name in self.sources.items()
        }
        given = dict(inputs)
        if self.weight is not None:
            given["WT"] = chosen_weight(self.weight, inputs)
        with np.errstate(all="ignore"):
            result = equation.function(given)
        if self.bsa is not None:
            surface = BSA_EQUATIONS[self.bsa](inputs["WT"], inputs["HT"])
            return (absolute_clearance if unit == ABSOLUTE else indexed_clearance)(result, surface)
        return result * conversion_factor(equation.unit, unit, "unit")


def _converted(usual: str, name: str, value: Floats, unit: str) -> Floats:
    """An input in the unit of the equations; refused where it is not above 0, or SEX neither 0 nor 1."""
    if usual == "SEX":
        wrong = (value != 0) & (value != 1)
        if wrong.any():
            raise InputError(name, f"{value[wrong].flat[0]:g}", f"1 is {unit} and 0 is not; no other", "")
        return 1.0 - value if unit == "male" else value
    if not (value > 0).all():
        bad = value[~(value > 0)].flat[0]
        raise InputError(name, f"{bad:g}", f"it must be above 0 {unit}", "Bound its distribution by low:.")
    factor = conversion_factor(unit, INPUT_UNITS[usual], name)
    return value if factor == 1.0 else value * factor


@dataclass(frozen=True, slots=True)
class Covariate:
    """One covariate of a population.

    Parameters
    ----------
    name : as formulas use it
    unit : of its values; ``1`` where it has none; ``female`` or ``male`` where it is 1 for that sex and 0 otherwise
    rule : where its values come from: a number, a distribution, an equation, a formula of other covariates, or None
        where each scenario (or the draws) must give it
    """

    name: str
    unit: str
    rule: float | Distribution | Derivation | Expression | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "covariates")
        if isinstance(self.rule, float) and not np.isfinite(self.rule):
            raise InputError(self.name, self.rule, "a value must be finite", "Give a number.")
        if isinstance(self.rule, Derivation):
            self.rule.check_unit(self.unit)

    @property
    def is_drawn(self) -> bool:
        """Whether each patient has a value of their own, drawn."""
        return isinstance(self.rule, Distribution)

    @property
    def sources(self) -> tuple[str, ...]:
        """Covariates that it is derived from."""
        if isinstance(self.rule, Derivation):
            return tuple(self.rule.sources.values())
        return self.rule.names if isinstance(self.rule, Expression) else ()

    @property
    def purpose(self) -> int:
        """Word that names its stream of random numbers: by its name, so that no other covariate moves it."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=7).digest()
        return int.from_bytes(digest, "little") << 8 | PURPOSE_COVARIATE

    def coded(self, value: object) -> float:
        """Return a value as a number; female and male are coded where the unit is one of them."""
        if isinstance(value, str) and self.unit in SEXES and value.strip().lower() in SEXES:
            return float(value.strip().lower() == self.unit)
        return Item(value, self.name).number()

    def derived(self, values: Mapping[str, Floats], units: Mapping[str, str]) -> Floats:
        """Return the values of a derived covariate.

        Parameters
        ----------
        values, units : of its sources, by name; shapes broadcast

        Raises
        ------
        InputError
            Where a result is not finite, or an equation's is not above 0; the sources' values are named.
        """
        if isinstance(self.rule, Derivation):
            result = self.rule.evaluate(self.unit, values, units)
            right = np.isfinite(result) & (result > 0)
            rule = f"{self.rule.equation} must give a value above 0 {self.unit}"
        elif isinstance(self.rule, Expression):
            result = self.rule.evaluate(values)
            right = np.isfinite(result)
            rule = f"{self.rule} must be finite"
        else:
            raise TypeError(f"{self.name} is not derived")
        if not right.all():
            first = int(np.argmin(right))
            given = [
                f"{name}={np.broadcast_to(values[name], right.shape).flat[first]:g}" for name in self.sources
            ]
            fix = f"Bound what it comes from ({', '.join(given)})."
            raise InputError(self.name, f"{result.flat[first]:g}", rule, fix)
        return result

    @classmethod
    def from_item(cls, name: str, item: Item) -> Covariate:
        """Read one covariate: its ``unit`` and at most one of value, a distribution, equation or expression."""
        check_name(name, item.path.removesuffix(f".{name}") or "covariates")
        if not isinstance(item.value, Mapping):
            item.fail("a covariate states its unit and its value", "Write {unit: kg, value: 70}.")
        section = item.section().only(
            "unit", "value", *KINDS, "equation", "weight", "bsa", "inputs", "expression"
        )
        if "unit" not in section:
            fix = "Write unit: kg (or years, mg/dL, mL/min, mL/min/1.73m2, female, 1 ...)."
            item.fail("every covariate states its unit", fix)
        blank = cls(name, canonical_unit(section.text("unit")))
        given = [key for key in ("value", *KINDS, "equation", "expression") if key in section]
        if len(given) > 1:
            item.fail(f"{' and '.join(given)} are two sources of one covariate", "Keep one.")
        rule = _read_rule(section, given[0], blank) if given else None
        for key in ("weight", "bsa", "inputs"):
            if key in section and given != ["equation"]:
                section.at(key).fail(
                    "it belongs to an equation", "Write equation: cockcroft-gault, or remove it."
                )
        with item.naming():
            return cls(name, blank.unit, rule)

    def to_mapping(self) -> dict[str, object]:
        """Return the mapping that `from_item` reads."""
        mapping: dict[str, object] = {"unit": self.unit}
        match self.rule:
            case float():
                mapping["value"] = self.rule
            case Distribution():
                mapping |= self.rule.to_mapping()
            case Expression():
                mapping["expression"] = str(self.rule)
            case Derivation():
                options = {"equation": self.rule.equation, "weight": self.rule.weight, "bsa": self.rule.bsa}
                mapping |= {key: option for key, option in options.items() if option is not None}
                mapping |= {"inputs": dict(self.rule.inputs)} if self.rule.inputs else {}
        return mapping


def _read_rule(
    section: Section, key: str, blank: Covariate
) -> float | Distribution | Derivation | Expression:
    def code(item: Item) -> float:
        return (
            blank.coded(item.value) if isinstance(item.value, str) and blank.unit in SEXES else item.number()
        )

    item = section.at(key)
    if key == "value":
        return code(item)
    if key == "expression":
        return Expression.from_item(item)
    if key in KINDS:
        return Distribution.from_item(key, item, code)
    inputs = section.at("inputs").section() if "inputs" in section else None
    pairs = tuple((usual, inputs.text(usual)) for usual in inputs) if inputs is not None else ()
    weight, bsa = (section.text(each) if each in section else None for each in ("weight", "bsa"))
    with section.item.naming():
        return Derivation(item.text(), weight, bsa, pairs)


def in_order(covariates: Mapping[str, Covariate]) -> tuple[str, ...]:
    """Return the names so that each comes after those that it is derived from.

    Raises
    ------
    InputError
        Where a source is not among the covariates, has a unit that the equation cannot take, or the derivations go
        round in a circle.
    """
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " from ".join((*path[path.index(name) :], name))
            raise InputError(
                f"covariates.{name}", circle, "derivations go round in a circle", "Fix one of them."
            )
        if name in done:
            return
        covariate = covariates[name]
        for source in covariate.sources:
            if source not in covariates:
                rule = f"{covariate.name} is derived from it, and it is no covariate of this population"
                raise InputError(f"covariates.{name}", source, rule, nearest(source, list(covariates)))
            visit(source, (*path, name))
        _check_units(covariate, covariates)
        done[name] = None

    for name in covariates:
        visit(name, ())
    return tuple(done)


def _check_units(covariate: Covariate, covariates: Mapping[str, Covariate]) -> None:
    if not isinstance(covariate.rule, Derivation):
        return
    for usual, source in covariate.rule.sources.items():
        unit, name = covariates[source].unit, f"covariates.{source}.unit"
        if usual != "SEX":
            conversion_factor(unit, INPUT_UNITS[usual], name)
        elif unit not in SEXES:
            raise InputError(
                name, unit, "the sex that is coded 1 must be named", "Write unit: female (or male)."
            )
