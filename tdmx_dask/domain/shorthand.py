"""The shorthand of regimens, read and printed.

::

    1000 mg q8h inf 3h                                 infusion of 3 h every 8 h, without end
    500 mg q8h                                         bolus
    2 g q24h ci                                        continuous infusion: tinf = tau
    15 mg/kg of IBW q12h inf 1h x6                     six doses, by the covariate IBW (WT if not said)
    25 mg/kg load inf 1h, then 2 g q24h ci
    400 mg q12h x3 inf 40min, then from 48h 200 mg q24h x2 inf 40min
    1000 mg at 0h, 8h, 20h inf 1h                      an explicit history
    every 24h (1000 mg at 0h inf 1h; 500 mg at 12h)    unequal doses that repeat

Parts follow one another with ``then``. Without ``from`` a part starts: after a part that repeats, one
interval after its last dose; after one-off doses (``load``, ``at``), one interval of its own after the last
of them, or, for a continuous infusion, at the end of the last one's infusion. A load that says neither
``inf`` nor ``bolus`` takes the infusion of the intermittent part that follows, and is a bolus before a
continuous infusion. ``qd bid tid qid`` are read as q24h, q12h, q8h, q6h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from tdmx_dask.domain.doses import Cycle, DoseEvent, check_infusion
from tdmx_dask.domain.units import (
    NUMBER,
    hours_text,
    nearest,
    number_text,
    parse_dose,
    parse_hours,
    shortened,
)
from tdmx_dask.errors import InputError

__all__ = ["parse", "text"]

Schedule = tuple[tuple[DoseEvent, ...], Cycle | None, str]

_EXAMPLE = "For example 1000 mg q8h inf 3h, or 25 mg/kg load inf 1h, then 2 g q24h ci."
_MOST = 100_000  # one-off doses that a part may become
_OFTEN = {"qd": 24.0, "od": 24.0, "bid": 12.0, "bd": 12.0, "tid": 8.0, "tds": 8.0, "qid": 6.0, "qds": 6.0}
_WORDS = (
    "load",
    "bolus",
    "inf",
    "ci",
    "from",
    "at",
    "every",
    "then",
    "hours",
    "q24h",
    "q12h",
    "q8h",
    "q6h",
    *_OFTEN,
)

_TIME = rf"{NUMBER}(?:[a-zA-Z]+\b|\s+(?:hours?|hrs?|h|minutes?|mins?|days?|d)\b)?"
_CLAUSES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "block": rf"every\s*({_TIME})\s*\(([^()]*)\)",
        "from": rf"from\s*({_TIME})",
        "dose": rf"({NUMBER}(?:\s*[a-zµμ]+\b(?:\s*/\s*kg\b)?)?)(?:\s+of\s+([a-z_]\w*))?",
        "tau": rf"(?:q|every\s)\s*({_TIME})|({'|'.join(_OFTEN)})\b",
        "count": rf"[x×]\s*({NUMBER})",
        "inf": rf"(?:infusion|infused|inf|over)(?:\s+over)?\s*({_TIME})",
        "ci": r"ci\b|continuous infusion\b|continuous\b",
        "bolus": r"bolus\b",
        "load": r"(?:loading dose|loading|load|once|stat)\b",
        "at": rf"at\s*({_TIME}(?:\s*,\s*{_TIME})*)",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Part:
    """Doses between two ``then``: given once, or repeated every `tau`.

    Parameters
    ----------
    events : times in h from the start of the part (of a cycle, where it repeats)
    tau : h, or None: given once
    count : number of cycles, None for no end
    start : h, or None: not said
    written_at : the times are written one by one, from 0 h of the regimen
    unsaid : neither ``inf`` nor ``bolus`` is said
    """

    events: tuple[DoseEvent, ...]
    tau: float | None = None
    count: int | None = None
    start: float | None = None
    written_at: bool = False
    unsaid: bool = False

    @property
    def continuous(self) -> bool:
        return self.tau is not None and len(self.events) == 1 and self.events[0].tinf == self.tau


def _refuse(whole: str, rule: str, fix: str = "") -> NoReturn:
    raise InputError("regimen", shortened(whole), shortened(rule), f"{fix} {_EXAMPLE}".strip())


# --- reading ----------------------------------------------------------------------------------------------


def parse(text: str) -> Schedule:
    """One-off doses, the cycle that follows, and the weight, from a shorthand.

    Raises
    ------
    InputError
        A piece cannot be read, or a value is out of range.

    Examples
    --------
    >>> history, cycle, weight = parse("2 g load, then 500 mg q6h inf 30min")
    >>> history[0].tinf, cycle.start
    (0.5, 6.0)
    """
    if not isinstance(text, str):
        raise InputError("regimen", text, "a regimen must be a text", _EXAMPLE)
    text = " ".join(text.split())
    if re.search(r"\d,\d", text):
        _refuse(text, "a comma inside a number can mean two things", "Write 1000 mg or 0.5 mg.")
    weights: set[str] = set()
    parts = [_part(piece, text, weights) for piece in re.split(r"[,;]? ?\bthen\b", text, flags=re.IGNORECASE)]
    if len(weights) > 1:
        rule = f"mg/kg doses must all be by one weight, here they are by {' and '.join(sorted(weights))}"
        _refuse(
            text, rule, "Say it with each of them, as in 25 mg/kg of IBW load, then 15 mg/kg of IBW q12h."
        )
    for index in range(len(parts) - 1):
        parts[index] = _inherit(parts[index], parts[index + 1], text)
    history, cycle = _resolve(parts, text)
    return history, cycle, weights.pop() if weights else "WT"


def _scan(piece: str, whole: str) -> dict[str, re.Match[str]]:
    """The clauses of one piece by name."""
    rest, found = piece.strip(), dict[str, re.Match[str]]()
    while rest:
        name, match = next(((n, m) for n, p in _CLAUSES.items() if (m := p.match(rest))), ("", None))
        if match is None:
            word = re.match(r"[^\s,;]+|.", rest)
            shown = word[0] if word else rest
            if shown in ",;" or shown.lower() in ("and", "+"):
                _refuse(
                    whole, f"'{rest}' does not follow from what is before it", "Join parts with ', then'."
                )
            if shown.lower() in ("inf", "from", "at", "over", "every", "q", "x"):
                _refuse(whole, f"'{rest}' needs a number after '{shown}'")
            _refuse(whole, f"'{shown}' is not a word of the shorthand", nearest(shown, _WORDS).strip())
        if name in found:
            fix = "Join parts with ', then'." if name == "dose" else ""
            _refuse(whole, f"'{piece.strip()}' says twice: {match[0]}", fix)
        found[name], rest = match, rest[match.end() :].lstrip()
    return found


def _only(found: Mapping[str, object], allowed: Sequence[str], piece: str, whole: str) -> None:
    for name in found:
        if name not in allowed:
            _refuse(whole, f"'{name}' cannot stand in '{piece.strip()}'")


def _amount(found: Mapping[str, re.Match[str]], weights: set[str]) -> tuple[float, bool]:
    amount, per_kg = parse_dose(found["dose"][1])
    if found["dose"][2] and not per_kg:
        fix = f"Write {found['dose'][1].strip()}/kg of {found['dose'][2]}, or leave the weight out."
        raise InputError("weight", found["dose"][2], "a weight goes with a dose in mg/kg", fix)
    if per_kg:
        weights.add(found["dose"][2] or "WT")
    return amount, per_kg


def _part(piece: str, whole: str, weights: set[str]) -> Part:
    """One piece between two ``then``."""
    found = _scan(piece, whole)
    start = parse_hours(found["from"][1], "from") if "from" in found else None
    if "block" in found:
        _only(found, ("block", "from", "count"), piece, whole)
        entries = re.split(r";|\band\b", found["block"][2])
        events = [event for entry in entries for event in _listed(entry, whole, weights)]
        return Part(_sorted(events), parse_hours(found["block"][1], "tau"), _count(found), start)
    if "dose" not in found:
        _refuse(whole, f"'{piece.strip()}' names no dose" if piece.strip() else "a part is empty")
    if "at" in found:
        return Part(_listed(piece, whole, weights), written_at=True)
    if ("tau" in found) == ("load" in found):
        rule = f"'{piece.strip()}' must say how often, or that it is a load"
        _refuse(whole, rule, "One dose alone is 1000 mg at 0h.")
    amount, per_kg = _amount(found, weights)
    if "load" in found:
        _only(found, ("dose", "load", "inf", "bolus", "from"), piece, whole)
        unsaid = "inf" not in found and "bolus" not in found
        return Part((DoseEvent(0.0, amount, _tinf(found, piece, whole), per_kg),), start=start, unsaid=unsaid)
    tau = parse_hours(found["tau"][1], "tau") if found["tau"][1] else _OFTEN[found["tau"][2].lower()]
    tinf = _tinf(found, piece, whole, tau)
    check_infusion(tinf, tau)
    return Part((DoseEvent(0.0, amount, tinf, per_kg),), tau, _count(found), start)


def _listed(entry: str, whole: str, weights: set[str]) -> tuple[DoseEvent, ...]:
    """Doses written with their times: ``1000 mg at 0h, 8h inf 1h``."""
    found = _scan(entry, whole)
    _only(found, ("dose", "at", "inf", "bolus"), entry, whole)
    if "dose" not in found or "at" not in found:
        _refuse(
            whole,
            f"'{entry.strip()}' must say which dose is given at which time",
            "Write 500 mg at 12h inf 1h.",
        )
    amount, per_kg = _amount(found, weights)
    tinf = _tinf(found, entry, whole)
    times = [parse_hours(time, "at") for time in found["at"][1].split(",")]
    return _sorted(DoseEvent(time, amount, tinf, per_kg) for time in times)


def _tinf(found: Mapping[str, re.Match[str]], piece: str, whole: str, tau: float | None = None) -> float:
    said = [name for name in ("inf", "ci", "bolus") if name in found]
    if len(said) > 1:
        _refuse(whole, f"'{piece.strip()}' says both {' and '.join(said)}", "Keep one of them.")
    if said == ["ci"] and tau is not None:
        return tau
    return parse_hours(found["inf"][1], "tinf") if said == ["inf"] else 0.0


def _count(found: Mapping[str, re.Match[str]]) -> int | None:
    if "count" not in found:
        return None
    if not re.fullmatch(r"0*[1-9]\d{0,99}", found["count"][1]):
        raise InputError(
            "n_doses", found["count"][1], "the number of doses must be a whole number >= 1", "Write x3."
        )
    return int(found["count"][1])


def _sorted(events: object) -> tuple[DoseEvent, ...]:
    return tuple(sorted(events, key=DoseEvent.order))  # type: ignore[call-overload]


def _inherit(part: Part, following: Part, whole: str) -> Part:
    """A load that does not say how it is given takes the infusion of the intermittent part that follows."""
    if not part.unsaid or following.continuous:
        return part
    lengths = {event.tinf for event in following.events}
    if len(lengths) > 1 or following.unsaid:
        _refuse(whole, "the load must say how it is given", "Add bolus, or inf with its length.")
    return replace(part, events=(replace(part.events[0], tinf=lengths.pop()),))


# --- where parts start ------------------------------------------------------------------------------------


def _default_start(before: Part | None, part: Part) -> float | None:
    """When a part starts if it does not say; None where it must."""
    if before is None or part.written_at:
        return 0.0
    start = before.start or 0.0
    if before.tau is not None:
        return start + (before.count or 0) * before.tau
    last = before.events[-1]
    if part.continuous:
        return start + last.time + last.tinf
    return None if part.tau is None else start + last.time + part.tau


def _resolve(parts: Sequence[Part], whole: str) -> tuple[tuple[DoseEvent, ...], Cycle | None]:
    """One-off doses and the cycle, with every part placed in time."""
    history: list[DoseEvent] = []
    before: Part | None = None
    for index, part in enumerate(parts):
        start = _default_start(before, part) if part.start is None else part.start
        if start is None:
            _refuse(whole, f"part {index + 1} must say when it starts", "Write then from 12h.")
        placed = replace(part, start=start)
        if history and start + part.events[0].time < history[-1].time:
            late = f"{history[-1].time:g} h"
            rule = f"part {index + 1} starts before the last dose of the part before it, at {late}"
            _refuse(whole, rule, "Move it with 'from', or shorten the part before with x2.")
        if part.tau is not None and index == len(parts) - 1:
            return tuple(history), Cycle(part.tau, part.events, start, part.count)
        if part.tau is not None and part.count is None:
            _refuse(
                whole,
                f"part {index + 1} has no end, so nothing can follow it",
                "Say how many doses, as in x3.",
            )
        if (part.count or 1) * len(part.events) > _MOST:
            _refuse(whole, f"part {index + 1} has more than {_MOST} doses, and something follows it")
        cycle = Cycle(part.tau, part.events, start, part.count) if part.tau is not None else None
        history += [
            replace(event, time=start + event.time if cycle is None else cycle.time(k, event.time))
            for k in range(part.count or 1)
            for event in part.events
        ]
        before = placed
    return tuple(history), None


# --- printing ---------------------------------------------------------------------------------------------


def text(history: tuple[DoseEvent, ...], cycle: Cycle | None, weight: str = "WT") -> str:
    """The shorthand, such that `parse` gives the same back, bit for bit."""
    parts = _runs(history, followed=cycle is not None)
    if cycle is not None:
        parts.append(Part(cycle.events, cycle.tau, cycle.n, cycle.start))
    before: Part | None = None
    pieces = []
    for part in parts:
        said = "" if part.start == _default_start(before, part) else f"from {hours_text(part.start or 0.0)} "
        pieces.append(said + _part_text(part, weight))
        before = part
    return ", then ".join(pieces)


def _runs(history: tuple[DoseEvent, ...], *, followed: bool) -> list[Part]:
    """One-off doses as parts: a load, doses that repeat evenly, or times one by one."""
    parts: list[Part] = []
    rest = history
    while rest:
        same = 1
        while same < len(rest) and replace(rest[same], time=0.0) == replace(rest[0], time=0.0):
            same += 1
        even = _evenly(rest[:same])
        more = followed or same < len(rest)
        first = replace(rest[0], time=0.0)
        if (1 < even == same and more) or 2 < even < same:
            taken, part = even, Part((first,), rest[1].time - rest[0].time, even, rest[0].time)
        elif same == 1 and more and not parts:
            taken, part = 1, Part((first,), start=rest[0].time)
        else:
            taken, part = same, Part(rest[:same], start=0.0, written_at=True)
        parts.append(part)
        rest = rest[taken:]
    return parts


def _evenly(same: tuple[DoseEvent, ...]) -> int:
    """How many of these equal doses are spaced evenly, to the last bit."""
    if len(same) < 2:
        return 1
    first, gap = same[0], same[1].time - same[0].time
    if gap <= 0 or first.tinf > gap or len(hours_text(gap)) > 8:
        return 1
    return next((k for k, event in enumerate(same) if event.time != first.time + k * gap), len(same))


def _part_text(part: Part, weight: str) -> str:
    count = "" if part.count is None else f" x{part.count}"
    if part.written_at:
        return _listed_text(part.events, weight)
    event = part.events[0]
    given = "" if event.tinf == 0 else f" inf {hours_text(event.tinf)}"
    if part.tau is None:
        return f"{_dose_text(event, weight)} load{given or ' bolus'}"
    if len(part.events) > 1 or event.time != 0:
        listed = "; ".join(_listed_text((each,), weight) for each in part.events)
        return f"every {hours_text(part.tau)} ({listed}){count}"
    given = " ci" if part.continuous else given
    return f"{_dose_text(event, weight)} q{hours_text(part.tau)}{given}{count}"


def _listed_text(events: tuple[DoseEvent, ...], weight: str) -> str:
    given = f" inf {hours_text(events[0].tinf)}" if events[0].tinf else ""
    times = ", ".join(hours_text(event.time) for event in events)
    return f"{_dose_text(events[0], weight)} at {times}{given}"


def _dose_text(event: DoseEvent, weight: str) -> str:
    by = f" of {weight}" if event.per_kg and weight != "WT" else ""
    return f"{number_text(event.amount)} {event.unit}{by}"
