"""Figures as files: PNG and SVG, the same bytes for the same figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save", "svg_text"]

_DPI = 160


def save(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write a figure beside each other as PNG and SVG.

    Parameters
    ----------
    figure : a matplotlib figure
    path : the file name; its suffix, if it is ``.png`` or ``.svg``, is replaced by each of the two

    Returns
    -------
    png, svg : the paths written
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stem = Path(path)
    if stem.suffix.lower() in {".png", ".svg"}:
        stem = stem.with_suffix("")
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
    svg.write_text(svg_text(figure), encoding="utf-8")
    return png, svg


def svg_text(figure: Figure) -> str:
    """Return a figure as SVG text, without date and with reproducible ids."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    from tdmx_dask.plot import style

    buffer = io.StringIO()
    # Element ids derive from this salt; without it matplotlib draws a random one per process.
    with style.settings({"svg.hashsalt": "tdmx_dask", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
