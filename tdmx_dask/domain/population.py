"""Virtual patients: typical values, covariate equations and between-subject variability of one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.domain.covariate import Covariate, in_order
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.formula import check_name
from tdmx_dask.domain.parameters import (
    CANONICAL_ORDER,
    Model,
    canonical_names,
    check_value,
    infer_model,
    parameters_of,
    require_parameters,
)
from tdmx_dask.domain.section import Item, Section, nearest
from tdmx_dask.domain.simulation import Address, Request, simulate
from tdmx_dask.domain.variability import cholesky, read_covariance, read_fraction
from tdmx_dask.errors import InputError

__all__ = ["Population"]

Floats = NDArray[np.float64]

_MOST_COVARIATES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A population model, from which virtual patients are drawn.

    Read one from YAML with `from_mapping`; two populations are equal where all they hold is.

    Parameters
    ----------
    name : as tables print it
    model : 1C, 2C or 3C
    thetas : named numbers that formulas use, and that draws of a posterior may replace
    parameters : formula of the typical value of each parameter of the model, by the seed's names
    covariates : by name
    etas : parameters with between-subject variability, in the order of ``omega``
    omega : (eta, eta), covariance of the log
    fu : unbound fraction: a number, a formula, or None where the population does not say
    source : paper and its identifier
    """

    name: str
    model: Model
    thetas: Mapping[str, float]
    parameters: Mapping[str, Expression]
    covariates: Mapping[str, Covariate]
    etas: tuple[str, ...]
    omega: Floats
    fu: float | Expression | None = None
    source: str = ""
    order: tuple[str, ...] = field(init=False, repr=False)
    """Covariates, each after those that it is derived from."""
    factor: list[list[Floats]] = field(init=False, repr=False)
    """Lower triangular factor of ``omega``, row by row."""

    def __post_init__(self) -> None:
        wanted = parameters_of(self.model)
        if set(self.parameters) != set(wanted):
            require_parameters(self.parameters, self.model)
            raise InputError("parameters", " ".join(self.parameters), f"the names are {' '.join(wanted)}", "")
        object.__setattr__(self, "parameters", {name: self.parameters[name] for name in wanted})
        if len(self.covariates) > _MOST_COVARIATES:
            count = len(self.covariates)
            raise InputError(
                "covariates", count, f"a population has at most {_MOST_COVARIATES}", "Remove some."
            )
        object.__setattr__(self, "order", in_order(self.covariates))
        self._check_thetas()
        self._check_formulas()
        strangers = [eta for eta in self.etas if eta not in wanted]
        if strangers or len(set(self.etas)) < len(self.etas):
            raise InputError("etas", " ".join(self.etas), f"etas are among {' '.join(wanted)}, each once", "")
        omega = np.array(self.omega, dtype=np.float64)
        object.__setattr__(self, "factor", cholesky(omega, self.etas))
        omega.setflags(write=False)
        object.__setattr__(self, "omega", omega)

    def _check_thetas(self) -> None:
        for name, value in self.thetas.items():
            check_name(name, "thetas")
            if name in self.covariates:
                raise InputError("thetas", name, "a covariate has this name too", "Rename one of them.")
            if not math.isfinite(value):
                raise InputError(f"thetas.{name}", value, "a theta must be finite", "Give a number.")

    def _check_formulas(self) -> None:
        formulas = dict(self.parameters)
        if isinstance(self.fu, Expression):
            formulas["fu"] = self.fu
        elif self.fu is not None and not 0 < self.fu <= 1:
            fix = f"Write {self.fu / 100:g}." if 1 < self.fu <= 100 else "Give a fraction."
            raise InputError("fu", f"{self.fu:g}", "the unbound fraction must be above 0 and at most 1", fix)
        known = [*self.thetas, *self.covariates]
        used = {name for formula in formulas.values() for name in formula.names}
        for key, formula in formulas.items():
            for name in formula.names:
                if name not in known:
                    fix = nearest(name, known) or f"Declare {name} under thetas or covariates."
                    raise InputError(
                        f"parameters.{key}", formula, f"{name} is neither theta nor covariate", fix
                    )
        for name, formula in self.parameters.items():
            check_value(name, formula.constant, where="parameters.")
        for name in self.thetas:
            if name not in used:
                raise InputError("thetas", name, "no formula uses it", "Use it, or remove it.")

    def _key(self) -> tuple[object, ...]:
        tables = (tuple(sorted(each.items())) for each in (self.thetas, self.parameters))
        covariates = tuple(sorted(self.covariates.items(), key=lambda pair: pair[0]))
        omega = (self.etas, self.omega.tobytes())
        return (self.name, self.model, *tables, covariates, omega, self.fu, self.source)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Population) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object] | Item) -> Population:
        """Read a population from the mapping that a YAML file holds.

        ::

            name: meropenem, adults with sepsis
            source: "Fukumoto 2023, doi:10.1097/FTD.0000000000001040"
            model: 2C                                   # 1C, 2C or 3C; may be left out
            thetas: {TVCL: 13.6}                        # named numbers, which draws of a posterior may replace
            parameters: {CL: "TVCL * (CCr/87.6)**0.66", V1: 26.5, Q: 9.8, V2: 13.2}
            covariates:                                 # each states its unit
              CCr: {unit: mL/min/1.73m2, value: 87.6}   # fixed; without a value each scenario gives it
            bsv: {CL: {cv: 22.1%}, V1: {omega: 0.23}}   # or variance:; omega is the SD of the log
            correlations: {"CL, V1": 0.4}
            fu: 0.98                                    # or 98%, or a formula

        Instead of ``bsv`` and ``correlations``: ``covariance: {etas: [CL, V1], matrix: [[0.05], [0.01, 0.06]]}``.
        Parameters have the seed's names (CL Vc Q1 Vp1 Q2 Vp2) or NONMEM's. A covariate is one of::

            WT:  {unit: kg, value: 70}
            WT:  {unit: kg, normal: {mean: 10.3, sd: 1.6, low: 8, high: 13}}   # cut off at 8 and 13
            WT:  {unit: kg, lognormal: {median: 70, cv: 0.2}}                  # or omega:; or mean: with sd: or cv:
            AGE: {unit: years, uniform: {low: 18, high: 90}}
            SEX: {unit: female, discrete: {values: [female, male], weights: [0.4, 0.6]}}   # 1 = female
            SCR: {unit: umol/L, value: 80}
            CCr: {unit: mL/min, equation: cockcroft-gault, weight: total}      # from AGE, WT, SCR and SEX
            GFR: {unit: mL/min/1.73m2, equation: ckd-epi-2021}                 # or mdrd
            GFR: {unit: mL/min, equation: ckd-epi-2021, bsa: mosteller}        # converted, with WT and HT
            BSA: {unit: m2, equation: dubois}
            RF:  {unit: "1", expression: "min(CCr, 120) / 100"}

        An equation looks for AGE, WT, HT, SCR and SEX; ``inputs: {SCR: CREA}`` names another. ``weight:`` (total,
        ideal, adjusted, lean) must be stated for cockcroft-gault.

        Parameters
        ----------
        mapping : as above; or the `Item` that holds it, so that complaints name the file and the line

        Raises
        ------
        InputError
            Where a key is unknown (the nearest known one is named), a value out of range, a unit another quantity,
            a name in a formula unknown, or the covariance not positive semidefinite.

        Examples
        --------
        >>> population = Population.from_mapping({"parameters": {"CL": 5, "V": 20}, "bsv": {"CL": {"omega": 0.3}}})
        >>> population.model, list(population.parameters), population.etas
        ('1C', ['CL', 'Vc'], ('CL',))
        """
        item = mapping if isinstance(mapping, Item) else Item(mapping, "population")
        section = item.section().only(
            "name",
            "source",
            "model",
            "thetas",
            "parameters",
            "covariates",
            "bsv",
            "correlations",
            "covariance",
            "fu",
        )
        given = section.at("parameters").section()
        thetas = _optional(section, "thetas")
        covariates = _optional(section, "covariates")
        with item.naming():
            model = (
                parameters_of(section.text("model")) and section.text("model") if "model" in section else None
            )
            names = require_parameters(given, model or infer_model(given))
        _refuse_unknown(given, names)
        pairs = read_covariance(
            _optional(section, "bsv"),
            _optional(section, "correlations"),
            _optional(section, "covariance"),
            _namer(names),
        )
        etas = tuple(name for name in CANONICAL_ORDER if (name, name) in pairs)
        fields: dict[str, Any] = {
            "name": section.text("name", "population"),
            "model": cast("Model", model or infer_model(given)),
            "thetas": {key: thetas.number(key) for key in thetas} if thetas is not None else {},
            "parameters": {name: Expression.from_item(given.at(key)) for key, name in names.items()},
            "covariates": _read_covariates(covariates),
            "etas": etas,
            "omega": np.array([[pairs.get((i, j), 0.0) for j in etas] for i in etas]).reshape(
                len(etas), len(etas)
            ),
            "fu": _read_fu(section.at("fu")) if "fu" in section else None,
            "source": section.text("source") if "source" in section else "",
        }
        with item.naming():
            return cls(**fields)

    def to_mapping(self) -> dict[str, object]:
        """Return the mapping that `from_mapping` reads back, bit for bit."""
        mapping: dict[str, object] = {"name": self.name, "source": self.source, "model": self.model}
        mapping["thetas"] = dict(self.thetas)
        mapping["parameters"] = {name: _plain(self.parameters[name]) for name in parameters_of(self.model)}
        mapping["covariates"] = {name: each.to_mapping() for name, each in self.covariates.items()}
        omegas = np.sqrt(np.diag(self.omega))
        if np.array_equal(np.diag(omegas * omegas), self.omega):
            mapping["bsv"] = {
                name: {"omega": float(omega)} for name, omega in zip(self.etas, omegas, strict=True)
            }
        else:
            mapping["covariance"] = {"etas": list(self.etas), "matrix": self.omega.tolist()}
        mapping["fu"] = _plain(self.fu) if self.fu is not None else None
        return {key: value for key, value in mapping.items() if value not in ("", None, {})}

    def simulate(
        self,
        *,
        seed: int,
        chain: int,
        draw_start: int,
        n_draws: int,
        subject_start: int = 0,
        n_subjects: int = 1,
        scenario: Mapping[str, float] | None = None,
        thetas: Mapping[str, ArrayLike] | None = None,
        omega: ArrayLike | None = None,
        factor: list[list[Floats]] | None = None,
        covariates: Collection[str] = (),
    ) -> dict[str, Floats]:
        """Draw virtual patients.

        A patient's numbers belong to (seed, chain, draw, subject) and are the same in every scenario, so that
        scenarios differ by their covariates alone; they do not depend on how draws and subjects are split over
        calls. Covariates that nothing uses are not drawn.

        Parameters
        ----------
        seed, chain : whole numbers from 0 to 2^64 - 1
        draw_start, n_draws : draws of the chain; ``draw_start`` is a multiple of 1,024
        subject_start, n_subjects : virtual patients of each draw
        scenario : values of covariates that replace their own distributions; female or male for a sex
        thetas : () or (n_draws,) by name, from a posterior: each replaces a theta, the values of a covariate, ``fu``,
            or the typical value of a parameter whose formula is a plain number (NONMEM's names are known). A name
            that is none of these is ignored; a parameter of another model, or one that has a formula, is refused
        omega : (n_draws, eta, eta) from a posterior, in the order of `etas`, replaces the population's
        factor : `factor_of` such an omega, where many calls share it
        covariates : names of covariates to return although no formula uses them, such as the weight of a mg/kg dose

        Returns
        -------
        (n_subjects, n_draws) arrays, C-contiguous, by name: the parameters in canonical order; the covariates that
        a formula uses, a scenario gives or ``covariates`` names, with those that they are derived from; and ``fu``
        where the population or the draws have it

        Raises
        ------
        InputError
            Where a parameter is not finite or not above 0 (a flow may be 0), naming its value, draw, subject and
            covariates; where a covariate has no value or is not known; where a shape is wrong; or where the
            covariance of a draw is not positive semidefinite.

        Examples
        --------
        >>> population = Population.from_mapping({"parameters": {"CL": 5, "V": 20}, "bsv": {"CL": {"cv": 0.3}}})
        >>> patients = population.simulate(seed=1, chain=0, draw_start=0, n_draws=4, n_subjects=3)
        >>> patients["CL"].shape, float(patients["Vc"].max())
        ((3, 4), 20.0)
        """
        address = Address(seed, chain, draw_start, n_draws, subject_start, n_subjects)
        request = Request.sort(self, n_draws, scenario or {}, thetas or {}, covariates)
        if factor is None:
            factor = self.factor if omega is None else self.factor_of(omega, n_draws)
        return simulate(self, address, request, factor)

    def factor_of(self, omega: ArrayLike, n_draws: int) -> list[list[Floats]]:
        """Lower triangular factors of a posterior's covariances, as `simulate` takes them.

        Parameters
        ----------
        omega : (n_draws, eta, eta), in the order of `etas`

        Raises
        ------
        InputError
            Another shape, or a covariance that is not positive semidefinite.
        """
        matrices = np.asarray(omega, dtype=np.float64)
        n = len(self.etas)
        if matrices.shape != (n_draws, n, n):
            etas = ", ".join(self.etas) or "(none)"
            rule = f"it must be ({n_draws}, {n}, {n}): draws, and the etas {etas} twice"
            raise InputError("omega", matrices.shape, rule, "Give the etas in the population's order.")
        return cholesky(matrices, self.etas)


def _optional(section: Section, key: str) -> Section | None:
    return section.at(key).section() if key in section else None


def _read_covariates(section: Section | None) -> dict[str, Covariate]:
    if section is None:
        return {}
    return {key: Covariate.from_item(key, section.at(key)) for key in section}


def _refuse_unknown(given: Section, names: Mapping[str, str]) -> None:
    for key in given:
        if key not in names:
            given.at(key).fail("the model has no parameter of this name", nearest(key, CANONICAL_ORDER))


def _namer(names: Mapping[str, str]) -> Callable[[Item, str], str]:
    """Turn names of parameters under bsv into the seed's: as under parameters, else as they are known."""

    def name(item: Item, given: str) -> str:
        found = names.get(given) or canonical_names([given]).get(given)
        if found not in names.values():
            item.fail(f"{given} is no parameter of this model", nearest(given, list(names)))
        return str(found)

    return name


def _read_fu(item: Item) -> float | Expression:
    if isinstance(item.value, str) and "%" not in item.value:
        formula = Expression.from_item(item)
        return formula if formula.constant is None else formula.constant
    return read_fraction(item, 1.0)


def _plain(formula: float | Expression) -> float | str:
    """A formula as YAML writes it: a number where it is one."""
    if isinstance(formula, float):
        return formula
    constant = formula.constant
    return str(formula) if constant is None or Expression.parse(constant) != formula else constant
