"""The tab of PTA and CFR: sliders move the curve at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import LayoutDOM, Slider

from tdmx_dask.dashboard.look import SHEET, escaped, text_div
from tdmx_dask.dashboard.workbench.attainment_view import AttainmentView
from tdmx_dask.dashboard.workbench.field import Choice, Field
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.layout import beside
from tdmx_dask.dashboard.workbench.numbers import whole_of
from tdmx_dask.dashboard.workbench.question import (
    MOST_TARGETS,
    QuestionText,
    distribution_lines,
    distributions_of_file,
    simple_regimen,
)
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.dashboard.workbench.sources import Source, of_fit, of_store, of_study, shipped
from tdmx_dask.dashboard.workbench.upload import Upload
from tdmx_dask.domain.units import number_text, whole
from tdmx_dask.errors import InputError

__all__ = ["AttainmentTab"]

_FIRST = "meropenem_sepsis"
_TAUS = ("4", "6", "8", "12", "24")
_FORM = 330
_TARGETS = "fT>MIC >= 50%\nfAUC24/MIC >= 100 at ELF 0.3\nCmin 10..20"


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
        self.view = AttainmentView(session)
        document, shop = session.document, session.shop
        self._sources: Latest[Source] = Latest(document, shop.slow, self._take_source, self._no_source)
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
        self.dose = _slider("dose", "Dose, mg", start=50, end=6000, step=50, value=1000)
        self.tau = Choice("tau", "Every", [(each, f"{each} h") for each in _TAUS])
        self.tinf = _slider("tinf", "Infusion, h (0: bolus)", start=0, end=8, step=0.5, value=3)
        self.targets = Field("targets", "Targets, a line each", rows=3, hint=_TARGETS)
        self.mic = Field("mic", "MICs, mg/L", "0.25..32")
        self.distributions = Field("distributions", "MIC distributions, a line each", rows=3)
        self.upload = Upload(
            self.session, "mic", "or from a CSV, also EUCAST's", ".csv,.tsv,.txt", read=_lines_of_file,
            then=self._take_distributions, failed=self._no_file,
        )  # fmt: skip
        self.fu = Field("fu", "Fraction fu", hint="of the draws", width=105, name="pta-fu")
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

    def root(self) -> LayoutDOM:
        """The layout of the tab."""
        draws = (self.kind, self.study, self.scenario, self.fit, self.store, self.n)
        wanted = row(self.fu.root, self.weight.root, self.level.root, spacing=0)
        form = column(
            text_div("<h2>Draws</h2>"), *(each.root for each in draws), self.about,
            text_div("<h2>Regimen</h2>"), self.regimen.root, self.dose, self.tau.root, self.tinf,
            text_div("<h2>Targets and MICs</h2>"), self.targets.root, self.mic.root, self.distributions.root, self.upload.root,
            wanted, self.subjects.root, width=_FORM,
        )  # fmt: skip
        return beside(form, self.view.root())

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
        self.fu.text = ""  # that of the draws
        self._move_sliders()
        self._choose_kind()

    def _offer_fit(self, name: str) -> None:
        with self._by_us():
            self.fit.offer([(each, each) for each in self.session.fits], name)
        if self.kind.value == "fit":
            self._load()

    def _load(self) -> None:
        """Get the draws that are chosen now; until they are there, nothing is asked of the old ones."""
        for field in self._places:
            field.say(None)
        self._sources.drop()
        self.view.drop()
        self.source = None
        try:
            self._sources.ask(self._chosen())
        except InputError as error:
            self._no_source(str(error))

    def _chosen(self) -> Callable[[], Source]:
        kind = self.kind.value
        if kind == "store":
            return partial(of_store, self.store.text)
        if kind == "study":
            n = whole("n", whole_of("n", self.n.text, "the number of virtual patients"), "it")
            return partial(of_study, self.study.value, self.scenario.value, n)
        found = self.session.fits.get(self.fit.value)
        if found is None:
            raise InputError("fit", "none", "there is no fit in this window yet", "Make one in the tab Fit.")
        if "Vmax" in found.fit.draws:
            rule = "PTA and CFR of a saturable model are not computed yet; its posterior is"
            raise InputError("fit", self.fit.value, rule, "Choose another.")
        return partial(of_fit, found.fit)

    def _take_source(self, source: Source) -> None:
        self.source = source
        self.about.text = f"<p class='soft'>{escaped(source.about)}</p>"
        said = "fu" in source.draws or source.fu is not None
        of_draws = "of the draws" if source.fu is None else f"of the draws: {number_text(source.fu)}"
        self.fu.widget.placeholder = of_draws if said else "empty: 1"
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
            self.view.complain(message)
        else:
            self.view.blank()
            place.say(message)
        for call in self.on_source:
            call()

    # --- the question -------------------------------------------------------------------------------------

    def texts(self) -> QuestionText:
        """What stands in the form."""
        return QuestionText(
            self.regimen.text, self.targets.text, self.mic.text, self.distributions.text,
            self.fu.text, self.weight.text, self.subjects.text, self.level.text,
        )  # fmt: skip

    def _ask(self) -> None:
        """Ask what stands in the form, or say at each field what is wrong with it."""
        if self.source is None:
            return
        question, wrong = self.texts().read(self.source)
        for field in self._texts:
            field.say(wrong.get(field.key))
        if question is None:
            self.view.blank()
        else:
            self.view.ask(question)

    def _take_sliders(self) -> None:
        tau, tinf = float(self.tau.value), float(self.tinf.value)
        self.tinf.end = tau
        if tinf > tau:  # the slider's own range ends there; its moving says so
            self.tinf.value = tinf = tau
        infusion = " ci" if tinf == tau else f" inf {number_text(tinf)}h" if tinf else ""
        self.regimen.text = f"{number_text(float(self.dose.value))} mg q{number_text(tau)}h{infusion}"
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
        offered = sorted({*_TAUS, number_text(tau)}, key=float)
        self.tau.offer([(each, f"{each} h") for each in offered], number_text(tau))
        self.tinf.update(end=max(tau, event.tinf), value=event.tinf)
        self.dose.update(start=min(50.0, event.amount), end=max(6000.0, 2 * event.amount), value=event.amount)

    def _take_distributions(self, lines: str) -> None:
        with self._by_us():
            self.distributions.text = lines
        self._ask()

    def _no_file(self, message: str) -> None:
        self.view.blank()
        self.distributions.say(message)


def _lines_of_file(name: str, content: bytes) -> str:
    return distribution_lines(distributions_of_file(name, content))


def _slider(name: str, title: str, **options: Any) -> Slider:
    return Slider(
        title=title, html_id=f"slider-{name}", stylesheets=[SHEET], sizing_mode="stretch_width", **options
    )
