"""The jobs of the soak, and how each must end: made from a seed, so that clients and driver know the same ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("quick", "large", "allocate", "wrong", "endless")
TIMEOUT = 0.3
RETRIES = 8
"""Of ordinary jobs: a job whose worker is killed at each of so many attempts in a row is not expected."""

LONG = 0.03
"""s; a job that takes less has mostly ended when an equal one is claimed."""

DISTANCE = 60
"""A job needs one that was planned so much earlier, so that it is in the queue by then."""


@dataclass(frozen=True)
class Planned:
    """A job, and how it must end.

    Parameters
    ----------
    kind, spec, options : as submitted; ``after`` holds numbers of the same share
    states : in one of which it must end
    result : where it succeeds
    error : pattern of its error, where it fails
    key : of its answer; equal jobs have the same
    """

    kind: str
    spec: dict[str, Any]
    options: dict[str, Any]
    states: tuple[str, ...]
    key: int
    result: Any = None
    error: str = ""
    after: tuple[int, ...] = field(default=())

    @property
    def succeeds(self) -> bool:
        return "completed" in self.states


def share(who: str, n: int, seed: int, log: str) -> list[Planned]:
    """The jobs of one client."""
    random_ = random.Random(f"{who} {seed}")  # noqa: S311
    kinds = _kinds(n, random_)
    jobs: list[Planned] = []
    for number, what in enumerate(kinds):
        key = (ord(who) - ord("a")) * 10**6 + number
        options = {"priority": random_.choice([0, 5, 5, 5, 10, 20]), "group": f"{who}{random_.randrange(3)}"}
        earlier = [i for i, job in enumerate(jobs[: max(0, number - DISTANCE)]) if job.succeeds]
        if what == "equal" and earlier:
            like = jobs[random_.choice(earlier + list(_last(jobs)))]
            jobs.append(Planned(like.kind, like.spec, options, _DONE, like.key, like.result))
        elif what == "twin" and (slow := _slow_before(jobs)) is not None:
            like = jobs[slow]  # in the same group and of the same priority: it is claimed while that one runs
            jobs.append(Planned(like.kind, like.spec, like.options, _DONE, like.key, like.result))
        elif what in ("needs", "fails with") and earlier:
            needs = tuple(sorted(random_.sample(earlier, min(2, len(earlier)))))
            if what == "fails with":
                failing = [i for i, job in enumerate(jobs) if job.kind == "wrong" and not job.after]
                needs = (*needs, failing[-1]) if failing else needs
            jobs.append(_needing(key, log, needs, options, fails=what == "fails with" and bool(failing)))
        else:
            jobs.append(_MAKE.get(what, _quick)(key, log, random_, options))
    return jobs


def _kinds(n: int, random_: random.Random) -> list[str]:
    shares = {
        "wrong": 0.05, "late": 0.02, "cancelled": 0.01, "large": 0.06, "allocate": 0.04, "batch": 0.03, "broken batch": 0.01,
        "equal": 0.06, "twin": 0.05, "needs": 0.1, "fails with": 0.01, "slow": 0.1,
    }  # fmt: skip
    kinds = [what for what, part in shares.items() for _ in range(math.ceil(part * n))]
    kinds += ["quick"] * (n - len(kinds))
    random_.shuffle(kinds)
    return kinds


_DONE = ("completed", "cached")


def _last(jobs: list[Planned]) -> list[int]:
    """Of the latest jobs those that succeed: an equal one may find them running."""
    return [i for i in range(max(0, len(jobs) - 5), len(jobs)) if jobs[i].succeeds]


def _slow_before(jobs: list[Planned]) -> int | None:
    """The latest job that runs for long enough to be met by an equal one."""
    slow = (i for i in reversed(range(len(jobs))) if jobs[i].spec.get("seconds", 0.0) >= LONG)
    return next(slow, None)


def _quick(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    spec = {"log": log, "key": key, "seconds": random_.choice([0.0, 0.0, 0.002, 0.005])}
    return Planned("quick", spec, options, _DONE, key, key * key + 1)


def _slow(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    spec = {"log": log, "key": key, "seconds": round(random_.uniform(LONG, 0.2), 3)}
    return Planned("quick", spec, options, _DONE, key, key * key + 1)


def _needing(key: int, log: str, needs: tuple[int, ...], options: dict[str, Any], *, fails: bool) -> Planned:
    spec = {"log": log, "key": key, "seconds": 0.001}
    if (
        fails
    ):  # where what it needs has failed already it cannot be asked for, and one that is wrong is in its place
        error = "which it needs, failed|is wrong"
        return Planned("quick", spec, options, ("failed",), key, error=error, after=needs)
    return Planned("quick", spec, options, _DONE, key, key * key + 1, after=needs)


def _large(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    n = random_.randrange(10_000, 40_000)
    found = np.array([i * key for i in range(n)], dtype=np.int64)
    return Planned("large", {"log": log, "key": key, "n": n}, options, _DONE, key, found)


def _allocate(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    mb = random_.choice([8, 24, 48])
    return Planned("allocate", {"log": log, "key": key, "mb": mb}, options, _DONE, key, mb * 125_000)


def _wrong(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    error = f"ValueError: {key} is wrong"
    return Planned("wrong", {"log": log, "key": key}, options, ("failed",), key, error=error)


def _late(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    spec = {"log": log, "key": key, "child": random_.random() < 0.5}
    more = {"timeout": TIMEOUT, "retries": random_.choice([0, 1, 2])}
    return Planned(
        "endless",
        spec,
        options | more,
        ("failed",),
        key,
        error=r"ran longer than|killed from outside|the worker died",
    )  # Dask gives up a task after four workers


def _cancelled(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    spec = {"log": log, "key": key, "child": random_.random() < 0.5}
    return Planned("endless", spec, options, ("cancelled",), key)


def _batch(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    items = [random_.randrange(1000) * 13 for _ in range(random_.randrange(5, 40))]
    return _over(key, log, items, options, [item * item for item in items], errors="raise")


def _broken_batch(key: int, log: str, random_: random.Random, options: dict[str, Any]) -> Planned:
    items = list(range(26))
    found = [{"error": f"ValueError: {i} is wrong"} if i in (12, 25) else i * i for i in items]
    return _over(key, log, items, options, found, errors="keep")


def _over(
    key: int, log: str, items: list[int], options: dict[str, Any], found: list[Any], *, errors: str
) -> Planned:
    spec = {
        "function": "tests.jobs.soak_work:square", "items": items, "arguments": {"log": log, "key": key}, "errors": errors,
    }  # fmt: skip
    return Planned("batch_processing", spec, options, _DONE, key, found)


_MAKE: dict[str, Callable[[int, str, random.Random, dict[str, Any]], Planned]] = {
    "wrong": _wrong, "late": _late, "cancelled": _cancelled, "large": _large, "allocate": _allocate, "slow": _slow,
    "batch": _batch, "broken batch": _broken_batch,
}  # fmt: skip
