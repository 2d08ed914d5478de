"""One dose, and a cycle of doses that repeats: what every regimen is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdmx_dask.domain.units import known_keys, number_text, parse_dose, parse_hours, real, whole
from tdmx_dask.errors import InputError

__all__ = [
    "LARGEST_DOSE",
    "Cycle",
    "DoseEvent",
    "as_event",
    "body_weight",
    "check_infusion",
    "hours",
    "loading_doses",
    "mass",
]


LARGEST_DOSE = 1e6
"""mg, or mg/kg: a kilogram of drug is a slip of units."""

BODY_WEIGHTS = (0.2, 650.0)
"""kg, from the smallest of the newborn to the heaviest of adults: beyond is a slip of units."""


@dataclass(frozen=True, slots=True)
class DoseEvent:
    """One intravenous dose.

    Parameters
    ----------
    time : h, >= 0, the start of the infusion or the moment of the bolus
    amount : mg, > 0 and at most 1e6; mg/kg where `per_kg`
    tinf : h, >= 0, length of the infusion; 0 is a bolus
    per_kg : the amount is multiplied by the patient's weight

    Raises
    ------
    InputError
        A value is out of range, not finite or no number.
    """

    time: float
    amount: float
    tinf: float = 0.0
    per_kg: bool = False

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "time", real("time", self.time, "the time of a dose", unit="h", ge=0))
        fix = "Give the amount in mg, or in mg/kg with per_kg=True."
        put(self, "amount", real("amount", self.amount, "a dose", unit="mg", gt=0, le=LARGEST_DOSE, fix=fix))
        put(
            self,
            "tinf",
            real("tinf", self.tinf, "the length of an infusion", unit="h", ge=0, fix="0 is a bolus."),
        )
        if not isinstance(self.per_kg, bool):
            raise InputError("per_kg", self.per_kg, "per_kg must be True or False", "True means mg/kg.")

    @property
    def end(self) -> float:
        """The end of the infusion, h."""
        return self.time + self.tinf

    @property
    def unit(self) -> str:
        """``mg`` or ``mg/kg``."""
        return "mg/kg" if self.per_kg else "mg"

    def order(self) -> tuple[float, float, float, bool]:
        """The key by which doses are sorted: time first."""
        return (self.time, self.amount, self.tinf, self.per_kg)


@dataclass(frozen=True, slots=True)
class Cycle:
    """Doses that repeat every `tau` hours, a number of times or without end.

    Parameters
    ----------
    tau : h, > 0
    events : the doses of one cycle; their times count from the cycle's start, 0 <= time < tau; sorted here
    start : h, >= 0, when the first cycle starts
    n : number of cycles, >= 1, or None: without end

    Raises
    ------
    InputError
        A value is out of range, there is no dose, or an infusion lasts longer than `tau`.
    """

    tau: float
    events: tuple[DoseEvent, ...]
    start: float = 0.0
    n: int | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "tau", real("tau", self.tau, "a dosing interval", unit="h", gt=0))
        put(self, "start", real("start_time", self.start, "the start of a regimen", unit="h", ge=0))
        if self.n is not None:
            put(self, "n", whole("n_doses", self.n, "the number of doses", fix="Leave it out for no end."))
        put(self, "events", tuple(sorted(self.events, key=DoseEvent.order)))
        if not self.events:
            raise InputError("events", "()", "a cycle needs at least one dose", "Add a DoseEvent.")
        for event in self.events:
            check_infusion(event.tinf, self.tau)
            if event.time >= self.tau:
                bound = number_text(self.tau)
                rule = f"a dose of a cycle must be given at 0 <= time < tau={bound} h of that cycle"
                raise InputError("time", number_text(event.time), rule, "Lengthen tau, or move the dose.")

    @property
    def continuous(self) -> bool:
        """Whether it is one infusion that lasts the whole interval."""
        return len(self.events) == 1 and self.events[0].tinf == self.tau

    def time(self, index: int, offset: float = 0.0) -> float:
        """When the dose at `offset` of cycle `index` (from 0) is due, h."""
        return self.start + index * self.tau + offset


def check_infusion(tinf: float, tau: float) -> None:
    """Refuse an infusion that is longer than its dosing interval (both in h)."""
    if not 0 <= tinf <= tau:
        bound = number_text(tau)
        rule = f"an infusion must last 0 <= tinf <= tau={bound} h"
        raise InputError(
            "tinf", number_text(tinf), rule, "Shorten it, or set tinf=tau for a continuous infusion."
        )


def hours(name: str, value: object) -> object:
    """Hours from a number or a text with its unit; a number is handed on for its noun to check."""
    return parse_hours(value, name) if isinstance(value, str) else value


def mass(name: str, value: object, per_kg: object) -> tuple[object, object]:
    """Amount and ``per_kg`` from a number, or from a text whose unit must not contradict `per_kg`."""
    if not isinstance(value, str):
        return value, False if per_kg is None else per_kg
    amount, said = parse_dose(value, name)
    if per_kg is not None and per_kg != said:
        raise InputError(
            "per_kg", per_kg, f"{name} says {value}", "Leave per_kg out, or write the dose as a number."
        )
    return amount, said


def as_event(value: object, *, time: float = 0.0, tinf: float = 0.0) -> DoseEvent:
    """A dose from a `DoseEvent`, a mapping or a tuple ``(time, amount[, tinf[, per_kg]])``.

    Parameters
    ----------
    value : a mapping has the keys ``dose`` (or ``amount``), ``time``, ``tinf``, ``per_kg``; a text may carry
        its unit
    time, tinf : h, for a mapping that does not say

    Raises
    ------
    InputError
        Neither of these, an unknown key, or a value out of range.
    """
    if isinstance(value, DoseEvent):
        return value
    if isinstance(value, Mapping):
        known_keys("dose event", value, ("time", "dose", "amount", "tinf", "per_kg"))
        if ("dose" in value) == ("amount" in value):
            raise InputError(
                "dose event", dict(value), "one of dose and amount must be given, in mg", "Add dose."
            )
        amount, per_kg = mass("dose", value.get("dose", value.get("amount")), value.get("per_kg"))
        at, lasts = hours("time", value.get("time", time)), hours("tinf", value.get("tinf", tinf))
        return DoseEvent(at, amount, lasts, per_kg)  # type: ignore[arg-type]
    if isinstance(value, Sequence) and not isinstance(value, str) and 2 <= len(value) <= 4:
        return DoseEvent(*value)
    fix = "Give a DoseEvent, a mapping with dose, time and tinf, or a tuple (time, amount, tinf)."
    raise InputError("dose event", value, "this is not a dose", fix)


def loading_doses(loading: object, start: float, maintenance: DoseEvent, tau: float) -> tuple[DoseEvent, ...]:
    """Loading doses by time, as `Regimen` takes them.

    Parameters
    ----------
    loading : a dose as `as_event` takes it, a number of mg, a text with its unit, or several doses
    start : h, from which their times count
    maintenance : one dose of the maintenance; a load takes its infusion unless that is continuous
    tau : h, the maintenance's dosing interval

    Raises
    ------
    InputError
        Not a dose; no unit beside a maintenance in mg/kg; several of which one does not say when.
    """
    tinf = 0.0 if maintenance.tinf == tau else maintenance.tinf
    if isinstance(loading, DoseEvent | Mapping):
        given: list[object] = [loading]
    elif isinstance(loading, str):
        given = [{"dose": loading}]
    elif isinstance(loading, Sequence):
        given = list(loading)
    else:
        given = [] if loading is None else [{"dose": real("loading", loading, "a load", unit="mg", gt=0)}]
    doses = []
    for each in given:
        if isinstance(each, Mapping):
            if maintenance.per_kg and not _says_unit(each):
                rule = "beside a maintenance in mg/kg a load must say its unit"
                raise InputError("loading", dict(each), rule, "Write it as a text, '25 mg/kg' or '1500 mg'.")
            if len(given) > 1 and "time" not in each:
                rule = "each of several loads must say its time, in h"
                raise InputError("loading", dict(each), rule, "Add time: 12.")
        dose = as_event(each, tinf=tinf)
        doses.append(DoseEvent(start + dose.time, dose.amount, dose.tinf, dose.per_kg))
    return tuple(sorted(doses, key=DoseEvent.order))


def _says_unit(given: Mapping[str, object]) -> bool:
    return "per_kg" in given or isinstance(given.get("dose", given.get("amount")), str)


def body_weight(name: str, value: object) -> float:
    """A body weight that a person can have, kg."""
    lightest, heaviest = BODY_WEIGHTS
    return real(name, value, "a body weight", unit="kg", ge=lightest, le=heaviest, fix="Give it in kg.")
