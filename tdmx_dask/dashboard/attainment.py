"""PTA against MIC as a Bokeh figure that grows or moves: Bokeh's counterpart of `tdmx_dask.plot.pta`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NoOverlap
from bokeh.models.annotations import Span
from bokeh.models.widgets import Div
from bokeh.plotting import figure

from tdmx_dask.dashboard.line import Line
from tdmx_dask.dashboard.look import escaped
from tdmx_dask.dashboard.style import BETWEEN, COLOURS, DASHES, TEXT, figure_style
from tdmx_dask.plot.style import mic_label, mic_position

__all__ = ["Attainment", "columns", "legend_html"]

WANTED = 0.9
"""PTA that is usually wanted of a regimen, drawn as a line."""

_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex", "star", "plus")
_LINES = ("x", "y", "colour", "dash")
_BANDS = ("x", "y", "colour")
_POINTS = ("x", "y", "colour", "marker", "label", "mic", "pta", "range")

Columns = dict[str, list[Any]]


def columns(mic: Sequence[float], lines: Sequence[Line]) -> tuple[Columns, Columns, Columns]:
    """Data of the lines, the bands and the points.

    Parameters
    ----------
    mic : mg/L, ascending
    lines : of as many values
    """
    x = [mic_position(each) for each in mic]
    strokes, bands, points = (_empty(names) for names in (_LINES, _BANDS, _POINTS))
    for slot, line in enumerate(lines):
        colour, dash = COLOURS[slot % len(COLOURS)], DASHES[slot // len(COLOURS) % len(DASHES)]
        _add(strokes, x=x, y=list(line.pta), colour=colour, dash=dash)
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
            if math.isfinite(pta):
                low, high = line.lower[at], line.upper[at]
                between = f"{100 * low:.1f} – {100 * high:.1f} %" if math.isfinite(low) else "–"
                _add(
                    points, x=x[at], y=pta, colour=colour, marker=_MARKERS[slot % len(_MARKERS)], label=line.label,
                    mic=mic_label(mic[at]), pta=f"{100 * pta:.2f} %", range=between,
                )  # fmt: skip
    return strokes, bands, points


def _empty(names: Sequence[str]) -> Columns:
    return {name: [] for name in names}


def _add(data: Columns, **values: Any) -> None:
    for name, value in values.items():
        data[name].append(value)


def legend_html(labels: Sequence[str]) -> str:
    """Which line is which, as markup."""
    return "".join(
        f'<span class="key"><i style="background:{_swatch(slot)}"></i>{escaped(label)}</span>'
        for slot, label in enumerate(labels)
    )


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
"""


class Attainment:
    """A line a curve, its interval as a band, a dashed line at the wanted level; the legend is a text of its own.

    Three glyphs draw all curves, however many there are: a glyph each would cost some milliseconds of a page's start.

    Parameters
    ----------
    name : by which scripts of the page find it
    height : px
    toolbar : where, or None

    Attributes
    ----------
    figure, legend : for a layout; seen once there is something to draw
    """

    def __init__(self, name: str, *, height: int = 300, toolbar: str | None = None) -> None:
        self._sources = [
            ColumnDataSource(_empty(keys), name=f"{name}-{part}")
            for part, keys in (("lines", _LINES), ("bands", _BANDS), ("points", _POINTS))
        ]
        self._mic: tuple[float, ...] = ()
        self.figure = _figure(name, height, toolbar)
        self._wanted = Span(
            location=WANTED, dimension="width", line_color=BETWEEN, line_dash="dashed", line_width=1
        )
        self.figure.add_layout(self._wanted)
        self.figure.visible = False
        strokes, bands, points = self._sources
        self.figure.patches("x", "y", source=bands, fill_color="colour", fill_alpha=0.22, line_color=None)
        self.figure.multi_line("x", "y", source=strokes, line_color="colour", line_dash="dash", line_width=2)
        marks = self.figure.scatter(
            "x", "y", source=points, marker="marker", fill_color="colour", line_color="colour", size=6
        )
        tips = [("", "@label"), ("MIC", "@mic mg/L"), ("PTA", "@pta"), ("interval", "@range")]
        self.figure.add_tools(HoverTool(renderers=[marks], tooltips=tips))
        self.legend = Div(
            text="", stylesheets=[TEXT, _KEYS], sizing_mode="stretch_width", disable_math=True, margin=0
        )

    def show(
        self, mic: Sequence[float], lines: Sequence[Line], *, wanted: float = WANTED, after: str = ""
    ) -> None:
        """Draw these curves, and no others.

        Parameters
        ----------
        mic : mg/L, ascending
        lines : of as many values
        wanted : level of the dashed line, a fraction
        after : markup behind the legend
        """
        self._wanted.location, self.figure.visible = wanted, True
        if tuple(mic) != self._mic:
            self._mic = tuple(mic)
            self._scale()
        for source, data in zip(self._sources, columns(mic, lines), strict=True):
            source.data = data
        legend = legend_html([line.label for line in lines]) + after
        if self.legend.text != legend:
            self.legend.text = legend

    def clear(self) -> None:
        """Draw no curve."""
        for source, names in zip(self._sources, (_LINES, _BANDS, _POINTS), strict=True):
            source.data = _empty(names)

    def _scale(self) -> None:
        """Ticks at the powers of two, all or every second, fourth, … one."""
        x = [mic_position(mic) for mic in self._mic]
        low, high = math.floor(min(x)), math.ceil(max(x))
        step = max(1, -(-(high - low) // 14))
        ticks = list(range(low, high + 1, step))
        axis = self.figure.xaxis[0]
        axis.ticker = FixedTicker(ticks=ticks)
        axis.major_label_overrides = {tick: mic_label(2.0**tick) for tick in ticks}
        self.figure.x_range.update(start=low - 0.45, end=high + 0.45)


def _figure(name: str, height: int, toolbar: str | None) -> Any:
    made = figure(
        name=name, height=height, sizing_mode="stretch_width", toolbar_location=toolbar, x_range=(-6.3, 7.3), y_range=(-0.02, 1.04),
        tools="xpan,xwheel_zoom,reset,save" if toolbar else "", min_border_left=54, min_border_right=12,
    )  # fmt: skip
    made.xaxis.axis_label, made.yaxis.axis_label = "MIC (mg/L)", "Probability of target attainment"
    figure_style(made)
    made.xaxis[0].major_label_policy = NoOverlap()
    ticks = [0, 0.25, 0.5, 0.75, 1]
    made.yaxis[0].ticker = FixedTicker(ticks=ticks)
    made.yaxis[0].major_label_overrides = {tick: f"{100 * tick:g} %" for tick in ticks}
    return made
