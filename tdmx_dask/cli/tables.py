"""Tables that a clinician can read: percent, one row a regimen, one column a MIC, as wide as the screen and no wider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["MARK", "Cells", "Grid", "layout", "legend", "percent", "print_grid"]

MARK = "*"
"""Behind a PTA that reaches the level, so that it shows without colour too."""

LONG_LABEL = 34
_Kind = TypeVar("_Kind")
Key = tuple[str, str, str, float | None]
Cells = Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class Grid:
    """One table.

    Parameters
    ----------
    title : line above it
    heads : headings of the columns that name a row
    columns : headings of the values
    rows : the names of a row, then its values
    """

    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)


def percent(value: float | None, *, level: float | None = None) -> str:
    """A fraction as percent with one decimal, marked where it reaches the level."""
    if value is None:
        return "-"
    text = "100" if value > 0.9995 else f"{100 * value:.1f}"
    return text + (MARK if level is not None and value >= level else " ") if level is not None else text


def layout(
    cells: Cells, targets: Mapping[str, bool], last: Mapping[tuple[str, str, str], str] | None = None
) -> list[Grid]:
    """Arrange cells as tables.

    Targets relative to the MIC, counted at several: one table a target, a row a scenario and regimen, a column a
    MIC. One value a target, and every regimen given in every scenario: one table a target, scenarios against
    regimens. Else one table, with a column a target.

    Parameters
    ----------
    cells : (scenario, regimen, target, mic) -> text, in the order to print; mic None for a target without MIC
    targets : label -> whether it is relative to the MIC
    last : (scenario, regimen, target) -> text of one more column, the breakpoint

    Returns
    -------
    tables, in the order of the targets
    """
    mics = _distinct(mic for *_, mic in cells if mic is not None)
    pairs = _distinct((scenario, regimen) for scenario, regimen, *_ in cells)
    scenarios, regimens = _distinct(pair[0] for pair in pairs), _distinct(pair[1] for pair in pairs)
    relative = [target for target, with_mic in targets.items() if with_mic and len(mics) > 1]
    single = [target for target in targets if target not in relative]
    grids = [_by_mic(cells, target, pairs, mics, last or {}) for target in relative]
    mic = mics[0] if len(mics) == 1 else None
    if not single:
        return grids
    crossed = len(pairs) == len(scenarios) * len(regimens) and min(len(scenarios), len(regimens)) > 1
    if crossed and len(regimens) <= 12:
        return grids + [
            _crossed(cells, (t, mic if targets[t] else None), scenarios, regimens) for t in single
        ]
    return [*grids, _by_target(cells, {t: mic if targets[t] else None for t in single}, pairs)]


def _by_mic(
    cells: Cells,
    target: str,
    pairs: Sequence[tuple[str, str]],
    mics: Sequence[float],
    last: Mapping[tuple[str, str, str], str],
) -> Grid:
    columns = tuple(f"{mic:g}" for mic in mics) + (("break point",) if last else ())
    grid = Grid(f"{target}, by MIC (mg/L)", ("scenario", "regimen"), columns)
    for pair in pairs:
        values = tuple(cells.get((*pair, target, mic), "") for mic in mics)
        if any(values):
            grid.rows.append((pair, values + ((last.get((*pair, target), ""),) if last else ())))
    return grid


def _crossed(
    cells: Cells, target: tuple[str, float | None], scenarios: Sequence[str], regimens: Sequence[str]
) -> Grid:
    label, mic = target
    title = label if mic is None else f"{label}, MIC {mic:g} mg/L"
    grid = Grid(title, ("scenario",), tuple(regimens))
    for scenario in scenarios:
        values = tuple(cells.get((scenario, regimen, label, mic), "") for regimen in regimens)
        grid.rows.append(((scenario,), values))
    return grid


def _by_target(cells: Cells, targets: Mapping[str, float | None], pairs: Sequence[tuple[str, str]]) -> Grid:
    mics = {mic for mic in targets.values() if mic is not None}
    title = "all targets" + "".join(f", MIC {mic:g} mg/L" for mic in mics)
    grid = Grid(title, ("scenario", "regimen"), tuple(targets))
    for pair in pairs:
        grid.rows.append(
            (pair, tuple(cells.get((*pair, target, mic), "") for target, mic in targets.items()))
        )
    return grid


def legend(labels: Iterable[str], letter: str = "R") -> dict[str, str]:
    """Short names for labels too long for a table: label -> R1, R2, …"""
    long = [label for label in labels if len(label) > LONG_LABEL]
    return {label: f"{letter}{number}" for number, label in enumerate(long, 1)}


def print_grid(
    console: Console, grid: Grid, *, short: Mapping[str, str] | None = None, mark: str = MARK
) -> None:
    """Print a table; where the screen is too narrow, scenarios become headings, then columns go into several parts.

    Parameters
    ----------
    console : whose width counts
    grid : the table
    short : label -> short name
    mark : values that hold it are printed in bold green
    """
    from rich.text import Text

    short = short or {}
    columns = [short.get(column, column) for column in grid.columns]
    values = [row[1] for row in grid.rows]
    widths = [
        max(_longest_word(column), *(len(row[i]) for row in values)) for i, column in enumerate(columns)
    ]
    names = [tuple(short.get(name, name) for name in row[0]) for row in grid.rows]
    heads, stubs = _stubs(grid.heads, names, console.width - sum(width + 2 for width in widths))
    stub = max(len(heads), *(len(text) for text, _ in stubs))
    console.print(Text(grid.title, style="bold"))
    for part in _parts(widths, console.width - stub):
        lines = [Text(line) for line in _header(heads, stub, [(columns[i], widths[i]) for i in part])]
        lines.append(Text("-" * (stub + sum(widths[i] + 2 for i in part))))
        for text, row in stubs:
            cells = [] if row is None else [values[row][i].rjust(widths[i]) for i in part]
            styles = ["bold green" if mark and mark in cell else "" for cell in cells]
            lines.append(
                Text.assemble(text.ljust(stub), *(("  " + c, s) for c, s in zip(cells, styles, strict=True)))
            )
        for each in lines:
            each.rstrip()
            console.print(each, no_wrap=True, overflow="ignore", crop=False)
        console.print()


def _stubs(
    heads: tuple[str, ...], names: Sequence[tuple[str, ...]], room: int
) -> tuple[str, list[tuple[str, int | None]]]:
    """What begins each line: its text, and the row whose values follow; None for a heading.

    Scenario and regimen stand side by side, the scenario once, where they fit into the room; else the scenario is
    a heading and its regimens are indented below it. Where there is only one scenario it is left out.
    """
    if len(heads) == 1 or len({each[0] for each in names}) == 1:
        return heads[-1], [(each[-1], i) for i, each in enumerate(names)]
    width = max(len(heads[0]), *(len(each[0]) for each in names)) + 2
    lines: list[tuple[str, int | None]] = []
    if width + max(len(each[1]) for each in names) <= room:
        for i, (scenario, regimen) in enumerate(names):
            again = i > 0 and names[i - 1][0] == scenario
            lines.append((("" if again else scenario).ljust(width) + regimen, i))
        return heads[0].ljust(width) + heads[1], lines
    for i, (scenario, regimen) in enumerate(names):
        if i == 0 or names[i - 1][0] != scenario:
            lines.append((scenario, None))
        lines.append(("  " + regimen, i))
    return heads[0], lines


def _header(stub: str, width: int, columns: Sequence[tuple[str, int]]) -> list[str]:
    """Lines of headings, words wrapped into their columns, the last lines level."""
    wrapped = [_wrapped(text, wide) for text, wide in columns]
    height = max(map(len, wrapped), default=1)
    lines = []
    for level in range(height):
        cells = [[""] * (height - len(each)) + each for each in wrapped]
        first = stub if level == height - 1 else ""
        lines.append(
            first.ljust(width)
            + "".join("  " + each[level].rjust(wide) for each, (_, wide) in zip(cells, columns, strict=True))
        )
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _longest_word(text: str) -> int:
    return max((len(word) for word in text.split()), default=0)


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns in groups that fit into the room, each with at least one."""
    parts: list[list[int]] = [[]]
    used = 0
    for i, width in enumerate(widths):
        if parts[-1] and used + width + 2 > room:
            parts.append([])
            used = 0
        parts[-1].append(i)
        used += width + 2
    return parts


def _distinct(values: Iterable[_Kind]) -> list[_Kind]:
    return list(dict.fromkeys(values))
