"""What is known of a patient's parameters before any level: medians and a covariance of their logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.parameters import LARGEST, MODELS, SMALLEST, canonical_names
from tdmx_dask.domain.section import Item, nearest
from tdmx_dask.domain.units import real
from tdmx_dask.domain.variability import (
    cholesky,
    omega_of_cv,
    read_covariance,
    read_fraction,
    read_variability,
)
from tdmx_dask.errors import InputError

__all__ = ["FITTED", "UNITS", "FittedModel", "Prior", "PriorSet", "model_of"]

Floats = NDArray[np.float64]

FittedModel = Literal["1C", "2C", "3C", "michaelis_menten", "parallel"]
FITTED: dict[FittedModel, tuple[str, ...]] = {
    **cast("dict[FittedModel, tuple[str, ...]]", MODELS),
    "michaelis_menten": ("Vmax", "Km", "Vc"),
    "parallel": ("CL", "Vmax", "Km", "Vc"),
}
"""Parameters of each model that can be fitted, in the order of the Stan programs."""

UNITS = {
    **dict.fromkeys(("CL", "Q1", "Q2"), "L/h"),
    **dict.fromkeys(("Vc", "Vp1", "Vp2"), "L"),
    "Vmax": "mg/h",
    "Km": "mg/L",
}

LARGEST_OMEGA = 3.0


@dataclass(frozen=True, slots=True)
class Prior:
    """A log-normal prior of one positive quantity.

    Parameters
    ----------
    median : > 0, in the quantity's unit
    omega : SD of the log, 0 to 3; 0 fixes the quantity

    Raises
    ------
    InputError
        A value is out of range, not finite or no number.
    """

    median: float
    omega: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        fix = "A log-normal prior is of a positive quantity."
        put(
            self,
            "median",
            real("median", self.median, "the median of a prior", ge=SMALLEST, le=LARGEST, fix=fix),
        )
        fix = "omega is the SD of the log: 0.3 is about 30 %."
        put(self, "omega", real("omega", self.omega, "an SD of the log", ge=0, le=LARGEST_OMEGA, fix=fix))

    @classmethod
    def of_cv(cls, median: float, cv: float) -> Prior:
        """A prior from its coefficient of variation: omega = sqrt(log(1 + cv²))."""
        return cls(median, omega_of_cv(real("cv", cv, "a coefficient of variation", ge=0, le=LARGEST_OMEGA)))

    @classmethod
    def from_item(cls, item: Item, *, percent: bool = False) -> Prior:
        """Read ``13.6`` (fixed), or ``{median: 13.6, cv: 22.1%}`` (or omega:, or variance:).

        Parameters
        ----------
        item : the value
        percent : the median is a fraction, which may be written as a percent
        """
        if not isinstance(item.value, Mapping):
            with item.naming():
                return cls(_median(item, percent))
        section = item.section().only("median", "omega", "cv", "variance")
        spread = {key: item.value[key] for key in ("omega", "cv", "variance") if key in section}
        omega = read_variability(Item(spread, item.path, item.place)) if spread else 0.0
        with item.naming():
            return cls(_median(section.at("median"), percent), omega)

    def to_mapping(self) -> float | dict[str, float]:
        """Plain values; `from_item` takes them back."""
        return {"median": self.median, "omega": self.omega} if self.omega > 0 else self.median


def _median(item: Item, percent: bool) -> float:
    return read_fraction(item, math.inf) if percent and isinstance(item.value, str) else item.number()


@dataclass(frozen=True, slots=True, eq=False)
class PriorSet:
    """A joint log-normal prior of a model's parameters.

    Parameters
    ----------
    model : one of `FITTED`
    median : of each parameter, in the model's order, L/h, L, mg/h, mg/L
    covariance : (parameter, parameter), of the logs; a row of zeros fixes the parameter
    source : paper, or the name of the population

    Attributes
    ----------
    factor : (parameter, parameter), lower triangular, factor @ factor.T = covariance

    Raises
    ------
    InputError
        A median out of range, or a covariance that is not positive semidefinite.

    Examples
    --------
    >>> priors = PriorSet.from_mapping({"CL": {"median": 5, "omega": 0.3}, "V": 20})
    >>> priors.model, priors.free, priors.factor.tolist()
    ('1C', ('CL',), [[0.3, 0.0], [0.0, 0.0]])
    """

    model: FittedModel
    median: tuple[float, ...]
    covariance: Floats
    source: str = ""
    factor: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        names = model_of(self.model)
        if len(self.median) != len(names):
            raise InputError(
                "median", len(self.median), f"a {self.model} model has {' '.join(names)}", "Give each."
            )
        fix = "Use the smaller model where a flow is 0."
        medians = [
            real(name, value, "the median of a prior", unit=UNITS[name], ge=SMALLEST, le=LARGEST, fix=fix)
            for name, value in zip(names, self.median, strict=True)
        ]
        put(self, "median", tuple(medians))
        covariance = np.array(self.covariance, dtype=np.float64)
        rows = cholesky(covariance, names)
        too_wide = np.diag(covariance) > LARGEST_OMEGA**2
        if too_wide.any():
            name = names[int(np.argmax(too_wide))]
            value = f"{math.sqrt(covariance.diagonal().max()):g}"
            raise InputError(f"{name}.omega", value, f"an SD of the log is at most {LARGEST_OMEGA:g}", "")
        factor = np.zeros_like(covariance)
        for i, row in enumerate(rows):
            factor[i, : i + 1] = row
        for array in (covariance, factor):
            array.setflags(write=False)
        put(self, "covariance", covariance)
        put(self, "factor", factor)

    def _key(self) -> tuple[object, ...]:
        return (self.model, self.median, self.covariance.tobytes(), self.source)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, PriorSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names, in the model's order."""
        return FITTED[self.model]

    @property
    def free(self) -> tuple[str, ...]:
        """Parameters that are estimated."""
        varies = np.diag(self.covariance) > 0
        return tuple(name for name, free in zip(self.parameters, varies, strict=True) if free)

    @property
    def log_median(self) -> tuple[float, ...]:
        """Logs of the medians."""
        return tuple(math.log(value) for value in self.median)

    @classmethod
    def from_mapping(cls, given: Mapping[str, object] | Item, *, model: str | None = None) -> PriorSet:
        """Read priors.

        ::

            CL: {median: 13.6, cv: 22.1%}     # or omega:, or variance:
            V1: {median: 26.5, omega: 0.23}   # the seed's names or NONMEM's
            Q: 9.8                            # a number fixes it
            V2: 13.2
            correlations: {"CL, V1": 0.4}     # of the logs
            model: 2C                         # may be left out
            source: a paper

        Parameters
        ----------
        given : as above; or the `Item` that holds it
        model : one of `FITTED`, where the mapping does not say

        Raises
        ------
        InputError
            Unknown, missing or out of range, named by its path.
        """
        item = given if isinstance(given, Item) else Item(given, "priors")
        section = item.section()
        keys = [key for key in section if key not in ("model", "correlations", "source")]
        if "model" in section:
            model = section.text("model")
        with item.naming():
            names = _names(keys)
            found, parameters = _matching(names.values(), model)
        for key in keys:
            if key not in names:
                section.at(key).fail("the model has no parameter of this name", nearest(key, parameters))
        priors = {names[key]: Prior.from_item(section.at(key)) for key in keys}
        return cls.of(
            found,
            priors,
            _read_correlations(section.at("correlations"), priors, names)
            if "correlations" in section
            else {},
            source=section.text("source") if "source" in section else "",
        )

    @classmethod
    def of(
        cls,
        model: FittedModel,
        priors: Mapping[str, Prior],
        covariances: Mapping[tuple[str, str], float] | None = None,
        *,
        source: str = "",
    ) -> PriorSet:
        """Priors of single parameters, and covariances of their logs by pair of names."""
        parameters = model_of(model)
        missing = [name for name in parameters if name not in priors]
        if missing or len(priors) > len(parameters):
            rule = f"a {model} model has {' '.join(parameters)}"
            raise InputError("priors", " ".join(priors), rule, f"Give {' '.join(missing) or 'no others'}.")
        covariance = np.diag([priors[name].omega ** 2 for name in parameters])
        for (one, other), value in (covariances or {}).items():
            if one != other:
                covariance[parameters.index(one), parameters.index(other)] = value
        return cls(model, tuple(priors[name].median for name in parameters), covariance, source)

    def to_mapping(self) -> dict[str, object]:
        """Plain values; `from_mapping` takes them back, to rounding of the last bits."""
        omega = np.sqrt(np.diag(self.covariance))
        mapping: dict[str, object] = {"model": self.model}
        for i, name in enumerate(self.parameters):
            mapping[name] = Prior(self.median[i], float(omega[i])).to_mapping()
        pairs: dict[str, float] = {}
        for i, first in enumerate(self.parameters):
            for j in range(i):
                if self.covariance[i, j] != 0:
                    value = float(self.covariance[i, j] / (omega[i] * omega[j]))
                    pairs[f"{self.parameters[j]}, {first}"] = max(-1.0, min(1.0, value))
        mapping |= {"correlations": pairs} if pairs else {}
        return {**mapping, "source": self.source} if self.source else mapping


def model_of(model: str) -> tuple[str, ...]:
    """Parameters of a model that can be fitted.

    Raises
    ------
    InputError
        There is no such model.
    """
    for known, names in FITTED.items():
        if model == known:
            return names
    raise InputError("model", model, "there is no such model", f"Known: {', '.join(FITTED)}.")


def _names(keys: Sequence[str]) -> dict[str, str]:
    """Given name -> the seed's, of the keys that are parameters of some model."""
    linear = canonical_names(keys)
    return {key: linear.get(key, key) for key in keys if key in linear or key in UNITS}


def _matching(given: object, model: str | None) -> tuple[FittedModel, tuple[str, ...]]:
    """The model that has exactly these parameters, or the one that was named."""
    names = set(cast("Sequence[str]", given))
    if model is not None:
        parameters = model_of(model)
        if names != set(parameters):
            strangers = [name for name in names if name not in parameters]
            missing = [name for name in parameters if name not in names]
            fix = (
                f"Remove {strangers[0]}, or change the model." if strangers else f"Give {' '.join(missing)}."
            )
            raise InputError(
                "priors",
                " ".join(sorted(names)) or "none",
                f"a {model} model has {' '.join(parameters)}",
                fix,
            )
        return cast("FittedModel", model), parameters
    for known, parameters in FITTED.items():
        if names == set(parameters):
            return known, parameters
    forms = "; ".join(f"{known}: {' '.join(parameters)}" for known, parameters in FITTED.items())
    raise InputError(
        "priors", " ".join(sorted(names)) or "none", "these are the parameters of no model", f"{forms}."
    )


def _read_correlations(
    item: Item, priors: Mapping[str, Prior], names: Mapping[str, str]
) -> dict[tuple[str, str], float]:
    def name(at: Item, given: str) -> str:
        found = names.get(given) or given
        if found not in priors or priors[found].omega == 0:
            at.fail(f"{given} has no variability", "Give it omega or cv, or remove the correlation.")
        return found

    section = item.section()
    bsv = Item(
        {key: {"omega": prior.omega} for key, prior in priors.items() if prior.omega > 0},
        item.path,
        item.place,
    )
    return read_covariance(bsv.section(), section, None, name)
