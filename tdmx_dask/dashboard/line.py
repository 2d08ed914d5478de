"""One curve of PTA against MIC, as plain values: for the scheduler, which loads no Bokeh before a page is open."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Line"]


@dataclass(frozen=True, slots=True)
class Line:
    """PTA of one regimen and target.

    Parameters
    ----------
    label : of it
    pta, lower, upper : (mic,), fractions; NaN where there is none
    """

    label: str
    pta: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
