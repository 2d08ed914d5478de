"""A board in a notebook: one small table in the cell, replaced a few times a second, without widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

from tdmx_dask.api.board import Item, left_text

__all__ = ["Cell", "html_of"]

_SAID = 5
_STYLE = "border:0;text-align:left;padding:0 1em 0 0;background:none;color:inherit;white-space:nowrap"


class Cell:
    """An output of the cell in which the work was asked for; in the end one line is left of it."""

    first, pause = 0.3, 0.25

    def __init__(self) -> None:
        self._handle: Any = None
        self._last: dict[str, str] = {}
        self._said: list[str] = []

    def draw(self, items: Sequence[Item]) -> None:
        """Show it, or replace what is shown."""
        self._show(html_of(items, self._said), "\n".join([*(each.text() for each in items), *self._said]))

    def say(self, text: str) -> None:
        """Remember a line that stays; the next drawing has it."""
        self._said = [*self._said, text][-_SAID:]

    def end(self, items: Sequence[Item], text: str) -> None:
        """Replace it by a line that says how it ended."""
        lines = [f"{replace(each, left=None).text()}, {text}" for each in items[:1]] + self._said
        self._show("<br>".join(map(escape, lines)), "\n".join(lines))

    def _show(self, html: str, plain: str) -> None:
        from IPython.display import display

        bundle = {"text/html": html, "text/plain": plain}
        if bundle == self._last:
            return
        self._last = bundle
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def html_of(items: Sequence[Item], said: Sequence[str] = ()) -> str:
    """A table with a row an item, and lines under it."""
    rows = []
    for each in items:
        value = "" if each.fraction is None else f' value="{each.fraction:.3f}"'
        unit = f" {each.unit}" if each.unit and each.figures else ""
        cells = (
            escape(each.name),
            f'<progress{value} style="width:10em"></progress>',
            each.figures + escape(unit),
            left_text(each.left),
            escape(each.note),
        )
        rows.append("<tr>" + "".join(f'<td style="{_STYLE}">{cell}</td>' for cell in cells) + "</tr>")
    notes = "".join(f"<div>{escape(text)}</div>" for text in said)
    return f'<table style="border:0;margin:0;color:inherit;font-size:inherit"><tbody>{"".join(rows)}</tbody></table>{notes}'
