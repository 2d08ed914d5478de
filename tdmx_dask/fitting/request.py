"""A fit as it is asked for: the question, the engine, the settings; its digest is the address of its store."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.choice import Choice
from tdmx_dask.fitting.library import Library
from tdmx_dask.fitting.policy import Goal
from tdmx_dask.fitting.question import FitQuestion
from tdmx_dask.fitting.task import APPROXIMATIONS, Approximation, Sampling

__all__ = ["METHODS", "Request"]

METHODS = ("nuts", *APPROXIMATIONS)
_SCHEMA = "fit/1"


@dataclass(frozen=True)
class Request:
    """What one fit is.

    Parameters
    ----------
    question : program, data, what they stand for
    choice : engine and version
    library : where it is kept
    sampling, chains, max_chains, target_ess, auto_tune, max_attempts : as in `policy.Goal`
    method : nuts, or an approximation
    seed : 0 .. 2^64 - 1
    warm_start : whether an earlier fit may give the start
    reuse : whether an earlier answer to the same request is opened instead
    parallel : chains at once; None: what is free
    retries, priority : as in `Runner.submit`
    memory_mb : of a batch; None: estimated
    out : store to make instead of one in the library
    """

    question: FitQuestion
    choice: Choice
    library: Library
    sampling: Sampling = field(default_factory=Sampling)
    chains: int = 4
    max_chains: int = 8
    target_ess: float | None = None
    auto_tune: bool = False
    max_attempts: int = 3
    method: str = "nuts"
    seed: int = 0
    warm_start: bool = True
    reuse: bool = True
    parallel: int | None = None
    retries: int = 2
    priority: int = 0
    memory_mb: float | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                "method", self.method, f"it is one of {', '.join(METHODS)}", "Left out, it is nuts."
            )
        _ = self.goal  # checks itself

    @cached_property
    def goal(self) -> Goal:
        """For the policy of chains."""
        return Goal(
            chains=self.chains,
            max_chains=max(self.max_chains, self.chains) if self.target_ess is None else self.max_chains,
            sampling=self.sampling,
            target_ess=self.target_ess,
            auto_tune=self.auto_tune,
            max_attempts=self.max_attempts,
            can_reparameterise=self.auto_tune and self.question.reparameterised() is not None,
        )

    @property
    def approximate(self) -> Approximation | None:
        """The approximation, or None for NUTS."""
        return next((each for each in APPROXIMATIONS if each == self.method), None)

    @cached_property
    def stream(self) -> int:
        """The seed of its chains, 0 .. 2^64 - 1: of the seed and the question, so that fits of one seed are independent."""
        digest = hashlib.sha256(f"{self.seed}:{self.question.digest}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the draws depend on besides program and data, as a result records it."""
        settings: dict[str, Any] = {
            "method": self.method,
            "engine": self.choice.version,
            "seed": self.seed,
            "chains": self.chains,
            **asdict(self.sampling),
        }
        if self.approximate is None:
            settings["warm_start"] = self.warm_start
            settings["auto_tune"] = self.auto_tune
            if self.auto_tune:
                settings["max_attempts"] = self.max_attempts
            if self.target_ess is not None:
                settings |= {"target_ess": self.target_ess, "max_chains": self.max_chains}
        return settings

    @cached_property
    def address(self) -> str:
        """The digest of all that the store holds is made from."""
        question = self.question
        content = {
            "schema": _SCHEMA,
            "question": question.digest,
            "name": question.name,
            "model": question.model,
            "parameters": list(question.parameters),
            "carried": question.carried,
            "constant": hashlib.sha256(
                b"".join(name.encode() + array.tobytes() for name, array in sorted(question.constant.items()))
            ).hexdigest(),
            "settings": self.settings,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
