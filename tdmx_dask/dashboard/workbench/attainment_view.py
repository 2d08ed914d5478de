"""The answers of the tab PTA/CFR: the curve at once, then tables and the course of concentrations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bokeh.layouts import column
from bokeh.models import Column

from tdmx_dask.api.concentration import concentrations
from tdmx_dask.dashboard.attainment import Attainment
from tdmx_dask.dashboard.courses import Course, Isolates
from tdmx_dask.dashboard.look import text_div
from tdmx_dask.dashboard.workbench import present
from tdmx_dask.dashboard.workbench.field import Message
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.layout import lines_of
from tdmx_dask.dashboard.workbench.question import Answer, Question, answer
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AttainmentView"]

_COURSE = "<h2>Concentration over one interval at steady state</h2>"
_MANY = 20_000
"""Draws whose course takes some tens of milliseconds."""
_STILL = 200
"""ms after a curve; its table and its course follow, unless another curve is there by then."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class AttainmentView:
    """Computes and shows the answer to the newest question; where there is none, nothing.

    Parameters
    ----------
    session : of the window; its ``attained`` is what is shown
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._message = Message("pta-message")
        self._curve = Attainment("pta", height=330)
        self._isolates = Isolates(self._curve)
        self._course = Course(name="steady-state")
        self._course.figure.visible = False
        self._course_message = Message("course-message")
        self._notes, self._table = (text_div(sizing_mode="stretch_width") for _ in range(2))
        self._answer = column(
            self._notes, self._curve.figure, self._curve.legend, self._isolates.figure, self._table, text_div(_COURSE),
            self._course_message.root, self._course.figure, sizing_mode="stretch_width",
        )  # fmt: skip
        document, shop = session.document, session.shop
        self._latest: Latest[Answer] = Latest(document, shop.quick, self._show, self.complain)
        self._details: Latest[_Details] = Latest(document, shop.quick, self._show_details, self.complain)

    def root(self) -> Column:
        """The layout."""
        return column(self._message.root, self._answer, sizing_mode="stretch_width")

    def ask(self, question: Question) -> None:
        """Answer this question next; what was to follow the answer before is not wanted any more."""
        self._details.drop()
        self._latest.ask(partial(answer, question), self.session.shop.slow if question.long else None)

    def drop(self) -> None:
        """Answer nothing that was asked before; what is shown stays until something else is."""
        for each in (self._latest, self._details):
            each.drop()
        self.session.attained = None

    def blank(self) -> None:
        """Show no answer. Its place stays: to lay the page out anew would take a browser longer than to say what is wrong."""
        self.drop()
        self._message.say("")
        self._curve.clear()
        self._answer.styles = {"visibility": "hidden"}

    def complain(self, message: str) -> None:
        """Show what is wrong instead of an answer."""
        self.blank()
        self._message.complain(message)

    def _show(self, found: Answer) -> None:
        self.session.attained = found
        self._message.say("")
        question = found.question
        self._curve.show(question.mic, lines_of(found), wanted=question.level)
        if self._answer.styles:
            self._answer.styles = {}
        self.session.document.add_timeout_callback(partial(self._ask_details, found), _STILL)

    def _ask_details(self, found: Answer) -> None:
        """What follows the curve; a slider that moves on wants the curve alone."""
        if self.session.attained is found and not self._latest.busy:
            long = found.question.long or found.question.source.n_draws > _MANY
            self._details.ask(partial(_detailed, found), self.session.shop.slow if long else None)

    def _show_details(self, details: _Details) -> None:
        question = details.found.question
        self._isolates.show(question.distributions)
        self._notes.text = present.notes(details.found.notes)
        self._table.text = details.table
        course = details.course
        self._course_message.say(details.complaint)
        self._course.figure.visible = course is not None
        if course is not None:
            values = course["concentration"].transpose("quantile", ...).values.reshape(len(_QUANTILES), -1)
            bands = {f"q{round(100 * q)}": each for q, each in zip(_QUANTILES, values, strict=True)}
            self._course.show(course["time"].values, bands)


@dataclass(frozen=True, slots=True)
class _Details:
    """What follows the curve."""

    found: Answer
    table: str
    course: xr.Dataset | None
    complaint: str = ""


def _detailed(found: Answer) -> _Details:
    """Tables, and the course where the regimen has a steady state."""
    question = found.question
    table = present.attainment(question.regimens[0], found.pta, found.cfr, question.level)
    draws, regimen = question.source.draws, question.regimens[0]
    try:
        course = concentrations(draws, regimen, n_times=97, quantiles=_QUANTILES, weight=question.weight)
    except InputError as error:
        return _Details(found, table, None, str(error))
    return _Details(found, table, course)
