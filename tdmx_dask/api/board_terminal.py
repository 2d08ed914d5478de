"""A board on a terminal: bars by rich, on standard error, gone when it is over."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tdmx_dask.api.board import Item, left_text

__all__ = ["Bars", "table"]

_BARS = ((100, 30), (60, 18), (0, 0))
"""Columns of a bar on a terminal that has so many at least; none where there is no room for more than words."""
_WIDE = 100
"""Columns from which on rows have their units."""


class _Screen(Console):
    """Leaves the cursor as it is: a process that is killed cannot show it again; and the process, where its pipe is closed."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
        return False

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Bars:
    """Bars on the terminal that standard error is."""

    first, pause = 0.3, 0.1

    def __init__(self) -> None:
        self._screen = _Screen(file=sys.stderr, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None

    def draw(self, items: Sequence[Item]) -> None:
        """Draw the bars anew."""
        if self._live is None:
            # what is printed meanwhile goes above the bars, but only what goes to this terminal anyway
            self._live = Live(
                console=self._screen, transient=True, auto_refresh=False,
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            )  # fmt: skip
            self._live.start()
        room = max(2, self._screen.height - 2)
        self._live.update(table(items[:room], self._screen.width), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._screen.print(text, soft_wrap=True)

    def end(self, items: Sequence[Item], text: str) -> None:  # noqa: ARG002
        """Take the bars away."""
        if self._live is not None:
            self._live.stop()


def table(items: Sequence[Item], width: int) -> Table:
    """A row each: name, bar, how many, what there is to say (cut where there is no room), time left."""
    long = next(columns for least, columns in _BARS if width >= least)
    units = width >= _WIDE or len(items) == 1
    texts = [
        (
            each.name,
            each.figures + (f" {each.unit}" if each.unit and each.figures and units else ""),
            left_text(each.left),
        )
        for each in items
    ]
    name, figures, left = (max(map(len, column)) for column in zip(*texts, strict=True))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis", width=min(name, width // 4))
    if long:
        grid.add_column(width=long)
    grid.add_column(no_wrap=True, justify="right", width=figures)
    grid.add_column()  # the one that gives way
    grid.add_column(no_wrap=True, justify="right", width=left)
    for each, (first, counted, last) in zip(items, texts, strict=True):
        part = each.done if each.part is None else each.part
        bar = ProgressBar(total=each.total, completed=part, width=long or None, pulse=each.total is None)
        note = Text(each.note, no_wrap=True, overflow="ellipsis")
        cells = [Text(first), *((bar,) if long else ())]
        grid.add_row(*cells, Text(counted, "cyan"), note, Text(last, "dim"))
    return grid
