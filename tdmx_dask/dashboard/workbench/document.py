"""The page of the workbench."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import TabPanel, Tabs

from tdmx_dask.dashboard.look import SHEET, dress, text_div
from tdmx_dask.dashboard.workbench.attainment_tab import AttainmentTab
from tdmx_dask.dashboard.workbench.compare_tab import CompareTab
from tdmx_dask.dashboard.workbench.fit_tab import FitTab
from tdmx_dask.dashboard.workbench.report_tab import ReportTab
from tdmx_dask.dashboard.workbench.session import Session, Shop

__all__ = ["fill"]

_SOON = "<p class='soft'>One moment …</p>"
_ABOUT = "antibiotic dosing under uncertainty"


_WITHIN = ":host { grid-template-columns: minmax(0, 1fr) !important; }"
"""No wider than the page: what is wider inside, a table of many MICs, scrolls by itself."""


def fill(document: Document, shop: Shop) -> None:
    """Put the workbench into a document.

    Parameters
    ----------
    document : of a new session
    shop : what all windows share
    """
    session = Session(document, shop)
    shown: dict[str, Any] = {}

    def attainment() -> AttainmentTab:
        if shown.get("PTA/CFR") is None:
            shown["PTA/CFR"] = AttainmentTab(session)
        return shown["PTA/CFR"]  # type: ignore[no-any-return]

    makers: dict[str, Callable[[], Any]] = {
        "Fit": lambda: FitTab(session), "PTA/CFR": attainment, "Compare": lambda: CompareTab(session, attainment()),
        "Report": lambda: ReportTab(session),
    }  # fmt: skip
    panels = [
        TabPanel(title=name, child=column(text_div(_SOON), sizing_mode="stretch_width")) for name in makers
    ]
    tabs = Tabs(tabs=panels, stylesheets=[SHEET, _WITHIN], sizing_mode="stretch_width", html_id="tabs")
    laid = set[int]()

    def turn(active: int) -> None:
        """Make a tab when it is first turned to: the first paint is soon, and other windows are not kept waiting for long."""
        name = panels[active].title
        if active not in laid:
            laid.add(active)
            shown.setdefault(name, None)
            shown[name] = shown[name] or makers[name]()
            panels[active].child.children = [shown[name].root()]
        shown[name].look()

    turn(0)
    tabs.on_change("active", lambda _attr, _old, new: turn(new))
    document.add_root(tabs)
    dress(document, "tdmx workbench", about=_ABOUT)
