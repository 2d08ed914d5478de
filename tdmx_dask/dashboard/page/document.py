"""The page as a Bokeh document, and its sections alone for JupyterLab's panes."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from bokeh.models.widgets import Div

from tdmx_dask.dashboard.page.curve import CurvePane
from tdmx_dask.dashboard.page.scene import Scene
from tdmx_dask.dashboard.style import TEXT, VARIABLES

__all__ = ["PANES", "PERIOD", "page", "pane"]

PERIOD = 300
"""ms between two looks of an open page; only what has changed is sent, and a closed page looks no more."""

PANES = {"fits": "Fits", "pta": "PTA", "queue": "Jobs", "memory": "Memory"}
"""Sections that are also had alone, and their headings."""

_log = logging.getLogger(__name__)


class _Pane(Protocol):
    root: Any

    def update(self, scene: Scene) -> None: ...


class _TextPane:
    def __init__(self, section: str) -> None:
        self._section = section
        self.root = Div(text="", stylesheets=[TEXT], sizing_mode="stretch_width", disable_math=True, margin=0)

    def update(self, scene: Scene) -> None:
        made = scene.html(self._section)
        if self.root.text != made:
            self.root.text = made


def page(scene: Scene, extra: dict[str, Any], doc: Any) -> None:
    """Fill a document with the whole page.

    Parameters
    ----------
    scene : of the scheduler
    extra : variables of the dashboard's own templates
    doc : bokeh.document.Document
    """
    _fill(scene, doc, ("head", "stuck", "fits", "pta", "memory", "queue"))
    doc.title = "tdmx"
    doc.template = _template(_PAGE)
    doc.template_variables.update({**extra, "style": VARIABLES + _STYLE})


def pane(section: str, scene: Scene, extra: dict[str, Any], doc: Any) -> None:
    """Fill a document with one section."""
    _fill(scene, doc, (section,))
    doc.title = f"tdmx: {PANES[section]}"
    doc.template = _template(_ALONE)
    doc.template_variables.update({**extra, "style": VARIABLES + _STYLE, "heading": PANES[section]})


def _fill(scene: Scene, doc: Any, sections: tuple[str, ...]) -> None:
    panes: list[_Pane] = []
    for section in sections:
        made: _Pane = CurvePane() if section == "pta" else _TextPane(section)
        made.root.name = f"tdmx_{section}"
        doc.add_root(made.root)
        panes.append(made)
    failed: set[int] = set()

    def look() -> None:
        for at, each in enumerate(panes):
            try:
                each.update(scene)
            except Exception:  # the others go on; once is enough to know
                if at not in failed:
                    failed.add(at)
                    _log.exception("A section of the page was not shown")

    look()
    doc.add_periodic_callback(look, PERIOD)


def _template(source: str) -> Any:
    from distributed.dashboard.components.scheduler import env

    return env.from_string(source)


_STYLE = """
html { background: var(--tdmx-ground); height: auto; }
body { color: var(--tdmx-ink); font: 14px/1.45 "Helvetica Neue", Helvetica, Arial, sans-serif; height: auto; }
.content { height: auto; }
.tdmx { max-width: 1240px; margin: 14px auto 0; display: grid; gap: 14px; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); }
.tdmx section { background: var(--tdmx-paper); border: 1px solid var(--tdmx-rule); border-radius: 6px; padding: 12px 16px; min-width: 0; }
.tdmx .all { grid-column: 1 / -1; }
.tdmx h2 { font-size: 15px; font-weight: 600; margin: 0 0 8px; }
.tdmx-foot { max-width: 1240px; margin: 14px auto; color: var(--tdmx-soft); font-size: 13px; }
.tdmx-alone { padding: 4px 10px; }
.tdmx-alone h2 { font-size: 15px; margin: 6px 0; }
@media (max-width: 1000px) { .tdmx { grid-template-columns: minmax(0, 1fr); } }
@media (prefers-color-scheme: dark) {
  .navbar ul, .dropdown-content { background-color: #24272c; }
  .navbar li a { color: var(--tdmx-ink); }
  .navbar li:hover, .navbar li.active { background-color: #6b4a2a; }
  #navbar-toggle-icon img { filter: invert(1); }
}
"""

_PAGE = """
{% extends "base.html" %}
{% block extra_resources %}<style>{{ style }}</style>{% endblock %}
{% block content %}
{% from macros import embed %}
<main class="tdmx">
  <div class="all">{{ embed(roots.tdmx_head) }}</div>
  <section class="all" id="fits"><h2>Fits</h2>{{ embed(roots.tdmx_fits) }}</section>
  <section class="all" id="pta"><h2>Probability of target attainment</h2>{{ embed(roots.tdmx_pta) }}</section>
  <section class="all" id="queue"><h2>Jobs</h2>{{ embed(roots.tdmx_queue) }}</section>
  <section id="memory"><h2>Memory of workers</h2>{{ embed(roots.tdmx_memory) }}</section>
  <section id="stuck"><h2>What waits, and why</h2>{{ embed(roots.tdmx_stuck) }}</section>
</main>
<footer class="tdmx-foot">Research use only. Not a medical device.</footer>
{{ plot_script }}
{% endblock %}
"""

_ALONE = """
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title | e }}</title>
{{ bokeh_css }}
{{ bokeh_js }}
<style>{{ style }} body { margin: 0; }</style>
</head>
<body>
{% from macros import embed %}
<main class="tdmx-alone"><h2>{{ heading }}</h2>{% for root in docs[0].roots %}{{ embed(root) }}{% endfor %}</main>
{{ plot_script }}
</body>
</html>
"""
