"""From what a user types to requests of fits, and to where they run."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.nouns import seed_number
from tdmx_dask.domain.units import real, whole
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.choice import choose_engine
from tdmx_dask.fitting.conductor import Conductor
from tdmx_dask.fitting.library import Library
from tdmx_dask.fitting.local import LocalRunner
from tdmx_dask.fitting.question import FitQuestion, ask, ask_program
from tdmx_dask.fitting.request import METHODS, Request
from tdmx_dask.fitting.runner import Runner
from tdmx_dask.fitting.task import Sampling

if TYPE_CHECKING:
    from tdmx_dask.fitting.future import FitFuture, Listener

__all__ = ["OF_ONE", "Asked", "path_of", "question_of", "submit"]

OF_ONE = ("model", "priors", "error", "program", "data", "name")
"""Options that say what one fit is of."""

_lock = threading.Lock()
_conductor: Conductor | None = None
_local: LocalRunner | None = None
_clusters: dict[int, tuple[Any, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Settings of fits as a user gives them, unchecked; see `fit_async`."""

    method: str = "nuts"
    engine: str = "auto"
    executable: str | PathLike[str] | None = None
    chains: int = 4
    parallel_chains: int | None = None
    iter_warmup: int = 1000
    iter_sampling: int = 1000
    adapt_delta: float = 0.8
    max_treedepth: int = 10
    target_ess: float | None = None
    max_chains: int = 8
    auto_tune: bool = False
    max_attempts: int = 3
    warm_start: bool = True
    reuse: bool = True
    seed: int | None = None
    retries: int = 2
    priority: int = 0
    memory_mb: float | None = None
    library: str | PathLike[str] | None = None

    def checked(self) -> Callable[[FitQuestion, Path | None], Request]:
        """Check all that is the same for every fit of a call; return what makes the request of one.

        Raises
        ------
        InputError
            A value is out of range.
        """
        if self.method not in METHODS:
            fix = "Left out, it is nuts."
            raise InputError("method", self.method, f"it is one of {', '.join(METHODS)}", fix)
        sampling = Sampling(self.iter_warmup, self.iter_sampling, self.adapt_delta, self.max_treedepth)
        parallel = self.parallel_chains
        if parallel is not None:
            parallel = whole(
                "parallel_chains", parallel, "chains at once", fix="Leave it out for what is free."
            )
        memory = self.memory_mb
        if memory is not None:
            memory = real("memory_mb", memory, "memory of a batch", unit="MB", gt=0)
        library = Library(_library() if self.library is None else path_of("library", self.library))
        fixed: dict[str, Any] = {
            "library": library,
            "sampling": sampling,
            "chains": whole("chains", self.chains, "chains", fix="Four are usual."),
            "max_chains": whole("max_chains", self.max_chains, "most chains", fix="Left out, it is 8."),
            "target_ess": self.target_ess,
            "auto_tune": _flag("auto_tune", self.auto_tune, False),
            "max_attempts": self.max_attempts,
            "method": self.method,
            "seed": _seed() if self.seed is None else seed_number(self.seed),
            "warm_start": _flag("warm_start", self.warm_start, True),
            "reuse": _flag("reuse", self.reuse, True),
            "parallel": parallel,
            "retries": whole("retries", self.retries, "times that it is tried again", ge=0),
            "priority": _priority(self.priority),
            "memory_mb": memory,
        }
        chosen: dict[str, Any] = {}

        def request(question: FitQuestion, out: Path | None) -> Request:
            digest = question.program.digest
            if digest not in chosen:
                chosen[digest] = choose_engine(
                    self.engine, question.program, self.executable, method=self.method
                )
            return Request(question, chosen[digest], out=out, **fixed)

        return request


def question_of(
    patient: object,
    *,
    model: str | None = None,
    priors: Any = None,
    error: Any = None,
    program: Any = None,
    data: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> FitQuestion:
    """The question of one fit; arguments as of `fit_async`.

    Raises
    ------
    InputError
        Neither a patient nor a program, or both; or as `question.ask` and `question.ask_program`.
    """
    if isinstance(patient, FitQuestion):
        return patient if name is None else replace(patient, name=name)
    if program is not None:
        strange = [
            key
            for key, value in (("patient", patient), ("model", model), ("priors", priors), ("error", error))
            if value is not None
        ]
        if strange:
            rule = "a program of your own brings its model and takes its data as they are"
            raise InputError(strange[0], "given", rule, "Give program= and data= alone.")
        return ask_program(program, {} if data is None else data, name=name)
    if patient is None:
        fix = "Give a Patient, a YAML file, or program= and data=."
        raise InputError("patient", None, "a fit is of a patient, or of a program with data", fix)
    if data is not None:
        raise InputError("data", "given", "data go with program=", "Leave them out, or give the program.")
    from tdmx_dask.domain.patient import as_patient

    found = ask(as_patient(patient), model=model, priors=priors, error=error)
    return found if name is None else replace(found, name=name)


def submit(requests: Sequence[Request], on: object, listeners: tuple[Listener, ...] = ()) -> list[FitFuture]:
    """Hand requests to the conductor of this process."""
    global _conductor
    runner, close = _runner_of(on)
    with _lock:
        if _conductor is None:
            _conductor = Conductor()
    futures = _conductor.submit(requests, runner, listeners)
    if close is not None:
        _after(futures, close)
    return futures


def _runner_of(on: object) -> tuple[Runner, Callable[[], None] | None]:
    """Where chains run, and what closes it once all are done, if it was started for them."""
    global _local
    if on is None:
        with _lock:
            if _local is None:
                _local = LocalRunner()
                atexit.register(_local.close)
            return _local, None
    from tdmx_dask.api.clusters import join
    from tdmx_dask.fitting.futures import ClusterRunner

    joined = join(on)
    client = joined.client
    _drop_closed()
    with _lock:
        if id(client) not in _clusters:
            _clusters[id(client)] = (client, ClusterRunner(client))
        runner = _clusters[id(client)][1]

    def close() -> None:
        joined.close()  # only what was started or joined for this call
        _drop_closed()

    return runner, (close if joined is not on else None)


def _drop_closed() -> None:
    """End the runners of clients that were closed."""
    with _lock:
        closed = [
            key for key, (client, _) in _clusters.items() if client.status not in ("running", "connecting")
        ]
        runners = [_clusters.pop(key)[1] for key in closed]
    for runner in runners:
        runner.close()


def _after(futures: Sequence[FitFuture], close: Callable[[], None]) -> None:
    """Call `close` when the last has ended."""
    left = len(futures)
    lock = threading.Lock()

    def ended(_: FitFuture) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            close()

    for future in futures:
        future.add_done_callback(ended)


def path_of(name: str, value: object) -> Path:
    """A path that a user gave.

    Raises
    ------
    InputError
        It is neither text nor a path.
    """
    if not isinstance(value, str | PathLike):
        raise InputError(name, value, "it is the path of a folder", "Give text or a Path.")
    return Path(value)


def _flag(name: str, value: object, usual: bool) -> bool:
    if not isinstance(value, bool):
        raise InputError(name, value, "it must be True or False", f"Left out, it is {usual}.")
    return value


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError("priority", value, "a whole number; higher runs first", "For example 10.")
    return value


def _library() -> str:
    from tdmx_dask.config import settings

    return settings().fits_library


def _seed() -> int:
    from tdmx_dask.config import settings

    return settings().seed
