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

__all__ = ["beside", "content_of", "lines_of", "uploaded", "when_uploaded"]

_BESIDE = "@media (max-width: 1000px) { :host { display: block !important; } }"


def beside(form: LayoutDOM, results: LayoutDOM) -> Row:
    """A form with its results beside it, or below on a narrow page."""
    results.styles = {"min-width": "0", "max-width": "100%"}
    return row(form, results, sizing_mode="stretch_width", spacing=28, stylesheets=[_BESIDE])


def when_uploaded(document: Document, upload: FileInput, call: Callable[[], None]) -> None:
    """Call once a file is there: its content, its name and its kind come one after the other."""

    def changed(_attr: str, _old: object, new: object) -> None:
        if new:  # and not emptied again
            document.add_next_tick_callback(call)

    upload.on_change("value", changed)


def uploaded(upload: FileInput) -> tuple[str, str]:
    """Name and content (base64) of a file; the input is emptied, so that the same file, mended, is taken again."""
    name, content = str(upload.filename), str(upload.value)
    upload.clear()
    return name, content


def content_of(name: str, content: str) -> bytes:
    """The bytes of an uploaded file.

    Raises
    ------
    InputError
        It did not arrive whole.
    """
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("file", name, "it did not arrive whole", "Try again.") from None


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
