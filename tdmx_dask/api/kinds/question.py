"""A question about attainment as plain JSON: what was given becomes nouns once, and the same nouns again where it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.api.kinds.data import exactly, keep_draws, naming, opened_draws, population_of, population_text
from tdmx_dask.api.nouns import read_regimens, read_scenarios, read_targets, seed_number
from tdmx_dask.api.question import Question, ask
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.target import parse_target
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.store.digest import json_safe

if TYPE_CHECKING:
    from tdmx_dask.jobs.kind import Known

__all__ = [
    "ALIASES",
    "KEYS",
    "arguments_of",
    "content_of",
    "distribution_mapping",
    "family_of",
    "level_of",
    "memory_of",
    "plain_question",
    "read_distributions",
    "regimen_mapping",
    "size_of",
    "title_of",
]

KEYS = (
    *("draws", "regimens", "targets", "mic", "population", "scenarios", "design", "subjects", "n", "fu"),
    *("weight", "seed", "window", "interval", "level", "breakpoint_level", "model_type"),
)
ALIASES = {"regimen": "regimens", "target": "targets", "target_def": "targets", "MIC": "mic"}
_BASE_MB = 200.0  # a process with NumPy, xarray and Zarr
_TOLD_FROM_MB = 300.0  # less is not worth a word


def arguments_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `tdmx.pta` that a checked spec stands for."""
    population = None if spec["population"] is None else population_of(spec["population"])
    source = spec["draws"]
    draws = population_of(source["population"]) if "population" in source else opened_draws(source)
    design = spec["design"]
    scenarios = spec["scenarios"]
    return {
        "draws": draws,
        "regimens": None if spec["regimens"] is None else [Regimen.from_mapping(r) for r in spec["regimens"]],
        "targets": [parse_target(each) for each in spec["targets"]],
        "population": population,
        "scenarios": None if scenarios is None else {name: dict(values) for name, values in scenarios},
        "design": None if design is None else [(name, Regimen.from_mapping(r)) for name, r in design],
        **{key: spec[key] for key in _PLAIN},
    }


_PLAIN = ("mic", "subjects", "n", "fu", "weight", "seed", "interval", "level", "breakpoint_level")


# --- from what was given to plain values ----------------------------------------------------------------------


def plain_question(given: Mapping[str, Any], known: Known) -> tuple[dict[str, Any], Question]:
    """Ask what a spec asks, and write it down in plain JSON.

    Parameters
    ----------
    given : by the known names of its keys
    known : of the queue

    Raises
    ------
    InputError
        With the key that is wrong, as ``spec.regimens``.
    """
    from tdmx_dask.config import settings

    for key in ("draws", "targets"):
        if key not in given:
            raise InputError(f"spec.{key}", None, "it is missing", "See the arguments of tdmx.pta.")
    configured = settings()
    draws = _draws(given["draws"])
    nouns = _nouns(given)
    seed = _seed(given.get("seed", configured.seed))
    numbers = {
        "seed": seed,
        "level": level_of(given.get("level", configured.interval_level)),
        "breakpoint_level": level_of(
            given.get("breakpoint_level", configured.breakpoint_level), "breakpoint_level"
        ),
        "interval": _interval(given),
    }
    fu: Any = given.get("fu")
    with naming(*KEYS):
        question = ask(
            draws,
            **nouns,
            mic=given.get("mic"),
            subjects=given.get("subjects", 1),
            n=given.get("n"),
            fu=fu,
            weight=given.get("weight"),
            seed=seed,
            window=given.get("window"),
        )
    _check_model(given, question)
    population = nouns["population"]
    if (
        np.ndim(fu) > 0 and population is not None
    ):  # one fu a draw goes with the draws, and replaces that of the population
        population = replace(population, fu=None)
    design, plan = nouns["design"], question.plan
    scenarios = [[each.name, json_safe(dict(each.covariates))] for each in nouns["scenarios"]] or None
    spec = {
        "draws": _kept(draws, question, known),
        "regimens": None if design is not None else [regimen_mapping(each) for each in plan.regimens],
        "design": None if design is None else [[name, regimen_mapping(each)] for name, each in design],
        "targets": [exactly("targets", each, str(each), parse_target) for each in plan.targets],
        "population": None if population is None else population_text("population", population),
        "scenarios": scenarios,
        "mic": list(plan.mic),
        "subjects": plan.n_subjects,
        "n": plan.n_draws if isinstance(draws, Population) else None,
        "fu": None if fu is None or np.ndim(fu) > 0 else float(fu),
        "weight": None if given.get("weight") is None else float(given["weight"]),
        **numbers,
    }
    return spec, question


def _draws(given: object) -> object:
    """Draws as `ask` takes them."""
    with naming("draws"):
        if isinstance(given, Fit):
            return given.path
        if isinstance(given, Mapping) and "parameters" in given:
            return population_of(given)
        if isinstance(given, str | PathLike):
            return os.path.realpath(fspath(given))
    return given


def _kept(draws: object, question: Question, known: Known) -> dict[str, str]:
    if isinstance(draws, Population):
        return {"population": population_text("draws", draws)}
    with naming("draws"):
        return keep_draws(draws, question.inputs, known)


def _nouns(given: Mapping[str, Any]) -> dict[str, Any]:
    """Regimens, targets, population, scenarios and design, read one by one, so that a mistake is named by its key."""
    nouns: dict[str, Any] = dict.fromkeys(("regimens", "population", "design"))
    if "regimens" in given:
        with naming("regimens"):
            nouns["regimens"] = read_regimens(given["regimens"])
    with naming("targets"):
        nouns["targets"] = read_targets(given["targets"], given.get("window"))
    if "population" in given:
        with naming("population"):
            nouns["population"] = population_of(given["population"])
    with naming("scenarios"):
        nouns["scenarios"] = read_scenarios(given.get("scenarios"))
    if "design" in given:
        with naming("design"):
            nouns["design"] = [(str(name), read_regimens(each)[0]) for name, each in given["design"]]
    return nouns


def regimen_mapping(regimen: Regimen) -> Any:
    """A regimen as plain values that read back as the same."""
    plain = exactly("regimens", regimen, regimen.to_mapping(), Regimen.from_mapping)
    return exactly("regimens", regimen.label, plain, lambda each: Regimen.from_mapping(each).label)


def read_distributions(given: object) -> tuple[MICDistribution, ...]:
    """Distributions from one or several of `MICDistribution`, text and mapping, each with its own name."""
    several = [given] if isinstance(given, MICDistribution | str | Mapping) else list(given)  # type: ignore[call-overload]
    found = tuple(
        each if isinstance(each, MICDistribution) else MICDistribution.from_mapping(each) for each in several
    )
    names = [each.organism for each in found]
    if not found or len(set(names)) < len(names):
        rule = "there must be at least one distribution, each with its own name"
        raise InputError("distributions", names, rule, "Rename one with organism=.")
    return found


def distribution_mapping(given: MICDistribution) -> Any:
    """A distribution as plain values that read back as the same."""
    return exactly("distributions", given, given.to_mapping(), MICDistribution.from_mapping)


def _seed(given: object) -> int:
    with naming("seed"):
        return seed_number(given)


def level_of(given: object, key: str = "level") -> float:
    """A level as a fraction in (0, 1)."""
    with naming(key):
        level = real(key, given, "a level", gt=0, fix="For example 0.9.")
        if level >= 1:
            raise InputError(key, given, "a level is a fraction, 0 < level < 1", "For example 0.9.")
    return level


def _interval(given: Mapping[str, Any]) -> str:
    interval, known = given.get("interval", "auto"), ("auto", "credible", "monte_carlo")
    if interval not in known:
        rule = f"it is one of {', '.join(known)}"
        raise InputError("spec.interval", interval, rule, "Leave it out for auto.")
    if interval == "credible" and given.get("subjects", 1) == 1:
        rule = "an interval over draws of the parameters needs several subjects a draw"
        raise InputError("spec.interval", interval, rule, "Set subjects, or take monte_carlo.")
    return str(interval)


def _check_model(given: Mapping[str, Any], question: Question) -> None:
    model = question.plan.model
    if "model_type" in given and str(given["model_type"]).upper() != model.upper():
        rule = f"the draws are of a {model} model"
        raise InputError("spec.model_type", given["model_type"], rule, "Leave it out.")


# --- what a job is, for people and for its price --------------------------------------------------------------


def content_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A checked spec with the digest of its draws in the place of their path."""
    return {**spec, "draws": spec["draws"].get("digest", spec["draws"])}


def title_of(question: Question) -> str:
    """One short line: regimens and targets."""
    plan = question.plan
    regimens = [regimen.label for regimen in plan.regimens]
    targets = [str(target) for target in plan.targets]
    return f"{_few(regimens)}, {_few(targets)}"[:100]


def _few(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def family_of(question: Question) -> str:
    """What costs alike: the model, and whether virtual patients are made."""
    return question.plan.model + (" virtual" if question.plan.population is not None else "")


def size_of(question: Question) -> float:
    """Profiles times cells."""
    plan = question.plan
    return float(plan.n_profiles * len(plan.pairs) * len(plan.targets))


def memory_of(question: Question) -> float | None:
    """MB that its process may need; None where it is little."""
    plan = question.plan
    profiles = plan.n_chains * plan.n_draws
    cells = len(plan.pairs) * len(plan.targets) * len(plan.mic)
    counts = cells * profiles * np.min_scalar_type(plan.n_subjects).itemsize if plan.per_draw else 0
    draws = min(profiles, 1 << 18) * (len(plan.names) + 4) * 8
    needed = _BASE_MB + (12 * counts + 3 * draws) / 1e6  # summaries work in float64
    return needed if needed > _TOLD_FROM_MB else None
