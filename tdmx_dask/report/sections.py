"""Sections of a report as plain texts and tables, ready to be printed; nothing in them is markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tdmx_dask.plot.style import number

__all__ = ["Section", "Sheet", "fact", "shown"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of texts.

    Parameters
    ----------
    caption : above it; may be empty
    columns : heads; none for a list of facts, whose rows are (name, text)
    rows : of equal length; the first cell of each is its head
    marked : positions of rows that are to be seen
    note : below it
    """

    caption: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    marked: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    Parameters
    ----------
    title : its heading
    paragraphs : under the heading
    sheets : tables
    figures : caption -> SVG text
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to print."""
        return not (self.paragraphs or self.figures or any(sheet.rows for sheet in self.sheets))


def shown(value: object, unit: str = "") -> str:
    """A number with three digits, with its unit; an en dash for what is not there."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    text = (
        number(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    )
    return f"{text} {unit}" if unit and unit != "1" else text


def fact(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """A row of a list of facts; none where there is nothing to say."""
    text = "" if value is None else str(value)
    return ((name, text),) if text else ()
