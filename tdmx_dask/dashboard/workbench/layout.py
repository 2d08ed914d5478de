"""What the tabs have in common: a form beside its results, answers as curves."""

from __future__ import annotations

from bokeh.layouts import row
from bokeh.models import LayoutDOM, Row

from tdmx_dask.dashboard.line import Line
from tdmx_dask.dashboard.workbench.question import Answer

__all__ = ["beside", "lines_of"]


def beside(form: LayoutDOM, results: LayoutDOM, *, least: int = 760) -> Row:
    """A form with its results beside it, or below on a page that is narrower than `least`, px."""
    below = f"@media (max-width: {least}px) {{ :host {{ display: block !important; }} }}"
    results.styles = {"min-width": "0", "max-width": "100%"}
    return row(form, results, sizing_mode="stretch_width", spacing=28, stylesheets=[below])


def lines_of(found: Answer, *, target: str | None = None) -> list[Line]:
    """A curve a target of the only regimen; or, of one target, a curve a regimen."""
    pta = found.pta.isel(scenario=0)
    chosen = [
        (regimen, each)
        for regimen in pta["regimen"].values
        for each in pta["target"].values
        if target in (None, each)
    ]
    curves = []
    for regimen, each in chosen:
        one = pta.sel(regimen=regimen, target=each)
        label = str(each if target is None else regimen)
        curves.append(Line(label, *(tuple(one[part].values.tolist()) for part in ("pta", "lower", "upper"))))
    return curves
