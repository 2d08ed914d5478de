"""Jobs of PTA and CFR: checked when they are submitted, run as the verbs run them, with the same bits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.api.kinds.data import (
    exactly,
    keep_draws,
    keep_value,
    named,
    naming,
    opened_draws,
    opened_value,
    population_of,
    population_text,
    stated,
)
from tdmx_dask.api.nouns import read_regimens, read_scenarios, read_targets, seed_number
from tdmx_dask.api.question import Question, ask
from tdmx_dask.api.verbs import cfr, pta
from tdmx_dask.domain.mic import MICDistribution, match_mic
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.target import parse_target
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.digest import json_safe

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.jobs.kind import Known, Place

__all__ = ["ALIASES", "CFRCalculation", "PTACalculation", "compute_cfr", "compute_pta"]

KEYS = (
    *("draws", "regimens", "targets", "mic", "population", "scenarios", "design", "subjects", "n", "fu"),
    *("weight", "seed", "window", "interval", "level", "breakpoint_level", "model_type"),
)
ALIASES = {"regimen": "regimens", "target": "targets", "target_def": "targets", "MIC": "mic"}
OF_CFR = {"mic_distribution": "distributions", "isolates": "distributions", "distribution": "distributions"}

_MODULE = "tdmx_dask.api.kinds.attainment"
_BASE_MB = 200.0  # a process with NumPy, xarray and Zarr
_TOLD_FROM_MB = 300.0  # less is not worth a word


class PTACalculation:
    """PTA as a job: its spec is the arguments of `tdmx.pta`, its result the same Dataset.

    ``regimen``, ``target`` or ``target_def`` and ``MIC`` are read as ``regimens``, ``targets`` and ``mic``; a ``model_type`` must be that
    of the draws. Draws in memory are copied into the queue's folder.
    """

    name = "pta_calculation"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Ask the question now, so that every mistake is said at submit; see `jobs.kind.Kind.check`."""
        plain, question = plain_question(named(spec, KEYS, ALIASES), known)
        return Checked(
            spec=plain,
            content=stated(content_of(plain), {}),
            title=title_of(question),
            family=f"{self.name} {family_of(question)}",
            size=size_of(question),
            memory_mb=memory_of(question),
        )

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in one process."""
        return await place.call(f"{_MODULE}:compute_pta", {"spec": dict(work.spec)}, name="pta")


class CFRCalculation:
    """CFR as a job: ``pta`` (a job's id, a result, or the path of one) with ``distributions``; or the spec of a PTA with them."""

    name = "cfr_calculation"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Check the spec; see `jobs.kind.Kind.check`."""
        given = named(spec, ("pta", "distributions", *KEYS), {**ALIASES, **OF_CFR})
        if "distributions" not in given:
            rule = "CFR is over a distribution of MICs"
            raise InputError("spec.distributions", None, rule, "Give for example '0.25:0.1, 0.5:0.9'.")
        with naming("distributions"):
            distributions = read_distributions(given.pop("distributions"))
        plain = [distribution_mapping(each) for each in distributions]
        if "pta" not in given:
            return self._of_question(given, distributions, plain, known)
        level = _level(given.pop("level")) if "level" in given else None
        for key in given.keys() - {"pta"}:
            rule = "the PTA has answered this already"
            raise InputError(f"spec.{key}", "given", rule, "Leave it out, or give no pta.")
        source, digest = _source(given["pta"], distributions, known)
        rest = {"distributions": plain, "level": level}
        return Checked(
            spec={"pta": source, **rest},
            content=None if digest is None else stated(rest, {"pta": digest}),
            title=f"CFR, {', '.join(each.organism for each in distributions)}"[:100],
            family=f"{self.name} of a pta",
            size=float(len(distributions)),
            after=(source["job"],) if "job" in source else (),
        )

    def _of_question(
        self,
        given: dict[str, Any],
        distributions: tuple[MICDistribution, ...],
        plain: list[Any],
        known: Known,
    ) -> Checked:
        given.setdefault("mic", list(distributions))
        asked, question = plain_question(given, known)
        with naming("mic"):
            for each in distributions:
                match_mic(each.mic, question.plan.mic)
        rest = {"distributions": plain, "level": None}
        organisms = ", ".join(each.organism for each in distributions)
        return Checked(
            spec={"pta": {"spec": asked}, **rest},
            content=stated(rest, {"pta": content_of(asked)}),
            title=f"{title_of(question)}, {organisms}"[:100],
            family=f"{self.name} {family_of(question)}",
            size=size_of(question),
            memory_mb=memory_of(question),
        )

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in one process."""
        arguments: dict[str, Any] = {"spec": dict(work.spec)}
        if "job" in work.spec["pta"]:
            arguments["pta"] = work.inputs[work.spec["pta"]["job"]]
        return await place.call(f"{_MODULE}:compute_cfr", arguments, name="cfr")


# --- what runs in a process of its own ------------------------------------------------------------------------


def compute_pta(spec: Mapping[str, Any]) -> xr.Dataset:
    """PTA of a checked spec; what was warned about at submit is not said again.

    Parameters
    ----------
    spec : of `plain_question`

    Raises
    ------
    InputError
        The draws are not those of the submit.
    StoreError
        The draws are gone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return pta(**arguments_of(spec), run="direct")


def compute_cfr(spec: Mapping[str, Any], pta: bytes | None = None) -> xr.Dataset:
    """CFR of a checked spec.

    Parameters
    ----------
    spec : of `CFRCalculation.check`
    pta : the encoded result of the job that the spec names
    """
    from tdmx_dask.store.value import decode

    source = spec["pta"]
    if pta is not None:
        attained = decode(pta)
    else:
        attained = compute_pta(source["spec"]) if "spec" in source else opened_value(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return cfr(attained, read_distributions(spec["distributions"]), level=spec["level"])


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
        "level": _level(given.get("level", configured.interval_level)),
        "breakpoint_level": _level(
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


def _level(given: object, key: str = "level") -> float:
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


def _source(
    given: object, distributions: tuple[MICDistribution, ...], known: Known
) -> tuple[dict[str, Any], str | None]:
    """Where a PTA comes from, and what stands for it in the address of the answer."""
    import xarray as xr

    from tdmx_dask.store.value import encode

    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        job = int(given)
        with naming("pta"):
            kind = known.kind_of(job)
        if kind != PTACalculation.name:
            rule = f"that job is a {kind}"
            raise InputError("spec.pta", job, rule, f"Give the id of a {PTACalculation.name}.")
        digest = known.digest_of(job)
        return {"job": job}, None if digest is None else f"job {digest}"
    with naming("pta"):
        if isinstance(given, str | PathLike):
            from tdmx_dask.store.results import open_result

            given = open_result(fspath(given))
        if not isinstance(given, xr.Dataset) or "n_attained" not in given:
            rule = "it is the id of a job, a result of tdmx.pta, or the path of one"
            raise InputError("pta", type(given).__name__, rule, "Call tdmx.pta first.")
        result = given.compute()
    with naming("pta", "mic", "distributions"), warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        for each in distributions:
            match_mic(each.mic, np.atleast_1d(result["mic"].values).tolist())
    with naming("pta"):
        kept = keep_value(encode(result), known)
    return dict(kept), kept["digest"]


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
