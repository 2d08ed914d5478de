"""A queue and a place of one process: calls run here, but through the same bytes as everywhere."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tdmx_dask.errors import InputError
from tdmx_dask.jobs.kind import Kind
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.value import address, decode, encode


class HereKnown:
    """A queue whose folder is `data`, and which knows some jobs: id -> (kind, digest)."""

    def __init__(self, data: Path, jobs: Mapping[int, tuple[str, str | None]] | None = None) -> None:
        self.data, self._jobs = data, dict(jobs or {})

    def digest_of(self, job: int) -> str | None:
        return self._found(job)[1]

    def kind_of(self, job: int) -> str:
        return self._found(job)[0]

    def _found(self, job: int) -> tuple[str, str | None]:
        if job not in self._jobs:
            raise InputError("job", job, "there is no such job", "See the list.")
        return self._jobs[job]


class HerePlace:
    """Runs calls in this process, through `encode` and `decode`."""

    on: Any = None

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.calls: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.held = self.most_held = 0

    async def call(self, function: str, arguments: Mapping[str, Any], *, name: str = "") -> bytes:
        self.calls.append((function, name))
        module, _, of = function.partition(":")
        run = getattr(importlib.import_module(module), of)
        given = decode(encode(dict(arguments)))
        await asyncio.sleep(0)
        return encode(run(**given))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        try:
            yield
        finally:
            self.held -= 1

    def tell(self, text: str) -> None:
        self.said.append(text)

    def progress(self, done: int, total: int) -> None:
        self.steps.append((done, total))


def stored(checked: Checked) -> Checked:
    """What is left of a checked spec after it was on a disk: keys in the order of the alphabet."""
    import dataclasses
    import json

    spec = json.loads(json.dumps(checked.spec, sort_keys=True, allow_nan=False))
    address(checked.content)
    return dataclasses.replace(checked, spec=spec)


def answer(
    kind: Kind, spec: Mapping[str, Any], known: HereKnown, place: HerePlace | None = None, **work: Any
) -> Any:
    """Submit, run, and read the result."""
    checked = stored(kind.check(spec, known))
    place = HerePlace() if place is None else place
    return decode(asyncio.run(kind.run(Work(1, checked.spec, 1, **work), place)))
