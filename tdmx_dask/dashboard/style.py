"""What pages look like: one palette, light and dark as the reader's system has it, told to HTML and to Bokeh's figures by CSS variables.

A page puts `VARIABLES` into its head once. They reach into Bokeh's shadow trees, so that a `Div` takes `TEXT`, and a figure `FIGURE`, as a
stylesheet, and both follow. Where a version of Bokeh reads no CSS for its figures, they keep the greys that `figure_style` sets, which can
be read on either ground.
"""

from __future__ import annotations

from typing import Any

from tdmx_dask.plot.style import line_style

__all__ = ["BETWEEN", "COLOURS", "DASHES", "FIGURE", "TEXT", "VARIABLES", "figure_style"]

BETWEEN = "#808387"
"""A grey that stands out from white and from the dark ground alike."""

# The figures' palette; its last colour, black, is none on a dark ground.
COLOURS: tuple[str, ...] = (*(str(line_style(slot)["color"]) for slot in range(6)), BETWEEN)
"""Of lines, told apart by the colour-blind, on light and dark."""

DASHES: tuple[str, ...] = ("solid", "dashed", "dotted", "dashdot")
"""Of lines once all colours are used."""

VARIABLES = """
:root {
  color-scheme: light dark;
  --tdmx-ink: #1a1a1a; --tdmx-soft: #5a6067; --tdmx-paper: #ffffff; --tdmx-ground: #f4f5f7; --tdmx-rule: #dcdfe3;
  --tdmx-track: #e4e7eb; --tdmx-accent: #0072B2; --tdmx-good: #00724f; --tdmx-warn: #9a4a00; --tdmx-bad: #b3261e;
  --tdmx-warn-ground: #fdf3e4; --tdmx-bad-ground: #fdecea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --tdmx-ink: #e7e9ec; --tdmx-soft: #a3a9b1; --tdmx-paper: #1d2024; --tdmx-ground: #131518; --tdmx-rule: #363a40;
    --tdmx-track: #33373d; --tdmx-accent: #58b4ea; --tdmx-good: #4fc79d; --tdmx-warn: #f0a95b; --tdmx-bad: #ff8f85;
    --tdmx-warn-ground: #322817; --tdmx-bad-ground: #3a1f1d;
  }
}
"""
"""Colours by their use, for the head of a page."""

TEXT = """
:host { font: 14px/1.45 "Helvetica Neue", Helvetica, Arial, sans-serif; color: var(--tdmx-ink); }
.bk-clearfix { display: block !important; width: 100%; }
h1 { font-size: 20px; margin: 0; font-weight: 600; }
h2 { font-size: 15px; margin: 0 0 8px; font-weight: 600; }
* + h2 { margin-top: 18px; }
h3 { font-size: 14px; margin: 12px 0 4px; font-weight: 600; overflow-wrap: anywhere; }
h3:first-child { margin-top: 0; }
p { margin: 4px 0; }
code { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; font-size: 12px; color: var(--tdmx-soft); border-bottom: 1px solid var(--tdmx-rule);
  white-space: nowrap; }
th, td { padding: 3px 12px 3px 0; vertical-align: middle; }
th:last-child, td:last-child { padding-right: 0; }
td { border-bottom: 1px solid var(--tdmx-rule); overflow-wrap: anywhere; }
tr:last-child td { border-bottom: none; }
.n { text-align: right; white-space: nowrap; }
.k { white-space: nowrap; }
.title { min-width: 15em; }
.how { max-width: 24em; }
.soft { color: var(--tdmx-soft); }
.good { color: var(--tdmx-good); }
.warn { color: var(--tdmx-warn); }
.bad { color: var(--tdmx-bad); }
.bar { background: var(--tdmx-track); border-radius: 3px; height: 8px; overflow: hidden; min-width: 50px; }
.bar i { display: block; height: 100%; background: var(--tdmx-accent); }
.bar i.good { background: var(--tdmx-good); }
.bar i.warn { background: var(--tdmx-warn); }
@media (max-width: 900px) { .wide { display: none; } th, td { padding-right: 7px; } }
"""
"""Stylesheet of a `Div`."""

FIGURE = """
:host {
  --bk-axis-label-text-color: var(--tdmx-ink); --bk-major-label-text-color: var(--tdmx-ink);
  --bk-axis-line-color: var(--tdmx-soft); --bk-major-tick-line-color: var(--tdmx-soft); --bk-minor-tick-line-color: var(--tdmx-soft);
  --bk-grid-line-color: var(--tdmx-rule); --bk-outline-line-color: transparent; --bk-label-text-color: var(--tdmx-ink);
}
"""
"""Stylesheet of a figure."""


def figure_style(plot: Any) -> None:
    """Give a Bokeh figure the style of pages: no ground of its own, and axes that can be read on light and dark.

    Parameters
    ----------
    plot : bokeh.plotting.figure
    """
    plot.stylesheets = [*plot.stylesheets, FIGURE]
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.toolbar.logo = None
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = BETWEEN
    plot.axis.minor_tick_line_color = None
    plot.axis.major_label_text_color = plot.axis.axis_label_text_color = BETWEEN
    plot.axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = BETWEEN, 0.35
