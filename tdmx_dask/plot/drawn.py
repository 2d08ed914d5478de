"""A figure that a notebook shows as it is: matplotlib's own is shown only once pyplot was imported."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["Drawn"]

_SHARP = 2
"""Pixels of the picture by pixels of the page."""


class Drawn(Figure):
    """A figure that IPython can display without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture, and its size on the page, px."""
        self.savefig(file := io.BytesIO(), format="png", dpi=_SHARP * self.dpi)
        width, height = self.get_size_inches() * self.dpi
        return file.getvalue(), {"width": round(width), "height": round(height)}
