"""Colours, markers, scales and labels that all figures share."""

from __future__ import annotations

import math
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tdmx_dask.domain.mic import dilution
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "INK",
    "canvas",
    "class_colour",
    "class_key",
    "class_of",
    "classes",
    "hours_axis",
    "ink_on",
    "legend",
    "line_style",
    "mic_label",
    "mic_position",
    "number",
    "one_panel",
    "percent",
    "percent_axis",
    "settings",
    "styled",
    "title",
    "wrapped",
]

INK, GREY = "#1a1a1a", "#6b6b6b"
# Okabe and Ito's palette (jfly.uni-koeln.de/color) without its yellow, which is too pale for a line on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4A8C", "#E69F00", "#3B9BD8", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

# From the wanted level down: told apart by lightness too (teal, pale teal, sand, grey-white).
_CLASSES = ("#2a7f8e", "#a8d5cf", "#f0dfb4", "#f4f2ef")

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.6,
    "svg.fonttype": "path",
}


# matplotlib's settings are those of the process: threads that draw take turns.
_SETTINGS = threading.RLock()


@contextmanager
def settings(values: Mapping[str, Any]) -> Iterator[None]:
    """Set some of matplotlib's settings; what was set before is set again afterwards, and no other thread draws meanwhile."""
    import matplotlib as mpl

    wanted: Any = dict(values)
    with _SETTINGS, mpl.rc_context(wanted):
        yield


def styled() -> AbstractContextManager[None]:
    """Draw in the house style, one thread at a time."""
    return settings(_RC)


def canvas(figure: Figure | None, width: float, height: float) -> Figure:
    """The figure given, or a new one (inches) that no pyplot knows."""
    if figure is not None:
        return figure
    from tdmx_dask.plot.drawn import Drawn

    return Drawn(figsize=(width, height), layout="constrained", facecolor="white")


def line_style(slot: int) -> dict[str, Any]:
    """Colour, marker and dashes of the n-th regimen: all three change, so that none is the only sign."""
    again, first = divmod(slot, len(_COLOURS))
    colour = _COLOURS[first]
    return {
        "color": colour,
        "marker": _MARKERS[slot % len(_MARKERS)],
        "linestyle": _DASHES[again % len(_DASHES)],
        "markerfacecolor": "white" if again % 2 else colour,
        "markeredgecolor": colour,
        "linewidth": 1.6,
        "markersize": 4.5,
    }


def mic_label(mic: float) -> str:
    """A MIC as EUCAST prints it: 0.03 for 2^-5, 0.125 for 2^-3; any other value as it is."""
    power = dilution(mic)
    if power is None:
        return f"{mic:g}"
    if power >= -3 or power < -10:
        return f"{2.0**power:g}"
    return f"{2.0**power:.{2 if power >= -5 else 3}f}"


def percent(value: float) -> str:
    """A fraction as per cent; what is rounded to 0 or 100 but is not, says so."""
    if math.isnan(value):
        return "–"
    whole = round(100 * value)
    if whole == 100 and value < 1:
        return ">99 %" if value < 0.9995 else "100 %"
    if whole == 0 and value > 0:
        return "<1 %" if value > 0.0005 else "0 %"
    return f"{whole} %"


def class_key(level: float) -> tuple[list[Artist], list[str]]:
    """Legend of the classes of PTA or CFR."""
    from matplotlib.patches import Patch

    there = classes(level)
    fills: list[Artist] = [Patch(facecolor=_CLASSES[n], edgecolor=GREY, linewidth=0.4) for n, _ in there]
    return fills, [f"at least {percent(least)}" if least > 0 else "less" for _, least in there]


def classes(level: float) -> list[tuple[int, float]]:
    """The classes that there are at a wanted level, and the least of each: one that lies above its neighbour has no member."""
    found: list[tuple[int, float]] = []
    for number, least in enumerate((level, level - 0.1, 0.5, 0.0)):
        if not found or found[-1][1] > max(least, 0.0):
            found.append((number, max(least, 0.0)))
    return found


def class_of(value: float, level: float) -> int:
    """Class of a PTA or CFR: 0 at least the level, 1 within 10 points below it, 2 at least a half, 3 less."""
    return next((n for n, limit in enumerate((level, level - 0.1, 0.5)) if value >= limit), 3)


def class_colour(value: float, level: float) -> str:
    """Fill of a PTA or CFR, by its class."""
    return _CLASSES[class_of(value, level)]


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a fill (relative luminance of WCAG 2)."""
    import matplotlib as mpl

    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in mpl.colors.to_rgb(colour)
    )
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.3 else "white"


def mic_position(mic: float) -> float:
    """Where a MIC stands on the log2 axis: a printed dilution stands at its power of two."""
    power = dilution(mic)
    return math.log2(mic) if power is None else float(power)


def percent_axis(axis: Any, ticks: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)) -> None:
    """Ticks of a fraction, printed as per cent."""
    axis.set_ticks(list(ticks), [f"{100 * tick:g} %" for tick in ticks])


def number(value: float) -> str:
    """A number of some digits, without an exponent where it can be read: 1,250, 12.3, 0.045."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):,.10g}" if abs(value) < 1000 else f"{value:,.0f}"


def hours_axis(axes: Axes, start: float, end: float) -> None:
    """Ticks of a time axis at hours as a ward counts them: 1, 2, 4, 6, 8, 12, 24 apart."""
    steps = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168)
    step = next((step for step in steps if (end - start) / step <= 8), (end - start) / 8)
    first = math.ceil(start / step - 1e-9)
    ticks = [step * k for k in range(first, math.floor(end / step + 1e-9) + 1)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(start, end)


def wrapped(text: str, width: int, lines: int = 3) -> str:
    """Text on at most so many lines; what does not fit ends in an ellipsis."""
    parts = textwrap.wrap(" ".join(text.split()), width, break_long_words=True, break_on_hyphens=False)
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: width - 1].rstrip() + "…"]
    return "\n".join(parts)


def title(figure: Figure, text: str, width: float) -> None:
    """The heading of a figure, at its left edge."""
    figure.suptitle(
        wrapped(text, int(width * 9.5), 2), x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK
    )


def legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], below: Sequence[str], width: float
) -> None:
    """A legend under the figure in as many columns as fit, and notes under it; the axes make room."""
    height = float(figure.get_size_inches()[1])
    lines = [line for note in below for line in wrapped(note, int(width * 14), 3).split("\n")]
    foot = (0.135 * len(lines) + 0.06) / height
    note = figure.text(0.012, 0.06 / height, "\n".join(lines), va="bottom", fontsize=7.5, color=GREY)
    note.set_linespacing(1.25)
    if labels:
        texts = [wrapped(label, 46, 2) for label in labels]
        longest = max(len(line) for text in texts for line in text.split("\n"))
        n_columns = max(1, min(len(texts), int(width / (0.068 * longest + 0.55)), 4))
        box = figure.legend(handles, texts, loc="lower left", bbox_to_anchor=(0.0, foot), ncols=n_columns)
        box.set_in_layout(False)  # its own layout would put it over the notes
        foot += box.get_window_extent().height / figure.dpi / height + 0.05 / height
    engine = figure.get_layout_engine()
    if not isinstance(engine, _constrained()):
        figure.set_layout_engine("constrained")
        engine = figure.get_layout_engine()
    engine.set(rect=(0.0, foot, 1.0, 1.0 - foot), w_pad=0.09)  # type: ignore[union-attr, call-arg]


def _constrained() -> type:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine


def one_panel(ax: Axes | None, n_panels: int, what: str) -> None:
    """Refuse several panels on one pair of axes."""
    if ax is not None and n_panels != 1:
        raise InputError(
            "ax", "axes", f"hold one panel, and there are {n_panels}", f"Choose {what}, or leave ax out."
        )
