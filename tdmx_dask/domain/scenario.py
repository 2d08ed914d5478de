"""Scenarios, and which regimen is given in which of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tdmx_dask.domain.covariate import Covariate
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.section import Item, Section, nearest
from tdmx_dask.domain.units import real
from tdmx_dask.errors import InputError

__all__ = ["MAX_SCENARIOS", "Scenario", "read_design"]

MAX_SCENARIOS = 5_000
Known = Mapping[str, Covariate]
Pairs = tuple[tuple[str, Regimen], ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One setting of covariates.

    Parameters
    ----------
    name : as printed
    covariates : values that replace the covariates' own distributions, in the population's units
    """

    name: str
    covariates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("name", self.name, "a scenario has a name", "Name it.")
        for name, value in self.covariates.items():
            real(name, value, "a covariate", fix="Give a number.")


def read_design(top: Section, covariates: Known | None) -> tuple[tuple[Scenario, ...], Pairs]:
    """Read ``regimens`` and ``scenarios`` of a study.

    Regimens of the study are given in every scenario; a scenario with regimens of its own is given those
    alone, by name or written out.

    Parameters
    ----------
    top : the study
    covariates : the population's, by name; None where there is no population to ask

    Raises
    ------
    InputError
        A covariate or regimen that is not known, a name given twice, no regimen for a scenario.
    """
    known: dict[str, Regimen] = {}
    shared: list[Regimen] = []
    if "regimens" in top:
        for item, name in _named(top.at("regimens")):
            regimen = _regimen(item, name)
            if regimen.label in known:
                item.fail(f"another regimen is called {regimen.label} too", "Name them apart.")
            known[regimen.label] = regimen
            shared.append(regimen)
    scenarios, own = _scenarios(top, covariates)
    named_by_some: set[str] = set()
    pairs: list[tuple[str, Regimen]] = []
    for scenario, items in zip(scenarios, own, strict=True):
        given = [_lookup(item, known) for item in items]
        named_by_some.update(regimen.label for regimen in given)
        pairs += [(scenario.name, regimen) for regimen in _by_label(given or shared).values()]
        if not given and not shared:
            top.at("regimens")
    if all(own):
        for regimen in shared:
            if regimen.label not in named_by_some:
                rule = f"no scenario is given {regimen.label}, as each scenario has regimens of its own"
                top.at("regimens").fail(rule, "Remove it, or name it in a scenario.")
    return tuple(scenarios), tuple(pairs)


def _named(item: Item) -> list[tuple[Item, str | None]]:
    """Regimens of a list, of a mapping from name to regimen, or a single one."""
    if isinstance(item.value, Mapping) and not {"dose", "events", "regimen"} & set(item.value):
        section = item.section()
        return [(section.at(name), name) for name in section]
    return [(each, None) for each in item.items()]


def _regimen(item: Item, name: str | None) -> Regimen:
    value = item.value
    if not isinstance(value, str | Mapping):
        item.fail("a regimen is a text or a mapping", "Write 1000 mg q8h inf 30min.")
    with item.naming():
        if name is None:
            return Regimen.from_mapping(value)
        return Regimen.from_mapping(
            {**({"regimen": value} if isinstance(value, str) else value), "name": name}
        )


def _by_label(regimens: list[Regimen]) -> dict[str, Regimen]:
    return {regimen.label: regimen for regimen in regimens}


def _lookup(item: Item, known: dict[str, Regimen]) -> Regimen:
    """A regimen by its name, or written out."""
    if isinstance(item.value, str) and item.value in known:
        return known[item.value]
    if isinstance(item.value, str) and "mg" not in item.value and " g " not in item.value:
        item.fail("no regimen of the study has this name", nearest(item.value, tuple(known)))
    regimen = _regimen(item, None)
    if known.setdefault(regimen.label, regimen) != regimen:
        item.fail(f"another regimen is called {regimen.label} too", "Name them apart.")
    return regimen


def _scenarios(top: Section, covariates: Known | None) -> tuple[list[Scenario], list[list[Item]]]:
    """The scenarios, each with the regimens of its own."""
    if "scenarios" not in top:
        return [Scenario("all")], [[]]
    item = top.at("scenarios")
    if isinstance(item.value, Mapping) and "grid" in item.value:
        grid = item.section().only("grid").at("grid").section()
        found = _grid(grid, covariates)
        return found, [[] for _ in found]
    scenarios: list[Scenario] = []
    own: list[list[Item]] = []
    for each in item.items():
        section = each.section().only("name", "covariates", "regimens")
        values = _values(section.at("covariates").section(), covariates) if "covariates" in section else {}
        scenario = Scenario(section.text("name"), values)
        if any(scenario.name == other.name for other in scenarios):
            section.at("name").fail("another scenario has this name", "Name them apart.")
        scenarios.append(scenario)
        own.append(section.items("regimens") if "regimens" in section else [])
        if len(scenarios) > MAX_SCENARIOS:
            item.fail(f"a study has at most {MAX_SCENARIOS} scenarios")
    return scenarios, own


def _values(section: Section, covariates: Known | None) -> dict[str, float]:
    return {name: _value(section.at(name), name, covariates) for name in section}


def _value(item: Item, name: str, covariates: Known | None) -> float:
    """The value of a covariate that the population knows, in its unit."""
    if covariates is None:
        return item.number()
    if name not in covariates:
        item.fail("the population has no such covariate", nearest(name, tuple(covariates)), schema=True)
    with item.naming():
        return covariates[name].coded(item.value)


def _grid(grid: Section, covariates: Known | None) -> list[Scenario]:
    """Every combination of the values of the covariates."""
    axes: list[list[tuple[str, float]]] = []
    for name in grid:
        axes.append([(name, _value(each, name, covariates)) for each in grid.items(name)])
    if not axes:
        grid.item.fail("the grid is empty", "Give a covariate and its values.")
    if math.prod(map(len, axes)) > MAX_SCENARIOS:
        grid.item.fail(f"a study has at most {MAX_SCENARIOS} scenarios", "Thin the grid.")
    found = [
        Scenario(", ".join(f"{name} {value:g}" for name, value in point), dict(point))
        for point in itertools.product(*axes)
    ]
    if len({scenario.name for scenario in found}) < len(found):
        grid.item.fail("a value is given twice", "Keep one.")
    return found
