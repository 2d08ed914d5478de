"""From a run that has ended to a fit in its library: stores written together, records, futures resolved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdmx_dask.errors import FitError, InputError, StoreError, TdmxError
from tdmx_dask.fitting.fit import Fit, encode
from tdmx_dask.fitting.needs import use_record
from tdmx_dask.fitting.policy import problems
from tdmx_dask.fitting.posterior import groups_of
from tdmx_dask.fitting.run import Run
from tdmx_dask.fitting.warm_start import start_record
from tdmx_dask.store.container import extract
from tdmx_dask.store.publish import staging
from tdmx_dask.version import __version__

__all__ = ["copied", "publish"]

KHAT = 0.7
"""Largest k-hat of an approximation that can be trusted (Vehtari et al. 2024, JMLR 25:72)."""

_TRIALS = 3


def publish(runs: Sequence[Run]) -> list[Fit | BaseException]:
    """Write the stores of fits whose chains are done, and their records.

    Parameters
    ----------
    runs : without error

    Returns
    -------
    for each its fit, or why there is none; one that fails hinders no other
    """
    from tdmx_dask.store.bulk import write_many

    outcomes: dict[int, Fit | BaseException] = {}
    waiting: list[tuple[int, Any]] = []
    for at, run in enumerate(runs):
        try:
            waiting.append((at, _groups(run)))
        except Exception as error:
            outcomes[at] = error
    for trial in range(_TRIALS):
        places = [
            runs[at].request.out or runs[at].request.library.place(runs[at].request.address)
            for at, _ in waiting
        ]
        written = write_many([(groups, place) for (_, groups), place in zip(waiting, places, strict=True)])
        again = []
        for (at, groups), place, outcome in zip(waiting, places, written, strict=True):
            if isinstance(outcome, str):
                outcomes[at] = _recorded(runs[at], place)
            elif _was_taken(outcome, runs[at]) and trial < _TRIALS - 1:  # by another process, meanwhile
                again.append((at, groups))
            else:
                outcomes[at] = _unpublished(runs[at], outcome)
        waiting = again
        if not waiting:
            break
    return [outcomes[at] for at in range(len(runs))]


def copied(fit: Fit, out: Path) -> Fit:
    """A fit of the library as a store of its own."""
    if fit.path == out:
        return fit
    with staging(out) as partial:
        extract(fit.path, partial)
    return Fit(out)


def _was_taken(error: TdmxError, run: Run) -> bool:
    return isinstance(error, InputError) and error.name == "path" and run.request.out is None


def _unpublished(run: Run, error: TdmxError) -> BaseException:
    """A store that cannot be written is a StoreError; draws that no store takes are the fit's fault."""
    if isinstance(error, StoreError) or error.name == "path":
        return error
    return FitError(
        "fit",
        run.request.question.name,
        f"its draws cannot be stored: {error.name}={error.value}: {error.rule}",
        "Look at the program and its data.",
    )


def _groups(run: Run) -> Any:
    kept = run.kept()
    attrs = _attrs(run)
    groups, notes = groups_of(run.question, kept, {})
    attrs["log"] += notes
    attrs["chains"], attrs["draws"] = kept.draws.shape[:2]
    attrs["seconds"] = time.perf_counter() - run.began
    groups["posterior"] = groups["posterior"].assign_attrs(encode(attrs))
    if run.request.approximate is not None:
        _add_density(groups, run)
    return groups


def _add_density(groups: Any, run: Run) -> None:
    """The log density of an approximation at its draws, by which they can be weighed."""
    log_q = run.chains[0][0].info.get("log_q")
    if log_q is not None and "sample_stats" in groups:
        values = np.asarray(log_q, dtype=np.float64)[None]
        if np.isfinite(values).all():
            groups["sample_stats"] = groups["sample_stats"].assign(log_q=(("chain", "draw"), values))


def _attrs(run: Run) -> dict[str, Any]:
    """Where a fit came from."""
    request, question = run.request, run.question
    found = (
        _doubts(run)
        if request.approximate is not None
        else problems(request.goal, run.evidence)
        if run.evidence
        else ()
    )
    return {
        "sampling": "mcmc" if request.approximate is None else "independent",
        "source": f"fit of {request.question.name}",
        "request": request.address,
        "name": request.question.name,
        "model": question.model,
        "program": question.program.name,
        "program_digest": question.program.digest,
        "data_digest": question.digest,
        "parameters": list(question.parameters),
        "engine": run.chains[0][0].engine,
        "method": request.method,
        "approximate": int(request.approximate is not None),
        "seed": str(request.seed),
        "settings": request.settings,
        "adapt_delta": run.adapt_delta,
        "reparameterised": int(question is not request.question),
        "warm_start": _warm(run),
        "rounds": len(run.ends),
        "steps": max(run.steps, 1),
        "stopped": run.stop.reason if run.stop is not None else "",
        "healthy": int(not found),
        "problems": list(found),
        "notes": list(question.notes),
        "log": list(run.log),
        "seconds_warmup": run.seconds_warmup,
        "seconds_sampling": run.seconds_sampling,
        "peak_mb": run.peak_mb,
        "tdmx_version": __version__,
        **({"khat": float(khat)} if (khat := run.chains[0][0].info.get("khat")) is not None else {}),
    }


def _warm(run: Run) -> dict[str, Any]:
    """Which start was used, whether it stood, and what it saved; empty for a cold start."""
    if run.warm_source is None:
        return {}
    first = [rounds[0] for rounds in run.chains]
    seconds = float(np.mean([each.seconds_warmup for each in first]))
    return {**run.warm_source.describe(), "kept": run.warm is not None, "warmup_seconds": seconds}


def _doubts(run: Run) -> tuple[str, ...]:
    """What speaks against an approximation."""
    khat = run.chains[0][0].info.get("khat")
    if run.request.method == "mode":
        return ("the posterior mode is one point: it has no spread, and is no draw of the posterior",)
    if khat is None:
        return (f"{run.request.method} is an approximation, and nothing says how good it is",)
    if not khat <= KHAT:
        return (
            f"Pareto k-hat {khat:.2f} is above {KHAT:g}: do not trust this approximation. Use method='nuts'",
        )
    return ()


def _recorded(run: Run, store: Path) -> Fit | BaseException:
    """Leave a record for later fits; the fit."""
    request = run.request
    record: dict[str, Any] = {"created": time.time(), "memory": use_record(run.used), "healthy": False}
    if request.approximate is None:
        firsts, lasts = [each[0] for each in run.chains], [each[-1] for each in run.chains]
        record |= start_record(run.question, request.sampling, firsts, lasts)
        record["healthy"] = run.stop is not None and run.stop.healthy
    request.library.write_record(request.address, run.question.program.digest, record, store)
    try:
        return Fit(store)
    except TdmxError as error:
        return error
