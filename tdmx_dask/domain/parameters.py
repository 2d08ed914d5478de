"""The pharmacokinetic parameters of each model: the seed's names, their units, and NONMEM's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from tdmx_dask.domain.section import shown
from tdmx_dask.errors import InputError

__all__ = [
    "CANONICAL_ORDER",
    "LARGEST",
    "MODELS",
    "PARAMETERS",
    "SMALLEST",
    "Model",
    "Parameter",
    "canonical_names",
    "check_value",
    "infer_model",
    "parameters_of",
    "require_parameters",
]

Model = Literal["1C", "2C", "3C"]


SMALLEST, LARGEST = 1e-30, 1e30
"""Bounds of any parameter: far beyond physiology, and such that no product of rates overflows."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One pharmacokinetic parameter.

    Parameters
    ----------
    name : the seed's name
    unit : L/h or L
    long_name : as a table prints it
    may_be_zero : a flow of zero closes a compartment; a clearance or volume of zero has no meaning
    """

    name: str
    unit: str
    long_name: str
    may_be_zero: bool = False

    @property
    def rule(self) -> str:
        """What its values must be."""
        least = "at least" if self.may_be_zero else "above"
        return f"{self.long_name} must be {least} 0 {self.unit} and finite ({SMALLEST:g} to {LARGEST:g})"

    def allows(self, value: float) -> bool:
        """Whether a number obeys the rule; a NaN does not."""
        return SMALLEST <= value <= LARGEST or (self.may_be_zero and 0.0 <= value < SMALLEST)


PARAMETERS = {
    each.name: each
    for each in (
        Parameter("CL", "L/h", "clearance"),
        Parameter("Vc", "L", "central volume"),
        Parameter("Q1", "L/h", "flow to the first peripheral compartment", may_be_zero=True),
        Parameter("Vp1", "L", "first peripheral volume"),
        Parameter("Q2", "L/h", "flow to the second peripheral compartment", may_be_zero=True),
        Parameter("Vp2", "L", "second peripheral volume"),
    )
}
CANONICAL_ORDER = tuple(PARAMETERS)
MODELS: dict[Model, tuple[str, ...]] = {
    "1C": CANONICAL_ORDER[:2],
    "2C": CANONICAL_ORDER[:4],
    "3C": CANONICAL_ORDER[:6],
}

_ALIASES = {"V": "Vc", "V1": "Vc", "Q": "Q1", "V2": "Vp1", "Vp": "Vp1", "Q3": "Q2", "V3": "Vp2"}
_NONMEM_ONLY = ("Q3", "V2", "V3")
_SEED_ONLY = ("Vp1", "Vp2", "Vp")


def parameters_of(model: str) -> tuple[str, ...]:
    """Names of a model's parameters, in canonical order.

    Parameters
    ----------
    model : 1C, 2C or 3C

    Raises
    ------
    InputError
        Where there is no such model.

    Examples
    --------
    >>> parameters_of("2C")
    ('CL', 'Vc', 'Q1', 'Vp1')
    """
    for known, names in MODELS.items():
        if model == known:
            return names
    raise InputError("model", model, "a model has one, two or three compartments", "Write 1C, 2C or 3C.")


def check_value(name: str, value: float | None, *, where: str = "") -> None:
    """Refuse a number that the parameter cannot be; None is a number that is not known yet.

    Parameters
    ----------
    name : the seed's
    value : in the parameter's unit
    where : what to put before the name in a complaint

    Raises
    ------
    InputError
        Where it is not finite, negative, or zero where the parameter is no flow.
    """
    parameter = PARAMETERS[name]
    if value is None or parameter.allows(value):
        return
    raise InputError(where + name, f"{value:g}", parameter.rule, f"Give it in {parameter.unit}.")


def canonical_names(names: Iterable[str], model: str | None = None) -> dict[str, str]:
    """Return the seed's name of each given name that is a pharmacokinetic parameter; others are left out.

    ``V`` and ``V1`` are ``Vc``; ``Q`` is ``Q1``; ``V2`` and ``Vp`` are ``Vp1``; ``V3`` is ``Vp2``; ``Q3`` is
    ``Q2``. ``Q2`` itself is the second peripheral flow beside ``Q1`` or ``Q``, and the first (as in NONMEM's
    ADVAN11) beside ``Q3``, ``V2`` or ``V3``.

    Parameters
    ----------
    names : as given, in any order
    model : 1C, 2C or 3C: a parameter that it lacks is refused; None accepts all

    Raises
    ------
    InputError
        Where two names stand for one parameter, ``Q2`` could be either flow, or the model lacks a parameter.

    References
    ----------
    NONMEM Users Guide VI, PREDPP: TRANS2, TRANS4 of ADVAN1, ADVAN3 and ADVAN11.

    Examples
    --------
    >>> canonical_names(["CL", "V1", "Q2", "V2", "Q3", "V3", "WT"])
    {'CL': 'CL', 'V1': 'Vc', 'Q2': 'Q1', 'V2': 'Vp1', 'Q3': 'Q2', 'V3': 'Vp2'}
    """
    given = list(dict.fromkeys(names))
    known = {**{name: name for name in CANONICAL_ORDER}, **_ALIASES, "Q2": _meaning_of_q2(given)}
    found: dict[str, str] = {}
    for name in given:
        if name not in known:
            continue
        for other, canonical in found.items():
            if canonical == known[name]:
                raise InputError(
                    "parameters", f"{other}, {name}", f"both stand for {canonical}", "Keep one of the two."
                )
        found[name] = known[name]
    if model is not None:
        _refuse_strangers(found, model)
    return found


def _meaning_of_q2(given: list[str]) -> str:
    """Return Q2 or Q1: the flow that the name Q2 stands for among its companions."""
    if "Q2" not in given or "Q1" in given or "Q" in given:
        return "Q2"
    nonmem = [name for name in _NONMEM_ONLY if name in given]
    seed = [name for name in _SEED_ONLY if name in given]
    if nonmem and seed:
        raise InputError(
            "parameters",
            shown(", ".join(given)),
            f"Q2 is the first peripheral flow beside NONMEM's {nonmem[0]} and the second beside {seed[0]}",
            "Use one family: CL Vc Q1 Vp1 Q2 Vp2, or CL V1 Q2 V2 Q3 V3.",
        )
    return "Q1" if nonmem else "Q2"


def _refuse_strangers(found: dict[str, str], model: str) -> None:
    known = parameters_of(model)
    for name, canonical in found.items():
        if canonical not in known:
            spelled = name if name == canonical else f"{name} ({canonical})"
            raise InputError(
                "parameters",
                spelled,
                f"a {model} model has {' '.join(known)}",
                "Remove it, or change the model.",
            )


def infer_model(names: Iterable[str]) -> Model:
    """Return the smallest model that has all the pharmacokinetic parameters among the names.

    Raises
    ------
    InputError
        Where a parameter of that model is missing, or the names contradict each other.

    Examples
    --------
    >>> infer_model(["CL", "V1", "Q", "V2", "WT"])
    '2C'
    """
    given = list(names)
    present = set(canonical_names(given).values())
    model: Model = next((model for model, known in MODELS.items() if present <= set(known)), "3C")
    require_parameters(given, model)
    return model


def _meant(wanted: str, rest: list[str]) -> str:
    """What to do about a parameter that is missing, where another column may be it."""
    alike = [name for name in rest if name.casefold() == wanted.casefold()]
    alike = alike or get_close_matches(wanted, rest, 1)
    if not alike:
        return "Give them all."
    return f"Is {alike[0]} meant? Call it {wanted}, on import with --column {wanted}={alike[0]}."


def require_parameters(names: Iterable[str], model: str) -> dict[str, str]:
    """Return the seed's name of each parameter given, where all those of a model are there.

    Parameters
    ----------
    names : as given; those that are no parameter are ignored
    model : 1C, 2C or 3C

    Returns
    -------
    given name of each parameter -> the seed's name, in canonical order

    Raises
    ------
    InputError
        Where one is missing, naming the nearest name that is there, or as `canonical_names`.
    """
    given = list(names)
    wanted = parameters_of(model)
    found = canonical_names(given, model)
    missing = [name for name in wanted if name not in found.values()]
    if missing:
        rest = [name for name in given if name not in found]
        raise InputError(
            "parameters",
            shown(" ".join(given)) or "none",
            f"a {model} model needs {' '.join(wanted)}; missing: {' '.join(missing)}",
            _meant(missing[0], rest),
        )
    return dict(sorted(found.items(), key=lambda pair: CANONICAL_ORDER.index(pair[1])))
