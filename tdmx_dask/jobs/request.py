"""What is asked of the queue, after it was checked: plain values that a file can hold and another process can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MAXIMUM_PRIORITY", "Checked", "Request", "Work"]

MAXIMUM_PRIORITY = 1000
"""A priority is a whole number, -1000 .. 1000; higher runs first, 5 is ordinary."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A spec after its kind has checked it.

    Parameters
    ----------
    spec : plain JSON (texts, finite numbers, booleans, null, lists, mappings with texts as keys); data in memory are replaced by
        references with digests
    content : plain JSON of all that the answer depends on: the spec with digests in the place of paths, engine and version; None where
        equal specs may have unequal answers (never cached)
    title : one short line for people, such as ``1000 mg q8h inf 3h, fT>MIC >= 50%``
    family : what costs alike, such as ``pta 2C`` or the import path of a function; estimates are learned for each
    size : work in units of its own, > 0, to which the cost is proportional within the family
    after : ids of jobs whose results it takes
    memory_mb : that a process of it may need, MB (10^6 bytes); None where nothing is known
    """

    spec: Mapping[str, Any]
    content: Mapping[str, Any] | None
    title: str
    family: str
    size: float = 1.0
    after: tuple[int, ...] = ()
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A job as it is added to the ledger.

    Parameters
    ----------
    kind : name of its kind
    checked : its spec
    digest : address of its answer in the cache, 64 hexadecimal digits; None: never cached
    priority : higher first
    group : whose fair share it counts to
    retries : attempts after the first, for what may pass
    timeout : seconds an attempt may run; None: any
    after : ids of jobs that must succeed first (those of the spec included)
    cost : estimated seconds of one worker, > 0
    """

    kind: str
    checked: Checked
    digest: str | None
    priority: int = 5
    group: str = "all"
    retries: int = 2
    timeout: float | None = None
    after: tuple[int, ...] = ()
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job, as its kind's `run` sees it.

    Parameters
    ----------
    id : of the job
    spec : as checked
    attempt : 1, 2, …
    inputs : id of a job that it takes -> that job's encoded result (`store.value`)
    memory_mb : that a process of it may need; grows after it ran out
    timeout : seconds that this attempt may run; None: any
    priority : of the job
    """

    id: int
    spec: Mapping[str, Any]
    attempt: int
    inputs: Mapping[int, bytes] = field(default_factory=dict)
    memory_mb: float | None = None
    timeout: float | None = None
    priority: int = 5
