"""Targets: what a concentration profile has to attain, over which window, at which site.

The grammar is in `tdmx_dask.domain.target_grammar`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tdmx_dask.domain import target_grammar as grammar
from tdmx_dask.domain.units import (
    fraction_text,
    hours_text,
    known_keys,
    nearest,
    number_text,
    parse_fraction,
    real,
    whole,
)
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.domain.regimen import Regimen

__all__ = ["STEADY_STATE", "AllOf", "Index", "Target", "Window", "parse_target"]

Index = Literal["T>MIC", "AUC", "AUC24", "Cmax", "Cmin", "C"]
Kind = Literal["ss", "first_dose", "day1", "interval", "span"]

_UNITS = {"AUC": "mg·h/L", "AUC24": "mg·h/L", "Cmax": "mg/L", "Cmin": "mg/L", "C": "mg/L"}
_KEYS = ("target", "all_of", "window", "fu", "site", "penetration")


@dataclass(frozen=True, slots=True)
class Window:
    """The time over which an index is taken.

    Parameters
    ----------
    kind : ``ss`` (one interval at steady state), ``first_dose`` (until the next dose is due), ``day1`` (24 h from
        the first dose), ``interval`` (the n-th dosing interval) or ``span`` (from `start` to `end`)
    n : the dosing interval, >= 1, for ``interval`` alone
    start, end : h, 0 <= start < end, for ``span`` alone

    Raises
    ------
    InputError
        An unknown kind, or numbers that do not go with it.
    """

    kind: Kind = "ss"
    n: int | None = None
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.kind not in grammar.WINDOWS:
            fix = f"{nearest(str(self.kind), grammar.WINDOWS)}{grammar.WINDOW_FIX}"
            raise InputError("window", self.kind, "this is not a window", fix)
        if (self.n is not None) != (self.kind == "interval"):
            rule = "the number of a dosing interval goes with the window 'interval', and with no other"
            raise InputError("n", self.n, rule, "Write interval 20.")
        if (self.start is None or self.end is None) != (self.kind != "span") or (
            self.kind != "span" and (self.start, self.end) != (None, None)
        ):
            rule = "start and end, in h, go with the window 'span', and with no other"
            raise InputError("window", f"{self.start}..{self.end}", rule, "Write 24..48h.")
        if self.n is not None:
            put(self, "n", whole("n", self.n, "the number of a dosing interval"))
        if self.kind == "span":
            put(self, "start", real("start", self.start, "the start of a window", unit="h", ge=0))
            put(self, "end", real("end", self.end, "the end of a window", unit="h", gt=self.start))

    @classmethod
    def of(cls, value: object) -> Window:
        """A window from a `Window`, a text (``ss``, ``day1``, ``interval 20``, ``24..48h``) or ``(start, end)`` in h.

        Raises
        ------
        InputError
            None of these.

        Examples
        --------
        >>> Window.of((24, 48)) == Window.of("24..48h")
        True
        """
        if isinstance(value, Window):
            return value
        if isinstance(value, str):
            return cls(**grammar.read_window(value))
        if isinstance(value, Sequence) and len(value) == 2:
            return cls("span", start=value[0], end=value[1])
        raise InputError("window", value, "this is not a window", grammar.WINDOW_FIX)

    def __str__(self) -> str:
        return grammar.window_text(self.kind, self.n, self.start, self.end)

    def span(self, regimen: Regimen) -> tuple[float, float] | None:
        """Start and end of the window for a regimen, h; None at steady state.

        Raises
        ------
        InputError
            Steady state of a regimen that ends, or an interval that the regimen does not have.

        Examples
        --------
        >>> from tdmx_dask.domain.regimen import Regimen
        >>> Window.of("interval 20").span(Regimen(dose=1000, tau=8))
        (152.0, 160.0)
        """
        if self.kind == "ss":
            if regimen.cycle is None or regimen.cycle.n is not None:
                rule = f"the regimen {regimen.label} ends, so it has no steady state"
                fix = "Take day1, interval n or a span such as 24..48h, or leave the number of doses out."
                raise InputError("window", "ss", rule, fix)
            return None
        if self.kind == "first_dose":
            return regimen.interval(1)
        if self.kind == "interval":
            assert self.n is not None  # noqa: S101  checked when made
            return regimen.interval(self.n)
        if self.kind == "day1":
            return regimen.first_time, regimen.first_time + 24.0
        assert self.start is not None  # noqa: S101  checked when made
        assert self.end is not None  # noqa: S101
        return self.start, self.end


STEADY_STATE = Window("ss")


@dataclass(frozen=True, slots=True)
class Target:
    """One PK/PD target.

    Parameters
    ----------
    index : ``T>MIC``, ``AUC`` (over the window), ``AUC24`` (over 24 h; at steady state the mean daily AUC),
        ``Cmax``, ``Cmin``, or ``C`` (at `time`)
    free : of the unbound drug
    per_mic : divided by the MIC; always so for ``T>MIC``
    lower, upper : inclusive limits; a fraction in (0, 1] for ``T>MIC``, h for AUC/MIC, mg·h/L, mg/L, or none. At
        least one; with `per_mic` the lower one alone
    mic_multiple : k of ``T>kxMIC``, > 0
    time : h, >= 0, for ``C`` alone: just before a dose that is due then
    window : `Window`; ``C`` has none
    site : ``plasma``, ``ELF``, ``bone``, ``CSF`` or ``site``
    penetration : ratio of the site's concentration to plasma's, > 0; 1 in plasma
    fu : unbound fraction in (0, 1] for this target, None where it comes from elsewhere; only with `free`

    Raises
    ------
    InputError
        A value is out of range, or the target is not monotone in the MIC.

    Examples
    --------
    >>> t = Target.parse("fT>4xMIC >= 50% in day1 at ELF 0.3")
    >>> t.lower, t.mic_multiple, t.window.kind, t.penetration
    (0.5, 4.0, 'day1', 0.3)
    >>> Target.parse("Cmin 10..20").label
    'Cmin 10–20 mg/L'
    """

    index: Index
    free: bool = False
    per_mic: bool = False
    lower: float | None = None
    upper: float | None = None
    mic_multiple: float = 1.0
    time: float | None = None
    window: Window = STEADY_STATE
    site: str = "plasma"
    penetration: float = 1.0
    fu: float | None = None

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        window: object = None,
        fu: float | None = None,
        site: str | None = None,
        penetration: float | None = None,
    ) -> Target:
        """A target from its text; the keywords count where the text does not say.

        `fu` fills in free-drug targets only, `window` all but ``C@48h``.

        Raises
        ------
        InputError
            The text cannot be read, or a value is out of range.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class AllOf:
    """Several targets that a profile must attain together.

    Parameters
    ----------
    targets : two or more; an `AllOf` among them is taken apart

    Raises
    ------
    InputError
        Fewer than two targets, or something that is none.
    """

    targets: tuple[Target, ...]


def parse_target(
    given: object,
    *,
    window: object = None,
    fu: float | None = None,
    site: str | None = None,
    penetration: float | None = None,
) -> Target | AllOf:
    """A target or several together, from a text or a mapping."""
    raise NotImplementedError
