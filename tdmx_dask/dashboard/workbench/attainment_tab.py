"""The tab of PTA and CFR: sliders move the curve at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bokeh.layouts import column, row
from bokeh.models import FileInput, LayoutDOM, Slider

from tdmx_dask.api.concentration import concentrations
from tdmx_dask.dashboard.attainment import Attainment
from tdmx_dask.dashboard.courses import Course, Isolates
from tdmx_dask.dashboard.look import SHEET, escaped, text_div
from tdmx_dask.dashboard.workbench import present
from tdmx_dask.dashboard.workbench.field import Choice, Field, Message
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.layout import beside, content_of, lines_of, when_uploaded
from tdmx_dask.dashboard.workbench.patient_text import Complaints
from tdmx_dask.dashboard.workbench.question import (
    MOST_TARGETS,
    Answer,
    Question,
    QuestionText,
    answer,
    distribution_lines,
    distributions_of_file,
    simple_regimen,
)
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.dashboard.workbench.sources import Source, of_fit, of_store, of_study, shipped
from tdmx_dask.domain.units import number_text, whole
from tdmx_dask.errors import InputError, TdmxError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AttainmentTab"]

_FIRST = "meropenem_sepsis"
_TAUS = ("4", "6", "8", "12", "24")
_FORM = 330
_COURSE = "<h2>Concentration over one interval at steady state</h2>"
_TARGETS = "fT>MIC >= 50%\nfAUC24/MIC >= 100 at ELF 0.3\nCmin 10..20"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class AttainmentTab:
    """Draws, a regimen that sliders move, targets, MICs: the curve, CFR, the course of concentrations.

    Parameters
    ----------
    session : of the window

    Attributes
    ----------
    source : the draws, once they are there
    on_source : called when there are others
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.source: Source | None = None
        self.on_source: list[Callable[[], object]] = []
        self._filling = False
        self._make_fields()
        self._make_results()
        self._latest: Latest[Answer] = Latest(session.document, session.shop.quick, self._show, self._fail)
        self._details: Latest[_Details] = Latest(
            session.document, session.shop.quick, self._show_details, self._fail
        )
        self._sources = Latest(session.document, session.shop.slow, self._take_source, self._no_source)
        self._watch()
        session.on_fit.append(self._offer_fit)
        with self._by_us():
            self._choose_study(_FIRST)

    # --- the form -----------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        studies = [(name, name) for name in shipped()]
        self.kind = Choice(
            "kind",
            "Draws of",
            [
                ("study", "a published population"),
                ("fit", "a fit of this window"),
                ("store", "a store on disk"),
            ],
        )
        self.study = Choice("study", "Population", studies)
        self.scenario = Choice("scenario", "Scenario", [])
        self.fit = Choice("fit", "Fit", [])
        self.store = Field("store", "Store of draws (path)", hint="mydraws.zarr")
        self.n = Field("n", "Virtual patients", "4000")
        self.about = text_div(sizing_mode="stretch_width")
        self.regimen = Field("regimens", "Regimen", "1000 mg q8h inf 3h")
        self.dose = Slider(
            title="Dose, mg",
            start=50,
            end=6000,
            step=50,
            value=1000,
            html_id="slider-dose",
            stylesheets=[SHEET],
            sizing_mode="stretch_width",
        )
        self.tau = Choice("tau", "Every", [(each, f"{each} h") for each in _TAUS])
        self.tinf = Slider(
            title="Infusion, h (0: bolus)",
            start=0,
            end=8,
            step=0.5,
            value=3,
            html_id="slider-tinf",
            stylesheets=[SHEET],
            sizing_mode="stretch_width",
        )
        self.targets = Field("targets", "Targets, a line each", rows=3, hint=_TARGETS)
        self.mic = Field("mic", "MICs, mg/L", "0.25..32")
        self.distributions = Field("distributions", "MIC distributions, a line each", rows=3)
        self.upload = FileInput(
            accept=".csv,.tsv,.txt",
            stylesheets=[SHEET],
            html_id="upload-mic",
            sizing_mode="stretch_width",
            title="or from a CSV, also EUCAST's",
        )
        self.fu = Field("fu", "Fraction fu", hint="of the draws", width=105)
        self.weight = Field("weight", "Weight, kg", hint="mg/kg doses", width=105)
        self.level = Field("level", "Wanted PTA", "90%", width=105)
        self.subjects = Field("subjects", "Virtual patients of each draw (two levels)", "1")
        self._texts = (
            self.regimen,
            self.targets,
            self.mic,
            self.distributions,
            self.fu,
            self.weight,
            self.level,
            self.subjects,
        )
        self._places = (self.store, self.n)

    def _make_results(self) -> None:
        self.message = Message("pta-message")
        self.curve = Attainment("pta", height=330)
        self.isolates = Isolates(self.curve)
        self.course = Course(name="steady-state")
        self.course.figure.visible = False
        self.course_message = Message("course-message")
        self.summary = text_div(sizing_mode="stretch_width")
        self.table = text_div(sizing_mode="stretch_width")

    def root(self) -> LayoutDOM:
        """The layout of the tab."""
        draws = (self.kind, self.study, self.scenario, self.fit, self.store, self.n)
        wanted = row(self.fu.root, self.weight.root, self.level.root, spacing=0)
        form = column(
            text_div("<h2>Draws</h2>"), *(each.root for each in draws), self.about,
            text_div("<h2>Regimen</h2>"), self.regimen.root, self.dose, self.tau.root, self.tinf,
            text_div("<h2>Targets and MICs</h2>"), self.targets.root, self.mic.root, self.distributions.root, self.upload,
            wanted, self.subjects.root, width=_FORM,
        )  # fmt: skip
        results = column(
            self.message.root, self.summary, self.curve.figure, self.curve.legend, self.isolates.figure, self.table,
            text_div(_COURSE), self.course_message.root, self.course.figure, sizing_mode="stretch_width",
        )  # fmt: skip
        return beside(form, results)

    def look(self) -> None:
        """Take up fits that were made before this tab."""
        if self.fit.widget.options != [(each, each) for each in self.session.fits]:
            self._offer_fit(next(reversed(self.session.fits)))

    @contextmanager
    def _by_us(self) -> Iterator[None]:
        """What is changed inside is not the user's doing, and asks for nothing."""
        before, self._filling = self._filling, True
        try:
            yield
        finally:
            self._filling = before

    def _users(self, call: Callable[[], object]) -> Callable[[], None]:
        """A call for changes of the user's."""

        def changed() -> None:
            if not self._filling:
                with self._by_us():
                    call()

        return changed

    def _watch(self) -> None:
        users = self._users
        self.kind.on_change(users(self._choose_kind))
        self.study.on_change(users(lambda: self._choose_study(self.study.value)))
        for each in (self.scenario, self.fit, *self._places):
            each.on_change(users(self._load))
        for field in self._texts:
            field.on_change(users(self._ask if field is not self.regimen else self._take_regimen))
        moved = users(self._take_sliders)
        for slider in (self.dose, self.tinf):
            slider.on_change("value", lambda _attr, _old, _new: moved())
        self.tau.on_change(moved)
        when_uploaded(self.session.document, self.upload, users(self._take_file))

    # --- draws --------------------------------------------------------------------------------------------

    def _choose_kind(self) -> None:
        kind = self.kind.value
        for root, of in (
            (self.study.root, "study"),
            (self.scenario.root, "study"),
            (self.n.root, "study"),
            (self.fit.root, "fit"),
            (self.store.root, "store"),
        ):
            root.visible = kind == of
        self._load()

    def _choose_study(self, name: str) -> None:
        study = shipped()[name]
        self.study.value = name
        names = [each.name for each in study.scenarios]
        self.scenario.offer([(each, each) for each in names], names[len(names) // 2])
        self.regimen.text = str(study.regimens[0])
        self.targets.text = "\n".join(str(each) for each in study.targets[:MOST_TARGETS])
        self.mic.text = ", ".join(number_text(each) for each in study.mic)
        self.distributions.text = distribution_lines(study.distributions)
        self.fu.text = "" if study.fu is None else number_text(study.fu)
        self._move_sliders()
        self._choose_kind()

    def _offer_fit(self, name: str) -> None:
        with self._by_us():
            self.fit.offer([(each, each) for each in self.session.fits], name)
        if self.kind.value == "fit":
            self._load()

    def _load(self) -> None:
        for field in self._places:
            field.say(None)
        kind = self.kind.value
        if kind == "fit":
            found = self.session.fits.get(self.fit.value)
            if found is None:
                self._no_source("There is no fit in this window yet: make one in the tab Fit.")
            elif "Vmax" in found.fit.draws:
                self._no_source("PTA and CFR of a saturable model are not computed yet; its posterior is.")
            else:
                self._sources.ask(partial(of_fit, found.fit))
        elif kind == "store":
            self._sources.ask(partial(of_store, self.store.text))
        else:
            text = self.n.text.strip()
            try:
                n = whole("n", int(text) if text.isdecimal() else text, "the number of virtual patients")
            except InputError as error:
                self.n.say(str(error))
                return
            self._sources.ask(partial(of_study, self.study.value, self.scenario.value, n))

    def _take_source(self, source: Source) -> None:
        self.source = source
        self.about.text = f"<p class='soft'>{escaped(source.about)}</p>"
        self.subjects.root.visible = source.two_level
        if not source.two_level:
            with self._by_us():
                self.subjects.text = "1"
        self._ask()
        for call in self.on_source:
            call()

    def _no_source(self, message: str) -> None:
        self.source = None
        self.about.text = ""
        place = {"study": self.n, "store": self.store}.get(self.kind.value)
        if place is None:
            self._fail(message)
        else:
            place.say(message)

    # --- the question -------------------------------------------------------------------------------------

    def texts(self) -> QuestionText:
        """What stands in the form."""
        return QuestionText(
            self.regimen.text, self.targets.text, self.mic.text, self.distributions.text,
            self.fu.text, self.weight.text, self.subjects.text, self.level.text,
        )  # fmt: skip

    def complain(self, wrong: Complaints) -> None:
        """Say at each field what is wrong with it."""
        for field in self._texts:
            field.say(wrong.get(field.key))

    def question(self) -> Question | None:
        """What is asked, or None where anything is wrong, which is then said."""
        if self.source is None:
            return None
        question, wrong = self.texts().read(self.source)
        self.complain(wrong)
        return question

    def _ask(self) -> None:
        question = self.question()
        if question is not None:
            self._latest.ask(partial(answer, question), self.session.shop.slow if question.long else None)

    def _take_sliders(self) -> None:
        tau, tinf = float(self.tau.value), float(self.tinf.value)
        self.tinf.end = tau
        if tinf > tau:  # the slider's own range ends there; its moving says so
            self.tinf.value = tinf = tau
        infusion = " ci" if tinf == tau else f" inf {tinf:g}h" if tinf else ""
        self.regimen.text = f"{float(self.dose.value):g} mg q{tau:g}h{infusion}"
        self._ask()

    def _take_regimen(self) -> None:
        self._move_sliders()
        self._ask()

    def _move_sliders(self) -> None:
        regimen = simple_regimen(self.regimen.text)
        on = regimen is not None
        for each in (self.dose, self.tinf, self.tau.widget):
            each.disabled = not on
        if regimen is None or regimen.cycle is None:
            return
        event, tau = regimen.cycle.events[0], regimen.cycle.tau
        offered = sorted({*_TAUS, f"{tau:g}"}, key=float)
        self.tau.offer([(each, f"{each} h") for each in offered], f"{tau:g}")
        self.tinf.update(end=max(tau, event.tinf), value=event.tinf)
        self.dose.update(start=min(50.0, event.amount), end=max(6000.0, 2 * event.amount), value=event.amount)

    def _take_file(self) -> None:
        try:
            found = distributions_of_file(*content_of(self.upload))
        except TdmxError as error:
            self.distributions.say(str(error))
            return
        self.distributions.text = distribution_lines(found)
        self._ask()

    # --- the answer ---------------------------------------------------------------------------------------

    def _show(self, found: Answer) -> None:
        self.session.attained = found
        self.message.say("")
        question = found.question
        self.curve.show(question.mic, lines_of(found), wanted=question.level)
        if not self._latest.waiting:  # a slider that moves on wants the curve alone
            self._details.ask(partial(_detailed, found), self.session.shop.slow if question.long else None)

    def _show_details(self, details: _Details) -> None:
        question = details.found.question
        self.isolates.show(question.distributions)
        self.summary.text = (
            f"<h2>{escaped(question.regimens[0].label)}</h2>{present.notes(details.found.notes)}"
        )
        self.table.text = details.table
        course = details.course
        self.course_message.say(details.complaint)
        self.course.figure.visible = course is not None
        if course is not None:
            values = course["concentration"].transpose("quantile", ...).values.reshape(len(_QUANTILES), -1)
            bands = {f"q{round(100 * q)}": each for q, each in zip(_QUANTILES, values, strict=True)}
            self.course.show(course["time"].values, bands)

    def _fail(self, message: str) -> None:
        self.session.attained = None
        self.message.complain(message)


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
    table = present.attainment(found.pta, found.cfr, question.level)
    draws, regimen = question.source.draws, question.regimens[0]
    try:
        course = concentrations(draws, regimen, n_times=97, quantiles=_QUANTILES, weight=question.weight)
    except InputError as error:
        return _Details(found, table, None, str(error))
    return _Details(found, table, course)
