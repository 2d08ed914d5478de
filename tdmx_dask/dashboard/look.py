"""How a page of ours is put together: its head, its notice, and what its widgets look like.

Bokeh's widgets live in shadow roots, so a page's own sheet does not reach them; custom properties do. Each widget therefore gets `SHEET`,
which speaks in the custom properties of `style.VARIABLES`.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.events import ClientReconnected, ConnectionLost
from bokeh.models import CustomJS, Div
from jinja2 import Environment, FileSystemLoader

from tdmx_dask.api.results import NOTICE
from tdmx_dask.dashboard.style import TEXT, VARIABLES

__all__ = ["SHEET", "dress", "escaped", "text_div"]

_FONT = '"Helvetica Neue", Helvetica, Arial, sans-serif'

SHEET = (
    f":host {{ font: 13px/1.4 {_FONT}; color: var(--tdmx-ink); }}"
    """
:host { --background-color: var(--tdmx-paper); --border-color: var(--tdmx-rule); --divider-color: var(--tdmx-rule);
  --hover-color: var(--tdmx-track); --inverted-color: var(--tdmx-ink); --highlight-color: var(--tdmx-track); }
label, .bk-slider-title { color: var(--tdmx-ink); }
.bk-input, .bk-btn {
  background-color: var(--tdmx-paper) !important; color: var(--tdmx-ink) !important; border-color: var(--tdmx-soft) !important;
  font-size: 13px;
}
.bk-input::placeholder { color: var(--tdmx-soft); opacity: 1; }
select.bk-input { appearance: auto; background-image: none; padding-right: 4px; }
textarea.bk-input { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px; line-height: 1.5; }
.bk-input:focus-visible, .bk-btn:focus-visible { outline: 2px solid var(--tdmx-accent); outline-offset: 1px; }
:host([data-wrong]) .bk-input { border-color: var(--tdmx-bad) !important; box-shadow: 0 0 0 1px var(--tdmx-bad); }
.bk-btn-primary, .bk-btn.bk-active {
  background-color: var(--tdmx-accent) !important; color: var(--tdmx-paper) !important; border-color: transparent !important;
}
.bk-btn[disabled] { opacity: 0.45; }
.noUi-target { background: var(--tdmx-track) !important; border: none; box-shadow: none; }
.noUi-handle { background: var(--tdmx-paper) !important; border: 1px solid var(--tdmx-accent) !important; box-shadow: none !important; }
.noUi-connect { background: var(--tdmx-accent) !important; }
.bk-header { border-color: var(--tdmx-rule) !important; }
.bk-tab { color: var(--tdmx-soft) !important; background: none !important; border: none !important; padding: 8px 16px; font-size: 14px; }
.bk-tab.bk-active { color: var(--tdmx-ink) !important; border-bottom: 2px solid var(--tdmx-accent) !important; font-weight: 600; }
"""
)
"""Of widgets; a text, as a model would belong to one document."""


def escaped(text: object) -> str:
    """Text for a `Div`: never markup."""
    return html.escape(str(text))


def text_div(text: str = "", **options: Any) -> Div:
    """A `Div` in the look of pages; `text` is markup whose maker has escaped what others said."""
    return Div(text=text, stylesheets=[TEXT], **options)


def dress(document: Document, title: str, *, about: str = "") -> None:
    """Give a document its title, its head with the notice, and a line that shows when the server is gone.

    Parameters
    ----------
    document : of a session
    title : of the window and of the page's head
    about : one line beside the title
    """
    document.title = title
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    document.template = environment.get_template("page.html.j2")
    document.template_variables.update(
        heading=title, about=about, notice=NOTICE, variables=VARIABLES, font=_FONT
    )
    for event, shown in ((ConnectionLost, "block"), (ClientReconnected, "none")):
        document.js_on_event(
            event, CustomJS(code=f"document.getElementById('lost').style.display = '{shown}'")
        )
