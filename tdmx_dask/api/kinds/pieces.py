"""A large PTA in pieces: counts are integers, so they add up to the same bits wherever each was made."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis import execute
from tdmx_dask.analysis.tally import Tally, new_tally
from tdmx_dask.api.kinds.data import naming
from tdmx_dask.api.kinds.question import arguments_of, size_of
from tdmx_dask.api.question import Question, ask
from tdmx_dask.api.verbs import pta
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.store.value import decode

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.jobs.kind import Place

__all__ = ["PIECE_SECONDS", "count_piece", "in_pieces", "merge_pieces", "seconds_of"]

PIECE_SECONDS = 2.0
"""Of one core; less is not worth a process of its own."""

_MEASURED_FROM = 5e6  # profiles times cells: about half a second
_OF_RESULT = ("interval", "level", "breakpoint_level")


def seconds_of(question: Question) -> float:
    """Seconds that it takes one core, from a timed pass; 0 where it is little."""
    if size_of(question) < _MEASURED_FROM:
        return 0.0
    with naming("draws"):
        return float(f"{execute.measure(question.plan, question.inputs):.3g}")


async def in_pieces(spec: Mapping[str, Any], n_pieces: int, place: Place) -> bytes:
    """Count in some processes at once, then make the result in one.

    Parameters
    ----------
    spec : of `plain_question`, with ``seconds``
    n_pieces : at least 2
    place : of the job
    """
    done = 0

    async def count(piece: int) -> bytes:
        nonlocal done
        arguments = {"spec": dict(spec), "piece": piece, "n_pieces": n_pieces}
        part = await place.call(f"{__name__}:count_piece", arguments, name="pta")
        done += 1
        place.progress(done, n_pieces)
        return part

    calls = [asyncio.ensure_future(count(piece)) for piece in range(n_pieces)]
    try:
        parts = await asyncio.gather(*calls)
    except BaseException:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        raise
    arguments = {"spec": dict(spec), "parts": list(parts)}
    return await place.call(f"{__name__}:merge_pieces", arguments, name="pta")


def count_piece(spec: Mapping[str, Any], piece: int, n_pieces: int) -> NDArray[np.integer]:
    """Counts of every `n_pieces`-th block from `piece` on, zeros elsewhere."""
    question = _question(spec)
    tally = _tally(question, spec, n_pieces)
    tally.done[:] = True
    tally.done[piece::n_pieces] = False
    execute.run_direct("count", question.plan, question.inputs, tally, tally.add, lambda: None)
    return tally.n_attained


def merge_pieces(spec: Mapping[str, Any], parts: list[bytes]) -> xr.Dataset:
    """The result of all counts: that of a run which was saved when it had counted everything.

    Parameters
    ----------
    spec : as of `count_piece`
    parts : encoded results of it
    """
    question = _question(spec)
    tally = _tally(question, spec, len(parts))
    for part in parts:
        counts = decode(part)
        np.add(tally.n_attained, counts, out=tally.n_attained)
    tally.done[:] = True
    with tempfile.TemporaryDirectory(prefix="tdmx-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        saved = Path(folder) / "counts"
        tally.save(saved)
        return pta(**arguments_of(spec), run="direct", checkpoint=saved)


def _question(spec: Mapping[str, Any]) -> Question:
    arguments = {key: value for key, value in arguments_of(spec).items() if key not in _OF_RESULT}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return ask(**arguments, window=None)


def _tally(question: Question, spec: Mapping[str, Any], n_pieces: int) -> Tally:
    """Nothing counted; cut alike in every process."""
    return new_tally(question.plan, execute.cut(question.plan, spec["seconds"], n_pieces, None))
