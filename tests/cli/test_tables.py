"""How results are laid out as tables, and how wide they get."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tdmx_dask.cli.tables import Grid, layout, legend, percent, print_grid


def printed(grid: Grid, width: int = 80, *, color: bool = False, **options) -> list[str]:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, no_color=not color, markup=False, highlight=False
    )
    print_grid(console, grid, **options)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9, "90.0*"), (0.8999, "90.0 "), (0.9996, "100*"), (0.99949, "99.9*"), (0.0, "0.0 "), (None, "-")],
)
def test_percent__marked(value, text):
    assert percent(value, level=0.9) == text


def test_percent__plain():
    assert percent(0.12345) == "12.3"


CELLS = {
    (scenario, regimen, "T", mic): f"{i}{j}{k}"
    for i, scenario in enumerate(("a", "b"))
    for j, regimen in enumerate(("x", "y"))
    for k, mic in enumerate((1.0, 2.0))
}


def test_layout__by_mic():
    last = {(scenario, regimen, "T"): "8" for scenario in "ab" for regimen in "xy"}
    (grid,) = layout(CELLS, {"T": True}, last)
    assert grid.title == "T, by MIC (mg/L)"
    assert grid.columns == ("1", "2", "break point")
    assert grid.rows[1] == (("a", "y"), ("010", "011", "8"))


def test_layout__pairs_that_were_not_asked_for_are_left_out():
    cells = {key: value for key, value in CELLS.items() if key[:2] != ("b", "x")}
    (grid,) = layout(cells, {"T": True})
    assert [names for names, _ in grid.rows] == [("a", "x"), ("a", "y"), ("b", "y")]


def test_layout__crossed_where_there_is_one_mic():
    cells = {key: value for key, value in CELLS.items() if key[3] == 2}
    (grid,) = layout(cells, {"T": True})
    assert grid.title == "T, MIC 2 mg/L"
    assert (grid.heads, grid.columns) == (("scenario",), ("x", "y"))
    assert grid.rows == [(("a",), ("001", "011")), (("b",), ("101", "111"))]


def test_layout__by_target_where_pairs_are_missing():
    cells = {("a", "x", "T", None): "1", ("a", "x", "U", None): "2", ("b", "y", "U", None): "3"}
    (grid,) = layout(cells, {"T": False, "U": False})
    assert grid.columns == ("T", "U")
    assert grid.rows == [(("a", "x"), ("1", "2")), (("b", "y"), ("", "3"))]


def test_layout__with_and_without_mic():
    cells = CELLS | {("a", "x", "U", None): "9"}
    by_mic, crossed = layout(cells, {"T": True, "U": False})
    assert by_mic.title.startswith("T, by MIC")
    assert (crossed.title, crossed.columns) == ("U", ("x", "y"))


def test_print__scenario_once():
    (grid,) = layout(CELLS, {"T": True})
    assert printed(grid) == [
        "T, by MIC (mg/L)",
        "scenario  regimen    1    2",
        "---------------------------",
        "a         x        000  001",
        "          y        010  011",
        "b         x        100  101",
        "          y        110  111",
        "",
    ]


def test_print__one_scenario_is_left_out():
    grid = Grid("G", ("scenario", "regimen"), ("1",), [(("a", "x"), ("7",)), (("a", "y"), ("8",))])
    assert printed(grid)[1:4] == ["regimen  1", "----------", "x        7"]


def test_print__scenarios_become_headings_where_it_is_narrow():
    (grid,) = layout(CELLS, {"T": True})
    assert printed(grid, width=20)[1:6] == [
        "scenario    1    2",
        "-" * 18,
        "a",
        "  x       000  001",
        "  y       010  011",
    ]


def test_print__columns_go_into_parts_where_it_is_narrower():
    grid = Grid("G", ("regimen",), tuple("123456"), [(("long name",), tuple("abcdef"))])
    lines = printed(grid, width=20)
    assert lines[1] == "regimen    1  2  3"
    assert lines[3] == "long name  a  b  c"
    assert lines[7] == "long name  d  e  f"
    assert max(map(len, lines)) <= 20


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_print__never_wider_than_the_screen(width):
    rows = [
        ((f"CCr {i}-{i + 29}", "1000 mg q8h"), tuple(f"{i}.{j}" for j in range(12))) for i in range(20, 80, 5)
    ]
    assert (
        max(map(len, printed(Grid("G", ("scenario", "regimen"), tuple("abcdefghijkl"), rows), width=width)))
        <= width
    )


def test_print__headings_wrap_by_word():
    grid = Grid("G", ("regimen",), ("C@48h ≥ 0.75 mg/L",), [(("x",), ("99.9*",))])
    assert [line.strip() for line in printed(grid)[1:5]] == ["C@48h", "≥", "0.75", "regimen   mg/L"]


def test_print__mark_is_coloured_but_does_not_need_it():
    grid = Grid("G", ("regimen",), ("1",), [(("x",), ("95.0*",)), (("y",), ("5.0 ",))])
    assert any("95.0*" in line for line in printed(grid))
    coloured = "\n".join(printed(grid, color=True))
    assert "\x1b[1;32m  95.0*" in coloured


def test_legend__long_labels_only():
    assert legend(["short", "x" * 35, "y" * 40]) == {"x" * 35: "R1", "y" * 40: "R2"}
    grid = Grid("G", ("regimen",), ("1",), [(("x" * 35,), ("5",))])
    assert printed(grid, short=legend(["x" * 35]))[3] == "R1       5"
