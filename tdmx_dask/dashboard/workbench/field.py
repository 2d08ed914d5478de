"""Fields of a form: an input, and below it what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bokeh.layouts import column
from bokeh.models import Button, Column, Select, TextAreaInput, TextInput

from tdmx_dask.dashboard.look import SHEET, escaped, text_div

__all__ = ["Choice", "Field", "Message", "button"]

_LONGEST, _LINE, _SHOWN = 100_000, 2_000, 500


class Message:
    """A line that says what is wrong, or how things stand; empty it takes no room.

    Parameters
    ----------
    name : by which scripts of the page find it
    """

    def __init__(self, name: str = "") -> None:
        self.root = text_div(
            margin=0,
            html_attributes={"role": "status"},
            html_id=name or None,
            sizing_mode="stretch_width",
        )

    def say(self, text: str, kind: str = "soft") -> None:
        """Say a text; kinds are those of the sheet: soft, bad, good."""
        self.root.text = f"<p class='{kind}'>{escaped(text)}</p>" if text else ""

    def complain(self, error: object) -> None:
        """Say what is wrong."""
        self.say(_bounded(str(error)), "bad")


def _bounded(text: str) -> str:
    """A complaint that repeats a long value, without its middle."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … {text[-_SHOWN // 2 :]}"


class Field:
    """An input of text.

    Parameters
    ----------
    key : names the field in complaints, and in the page
    name : names it in the page instead, where another tab has one of this key
    title : above it, with the unit
    value : at first
    rows : of text; 1 is one line
    hint : in the empty field
    width : px; None: all that there is
    """

    def __init__(
        self,
        key: str,
        title: str,
        value: str = "",
        *,
        rows: int = 1,
        hint: str = "",
        width: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.key = key
        name = name or key
        size: dict[str, Any] = {"sizing_mode": "stretch_width"} if width is None else {"width": width}
        shared = {
            "title": title,
            "value": value,
            "placeholder": hint,
            "stylesheets": [SHEET],
            "html_id": f"field-{name}",
            **size,
            **options,
        }
        self.widget = (
            TextInput(max_length=_LINE, **shared)
            if rows == 1
            else TextAreaInput(rows=rows, max_length=_LONGEST, **shared)
        )
        self.message = Message(f"message-{name}")
        self.root: Column = column(self.widget, self.message.root, spacing=0, **size)

    @property
    def text(self) -> str:
        """What stands in it."""
        return str(self.widget.value)

    @text.setter
    def text(self, value: str) -> None:
        self.widget.value = value

    def say(self, complaint: str | None) -> None:
        """Say what is wrong with it; None: nothing."""
        self.message.say(_bounded(complaint or ""), "bad")
        # An attribute, not a class: Bokeh would lay the whole page out anew, which takes a browser 50 ms.
        self.widget.html_attributes = {"data-wrong": ""} if complaint else {}

    def on_change(self, call: Callable[[], object]) -> None:
        """Call when the user has changed it."""
        self.widget.on_change("value", lambda _attr, _old, _new: call())


class Choice:
    """A choice of one.

    Parameters
    ----------
    key, title, width : as of `Field`
    options : value and what is shown
    """

    def __init__(
        self, key: str, title: str, options: Sequence[tuple[str, str]], *, width: int | None = None
    ) -> None:
        self.key = key
        size: dict[str, Any] = {"sizing_mode": "stretch_width"} if width is None else {"width": width}
        first = options[0][0] if options else ""
        self.widget = Select(
            title=title,
            options=list(options),
            value=first,
            stylesheets=[SHEET],
            html_id=f"field-{key}",
            **size,
        )
        self.root = self.widget

    @property
    def value(self) -> str:
        """What is chosen."""
        return str(self.widget.value)

    @value.setter
    def value(self, value: str) -> None:
        self.widget.value = value

    def offer(self, options: Sequence[tuple[str, str]], chosen: str | None = None) -> None:
        """Offer other options; keep what is chosen where it is still there."""
        values = [value for value, _ in options]
        keep = chosen if chosen is not None else self.value
        self.widget.options = list(options)
        self.widget.value = keep if keep in values else (values[0] if values else "")

    def on_change(self, call: Callable[[], object]) -> None:
        """Call when another is chosen."""
        self.widget.on_change("value", lambda _attr, _old, _new: call())


def button(
    key: str, label: str, call: Callable[[], object] | None = None, *, primary: bool = False, **options: Any
) -> Button:
    """A button."""
    made = Button(
        label=label,
        button_type="primary" if primary else "default",
        stylesheets=[SHEET],
        html_id=f"button-{key}",
        **options,
    )
    if call is not None:
        made.on_click(lambda _event: call())
    return made
