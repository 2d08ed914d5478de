"""The tab of a patient: doses and levels in, an asynchronous fit with live chains, posterior and predictions out."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bokeh.layouts import column, row
from bokeh.models import LayoutDOM

from tdmx_dask.api.fit import fit_async
from tdmx_dask.api.individual import Individual, course_of, individual_of
from tdmx_dask.dashboard.courses import Course
from tdmx_dask.dashboard.look import escaped, text_div
from tdmx_dask.dashboard.workbench import present
from tdmx_dask.dashboard.workbench.field import Choice, Field, Message, button
from tdmx_dask.dashboard.workbench.latest import Latest, explain
from tdmx_dask.dashboard.workbench.layout import beside
from tdmx_dask.dashboard.workbench.numbers import number_of, whole_of
from tdmx_dask.dashboard.workbench.patient_text import Complaints, PatientText, patients_of_file
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.dashboard.workbench.upload import Upload
from tdmx_dask.domain.patient import Patient, read_patient
from tdmx_dask.domain.prior import FITTED, UNITS
from tdmx_dask.errors import FitCancelled, TdmxError
from tdmx_dask.fitting.future import FitFuture

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.fit import Fit

__all__ = ["FitTab"]

_EXAMPLE = "meropenem_tdm"
_LOOK_MS = 250
_FORM = 400
_SAMPLING = (
    ("chains", "Chains", "4"),
    ("iter_warmup", "Warm-up", "1000"),
    ("iter_sampling", "Draws", "1000"),
    ("target_ess", "Least ESS", ""),
    ("seed", "Seed", "1"),
)
_PRIOR = (
    "<h2>Prior</h2><p class='soft'>Typical values may be formulas over the covariates; variability is a CV such as 22.1%, or "
    "omega 0.22.</p>"
)
_SAMPLED = "<h2>Sampling</h2><p class='soft'>Iterations are those of one chain. With a least ESS, chains stop when they have it.</p>"
_EMPTY = "<p class='soft'>The fit's chains appear here, then the posterior and the levels against their prediction.</p>"
_ALL = ("CL", "Vc", "Q1", "Vp1", "Q2", "Vp2", "Vmax", "Km")


class FitTab:
    """A patient's form, a fit, and what it found.

    Parameters
    ----------
    session : of the window
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._future: FitFuture | None = None
        self._unwanted = False
        self._patient: Patient | None = None
        self._uploaded: tuple[Patient, ...] = ()
        self._looking: Any = None
        self._unseen = (
            PatientText()
        )  # what no field shows: the prior's source, or a whole prior, and what a record left open
        self._make_fields()
        self._make_results()
        document, shop = session.document, session.shop
        self._starts: Latest[FitFuture] = Latest(
            document, shop.slow, self._started, self._refused, FitFuture.cancel
        )
        self._ends: Latest[_Found] = Latest(document, shop.slow, self._show, self.message.complain)
        document.on_session_destroyed(self._window_closed)
        self.fill(read_patient(_EXAMPLE))

    # --- the form -----------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        title = "A patient from a file: YAML, or a CSV with NONMEM's columns"
        self.upload = Upload(
            self.session, "patient", title, ".csv,.yaml,.yml", read=patients_of_file, then=self._take_patients,
            failed=lambda message: self.message.complain(message),
        )  # fmt: skip
        self.whose = Choice("whose", "Patient of the file", [])
        self.id = Field("id", "Patient (a study number, not a name)")
        self.model = Choice("model", "Model", [(name, _MODELS[name]) for name in FITTED])
        self.typical = {name: Field(f"typical.{name}", f"{name}, {UNITS[name]}", width=225) for name in _ALL}
        self.spread = {
            name: Field(f"spread.{name}", "variability", hint="0: known", width=140) for name in _ALL
        }
        self._rows = {name: row(self.typical[name].root, self.spread[name].root, spacing=4) for name in _ALL}
        self.units = Field(
            "units", "Covariates of the formulas and their units", hint="CCr mL/min/1.73m2", rows=2
        )
        self.correlations = Field("correlations", "Correlations, such as CL, Vc: 0.4", rows=1)
        self.covariates = Field("covariates", "Covariates, a line each", rows=2, hint="CCr 75 mL/min/1.73m2")
        self.regimen = Field("regimen", "Doses given", hint="1000 mg q8h inf 30min x6")
        self.levels = Field(
            "levels", "Levels: time (h) and total concentration (mg/L)", rows=4, hint="41 12.3\n47.5 <0.5"
        )
        self.error = Field("error", "Residual error", hint="proportional 15%")
        self.fu = Field("fu", "Unbound fraction", hint="empty: 1 is assumed, where it matters")
        self.sampling = {key: Field(key, title, value, width=74) for key, title, value in _SAMPLING}
        self.start = button("fit", "Fit", self.fit, primary=True)
        self.cancel = button("cancel", "Cancel", self.stop, disabled=True)
        self.example = button("example", "Fill in the example", lambda: self.fill(read_patient(_EXAMPLE)))
        self.kept_note = Message("kept-prior")

    def _make_results(self) -> None:
        self.message = Message("fit-message")
        self.chains = text_div(sizing_mode="stretch_width")
        self.course = Course(name="levels", height=300)
        self.course.figure.visible = False
        self.tables = text_div(sizing_mode="stretch_width")

    def root(self) -> LayoutDOM:
        """The layout of the tab."""
        sampling = row(*(field.root for field in self.sampling.values()), spacing=4)
        form = column(
            text_div("<h2>Patient</h2>"), self.example, self.upload.root, self.whose.root, self.id.root, self.covariates.root,
            self.regimen.root, self.levels.root, text_div(_PRIOR), self.kept_note.root, self.model.root, *self._rows.values(),
            self.units.root, self.correlations.root, self.error.root, self.fu.root, text_div(_SAMPLED), sampling, width=_FORM,
        )  # fmt: skip
        buttons = row(self.start, self.cancel, spacing=8)
        shown = (buttons, self.message.root, self.chains, self.course.figure, self.tables)
        results = column(*shown, sizing_mode="stretch_width")
        self.model.on_change(self._choose_model)
        self.whose.on_change(self._choose_patient)
        self.whose.root.visible = False
        self.chains.text = _EMPTY
        return beside(form, results, least=1000)

    def look(self) -> None:
        """Nothing of other tabs is shown here."""

    def fill(self, patient: Patient) -> None:
        """Write a patient into the form."""
        texts = PatientText.of(patient)
        self._unseen = texts
        kept = "This prior has derived covariates or named thetas: it is used as the file has it."
        kept = kept if texts.kept is not None else ""
        self.kept_note.say(kept)
        self.id.text, self.regimen.text, self.levels.text = texts.id, texts.regimen, texts.levels
        self.covariates.text, self.error.text, self.fu.text = texts.covariates, texts.error, texts.fu
        self.units.text, self.correlations.text = texts.units, texts.correlations
        for name in _ALL:
            self.typical[name].text = texts.typical.get(name, "")
            self.spread[name].text = texts.spread.get(name, "")
            for field in (self.typical[name], self.spread[name]):
                field.widget.disabled = texts.kept is not None
        self.model.value = texts.model
        self._choose_model()
        self._complain(Complaints())

    def texts(self) -> PatientText:
        """What stands in the form."""
        names = FITTED[self.model.value]  # type: ignore[index]
        typical, spread = (
            {name: field[name].text for name in names} for field in (self.typical, self.spread)
        )
        return replace(
            self._unseen, id=self.id.text, model=self.model.value, typical=typical, spread=spread, units=self.units.text,
            correlations=self.correlations.text, covariates=self.covariates.text, regimen=self.regimen.text, levels=self.levels.text,
            error=self.error.text, fu=self.fu.text,
        )  # fmt: skip

    def _choose_model(self) -> None:
        names = FITTED[self.model.value]  # type: ignore[index]
        for name, each in self._rows.items():
            each.visible = name in names

    def _take_patients(self, patients: tuple[Patient, ...]) -> None:
        self._uploaded = patients
        self.message.say("")
        self.whose.root.visible = len(patients) > 1
        self.whose.offer([(each.id, each.id) for each in patients], patients[0].id)
        self._choose_patient()

    def _choose_patient(self) -> None:
        for each in self._uploaded:
            if each.id == self.whose.value:
                # A cohort's table holds no prior: that of the form stays.
                self.fill(each) if each.priors is not None else self._fill_record(each)

    def _fill_record(self, patient: Patient) -> None:
        texts = PatientText.of(patient)
        self._unseen = replace(self._unseen, varying=texts.varying, run_in=texts.run_in)
        self.id.text, self.regimen.text, self.levels.text = texts.id, texts.regimen, texts.levels
        self.covariates.text = texts.covariates

    def _fields(self) -> dict[str, Field]:
        named = (
            self.id,
            self.units,
            self.correlations,
            self.covariates,
            self.regimen,
            self.levels,
            self.error,
            self.fu,
        )
        return {
            each.key: each
            for each in (*named, *self.typical.values(), *self.spread.values(), *self.sampling.values())
        }

    def _complain(self, wrong: Complaints) -> None:
        fields = self._fields()
        for key, field in fields.items():
            field.say(wrong.get(key))
        others = [text for key, text in wrong.items() if key not in fields]
        self.message.say(" ".join(others) or ("Some fields need a look." if wrong else ""), "bad")

    # --- the fit ------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Fit what stands in the form."""
        patient, wrong = self.texts().read()
        options = {
            key: wrong.reading(key, partial(_figure, key, field.text)) for key, field in self.sampling.items()
        }
        self._complain(wrong)
        if patient is None or wrong:
            return
        self._patient = patient
        self._unwanted = False
        self._ends.drop()
        self._blank()
        self.start.disabled, self.cancel.disabled = True, False
        self.chains.text = present.chains((), "starting")
        shop = self.session.shop
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        self._starts.ask(partial(fit_async, patient, library=shop.library, on=shop.on, **given))

    def _blank(self) -> None:
        """Show no result: that of an earlier fit is not of what is fitted now."""
        self.course.figure.visible = False
        self.tables.text = ""

    def stop(self) -> None:
        """Cancel the fit, also one that is only about to start."""
        self._unwanted = True
        if self._future is not None:
            self._future.cancel()

    def _started(self, future: FitFuture) -> None:
        self._future = future
        if self._unwanted:
            future.cancel()
        self._looking = self.session.document.add_periodic_callback(self._look, _LOOK_MS)

    def _look(self) -> None:
        future = self._future
        if future is None:
            return
        waits = (
            ": other fits of this server, or of its cluster, go first" if future.status == "queued" else ""
        )
        shown = present.chains(future.progress(), f"{future.name}: {future.status}{waits}")
        if self.chains.text != shown:
            self.chains.text = shown
        if not future.done():
            return
        self._rest()
        try:
            found = future.result()
        except (FitCancelled, CancelledError):
            self.message.say("The fit was cancelled; nothing of it runs any more.")
        except TdmxError as error:
            self.message.complain(error)
        except Exception as error:  # whatever an engine does, the page says it and goes on
            self.message.say(explain(error), "bad")
        else:
            if self._patient is not None:
                self._ends.ask(partial(_described, self._patient, found))

    def _rest(self) -> None:
        if self._looking is not None:
            self.session.document.remove_periodic_callback(self._looking)
            self._looking = None
        self._future = None
        self.start.disabled, self.cancel.disabled = False, True

    def _refused(self, message: str) -> None:
        self._rest()
        field = next((field for key, field in self._fields().items() if message.startswith(f"{key}=")), None)
        if field is None:
            self.message.complain(message)
        else:
            field.say(message)
        self.chains.text = ""

    def _show(self, found: _Found) -> None:
        self.message.say("")
        course = found.course
        self.course.figure.visible = course is not None
        if course is not None:
            levels = zip(
                *(course[name].values.tolist() for name in ("level_time", "level", "below")), strict=True
            )
            bands = {name: course[name].values for name in ("q5", "q50", "q95")}
            self.course.show(
                course["time"].values, bands, [(at, each, bool(below)) for at, each, below in levels]
            )
        self.tables.text = found.tables
        self.session.add_fit(found.individual)

    def _window_closed(self, _context: Any) -> None:
        # Nobody is left to cancel it or to see it end.
        self.stop()


@dataclass(frozen=True, slots=True)
class _Found:
    """What is shown of a fit."""

    individual: Individual
    course: xr.Dataset | None
    tables: str


def _described(patient: Patient, fit: Fit) -> _Found:
    """What a fit found; some tens of milliseconds, more for many draws."""
    individual = individual_of(patient, fit)
    sizes = fit.draws.sizes
    drawn = f"{sizes['chain']} chains of {sizes['draw']:,} draws, seed {fit.attrs.get('seed')}"
    made = f"{fit.engine}, {drawn}, {fit.seconds:.2g} s; kept in the library as {fit.path.name[:12]}…"
    parts = (
        f"<h2>{escaped(fit.name)}</h2>", present.problems(individual), "<h2>Posterior</h2>", present.posterior(individual),
        "<h2>Levels against their prediction</h2>", present.levels(individual), f"<p class='soft'>{escaped(made)}</p>",
    )  # fmt: skip
    return _Found(individual, course_of(individual), "".join(parts))


def _figure(name: str, text: str) -> float | int | None:
    if not text.strip() and name in ("target_ess", "seed"):
        return None
    return number_of(name, text, "it") if name == "target_ess" else whole_of(name, text, "it")


_MODELS = {
    "1C": "one compartment", "2C": "two compartments", "3C": "three compartments", "michaelis_menten": "Michaelis–Menten elimination",
    "parallel": "linear and Michaelis–Menten elimination",
}  # fmt: skip
