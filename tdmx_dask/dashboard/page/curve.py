"""The PTA against MIC, with its interval, as blocks arrive."""

from __future__ import annotations

import math
from typing import Any

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool
from bokeh.models.annotations import Span
from bokeh.models.widgets import Div
from bokeh.plotting import figure

from tdmx_dask.dashboard.page.told import Curve
from tdmx_dask.dashboard.page.words import bar, more, share, text
from tdmx_dask.dashboard.style import COLOURS, DASHES, TEXT, figure_style
from tdmx_dask.plot.style import mic_label, mic_position

__all__ = ["CurvePane", "columns", "head_html", "legend_html"]

EMPTY = (
    "No PTA runs on this cluster. <code>tdmx.pta(…, on=cluster)</code> shows its curve here while it grows."
)

WANTED = 0.9
"""PTA that is usually wanted of a regimen, drawn as a line."""

_INTERVALS = {"credible": "credible interval over draws", "monte_carlo": "Monte-Carlo interval"}
_LINES: dict[str, list[Any]] = {"x": [], "y": [], "colour": [], "dash": []}
_BANDS: dict[str, list[Any]] = {"x": [], "y": [], "colour": []}
_POINTS: dict[str, list[Any]] = {
    "x": [], "y": [], "colour": [], "label": [], "mic": [], "pta": [], "range": [],
}  # fmt: skip


def columns(curve: Curve) -> tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]:
    """Data of the lines, the bands and the points."""
    x = [mic_position(mic) for mic in curve.mic]
    lines: dict[str, list[Any]] = {name: [] for name in _LINES}
    bands: dict[str, list[Any]] = {name: [] for name in _BANDS}
    points: dict[str, list[Any]] = {name: [] for name in _POINTS}
    for slot, line in enumerate(curve.lines):
        colour, dash = COLOURS[slot % len(COLOURS)], DASHES[slot // len(COLOURS) % len(DASHES)]
        _add(lines, x=x, y=list(line.pta), colour=colour, dash=dash)
        known = [
            at
            for at, (low, high) in enumerate(zip(line.lower, line.upper, strict=True))
            if math.isfinite(low) and math.isfinite(high)
        ]
        if known:
            there = [x[at] for at in known]
            edge = [line.upper[at] for at in known] + [line.lower[at] for at in reversed(known)]
            _add(bands, x=there + there[::-1], y=edge, colour=colour)
        for at, pta in enumerate(line.pta):
            if not math.isfinite(pta):
                continue
            low, high = line.lower[at], line.upper[at]
            between = f"{100 * low:.1f} – {100 * high:.1f} %" if math.isfinite(low) else "–"
            label = mic_label(curve.mic[at])
            _add(points, x=x[at], y=pta, colour=colour, label=line.label, mic=label, pta=f"{100 * pta:.2f} %", range=between)  # fmt: skip
    return lines, bands, points


def _add(data: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        data[name].append(value)


def head_html(curve: Curve | None, others: int) -> str:
    """How far it is, and what the interval is."""
    if curve is None:
        return f'<p class="soft">{EMPTY}</p>'
    interval = _INTERVALS.get(curve.kind)
    said = f"{100 * curve.level:g} % {interval}" if interval else "no interval yet"
    if curve.over:
        far = f"{curve.total:,} profiles"
    else:
        part = share(curve.done, curve.total)
        far = f"{100 * part:.0f} % of {curve.total:,} profiles"
    state = '<b class="good">complete</b>' if curve.over else "<b>grows</b>"
    rest = f" {others:,} more run." if others else ""
    done = share(curve.done, curve.total)
    title = f"<h3>{text(curve.title, 120)}</h3>" if curve.title else ""
    return (
        f'{title}<p class="curve">{state}: {far}; {said}.{rest}</p>{bar(done, "good" if curve.over else "")}'
    )


def legend_html(curve: Curve | None) -> str:
    """Which line is which."""
    if curve is None:
        return ""
    parts = [
        f'<span class="key"><i style="background:{_swatch(slot)}"></i>{text(line.label, 120)}</span>'
        for slot, line in enumerate(curve.lines)
    ]
    return "".join(parts) + more(curve.more, "curves")


def _swatch(slot: int) -> str:
    """As the line is drawn: in one piece, or in dashes once all colours are used."""
    colour = COLOURS[slot % len(COLOURS)]
    return (
        colour
        if slot < len(COLOURS)
        else f"repeating-linear-gradient(90deg,{colour} 0 6px,transparent 6px 9px)"
    )


_KEYS = """
.key { display: inline-flex; align-items: center; margin: 2px 18px 2px 0; }
.key i { width: 20px; height: 4px; border-radius: 2px; margin-right: 7px; flex: none; }
.bar { height: 5px; max-width: 420px; }
"""


class CurvePane:
    """Draws the PTA of a scene; hidden where there is none.

    Attributes
    ----------
    root : for a document
    """

    def __init__(self) -> None:
        self._head, self._legend = (
            Div(text="", stylesheets=[TEXT, _KEYS], sizing_mode="stretch_width", disable_math=True, margin=0)
            for _ in range(2)
        )
        self._lines, self._bands, self._points = (
            ColumnDataSource(dict(each)) for each in (_LINES, _BANDS, _POINTS)
        )
        self._plot = _plot(self._lines, self._bands, self._points)
        self._shown: Curve | None = None
        self._mic: tuple[float, ...] = ()
        self.root = column(self._head, self._plot, self._legend, sizing_mode="stretch_width", spacing=6)

    def update(self, scene: Any) -> None:
        """Show what there is, if it is something new."""
        curve, others = scene.curve()
        head = head_html(curve, others)
        if self._head.text != head:
            self._head.text = head
        if curve is self._shown:
            return
        self._shown = curve
        self._plot.visible = self._legend.visible = curve is not None
        self._legend.text = legend_html(curve)
        if curve is None:
            return
        if curve.mic != self._mic:
            self._mic = curve.mic
            self._scale(curve)
        for source, data in zip((self._lines, self._bands, self._points), columns(curve), strict=True):
            source.data = data

    def _scale(self, curve: Curve) -> None:
        """Ticks at the powers of two, all or every second, fourth, … one."""
        x = [mic_position(mic) for mic in curve.mic]
        low, high = math.floor(min(x)), math.ceil(max(x))
        step = max(1, -(-(high - low) // 14))
        ticks = list(range(low, high + 1, step))
        axis = self._plot.xaxis[0]
        axis.ticker = FixedTicker(ticks=ticks)
        axis.major_label_overrides = {tick: mic_label(2.0**tick) for tick in ticks}
        self._plot.x_range.start, self._plot.x_range.end = low - 0.3, high + 0.3


def _plot(lines: ColumnDataSource, bands: ColumnDataSource, points: ColumnDataSource) -> Any:
    given: dict[str, Any] = {
        "x_range": (-6.3, 7.3),
        "y_range": (-0.02, 1.04),
        "tools": "xpan,xwheel_zoom,reset,save",
    }
    given |= {"x_axis_label": "MIC (mg/L)", "y_axis_label": "probability of target attainment"}
    plot = figure(
        height=300, sizing_mode="stretch_width",
        visible=False, toolbar_location="right", **given,
    )  # fmt: skip
    figure_style(plot)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    plot.yaxis[0].ticker = FixedTicker(ticks=ticks)
    plot.yaxis[0].major_label_overrides = {tick: f"{100 * tick:g} %" for tick in ticks}
    plot.add_layout(
        Span(location=WANTED, dimension="width", line_color="#808387", line_dash="dashed", line_width=1)
    )
    plot.patches("x", "y", source=bands, fill_color="colour", fill_alpha=0.22, line_color=None)
    plot.multi_line("x", "y", source=lines, line_color="colour", line_dash="dash", line_width=2)
    marks = plot.scatter("x", "y", source=points, fill_color="colour", line_color=None, size=6)
    said = [("", "@label"), ("MIC", "@mic mg/L"), ("PTA", "@pta"), ("interval", "@range")]
    plot.add_tools(HoverTool(renderers=[marks], tooltips=said))
    return plot
