"""Figures and texts as the page writes them. Whatever a name says is text: all that comes from elsewhere goes through `text`."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

from tdmx_dask.jobs.display import seconds as _seconds

__all__ = ["NONE", "amount", "bar", "memory", "more", "seconds", "share", "table", "text"]

NONE = "–"


def text(value: object, most: int = 80) -> str:
    """What somebody else wrote, as HTML that shows it: no markup, one line, of bounded length.

    Examples
    --------
    >>> text("<b>bed 4</b>")
    '&lt;b&gt;bed 4&lt;/b&gt;'
    """
    said = " ".join(str(value).split())
    return html.escape(said if len(said) <= most else said[: most - 1] + "…")


def amount(value: float | None, digits: int = 3) -> str:
    """A number to some digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def seconds(value: float | None) -> str:
    """A duration; a dash where it is not known. Less than a second is not told apart: it would but flicker."""
    if value is None or not math.isfinite(value) or value < 0:
        return NONE
    return "<1 s" if 0 < value < 1 else f"{value:.0f} s" if value < 100 else _seconds(value)


def memory(size: float) -> str:
    """Bytes, in a unit that people read."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e6:.0f} MB"


def share(done: float, total: float) -> float:
    """Part of a whole, 0 to 1; 0 where the whole is not known."""
    return min(1.0, max(0.0, done / total)) if total > 0 else 0.0


def bar(part: float, kind: str = "") -> str:
    """A bar, of which a part is filled.

    Parameters
    ----------
    part : 0 to 1
    kind : good or warn: its colour
    """
    return f'<div class="bar"><i class="{kind}" style="width:{100 * part:.1f}%"></i></div>'


def table(heads: Iterable[tuple[str, str]], rows: Iterable[str], name: str) -> str:
    """A table.

    Parameters
    ----------
    heads : (text, class) of the columns
    rows : HTML of each
    name : of its class
    """
    head = "".join(f'<th class="{kind}">{label}</th>' for label, kind in heads)
    return f'<table class="{name}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def more(n: int, what: str) -> str:
    """A line for what is not shown; nothing where there is none."""
    return f'<p class="soft more">… and {n:,} more {what}</p>' if n > 0 else ""
