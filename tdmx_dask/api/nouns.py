"""From what a user types to nouns: regimens, targets, MICs, scenarios, seeds, weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tdmx_dask.analysis.exposure import single_targets
from tdmx_dask.domain.doses import body_weight
from tdmx_dask.domain.grid import parse_mic_grid
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.scenario import Scenario
from tdmx_dask.domain.target import AllOf, Target, parse_target
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import InputError

__all__ = ["body_weight", "read_mic", "read_regimens", "read_scenarios", "read_targets", "seed_number"]


def read_regimens(given: object) -> tuple[Regimen, ...]:
    """Regimens from one or several of `Regimen`, shorthand text and mapping, each with its own label."""
    if isinstance(given, Mapping) and not {"dose", "regimen", "events"} & set(given):
        given = [_named(str(name), each) for name, each in given.items()]
    elif isinstance(given, Regimen | str | Mapping):
        given = (given,)
    if not isinstance(given, Iterable):
        raise InputError(
            "regimens", given, "regimens are Regimen objects or texts", "Write '1000 mg q8h inf 3h'."
        )
    found = tuple(each if isinstance(each, Regimen) else Regimen.from_mapping(each) for each in given)
    if not found:
        raise InputError(
            "regimens", "()", "there must be at least one regimen", "Write '1000 mg q8h inf 3h'."
        )
    labels = [regimen.label for regimen in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError("regimens", twice[0], "two regimens have the same label", "Give one of them a name.")
    return found


def _named(name: str, given: object) -> Regimen:
    if isinstance(given, Regimen):
        return Regimen.build(given.history, given.cycle, weight=given.weight, name=name)
    if isinstance(given, str):
        return Regimen.parse(given, name=name)
    return Regimen.from_mapping({**given, "name": name})  # type: ignore[dict-item]


def read_targets(given: object, window: object = None) -> tuple[Target | AllOf, ...]:
    """Targets from one or several of `Target`, `AllOf`, text and mapping, each with its own label."""
    if isinstance(given, Target | AllOf | str | Mapping):
        given = (given,)
    if not isinstance(given, Iterable):
        raise InputError("targets", given, "targets are Target objects or texts", "Write 'fT>MIC >= 50%'.")
    found = tuple(
        each if isinstance(each, Target | AllOf) else parse_target(each, window=window) for each in given
    )
    if not found:
        raise InputError("targets", "()", "there must be at least one target", "Write 'fT>MIC >= 50%'.")
    labels = [target.label for target in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise InputError("targets", twice[0], "a target is given twice", "Leave one out.")
    return found


def read_mic(given: object, targets: tuple[Target | AllOf, ...]) -> tuple[float, ...]:
    """MICs, ascending, from numbers and distributions; one that is never used where no target has a MIC."""
    if given is None:
        if any(each.per_mic for target in targets for each in single_targets(target)):
            raise InputError(
                "mic", None, "a target relative to the MIC needs MICs, in mg/L", "Give mic=[0.5, 1, 2]."
            )
        return (1.0,)
    if isinstance(given, str):
        return parse_mic_grid(given)
    parts = given if isinstance(given, Iterable) else (given,)
    found: set[float] = set()
    for part in parts:
        if isinstance(part, MICDistribution):
            found.update(part.mic)
        else:
            found.add(real("mic", part, "a MIC", unit="mg/L", gt=0, fix="Give numbers or a MICDistribution."))
    if not found:
        raise InputError("mic", "()", "there must be at least one MIC, in mg/L", "Give mic=[0.5, 1, 2].")
    return tuple(sorted(found))


def read_scenarios(given: object) -> tuple[Scenario, ...]:
    """Scenarios from ``{name: covariates}`` or a sequence of `Scenario`; none from None."""
    if given is None:
        return ()
    if isinstance(given, Mapping):
        given = [Scenario(str(name), values) for name, values in given.items()]
    found: tuple[Scenario, ...] = tuple(given)  # type: ignore[arg-type]
    for each in found:
        if not isinstance(each, Scenario):
            raise InputError(
                "scenarios", each, "a scenario is a name with covariates", "Give {'CCr 80': {'CCr': 80}}."
            )
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise InputError("scenarios", names, "each scenario has its own name", "Rename one.")
    return found


def seed_number(seed: object) -> int:
    """A seed as an int in [0, 2^64)."""
    number = whole("seed", seed, "a seed", ge=0)
    if number >= 2**64:
        raise InputError("seed", seed, "a seed is below 2^64", "For example seed=1.")
    return number
