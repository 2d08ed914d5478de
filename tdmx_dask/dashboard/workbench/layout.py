"""What the tabs have in common: a form beside its results, uploaded files, answers as curves."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from bokeh.document import Document
from bokeh.layouts import row
from bokeh.models import FileInput, LayoutDOM, Row

from tdmx_dask.dashboard.line import Line
from tdmx_dask.dashboard.workbench.question import Answer
from tdmx_dask.errors import InputError

__all__ = ["beside", "content_of", "lines_of", "when_uploaded"]

_BESIDE = "@media (max-width: 1000px) { :host { display: block !important; } }"


def beside(form: LayoutDOM, results: LayoutDOM) -> Row:
    """A form with its results beside it, or below on a narrow page."""
    return row(form, results, sizing_mode="stretch_width", spacing=28, stylesheets=[_BESIDE])


def when_uploaded(document: Document, upload: FileInput, call: Callable[[], None]) -> None:
    """Call once a file is there: its content, its name and its kind come one after the other."""
    upload.on_change("value", lambda _attr, _old, _new: document.add_next_tick_callback(call))


def content_of(upload: FileInput) -> tuple[str, bytes]:
    """Name and content of an uploaded file.

    Raises
    ------
    InputError
        It did not arrive whole.
    """
    try:
        return str(upload.filename), base64.b64decode(upload.value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InputError("file", upload.filename, "it did not arrive whole", "Try again.") from None


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
