"""Regimens: which dose is given when.

A regimen is a tuple of one-off doses, its *history*, and a *cycle* that follows and repeats, with or without
an end. Both are intravenous; amounts are mg or mg/kg, times are hours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tdmx_dask.domain import schedule, shorthand
from tdmx_dask.domain.doses import (
    LARGEST_DOSE,
    Cycle,
    DoseEvent,
    as_event,
    check_infusion,
    hours,
    loading_doses,
    mass,
)
from tdmx_dask.domain.units import known_keys, number_text, real
from tdmx_dask.errors import InputError

__all__ = ["Cycle", "DoseEvent", "Regimen"]

_KEYS = ("dose", "tau", "tinf", "n_doses", "start_time", "loading", "per_kg", "weight", "name")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Regimen:
    """A dose every `tau` hours, after loading doses if any.

    Parameters
    ----------
    dose : mg, > 0 and at most 1e6; mg/kg where `per_kg`
    tau : h, > 0, the dosing interval
    tinf : h, 0 <= tinf <= tau; 0 is a bolus, tau a continuous infusion
    n_doses : number of maintenance doses, >= 1; None is without end
    start_time : h, >= 0, when treatment starts, with the loading dose if there is one
    loading : one loading dose or several: a `DoseEvent` or a mapping, whose times count from `start_time`, a
        number of mg, or a text such as ``25 mg/kg``. The maintenance starts one `tau` after the last of them,
        a continuous infusion at the end of the last one's infusion. A load that does not say takes the
        `tinf` of an intermittent maintenance, and is a bolus before a continuous one
    per_kg : doses are mg/kg
    weight : the covariate that mg/kg doses are multiplied by
    name : what tables print; left out, the shorthand. It does not count in comparisons

    Attributes
    ----------
    history : tuple of DoseEvent
        One-off doses by time; none is after the first dose of the cycle.
    cycle : Cycle or None
        The doses that repeat.

    Raises
    ------
    InputError
        A value is out of range, not finite or no number; a loading dose without a unit beside mg/kg.

    Examples
    --------
    >>> r = Regimen(dose=1000, tau=8, tinf=3)
    >>> str(r), r.daily_dose, r.infusion_hours_per_day
    ('1000 mg q8h inf 3h', 3000.0, 9.0)
    >>> r == Regimen.parse("1 g q8h inf 3h")
    True
    >>> loaded = Regimen.parse("2 g load inf 30min, then 3 g q24h ci")
    >>> [(e.time, e.amount, e.tinf) for e in loaded.events(until=48)]
    [(0.0, 2000.0, 0.5), (0.5, 3000.0, 24.0), (24.5, 3000.0, 24.0)]
    """

    history: tuple[DoseEvent, ...]
    cycle: Cycle | None
    weight: str
    name: str | None = field(compare=False)

    def __init__(
        self,
        dose: float,
        tau: float,
        tinf: float = 0.0,
        n_doses: int | None = None,
        start_time: float = 0.0,
        loading: object = (),
        per_kg: bool = False,
        weight: str = "WT",
        name: str | None = None,
    ) -> None:
        fix = "Give the amount in mg, or in mg/kg with per_kg=True."
        dose = real("dose", dose, "a dose", unit="mg", gt=0, le=LARGEST_DOSE, fix=fix)
        tau = real("tau", tau, "a dosing interval", unit="h", gt=0)
        tinf = real("tinf", tinf, "the length of an infusion", unit="h", fix="0 is a bolus.")
        check_infusion(tinf, tau)
        start = real("start_time", start_time, "the start of a regimen", unit="h", ge=0)
        event = DoseEvent(0.0, dose, tinf, per_kg)
        history = loading_doses(loading, start, event, tau)
        if history:
            start = history[-1].end if tinf == tau else history[-1].time + tau
        self._settle(history, Cycle(tau, (event,), start, n_doses), weight, name)

    def _settle(
        self, history: Iterable[DoseEvent], cycle: Cycle | None, weight: str, name: str | None
    ) -> None:
        put = object.__setattr__
        put(self, "history", tuple(sorted(history, key=DoseEvent.order)))
        put(self, "cycle", cycle)
        put(self, "weight", weight)
        put(self, "name", name)
        if not self.history and cycle is None:
            raise InputError("events", "()", "a regimen needs at least one dose", "Add a DoseEvent.")
        if cycle is not None and self.history:
            first, last = cycle.time(0, cycle.events[0].time), self.history[-1].time
            if last > first:
                rule = (
                    f"a one-off dose must not be later than the first dose of the maintenance, at {first:g} h"
                )
                fix = "Write the maintenance doses before it as one-off doses too."
                raise InputError("time", number_text(last), rule, fix)
        if not isinstance(weight, str) or not re.fullmatch(r"[A-Za-z_]\w*", weight):
            raise InputError("weight", weight, "weight must name a covariate", "For example WT or IBW.")
        if weight != "WT" and not self.per_kg:
            rule = "weight names what mg/kg doses are multiplied by, and no dose is per kg"
            raise InputError("weight", weight, rule, "Leave it out, or set per_kg=True.")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise InputError(
                "name", name, "the name of a regimen must be a text", "Leave it out for the shorthand."
            )

    # --- other ways to make one ---------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        history: Iterable[DoseEvent] = (),
        cycle: Cycle | None = None,
        *,
        weight: str = "WT",
        name: str | None = None,
    ) -> Regimen:
        """A regimen from its one-off doses and its cycle, at least one of them."""
        regimen = object.__new__(cls)
        regimen._settle(history, cycle, weight, name)
        return regimen

    @classmethod
    def parse(cls, text: str, *, name: str | None = None) -> Regimen:
        """A regimen from its shorthand; `str` prints it back (see `tdmx_dask.domain.shorthand`).

        Raises
        ------
        InputError
            The text cannot be read: the error names the piece and shows a right form.

        Examples
        --------
        >>> Regimen.parse("15 mg/kg q12h inf 1h x6")
        Regimen(dose=15, tau=12, tinf=1, n_doses=6, per_kg=True)
        """
        history, cycle, weight = shorthand.parse(text)
        return cls.build(history, cycle, weight=weight, name=name)

    @classmethod
    def from_events(
        cls,
        events: Iterable[object],
        every: float | None = None,
        *,
        weight: str = "WT",
        name: str | None = None,
    ) -> Regimen:
        """A regimen from explicit doses, in any order; infusions may overlap.

        Parameters
        ----------
        events : `DoseEvent`, mappings, or tuples ``(time, amount, tinf, per_kg)``, the last two optional
        every : h; the doses are one cycle that starts with the first of them and repeats for ever
        weight, name : as for `Regimen`

        Raises
        ------
        InputError
            No dose, a dose out of range, or doses that span more than `every`.

        Examples
        --------
        >>> r = Regimen.from_events([(0, 1000, 1), (8, 500, 1)], every=24)
        >>> r.daily_dose, r.interventions_per_day, r.interval(2)
        (1500.0, 2.0, (8.0, 24.0))
        """
        doses = sorted((as_event(event) for event in events), key=DoseEvent.order)
        if every is None or not doses:
            return cls.build(doses, None, weight=weight, name=name)
        start = doses[0].time
        shifted = tuple(DoseEvent(e.time - start, e.amount, e.tinf, e.per_kg) for e in doses)
        return cls.build((), Cycle(every, shifted, start), weight=weight, name=name)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object] | str) -> Regimen:
        """A regimen from a shorthand, or from keys.

        The keys are the constructor's, where values may carry units (``dose: 2 g``, ``tinf: 30min``); or
        ``regimen``, a shorthand; or ``events`` and ``every``, as `from_events` takes them. ``name`` goes with
        each form.

        Raises
        ------
        InputError
            An unknown key (with the nearest known one), a missing one, or a value out of range.
        """
        if isinstance(mapping, str):
            return cls.parse(mapping)
        if not isinstance(mapping, Mapping):
            raise InputError(
                "regimen", mapping, "a regimen must be a text or keys", "For example 1000 mg q8h inf 3h."
            )
        if "regimen" in mapping:
            known_keys("regimen", mapping, ("regimen", "name"))
            return cls.parse(mapping["regimen"], name=mapping.get("name"))  # type: ignore[arg-type]
        if "events" in mapping:
            known_keys("regimen", mapping, ("events", "every", "weight", "name"))
            given: dict[str, object] = {**mapping}
            if isinstance(given["events"], str | Mapping) or not isinstance(given["events"], Sequence):
                raise InputError(
                    "events", given["events"], "events must be a list of doses", "Write a YAML list."
                )
            if "every" in given:
                given["every"] = hours("every", given["every"])
            return cls.from_events(**given)  # type: ignore[arg-type]
        known_keys("regimen", mapping, _KEYS)
        for key in ("dose", "tau"):
            if key not in mapping:
                raise InputError(
                    "regimen", dict(mapping), f"{key} is missing", "Or write it as 1000 mg q8h inf 3h."
                )
        given = {**mapping}
        given["dose"], given["per_kg"] = mass("dose", given["dose"], given.get("per_kg"))
        for key in ("tau", "tinf", "start_time"):
            if key in given:
                given[key] = hours(key, given[key])
        return cls(**given)  # type: ignore[arg-type]

    def to_mapping(self) -> dict[str, object]:
        """Plain values for YAML, JSON and attributes; `from_mapping` reads them back."""
        simple = self._simple()
        mapping: dict[str, object] = {"regimen": str(self)} if simple is None else simple
        return mapping if self.name is None else {**mapping, "name": self.name}

    def _simple(self) -> dict[str, object] | None:
        """The constructor's arguments other than defaults, where one dose repeats and nothing precedes it."""
        cycle = self.cycle
        if self.history or cycle is None or len(cycle.events) != 1 or cycle.events[0].time != 0:
            return None
        event = cycle.events[0]
        values: dict[str, object] = {"dose": event.amount, "tau": cycle.tau}
        optional = {"tinf": event.tinf, "n_doses": cycle.n, "start_time": cycle.start, "per_kg": event.per_kg}
        values.update({key: value for key, value in optional.items() if value})
        if self.weight != "WT":
            values["weight"] = self.weight
        return values

    # --- how it reads -------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return shorthand.text(self.history, self.cycle, self.weight)

    def __repr__(self) -> str:
        simple = self._simple()
        named = {} if self.name is None else {"name": self.name}
        if simple is None:
            return f"Regimen.parse({', '.join([repr(str(self)), *(f'{k}={v!r}' for k, v in named.items())])})"
        shown = {k: number_text(v) if type(v) is float else repr(v) for k, v in {**simple, **named}.items()}
        return f"Regimen({', '.join(f'{key}={value}' for key, value in shown.items())})"

    @property
    def label(self) -> str:
        """The name, or the shorthand."""
        return str(self) if self.name is None else self.name

    # --- what is given when -------------------------------------------------------------------------------

    @property
    def per_kg(self) -> bool:
        """Whether any dose is mg/kg, so that a weight is needed."""
        repeated = () if self.cycle is None else self.cycle.events
        return any(event.per_kg for event in self.history + repeated)

    @property
    def first_time(self) -> float:
        """When the first dose is given, h."""
        return schedule.first_time(self.history, self.cycle)

    def events(self, until: float) -> tuple[DoseEvent, ...]:
        """All doses before `until` (h, exclusive), by time.

        Raises
        ------
        InputError
            `until` is no number, or infinite for a regimen without end.
        """
        return schedule.doses_before(self.history, self.cycle, until)

    def interval(self, n: int) -> tuple[float, float]:
        """Start and end of the n-th dosing interval, from one dose to the next; loading doses count.

        Doses at the same time open one interval. The last interval of a cycle with an end lasts until the
        next dose would be due; that of an explicit history is as long as the one before it.

        Parameters
        ----------
        n : >= 1

        Returns
        -------
        (start, end), h

        Raises
        ------
        InputError
            There is no such interval, or it is that of one dose alone.

        Examples
        --------
        >>> Regimen(dose=1000, tau=8, n_doses=3).interval(3)
        (16.0, 24.0)
        """
        return schedule.interval(self.history, self.cycle, n, self.label)

    # --- what it costs ------------------------------------------------------------------------------------

    def _maintenance(self) -> tuple[tuple[DoseEvent, ...], float]:
        """The doses that count for the daily figures, and the hours that they cover."""
        if self.cycle is not None:
            return self.cycle.events, self.cycle.tau
        number = len({event.time for event in self.history})
        return self.history, self.interval(number)[1] - self.first_time

    @property
    def unit(self) -> str:
        """``mg`` or ``mg/kg``, of the maintenance's doses; refused where it mixes them."""
        units = sorted({event.unit for event in self._maintenance()[0]})
        if len(units) > 1:
            rule = "the maintenance mixes mg and mg/kg, so it has no one daily dose"
            raise InputError("daily_dose", self.label, rule, "Convert one of them with the patient's weight.")
        return units[0]

    @property
    def daily_dose(self) -> float:
        """Mg (mg/kg where `unit` says so) in 24 h of the maintenance cycle.

        A regimen without a cycle is averaged from its first dose to the end of its last interval, which is as
        long as the one before it. Refused for one dose alone, and where mg and mg/kg are mixed.
        """
        _ = self.unit
        doses, span = self._maintenance()
        return math.fsum(event.amount for event in doses) * 24 / span

    @property
    def infusion_hours_per_day(self) -> float:
        """Hours of infusion in 24 h, each infusion counted, over the same time as `daily_dose`."""
        doses, span = self._maintenance()
        return math.fsum(event.tinf for event in doses) * 24 / span

    @property
    def interventions_per_day(self) -> float:
        """Doses in 24 h, over the same time as `daily_dose`; a continuous infusion is one each `tau`."""
        doses, span = self._maintenance()
        return len(doses) * 24 / span
