"""What a batch will ask of one child: from the request, and from what earlier fits of the library used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from typing import Any

from tdmx_dask.fitting.memory import LATEST, MemoryRecord, estimate_memory
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.task import Batch

__all__ = ["memory_mb", "needs_of", "use_record"]

_COLUMNS = 20
"""Columns of a program of which none is known: a patient's parameters, predictions, likelihoods and replicates."""

_PER_LEVEL = 3
_FIELDS = {each.name for each in fields(MemoryRecord)}


def needs_of(request: Request, batch: Batch, columns: int | None) -> MemoryRecord:
    """The features by which memory is estimated; `columns` of the output where they are known."""
    tasks = batch.tasks
    if columns is None:
        known = [record["memory"][0] for record in _kin(request)[-LATEST:] if record.get("memory")]
        levels = request.question.data.get("n_levels", 0)
        guess = _COLUMNS + _PER_LEVEL * levels if isinstance(levels, int) else _COLUMNS
        columns = max([guess, *(int(each["columns"]) for each in known)])
    return MemoryRecord(
        program=request.question.program.digest,
        engine=request.choice.name,
        data_bytes=len(tasks[0].data),
        chains=len(tasks),
        draws=max(task.sampling.draws for task in tasks),
        columns=columns,
    )


def memory_mb(request: Request, needs: MemoryRecord) -> float:
    """Memory that a batch asks for, MB (10^6 bytes)."""
    known = [used for record in _kin(request)[-LATEST:] for used in record.get("memory", ())]
    return _estimated(needs, tuple(MemoryRecord(**used) for used in known if used.keys() == _FIELDS))


@lru_cache(maxsize=32)
def _estimated(needs: MemoryRecord, records: tuple[MemoryRecord, ...]) -> float:
    """Learned once for all fits of a cohort that are alike."""
    return estimate_memory(needs, records).mb


def use_record(used: Sequence[MemoryRecord]) -> list[dict[str, Any]]:
    """What a fit's batches used, as JSON."""
    return [asdict(each) for each in used]


def _kin(request: Request) -> list[dict[str, Any]]:
    """Records of the same program, the latest last."""
    return request.library.records(request.question.program.digest)
