"""Windows: the time over which an index of a profile is taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tdmx_dask.domain.units import NUMBER, nearest, number_text, parse_hours, real, whole
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.domain.regimen import Regimen

__all__ = ["STEADY_STATE", "Window"]

Kind = Literal["ss", "first_dose", "day1", "interval", "span"]

_KINDS = ("ss", "first_dose", "day1", "interval", "span")
_NAMES: Mapping[str, Kind] = {"ss": "ss", "steadystate": "ss", "firstdose": "first_dose", "day1": "day1"}
_FIX = "Write ss, first_dose, day1, interval 20 or 24..48h."
_SPAN = re.compile(rf"({NUMBER})\s*([a-z]*)\s*(?:\.\.|-|–|\bto\b)\s*({NUMBER}\s*[a-z]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Window:
    """The time over which an index is taken.

    Parameters
    ----------
    kind : ``ss`` (one interval at steady state), ``first_dose`` (until the next dose is due), ``day1`` (24 h
        from the first dose), ``interval`` (the n-th dosing interval) or ``span`` (from `start` to `end`)
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
        if self.kind not in _KINDS:
            fix = f"{nearest(str(self.kind), _KINDS)}{_FIX}"
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
        """A window from a `Window`, a text (``day1``, ``interval 20``, ``24..48h`` …) or ``(start, end)`` in h.

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
            return cls._read(value)
        if isinstance(value, Sequence) and len(value) == 2:
            return cls("span", start=value[0], end=value[1])
        raise InputError("window", value, "this is not a window", _FIX)

    @classmethod
    def _read(cls, text: str) -> Window:
        plain = re.sub(r"[\s_]+", "", text.lower())
        if plain in _NAMES:
            return cls(_NAMES[plain])
        if interval := re.fullmatch(r"interval(\d+)", plain):
            return cls("interval", n=int(interval[1]))
        if span := _SPAN.fullmatch(text.strip()):
            unit = span[2] or re.sub(NUMBER, "", span[3], count=1)
            return cls(
                "span", start=parse_hours(span[1] + unit, "window"), end=parse_hours(span[3], "window")
            )
        known = ("ss", "first_dose", "day1", "interval")
        raise InputError("window", text.strip(), "this is not a window", f"{nearest(text, known)}{_FIX}")

    def __str__(self) -> str:
        if self.kind == "interval":
            return f"interval {self.n}"
        if self.kind == "span":
            return f"{number_text(self.start or 0.0)}..{number_text(self.end or 0.0)}h"
        return self.kind

    @property
    def words(self) -> str:
        """What a reader who does not know the grammar is told."""
        if self.kind == "span":
            return f"{number_text(self.start or 0.0)} to {number_text(self.end or 0.0)} h"
        return {
            "ss": "one dosing interval at steady state",
            "first_dose": "from the first dose to the next",
            "day1": "the first 24 h",
            "interval": f"dosing interval {self.n}",
        }[self.kind]

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
