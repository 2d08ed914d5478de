"""Published tables, long and wide."""

from __future__ import annotations

import math

import pytest

from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.published import Cell, Published
from tdmx_dask.domain.section import Item, Section
from tdmx_dask.errors import InputError

MIC = (0.5, 1.0, 2.0)


def label(known):
    def find(item: Item) -> str:
        return item.text() if item.text() in known else item.fail("the study has none of this name")

    return find


LABELS = {"scenario": label("ab"), "regimen": label(("low", "high")), "target": label(("T1", "T2"))}
ONE = "scenario: a\ntarget: T1\ncolumns: [low]\nrows: [[1]]\n"
HEAD = "source: Table 1\nunit: percent\ntolerance_pp: 3\n"


def read(text: str) -> Published:
    return Published.read(Section(Item(parse_yaml(text, file="s.yaml"), "published")), LABELS, MIC)


def keys(published: Published):
    return [(c.scenario, c.regimen, c.target, c.mic, c.pta) for c in published.cells]


def test_read__wide_by_mic():
    table = read(
        HEAD + "target: T1\ncolumns: [scenario, regimen, 0.5, 2]\nrows: [[a, low, 99, 40], [b, high, ~, 5]]"
    )
    assert keys(table) == [
        ("a", "low", "T1", 0.5, 0.99),
        ("a", "low", "T1", 2.0, 0.4),
        ("b", "high", "T1", 2.0, 0.05),
    ]
    assert {cell.tolerance for cell in table.cells} == {0.03}
    assert table.source == "Table 1"


def test_read__wide_by_target_and_by_regimen():
    one = HEAD + "tables:\n  - {scenario: a, columns: [regimen, T1, T2], rows: [[low, 1, 2]]}\n"
    two = one + "  - {scenario: b, target: T1, mic: 2, columns: [low, high], rows: [[3, 4]]}\n"
    assert keys(read(two)) == [
        ("a", "low", "T1", None, 0.01),
        ("a", "low", "T2", None, 0.02),
        ("b", "low", "T1", 2.0, 0.03),
        ("b", "high", "T1", 2.0, 0.04),
    ]


def test_read__long():
    text = "source: x\nunit: fraction\ntolerance_pp: 3\ncolumns: [scenario, regimen, target, mic, pta]\n"
    assert keys(read(text + "rows: [[a, low, T1, 0.5, 0.9]]")) == [("a", "low", "T1", 0.5, 0.9)]


def test_read__mic_by_dilution():
    text = HEAD + "target: T1\nscenario: a\ncolumns: [regimen, 0.52]\nrows: [[low, 9]]"
    assert keys(read(text)) == [("a", "low", "T1", 0.5, 0.09)]


def test_read__standard_errors():
    text = HEAD.replace("tolerance_pp: 3", "standard_errors: 3\nn: 1000\ntolerance_pp: 0.5")
    cell = read(text + "target: T1\nscenario: a\nregimen: low\ncolumns: [1]\nrows: [[80]]").cells[0]
    assert cell.tolerance == pytest.approx(0.005 + 3 * math.sqrt(0.8 * 0.2 / 1000))


def test_read__left_out():
    text = HEAD + "target: T1\nscenario: a\ncolumns: [regimen, 1]\nrows: [[low, 9], [high, 8]]\n"
    text += (
        "exclude:\n  - {reason: typo, columns: [scenario, regimen, target, mic], rows: [[a, high, T1, 1]]}\n"
    )
    assert [cell.left_out for cell in read(text).cells] == ["", "typo"]
    text += "  - {reason: smudge, regimen: low, scenario: a, columns: [target, mic], rows: [[T1, 1]]}\n"
    assert [cell.left_out for cell in read(text).cells] == ["smudge", "typo"]


def test_read__same_cell_twice_if_equal():
    text = HEAD + "target: T1\nscenario: a\ncolumns: [regimen, 1]\nrows: [[low, 9], [low, 9]]"
    assert read(text).cells == (Cell("a", "low", "T1", 1.0, 0.09, 0.03),)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("columns: [scenario, low]\nrows: [[a, 9]]", "does not say which target"),
        ("target: T3\ncolumns: [low]\nrows: [[9]]", r"published\.target=T3: the study has none"),
        ("target: T1\nscenario: a\ncolumns: [low, nix]\nrows: [[9, 8]]", "a column is scenario, regimen, target"),
        ("target: T1\nscenario: a\ncolumns: [low, 4]\nrows: [[9, 8]]", "this MIC was not counted"),
        ("target: T1\nscenario: a\ncolumns: [low, high]\nrows: [[9]]", r"rows\[0\].*has 1 values .* 2 columns"),
        ("target: T1\nscenario: a\ncolumns: [low]\nrows: [[101]]", "must be between 0 and 100"),
        ("target: T1\nscenario: a\ncolumns: [low]\nrows: [[x]]", "a number is wanted"),
        ("target: T1\nscenario: a\ncolumns: [low]\nrows: [[1], [2]]", "also given as 0.01"),
        ("tabels: []", "Did you mean tables"),
        (ONE + "exclude: {reason: r, columns: [regimen], target: T1, scenario: a, rows: [[high]]}", "no cell for a, high, T1"),
        (ONE + "exclude: {reason: r, columns: [low], rows: [[1]]}", "the column low is not one of"),
    ],
)  # fmt: skip
def test_read__refused(text, match):
    with pytest.raises(InputError, match=match):
        read(HEAD + text)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("source: x\nunit: per mille\ntolerance_pp: 3\n", "is percent or fraction"),
        ("source: x\nunit: percent\n", r"published\.tolerance_pp=null"),
        ("source: x\nunit: percent\nstandard_errors: 3\n", r"published\.n=null"),
        ("unit: percent\ntolerance_pp: 3\n", r"published\.source=null"),
    ],
)
def test_read__head_refused(head, match):
    with pytest.raises(InputError, match=match):
        read(head + "target: T1\nscenario: a\ncolumns: [low]\nrows: [[1]]")
