"""A question of attainment as the texts of a form, and its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tdmx_dask.api.nouns import body_weight, read_mic, read_targets
from tdmx_dask.api.verbs import cfr, pta
from tdmx_dask.dashboard.workbench.numbers import number_of, whole_of
from tdmx_dask.dashboard.workbench.patient_text import Complaints
from tdmx_dask.dashboard.workbench.sources import Source
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.study import needs_mic, noting
from tdmx_dask.domain.target import AllOf, Target
from tdmx_dask.domain.units import NUMBER, real, whole
from tdmx_dask.domain.window import Window
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "MOST_PROFILES",
    "MOST_REGIMENS",
    "MOST_TARGETS",
    "Answer",
    "Question",
    "QuestionText",
    "answer",
    "distribution_lines",
    "distributions_of_file",
    "simple_regimen",
]

MOST_TARGETS, MOST_REGIMENS = 6, 8
"""What a figure of the page can tell apart."""

MOST_PROFILES = 20_000_000
"""Of one answer; some seconds. More is for ``tdmx pta`` and a cluster."""

_LONG = 300_000
"""Profiles; some tens of milliseconds."""

_MOST_ORGANISMS, _MOST_BYTES = 50, 2_000_000

_SEED = 0
_LEADING_NUMBER = re.compile(rf"\s*(<=|>|≤)?\s*{NUMBER}\s*$")


@dataclass(frozen=True, slots=True)
class Question:
    """A question that checked itself.

    Parameters
    ----------
    source : of the draws
    regimens, targets : at least one
    mic : mg/L, ascending, with those of the distributions
    distributions : of MICs, for CFR
    fu : unbound fraction, or None: the source's
    weight : kg, for doses in mg/kg; or None
    subjects : virtual patients of each draw
    level : PTA that is wanted, a fraction
    notes : what was mended on reading
    """

    source: Source
    regimens: tuple[Regimen, ...]
    targets: tuple[Target | AllOf, ...]
    mic: tuple[float, ...]
    distributions: tuple[MICDistribution, ...] = ()
    fu: float | None = None
    weight: float | None = None
    subjects: int = 1
    level: float = 0.9
    notes: tuple[str, ...] = ()

    @property
    def work(self) -> int:
        """Profiles, each counted once for every dose that is followed."""
        single = [
            each
            for target in self.targets
            for each in (target.targets if isinstance(target, AllOf) else (target,))
        ]
        doses = sum(_doses(regimen, each.window) for regimen in self.regimens for each in single)
        return self.subjects * self.source.n_draws * max(len(self.regimens), doses)

    @property
    def long(self) -> bool:
        """Whether it takes so long that other windows must not wait for it."""
        return self.work > _LONG


@dataclass(frozen=True, slots=True)
class Answer:
    """PTA, CFR where there are distributions, and what was assumed."""

    question: Question
    pta: xr.Dataset
    cfr: xr.Dataset | None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class QuestionText:
    """The fields of the form, as on the command line.

    Parameters
    ----------
    regimens, targets : a line each
    mic : a grid such as ``0.25..32``
    distributions : a line each, ``organism: 0.5:10, 1:20``
    fu, weight : empty where the draws say
    subjects, level : numbers
    """

    regimens: str
    targets: str
    mic: str = "0.25..32"
    distributions: str = ""
    fu: str = ""
    weight: str = ""
    subjects: str = "1"
    level: str = "90%"

    def read(self, source: Source) -> tuple[Question | None, Complaints]:
        """The question; None where anything is wrong, and what that is."""
        wrong = Complaints()
        regimens = wrong.reading("regimens", lambda: _regimens(self.regimens))
        targets = wrong.reading("targets", lambda: _targets(self.targets))
        with noting() as notes:
            distributions = wrong.reading("distributions", lambda: _distributions(self.distributions)) or ()
        fu = wrong.reading("fu", lambda: _fu(self.fu))
        weight = wrong.reading("weight", lambda: _weight(self.weight))
        level = wrong.reading("level", lambda: _level(self.level))
        subjects = wrong.reading("subjects", lambda: _subjects(self.subjects, source))
        if wrong or regimens is None or targets is None:
            return None, wrong
        mic = wrong.reading("mic", lambda: _mic(self.mic, targets, distributions))
        if wrong or mic is None or level is None or subjects is None:
            return None, wrong
        question = Question(
            source, regimens, targets, mic, distributions, fu, weight, subjects, level, tuple(notes)
        )
        if question.work > MOST_PROFILES:
            home, value = ("subjects", subjects) if subjects > 1 else ("regimens", len(regimens))
            rule = f"this is about as much as {question.work:,} profiles, more than the {MOST_PROFILES:,} of this page"
            wrong[home] = str(InputError(home, value, rule, "Ask for less, or use tdmx pta on a cluster."))
            return None, wrong
        return question, wrong


def answer(question: Question) -> Answer:
    """Compute PTA and CFR, by the verbs.

    Raises
    ------
    InputError
        A parameter, a weight or a window is missing or does not go with a regimen.
    """
    source = question.source
    found = pta(
        source.draws,
        question.regimens,
        question.targets,
        mic=question.mic,
        fu=question.fu if question.fu is not None else source.fu,
        weight=question.weight,
        subjects=question.subjects,
        seed=_SEED,
        breakpoint_level=question.level,
        run="direct",
    )
    response = None
    if question.distributions and any(needs_mic(target) for target in question.targets):
        response = cfr(found, question.distributions)
    said = [found.attrs.get("fu_note", ""), found.attrs.get("interval_reason", "")]
    return Answer(question, found, response, (*question.notes, *(text for text in said if text)))


def simple_regimen(text: str) -> Regimen | None:
    """The regimen, where dose, interval and infusion are all there is to it: what sliders can hold; else None."""
    try:
        regimen = Regimen.parse(text)
    except InputError:
        return None
    cycle = regimen.cycle
    if regimen.history or cycle is None or cycle.n is not None or regimen.per_kg:
        return None
    events = cycle.events
    return regimen if len(events) == 1 and cycle.start == 0 and events[0].time == 0 else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _regimens(text: str) -> tuple[Regimen, ...]:
    lines = _lines(text)
    if not lines:
        raise InputError("regimen", "", "there must be a regimen", "Write 1000 mg q8h inf 3h.")
    if len(lines) > MOST_REGIMENS:
        raise InputError(
            "regimens",
            len(lines),
            f"this page compares at most {MOST_REGIMENS}",
            "Leave some out, or use tdmx pta.",
        )
    regimens = tuple(Regimen.parse(line) for line in lines)
    _once("regimens", [regimen.label for regimen in regimens], "a regimen is given twice")
    return regimens


def _once(name: str, labels: Sequence[str], rule: str) -> None:
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            raise InputError(name, label, rule, "Leave one out, or name it differently.")
        seen.add(label)


def _targets(text: str) -> tuple[Target | AllOf, ...]:
    lines = _lines(text)
    if len(lines) > MOST_TARGETS:
        raise InputError(
            "targets",
            len(lines),
            f"this page shows at most {MOST_TARGETS}",
            "Leave some out, or use tdmx pta.",
        )
    return read_targets(lines)


def _distributions(text: str) -> tuple[MICDistribution, ...]:
    found = []
    for line in _lines(text):
        organism, colon, rest = line.partition(":")
        named = bool(colon) and not _LEADING_NUMBER.match(organism)
        found.append(
            MICDistribution.parse(rest if named else line, organism=organism.strip() if named else "isolates")
        )
    _once("organism", [each.organism for each in found], "two distributions have the same name")
    if len(found) > _MOST_ORGANISMS:
        raise InputError(
            "distributions", len(found), f"a page holds at most {_MOST_ORGANISMS}", "Leave some out."
        )
    return tuple(found)


def _mic(
    text: str, targets: Sequence[Target | AllOf], distributions: Sequence[MICDistribution]
) -> tuple[float, ...]:
    if not any(needs_mic(target) for target in targets):
        return (1.0,)
    grid = read_mic(text.strip(), tuple(targets))
    return tuple(sorted({*grid, *(mic for one in distributions for mic in one.mic)}))


def _fu(text: str) -> float | None:
    if not text.strip():
        return None
    return real(
        "fu",
        number_of("fu", text, "an unbound fraction"),
        "an unbound fraction",
        gt=0,
        le=1,
        fix="Give 0.98 for 2 % protein binding.",
    )


def _weight(text: str) -> float | None:
    return body_weight("weight", number_of("weight", text, "a body weight in kg")) if text.strip() else None


def _level(text: str) -> float:
    percent = text.strip().endswith("%")
    value = number_of("level", text.strip().rstrip("%"), "the wanted PTA") / (100 if percent else 1)
    if not 0 < value < 1:
        raise InputError(
            "level", text.strip(), "the wanted PTA is a fraction, 0 < level < 1", "Write 90% or 0.9."
        )
    return value


def _subjects(text: str, source: Source) -> int:
    n = whole("subjects", whole_of("subjects", text, "the number of virtual patients a draw"), "it")
    if n > 1 and not source.two_level:
        rule = "these draws have no between-subject variability to draw patients from"
        raise InputError("subjects", n, rule, "Write 1.")
    return n


def _doses(regimen: Regimen, window: Window) -> int:
    """Doses that are followed one by one, about; one where there is a steady state."""
    if window.kind in ("ss", "first_dose") or regimen.cycle is None:
        return 1 if window.kind == "ss" else 1 + len(regimen.history)
    cycle = regimen.cycle
    end = {"day1": 24.0, "interval": (window.n or 0) * cycle.tau}.get(window.kind, window.end or 0.0)
    times = max(0.0, end - cycle.start) / cycle.tau
    return 1 + len(regimen.history) + len(cycle.events) * math.ceil(min(times, cycle.n or math.inf))


def distributions_of_file(name: str, content: bytes) -> tuple[MICDistribution, ...]:
    """MIC distributions of an uploaded CSV file.

    Raises
    ------
    InputError
        It is no such table.
    """
    if len(content) > _MOST_BYTES:
        raise InputError(
            "file", name, f"a table of MICs has at most {_MOST_BYTES:,} bytes here", "Take fewer organisms."
        )
    with TemporaryDirectory(prefix="tdmx-") as folder:
        path = Path(folder) / "uploaded.csv"
        path.write_bytes(content)
        try:
            found = MICDistribution.read_csv(path, source=name)
        except InputError as error:
            value = str(error.value).replace(str(path), name)
            raise InputError(error.name.replace(path.name, name), value, error.rule, error.fix) from None
    if len(found) > _MOST_ORGANISMS:
        raise InputError(
            "file",
            name,
            f"its {len(found)} organisms are more than the {_MOST_ORGANISMS} of a page",
            "Take fewer.",
        )
    return found


def distribution_lines(distributions: Sequence[MICDistribution]) -> str:
    """Distributions as the lines of the field."""
    return "\n".join(f"{one.organism}: {one}" for one in distributions)
