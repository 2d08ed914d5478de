"""The PTA against MIC, with its interval, as blocks arrive."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import column
from bokeh.models.widgets import Div

from tdmx_dask.dashboard.attainment import Attainment
from tdmx_dask.dashboard.page.told import Curve
from tdmx_dask.dashboard.page.words import bar, more, share, text
from tdmx_dask.dashboard.style import TEXT

__all__ = ["CurvePane", "head_html"]

EMPTY = (
    "No PTA runs on this cluster. <code>tdmx.pta(…, on=cluster)</code> shows its curve here while it grows."
)

_INTERVALS = {"credible": "credible interval over draws", "monte_carlo": "Monte-Carlo interval"}
_BAR = ".bar { height: 5px; max-width: 420px; }"


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


class CurvePane:
    """Draws the PTA of a scene; hidden where there is none.

    Attributes
    ----------
    root : for a document
    """

    def __init__(self) -> None:
        self._head = Div(
            text="", stylesheets=[TEXT, _BAR], sizing_mode="stretch_width", disable_math=True, margin=0
        )
        self._drawn = Attainment("tdmx-pta", toolbar="right")
        self._shown: Curve | None = None
        self.root = column(
            self._head, self._drawn.figure, self._drawn.legend, sizing_mode="stretch_width", spacing=6
        )

    def update(self, scene: Any) -> None:
        """Show what there is, if it is something new."""
        curve, others = scene.curve()
        head = head_html(curve, others)
        if self._head.text != head:
            self._head.text = head
        if curve is self._shown:
            return
        self._shown = curve
        self._drawn.figure.visible = self._drawn.legend.visible = curve is not None
        if curve is not None:
            self._drawn.show(curve.mic, curve.lines, after=more(curve.more, "curves"))
