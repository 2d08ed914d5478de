"""From what a user types to a plan that is checked: one place where arguments become nouns."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdmx_dask.analysis.exposure import single_targets
from tdmx_dask.analysis.inputs import Inputs, read_inputs
from tdmx_dask.analysis.plan import Plan
from tdmx_dask.analysis.summarise import plan_labels
from tdmx_dask.api.nouns import (
    body_weight,
    read_mic,
    read_regimens,
    read_scenarios,
    read_targets,
    seed_number,
)
from tdmx_dask.domain.parameters import infer_model, parameters_of, require_parameters
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.scenario import Scenario
from tdmx_dask.domain.target import AllOf, Target
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.version import __version__

__all__ = ["N_PATIENTS", "Question", "ask", "describe", "frame", "provenance"]

N_PATIENTS = 10_000
"""Virtual patients of a population where the user does not say how many."""

MOST_PROFILES = 10**12
"""A day on a hundred cores."""


@dataclass(frozen=True, slots=True)
class Question:
    """A plan, its draws, and what was assumed."""

    plan: Plan
    inputs: Inputs
    fu_note: str

    @property
    def fu_source(self) -> str:
        """The unbound fraction of targets that do not fix their own, or where it comes from; empty where none is free."""
        if not any(
            each.free and each.fu is None for target in self.plan.targets for each in single_targets(target)
        ):
            return ""
        if "fu" in self.plan.names:
            return "of the draws"
        if self.plan.population is not None and self.plan.population.fu is not None:
            return f"{self.plan.population.fu}, of the population"
        return f"{self.plan.fu:g}"

    @property
    def has_mic(self) -> tuple[bool, ...]:
        """For each target, whether it has a MIC."""
        return tuple(any(each.per_mic for each in single_targets(target)) for target in self.plan.targets)


def ask(
    draws: object,
    regimens: object,
    targets: object,
    *,
    mic: object,
    population: Population | None,
    scenarios: object,
    design: Sequence[tuple[str, Regimen | str]] | None,
    subjects: int,
    n: int | None,
    fu: object,
    weight: float | None,
    seed: int | None,
    window: object,
    per_draw: bool | None = None,
) -> Question:
    """Check the arguments of a verb and make a plan of them; without a seed, with the configured one."""
    if seed is None:
        from tdmx_dask.config import settings as configured

        seed = configured().seed
    subjects = whole("subjects", subjects, "the number of virtual patients a draw")
    inputs, population = _profiles_of(draws, population, subjects, n)
    settings, wanted, pairs = _design(inputs, population, regimens, scenarios, design)
    parsed = read_targets(targets, window)
    grid = read_mic(mic, parsed)
    model = population.model if population is not None else infer_model(inputs.variables)
    names = _names(inputs, population, model)
    value, inputs, fu_note = _unbound(fu, inputs, population, parsed)
    if fu is not None and population is not None:
        population = replace(population, fu=None)
    if "fu" in inputs.variables:
        names = (*names, "fu")
    plan = Plan(
        model=model,
        names=names,
        regimens=wanted,
        targets=parsed,
        mic=grid,
        scenarios=settings,
        pairs=pairs,
        n_chains=inputs.n_chains,
        n_draws=inputs.n_draws,
        n_subjects=subjects,
        seed=seed_number(seed),
        population=population,
        per_draw=(subjects > 1 or inputs.dependent) if per_draw is None else per_draw,
        fu=value,
        weights=(),
        store=inputs.store,
    )
    if plan.n_profiles > MOST_PROFILES:
        raise InputError(
            "profiles", f"{plan.n_profiles:.3g}", "at most 1e12 are simulated in one run", "Ask for fewer."
        )
    plan = _weighed(plan, inputs, population, weight)
    return Question(plan, inputs.only(plan.names), fu_note)


def _profiles_of(
    draws: object, population: Population | None, subjects: int, n: int | None
) -> tuple[Inputs, Population | None]:
    """Where profiles come from: a population alone, draws alone, or draws and the population that they describe."""
    if isinstance(draws, Population):
        if population is not None or subjects != 1:
            raise InputError(
                "subjects" if population is None else "population",
                subjects if population is None else population.name,
                "a population given as draws has one level: each draw is a virtual patient of it",
                "Use n= for more of them.",
            )
        number = whole("n", N_PATIENTS if n is None else n, "the number of virtual patients")
        return Inputs({}, 1, number, False), draws
    if n is not None:
        raise InputError(
            "n", n, "the number of virtual patients goes with a population", "Use subjects= here."
        )
    inputs = read_inputs(draws)
    saturable = [name for name in ("Vmax", "Km") if name in inputs.variables]
    if saturable:  # CL and Vc of a parallel model alone would be a linear one with a slower elimination
        raise InputError(
            "draws",
            ", ".join(saturable),
            "these are of a model with saturable elimination, and profiles of linear models alone are computed",
            "Its posterior can be summarised; its PTA cannot be computed yet.",
        )
    if population is None and "omega" in inputs.variables:
        if subjects > 1:
            return inputs, _population_of(inputs)
        warnings.warn(
            "subjects=1: the draws carry omega, but PTA is that of typical patients. Set subjects= for a population.",
            TdmxWarning,
            stacklevel=4,
        )
    elif population is None and subjects > 1:
        raise InputError(
            "subjects",
            subjects,
            "virtual patients need their variability: the draws have no omega, and no population is given",
            "Give population=, or draws with omega (chain, draw, eta, eta2).",
        )
    return inputs, population


def _population_of(inputs: Inputs) -> Population:
    """The population that a posterior with ``omega`` describes: typical values by draw, log-normal between subjects."""
    if not inputs.etas:
        raise InputError(
            "omega",
            "no names",
            "the rows of omega must be named after the parameters that vary, in a coordinate eta",
            "Assign draws.assign_coords(eta=['CL', 'Vc']).",
        )
    parameters = dict.fromkeys(parameters_of(infer_model(inputs.variables)), 1.0)
    strange = [name for name in inputs.etas if name not in parameters]
    if strange:
        raise InputError(
            "omega.eta", strange[0], f"its rows are among {', '.join(parameters)}", "Rename the row."
        )
    bsv = {name: {"omega": 0.0} for name in inputs.etas}
    return Population.from_mapping({"name": "draws with omega", "parameters": parameters, "bsv": bsv})


def _design(
    inputs: Inputs,
    population: Population | None,
    regimens: object,
    scenarios: object,
    design: Sequence[tuple[str, Regimen | str]] | None,
) -> tuple[tuple[Scenario, ...], tuple[Regimen, ...], tuple[tuple[int, int], ...]]:
    settings = read_scenarios(scenarios)
    if inputs.scenarios:
        if settings:
            raise InputError(
                "scenarios", "given", "the draws have scenarios of their own", "Leave scenarios= out."
            )
        settings = tuple(Scenario(name) for name in inputs.scenarios)
    elif settings and population is None:
        raise InputError(
            "scenarios",
            [each.name for each in settings],
            "covariates act through a population",
            "Give population=.",
        )
    settings = settings or (Scenario("all"),)
    if design is None:
        if regimens is None:
            raise InputError(
                "regimens", None, "there must be regimens, or a design", "Write '1000 mg q8h inf 3h'."
            )
        wanted = read_regimens(regimens)
        return settings, wanted, tuple((s, r) for s in range(len(settings)) for r in range(len(wanted)))
    if regimens is not None:
        raise InputError("regimens", "given", "a design holds its own regimens", "Give one of the two.")
    given = [(name, read_regimens(regimen)[0]) for name, regimen in design]
    wanted = read_regimens({regimen.label: regimen for _, regimen in given}.values())
    labels = [regimen.label for regimen in wanted]
    position = {each.name: i for i, each in enumerate(settings)}
    pairs = set()
    for name, regimen in given:
        if name not in position:
            raise InputError("design", name, "there is no such scenario", f"Known: {', '.join(position)}.")
        pairs.add((position[name], labels.index(regimen.label)))
    return settings, wanted, tuple(sorted(pairs))


def _names(inputs: Inputs, population: Population | None, model: str) -> tuple[str, ...]:
    """Variables of the draws that tasks need."""
    if population is None:
        require_parameters(inputs.variables, model)
        return parameters_of(model)
    plain = [name for name, formula in population.parameters.items() if not formula.names]
    known = [*population.thetas, *plain, *population.covariates]
    names = [name for name in known if name in inputs.variables]
    if inputs.variables and not names:
        raise InputError(
            "draws",
            ", ".join(map(str, inputs.variables)),
            f"none of these is a theta, typical value or covariate of the population ({', '.join(known)})",
            "Rename them, or leave the draws out.",
        )
    if "omega" in inputs.variables:
        if inputs.etas and inputs.etas != tuple(population.etas):
            raise InputError(
                "omega",
                inputs.etas,
                f"its rows must be those of the population, {population.etas}",
                "Reorder them.",
            )
        names.append("omega")
    return tuple(names)


def _unbound(
    fu: object, inputs: Inputs, population: Population | None, targets: tuple[Target | AllOf, ...]
) -> tuple[float, Inputs, str]:
    """The unbound fraction: given, of the draws, of the model, or 1 with a warning."""
    open_free = any(each.free and each.fu is None for target in targets for each in single_targets(target))
    if fu is None:
        known = "fu" in inputs.variables or (population is not None and population.fu is not None)
        if known or not open_free:
            return 1.0, inputs if open_free else _without_fu(inputs), ""
        note = "fu = 1 assumed: no unbound fraction was given"
        warnings.warn(f"{note}. Set fu= to the free fraction of the drug.", TdmxWarning, stacklevel=4)
        return 1.0, inputs, note
    if np.ndim(fu) == 0:  # type: ignore[arg-type]
        fix = "Give 0.98 for 2 % protein binding."
        return real("fu", fu, "an unbound fraction", gt=0, le=1, fix=fix), _without_fu(inputs), ""
    if not inputs.variables or inputs.store is not None or not inputs.in_memory:
        raise InputError(
            "fu", type(fu).__name__, "one fu a draw needs draws in memory", "Store fu with the draws."
        )
    values = np.asarray(fu, dtype=np.float64)
    shape = (inputs.n_chains, inputs.n_draws)
    if values.size != shape[0] * shape[1]:
        raise InputError("fu", f"array of shape {values.shape}", f"one fu a draw has shape {shape}", "")
    return 1.0, replace(inputs, variables={**inputs.variables, "fu": values.reshape(shape)}), ""


def _without_fu(inputs: Inputs) -> Inputs:
    return replace(inputs, variables={name: each for name, each in inputs.variables.items() if name != "fu"})


def _weighed(plan: Plan, inputs: Inputs, population: Population | None, weight: float | None) -> Plan:
    """Find the weights that mg/kg doses need: among the draws, the population's or scenario's covariates, or `weight`."""
    names, fixed = list(plan.names), []
    if weight is not None:
        weight = body_weight("weight", weight)
    for name in plan.weight_names:
        of_draws = population is None and name in inputs.variables
        everywhere = all(name in scenario.covariates for scenario in plan.scenarios)
        known = of_draws or everywhere or (population is not None and name in population.covariates)
        if known and weight is not None:
            raise InputError(
                "weight", weight, f"{name} is known already, of the draws or as a covariate", "Leave it out."
            )
        if weight is not None:
            fixed.append((name, weight))
        elif not known:
            raise InputError(
                name, "missing", "a dose in mg/kg needs a body weight, in kg",
                "Give weight=70, or a covariate of that name.",
            )  # fmt: skip
        elif of_draws:
            names.append(name)
        for scenario in plan.scenarios:
            if name in scenario.covariates:
                body_weight(name, scenario.covariates[name])
    return replace(plan, names=tuple(names), weights=tuple(fixed))


def _weights(question: Question) -> dict[str, float | str]:
    """The body weights that mg/kg doses were multiplied by: kg, or where each profile's own comes from."""
    plan, fixed = question.plan, dict(question.plan.weights)
    found: dict[str, float | str] = {}
    for name in plan.weight_names:
        if name in fixed:
            found[name] = fixed[name]
        elif all(name in scenario.covariates for scenario in plan.scenarios):
            found[name] = "of the scenario"
        else:
            found[name] = "of the draws" if name in plan.names else "of the population"
    return found


def describe(plan: Plan) -> dict[str, Any]:
    """What a result says of its question: regimens and targets as plain values."""
    return {
        "regimens": [regimen.to_mapping() for regimen in plan.regimens],
        "targets": [str(target) for target in plan.targets],
        "scenarios": {scenario.name: dict(scenario.covariates) for scenario in plan.scenarios},
        "covariate_units": _units(plan),
        "population": "" if plan.population is None else plan.population.name,
    }


def _units(plan: Plan) -> dict[str, str]:
    """Units of the covariates that scenarios set, where the population says them."""
    if plan.population is None:
        return {}
    named = dict.fromkeys(name for scenario in plan.scenarios for name in scenario.covariates)
    known = plan.population.covariates
    return {name: known[name].unit for name in named if name in known and known[name].unit}


def frame(question: Question) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels (scenario, regimen) and attributes of a result that is of no target."""
    labels, about = plan_labels(question.plan), provenance(question)
    del labels["target"], about["targets"]
    return labels, {**about, "n_profiles": question.plan.n_profiles}


def provenance(question: Question) -> dict[str, Any]:
    """Attributes that every result carries: seed, version, digest of the draws, what was asked and assumed."""
    plan = question.plan
    return {
        "tdmx_version": __version__,
        "seed": str(plan.seed),
        "draws_digest": question.inputs.digest,
        "sampling": "mcmc" if question.inputs.dependent else "independent",
        "model": plan.model,
        "fu": question.fu_source,
        "fu_note": question.fu_note,
        "weights": json.dumps(_weights(question)),
        **{name: json.dumps(value) for name, value in describe(plan).items()},
    }
