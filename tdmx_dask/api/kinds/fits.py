"""Jobs that fit: a patient or a Stan program, and a patient with the question which regimen to give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.fit_request import Asked, question_of, submit
from tdmx_dask.api.kinds.data import keep_value, named, naming, opened_value, stated
from tdmx_dask.api.nouns import seed_number
from tdmx_dask.domain.assessment import Assessment
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.patient import Patient, as_patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import PriorSet
from tdmx_dask.errors import InputError, JobLost, TdmxError
from tdmx_dask.fitting.engine import ChildKilled
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.memory import MemoryRecord
from tdmx_dask.fitting.needs import memory_mb
from tdmx_dask.fitting.program import Program, read_program
from tdmx_dask.fitting.question import FitQuestion
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.task import ChainEvent
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.value import Reference, encode

if TYPE_CHECKING:
    from tdmx_dask.fitting.future import FitFuture
    from tdmx_dask.jobs.kind import Known, Place

__all__ = ["OF_ONE", "SETTINGS", "FitAsked", "StanFit", "fitted", "patient_of"]

OF_ONE = ("patient", "model", "priors", "error", "program", "data", "name")
SETTINGS = tuple(key for key in Asked.__dataclass_fields__ if key not in ("retries", "priority"))
_ALIASES = {"stan_code": "program", "stan_data": "data"}
_COLUMNS, _PER_LEVEL = 20, 3  # of a program's output, as `fitting.needs` guesses them
_ENDING = 5.0  # s that a cancelled fit may take


class StanFit:
    """A fit as a job: its spec is the arguments of `tdmx.fit_async`, without on, progress, priority, retries and out.

    The result is a reference to the fit in its library. ``program`` may also be the text of a Stan program.
    """

    name = "stan_fit"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Ask for the fit now, short of running it; see `jobs.kind.Kind.check`."""
        given = named(spec, (*OF_ONE, *SETTINGS), _ALIASES)
        asked = FitAsked.of(given, None, known)
        return asked.checked(self.name, {})

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in processes of its own, which end with it."""
        fit = await fitted(work, place)
        return encode(Reference("fit", str(fit.path)))


# --- a fit as plain values ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FitAsked:
    """A fit that was asked for.

    Parameters
    ----------
    request : checked
    plain : JSON from which `_request` makes the same request
    title : for people
    """

    request: Request
    plain: dict[str, Any]
    title: str

    @classmethod
    def of(cls, given: dict[str, Any], assessment: Assessment | None, known: Known) -> FitAsked:
        """Check what a user gave, and see that its plain form asks for the same."""
        settings = _settings(given)
        with naming(*SETTINGS):
            make = Asked(**settings).checked()
        one = {key: given.get(key) for key in OF_ONE}
        if one["program"] is not None:
            with naming("program"):
                one["program"] = _program(one["program"], one["name"])
        elif one["patient"] is not None:
            one["patient"] = patient_of(given)
        with naming(*OF_ONE):
            question = question_of(one.pop("patient"), **one)
        with naming(*SETTINGS):
            request = make(question, None)
        settings |= {
            "engine": request.choice.name,
            "library": str(request.library.folder),
            "seed": request.seed,
        }
        if settings.get("executable") is not None:
            settings["executable"] = request.choice.executable
        plain = {
            **_plain_question(question, one, known),
            "settings": settings,
            "address": request.address,
        }
        if _request(plain).address != request.address:
            rule = "it cannot be written down exactly"
            raise InputError("spec.patient", question.name, rule, "Give it as a mapping or a file.")
        return cls(request, plain, _title(question, assessment))

    def checked(self, kind: str, rest: Mapping[str, Any]) -> Checked:
        """What the queue wants to know."""
        request, question = self.request, self.request.question
        sampling, levels = request.sampling, question.data.get("n_levels", 1)
        levels = max(1, levels) if isinstance(levels, int) else 1
        fit = {"fit": request.address, "library": self.plain["settings"]["library"]}
        needs = MemoryRecord(
            program=question.program.digest,
            engine=request.choice.name,
            data_bytes=len(question.json),
            chains=request.chains,  # one process may run all of them in turn
            draws=sampling.draws,
            columns=_COLUMNS + _PER_LEVEL * levels,
        )
        return Checked(
            spec={**self.plain, **rest},
            content=stated(rest, fit) if request.reuse else None,
            title=self.title,
            family=f"{kind} {question.model or question.program.name} {request.method}",
            size=float(request.chains * (sampling.warmup + sampling.draws) * levels),
            memory_mb=memory_mb(request, needs) if request.memory_mb is None else request.memory_mb,
        )


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were given, as Python's own numbers, and a seed in any case."""
    from tdmx_dask.config import settings

    found = {
        key: given[key].item() if hasattr(given[key], "item") else given[key]
        for key in SETTINGS
        if key in given
    }
    for key in ("library", "executable"):
        if key in found:
            with naming(key):
                found[key] = _path(key, found[key])
    with naming("seed"):
        found["seed"] = seed_number(found.get("seed", settings().seed))
    return found


def _path(key: str, given: object) -> str:
    from tdmx_dask.api.fit_request import path_of

    return str(path_of(key, given).resolve())


def patient_of(given: Mapping[str, Any]) -> Patient:
    """The patient of a spec."""
    if "patient" not in given:
        rule = "a fit is of a patient"
        raise InputError("spec.patient", None, rule, "Give a Patient, a mapping or a YAML file.")
    with naming("patient"):
        return as_patient(given["patient"])


def _program(given: object, name: object) -> Program:
    """A program: as it is, from its file or shipped name, or from its text."""
    if isinstance(given, Program):
        return given
    if isinstance(given, str) and "{" in given:
        return Program(str(name or "program"), given)
    return read_program(given)  # type: ignore[arg-type]


def _plain_question(question: FitQuestion, one: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """What a fit is of: a patient as its mapping and the very numbers that Stan gets, or a program with its data."""
    if question.patient is None:
        value = {"name": question.program.name, "code": question.program.code, "data": dict(question.data)}
        return {"patient": None, "program": keep_value(encode(value), known), "name": question.name}
    priors, error = one["priors"], one["error"]
    if isinstance(priors, Population | PriorSet):
        priors = priors.to_mapping()
    if isinstance(error, ErrorModel):
        error = error.to_mapping()
    with naming("patient"):
        mapping = json.dumps(question.patient.to_mapping(), ensure_ascii=False, allow_nan=False)
    return {
        "patient": mapping,  # text: the order of its keys counts
        "model": one["model"],
        "priors": None if priors is None else json.dumps(priors, ensure_ascii=False, allow_nan=False),
        "error": None if error is None else json.dumps(error, ensure_ascii=False, allow_nan=False),
        "name": question.name,
        "data": question.data,  # mappings of priors are exact but for the last bits
    }


def _request(spec: Mapping[str, Any]) -> Request:
    """The request of a checked spec; what was assumed was said at submit."""
    import warnings

    from tdmx_dask.errors import TdmxWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        if spec["patient"] is None:
            kept = opened_value(spec["program"])
            program = Program(kept["name"], kept["code"])
            question = question_of(None, program=program, data=kept["data"], name=spec["name"])
        else:
            texts = {key: None if spec[key] is None else json.loads(spec[key]) for key in ("priors", "error")}
            patient = Patient.from_mapping(json.loads(spec["patient"]))
            question = question_of(patient, model=spec["model"], name=spec["name"], **texts)
            question = replace(question, data=dict(spec["data"]))
    return Asked(**spec["settings"]).checked()(question, None)


def _title(question: FitQuestion, assessment: Assessment | None) -> str:
    what = f"{question.name}, {question.model or question.program.name}"
    if assessment is None:
        return what[:100]
    first = assessment.regimens[0].label
    more = f" and {len(assessment.regimens) - 1} more" if len(assessment.regimens) > 1 else ""
    return f"{what}, {first}{more}"[:100]


# --- running it -----------------------------------------------------------------------------------------------


async def fitted(work: Work, place: Place) -> Fit:
    """Run the fit of a job, off the event loop; a cancelled one is gone before this ends.

    Raises
    ------
    InputError
        Its engine is another one now.
    FitError
        The fit failed.
    JobLost
        Its processes were killed, again and again.
    """
    request = await asyncio.to_thread(_request, work.spec)
    if request.address != work.spec["address"]:
        rule = f"the engine is {request.choice.version} now, another than when the job was submitted"
        raise InputError("engine", request.choice.name, rule, "Submit the job again.")
    request = replace(request, priority=work.priority)
    if work.attempt > 1 and work.memory_mb is not None:  # at first each batch asks for what it needs itself
        request = replace(request, memory_mb=work.memory_mb)
    async with place.slot():
        heard = _listener(request, place, asyncio.get_running_loop())
        asking = asyncio.ensure_future(asyncio.to_thread(submit, [request], place.on, (heard,)))
        try:
            future = (await asyncio.shield(asking))[0]
        except asyncio.CancelledError:
            asking.add_done_callback(_cancel)
            raise
        try:
            return await future
        except asyncio.CancelledError:
            future.cancel()
            await asyncio.to_thread(wait, [future], _ENDING)
            raise
        except ChildKilled as error:  # more often than the fit itself puts up with
            raise JobLost(error.name, error.value, error.rule, error.fix) from error
        finally:
            _tell(place, future)


def _cancel(asking: asyncio.Future[list[FitFuture]]) -> None:
    """Cancel a fit that was asked for while the job was cancelled."""
    if not asking.cancelled() and asking.exception() is None:
        asking.result()[0].cancel()


def _tell(place: Place, future: FitFuture) -> None:
    """What a fit did, in the job's log."""
    if not future.done() or future.exception() is not None:
        return
    try:
        for line in future.result().log:
            place.tell(line)
    except TdmxError:  # its store is gone already
        return


def _listener(
    request: Request, place: Place, loop: asyncio.AbstractEventLoop
) -> Callable[[ChainEvent], None]:
    """Adds up how far the chains are, for the queue; it is called in the thread of callbacks."""
    reached: dict[int, tuple[int, int]] = {}
    least = request.sampling.warmup + request.sampling.draws

    def hear(event: ChainEvent) -> None:
        reached[event.chain] = (event.iteration, event.total)
        begun = [total for _, total in reached.values()]
        total = sum(begun) + least * max(0, request.chains - len(begun))
        done = sum(iteration for iteration, _ in reached.values())
        loop.call_soon_threadsafe(place.progress, done, max(total, done))

    return hear
