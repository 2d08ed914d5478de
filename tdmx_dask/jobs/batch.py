"""A function over many items, in chunks that get smaller towards the end, so that all workers finish together."""

from __future__ import annotations

import asyncio
import importlib
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from tdmx_dask.errors import InputError, JobLost
from tdmx_dask.jobs.function import import_path, plain, source_of
from tdmx_dask.jobs.kind import Known, Place
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.value import decode, encode
from tdmx_dask.version import __version__

__all__ = ["Batch", "apply", "chunk_of"]

_KEYS = ("function", "items", "arguments", "chunk_size", "errors")
CHUNK_SECONDS = 0.5
"""A chunk lasts about so long at most: an urgent job waits no longer for a worker, and no more is lost with one."""

LEAST_SECONDS = 0.05
"""A chunk lasts about so long at least, beside some milliseconds for sending it."""

_AGAIN = 3
"""Times that a chunk is sent again after its worker died."""


class Batch:
    """``{"function": …, "items": […], "arguments": {…}}``: a list of what ``function(item, **arguments)`` returns.

    ``chunk_size`` is chosen by the time that items take. With ``errors="keep"`` an item that raises has ``{"error": text}`` in its place.
    """

    name = "batch_processing"
    divisible = True

    def __init__(self) -> None:
        self._pace: dict[str, float] = {}

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Check a spec; see `kind.Kind.check`."""
        del known
        for key in spec:
            if key not in _KEYS:
                raise InputError(
                    f"spec.{key}", spec[key], "there is no such key", f"Known: {', '.join(_KEYS)}."
                )
        for key in ("function", "items"):
            if key not in spec:
                raise InputError(f"spec.{key}", "missing", "a batch is a function over items", "Give both.")
        path = import_path(spec["function"], name="spec.function")
        items = spec["items"]
        if isinstance(items, str | bytes | Mapping) or not hasattr(items, "__iter__"):
            raise InputError("spec.items", items, "items are a list", "Give a list of plain values.")
        items = plain(list(items), "spec.items")
        if not items:
            raise InputError("spec.items", "[]", "there is at least one item", "Give some.")
        arguments = plain(dict(spec.get("arguments") or {}), "spec.arguments")
        size, errors = spec.get("chunk_size"), spec.get("errors", "raise")
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InputError(
                "spec.chunk_size",
                size,
                "a chunk is a whole number of items, >= 1",
                "Leave it out to have it chosen.",
            )
        if errors not in ("raise", "keep"):
            raise InputError(
                "spec.errors", errors, "errors are to raise or to keep", "Leave it out to raise them."
            )
        whole = {
            "function": path,
            "items": items,
            "arguments": arguments,
            "chunk_size": size,
            "errors": errors,
        }
        content = {key: whole[key] for key in ("function", "items", "arguments", "errors")}
        content |= {"source": source_of(path), "tdmx": __version__}
        return Checked(whole, content, f"{path} over {len(items)} items", f"batch {path}", float(len(items)))

    async def run(self, work: Work, place: Place) -> bytes:
        """Run chunks on as many workers as there are; see `kind.Kind.run`."""
        run = _Run(work, place, self._pace)
        width = getattr(place, "width", place.slots)
        feeders = [asyncio.ensure_future(run.feed()) for _ in range(min(width, len(run.todo)))]
        try:
            await asyncio.gather(*feeders)
        finally:
            for feeder in feeders:
                feeder.cancel()
            await asyncio.gather(*feeders, return_exceptions=True)
        return encode(run.found)


class _Run:
    """One attempt at a batch."""

    def __init__(self, work: Work, place: Place, pace: dict[str, float]) -> None:
        self._spec, self._place, self._pace = work.spec, place, pace
        self.todo: deque[int] = deque(range(len(work.spec["items"])))
        self.found: list[Any] = [None] * len(self.todo)
        self._done, self._losses = 0, 0
        self._lost: list[list[int]] = []

    async def feed(self) -> None:
        """Take chunks until none is left."""
        spec = self._spec
        while self.todo or self._lost:
            chunk = self._lost.pop() if self._lost else self._next()
            arguments = {
                "function": spec["function"],
                "items": [spec["items"][i] for i in chunk],
                "arguments": spec["arguments"],
                "keep": spec["errors"] == "keep",
            }
            try:
                answer = await self._place.call("tdmx_dask.jobs.batch:apply", arguments, name="batch")
            except JobLost as error:
                self._losses += 1
                if self._losses > _AGAIN:
                    raise
                self._place.tell(f"{error} Its items run again")
                self._lost.append(chunk)
                continue
            values, seconds = decode(answer)
            for i, value in zip(chunk, values, strict=True):
                self.found[i] = value
            self._learn(seconds / len(chunk))
            self._done += len(chunk)
            self._place.progress(self._done, len(self.found))

    def _next(self) -> list[int]:
        size = self._spec["chunk_size"]
        if size is None:
            size = chunk_of(len(self.todo), self._place.slots, self._pace.get(self._spec["function"]))
        return [self.todo.popleft() for _ in range(min(size, len(self.todo)))]

    def _learn(self, seconds: float) -> None:
        path = self._spec["function"]
        before = self._pace.get(path, seconds)
        self._pace[path] = before + 0.3 * (seconds - before)


def chunk_of(left: int, slots: int, seconds: float | None) -> int:
    """Items of the next chunk: half of an equal share of what is left (Polychronopoulos & Kuck 1987, doi:10.1109/TC.1987.5009495).

    Parameters
    ----------
    left : items
    slots : that may take them
    seconds : that an item takes; None: not known yet
    """
    if seconds is None:
        return 1
    guided = math.ceil(left / (2 * slots))
    most = max(1, int(CHUNK_SECONDS / max(seconds, 1e-6)))
    least = math.ceil(LEAST_SECONDS / max(seconds, 1e-6))
    return max(1, min(left, most, max(guided, least)))


def apply(
    function: str, items: list[Any], arguments: Mapping[str, Any], keep: bool
) -> tuple[list[Any], float]:
    """Call a function with each item, in the process of the caller; return what it returned, and the seconds that it took."""
    module, _, rest = function.partition(":")
    call: Any = importlib.import_module(module)
    for part in rest.split("."):
        call = getattr(call, part)
    started = time.perf_counter()
    found = []
    for item in items:
        try:
            found.append(call(item, **arguments))
        except Exception as error:
            if not keep:
                raise
            found.append({"error": f"{type(error).__name__}: {error}"})
    return found, time.perf_counter() - started
