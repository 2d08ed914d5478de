"""Scenarios and the regimens that are given in them."""

from __future__ import annotations

import math

import pytest

from tdmx_dask.domain.covariate import Covariate
from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.scenario import Scenario, read_design
from tdmx_dask.domain.section import Item, Section
from tdmx_dask.errors import InputError

KNOWN = {"WT": Covariate("WT", "kg", None), "SEX": Covariate("SEX", "female", None)}


def design(text: str, known=KNOWN):
    scenarios, pairs = read_design(Section(Item(parse_yaml(text, file="s.yaml"), "")), known)
    named = {scenario.name: dict(scenario.covariates) for scenario in scenarios}
    return named, [(name, regimen.label) for name, regimen in pairs]


def test_design__one_regimen_for_all():
    assert design("regimens: 1 g q8h") == ({"all": {}}, [("all", "1000 mg q8h")])


def test_design__crossed():
    text = """
regimens: [1 g q8h, {dose: 2000, tau: 12, tinf: 2, name: two}]
scenarios:
  - {name: light, covariates: {WT: 50}}
  - {name: heavy, covariates: {WT: 100, SEX: female}}
"""
    named, pairs = design(text)
    assert named == {"light": {"WT": 50}, "heavy": {"WT": 100, "SEX": 1}}
    assert pairs == [(s, r) for s in ("light", "heavy") for r in ("1000 mg q8h", "two")]


def test_design__regimens_of_a_scenario():
    text = """
regimens: {low: 1 g q8h, high: 2 g q8h}
scenarios:
  - {name: a, regimens: [high]}
  - {name: b, regimens: [low, 3 g q24h ci]}
"""
    assert design(text)[1] == [("a", "high"), ("b", "low"), ("b", "3000 mg q24h ci")]


def test_design__own_and_shared():
    text = "regimens: [1 g q8h]\nscenarios: [{name: a}, {name: b, regimens: 2 g q8h}]"
    assert design(text)[1] == [("a", "1000 mg q8h"), ("b", "2000 mg q8h")]


def test_design__grid():
    named, _ = design("regimens: 1 g q8h\nscenarios: {grid: {WT: [50, 70.5], SEX: [female, male]}}")
    assert named == {
        "WT 50, SEX 1": {"WT": 50, "SEX": 1},
        "WT 50, SEX 0": {"WT": 50, "SEX": 0},
        "WT 70.5, SEX 1": {"WT": 70.5, "SEX": 1},
        "WT 70.5, SEX 0": {"WT": 70.5, "SEX": 0},
    }


def test_design__covariates_of_draws_are_not_checked():
    assert design("regimens: 1 g q8h\nscenarios: [{name: a, covariates: {HT: 180}}]", None)[0] == {
        "a": {"HT": 180}
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("scenarios: [{name: a}]", r"^regimens=null: this key is needed"),
        (
            "regimens: [1 g q8h inf 9h]",
            r"^regimens\[0\]=1 g q8h inf 9h: tinf=9: .*tau.* \(s\.yaml, line 1\)$",
        ),
        ("regimens:\n  - dose: -5\n    tau: 8", r"^regimens\[0\]\.dose=-5: .* \(s\.yaml, line 2\)$"),
        ("regimens: [{dose: 1, tau: 8, tnif: 1}]", r"^regimens\[0\].*tinf"),
        ("regimens: [3]", "a regimen is a text or a mapping"),
        ("regimens: [1 g q8h, 1000 mg q8h]", "another regimen is called 1000 mg q8h too"),
        ("regimens: []", r"regimens=\[\]: the list is empty"),
        ("regimens: 1 g q8h\nscenarios: [{name: a}, {name: a}]", "another scenario has this name"),
        ("regimens: 1 g q8h\nscenarios: [{nam: a}]", r"scenarios\[0\]\.nam=a: .*Did you mean name\?"),
        (
            "regimens: 1 g q8h\nscenarios: [{name: a, covariates: {wt: 70}}]",
            r"covariates\.wt=70: .*Did you mean WT\?",
        ),
        (
            "regimens: 1 g q8h\nscenarios: [{name: a, covariates: {WT: x}}]",
            r"covariates\.WT=x: a number is wanted",
        ),
        (
            "regimens: {low: 1 g q8h}\nscenarios: [{name: a, regimens: lo}]",
            r"regimens=lo: .*Did you mean low\?",
        ),
        (
            "regimens: {low: 1 g q8h, b: 2 g q8h}\nscenarios: [{name: a, regimens: b}]",
            "no scenario is given low",
        ),
        ("regimens: 1 g q8h\nscenarios: {grid: {}}", "the grid is empty"),
        ("regimens: 1 g q8h\nscenarios: {grid: {WT: [1, 1]}}", "a value is given twice"),
        ("regimens: 1 g q8h\nscenarios: {grid: {WT: [1], ALB: [1]}}", r"scenarios\.grid\.ALB"),
    ],
)
def test_design__refused(text, match):
    with pytest.raises(InputError, match=match):
        design(text)


def test_design__grid_has_a_bound():
    axis = "[" + ", ".join(map(str, range(1, 80))) + "]"
    with pytest.raises(InputError, match="at most 5000 scenarios"):
        design(f"regimens: 1 g q8h\nscenarios: {{grid: {{WT: {axis}, HT: {axis}}}}}", None)


def test_scenario__checks_itself():
    with pytest.raises(InputError, match="a scenario has a name"):
        Scenario(" ")
    with pytest.raises(InputError, match="WT=nan: a covariate must be a finite number"):
        Scenario("a", {"WT": math.nan})
