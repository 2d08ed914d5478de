"""How far one task is: at most two events a second, and the first and the last."""

from __future__ import annotations

import re
import time
from typing import Any

from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.so_far import SoFar
from tdmx_dask.fitting.task import ChainEvent, ChainTask

__all__ = ["Progress"]

_PAUSE = 0.5
_LINE = re.compile(r"Iteration:\s*(\d+) /.*\((Warmup|Sampling)\)")


class Progress:
    """Says how far a task is; it only watches, so nothing of a fit depends on it.

    Parameters
    ----------
    task : which
    emit : called with events

    Attributes
    ----------
    divergences : after warm-up, so far
    draws : so far, which an engine fills as it has them
    """

    def __init__(self, task: ChainTask, emit: Emit) -> None:
        self.task = task
        self.total = task.sampling.warmup + task.sampling.draws
        self.divergences = 0
        self.draws = SoFar()
        self._emit = emit
        self._began = self._said = time.perf_counter()
        self._sampling_began: float | None = None
        self._run_began = self._began
        self._step_size: float | None = None

    @property
    def seconds_warmup(self) -> float:
        """From the start of the sampler to its first draw, s."""
        return (self._sampling_began or self._run_began) - self._run_began

    @property
    def seconds_sampling(self) -> float:
        """From the first draw to now, s."""
        return time.perf_counter() - (self._sampling_began or self._run_began)

    def say(self, phase: Any, iteration: int = 0, step_size: float | None = None, text: str = "") -> None:
        """Emit an event now."""
        now = time.perf_counter()
        self._said = now
        if step_size is not None:
            self._step_size = step_size
        task = self.task
        self._emit(
            ChainEvent(
                task.fit,
                task.chain,
                task.round,
                task.attempt,
                phase,
                iteration,
                self.total,
                self.divergences,
                self._step_size,
                now - self._began,
                text,
                self.draws.take(last=phase == "done"),
            )
        )

    def pause(self, phase: Any, iteration: int, step_size: float | None = None) -> None:
        """Emit an event if the last one is half a second old; the final one of a task is `say`'s."""
        if step_size is not None:
            self._step_size = step_size
        if time.perf_counter() - self._said >= _PAUSE:
            self.say(phase, iteration)

    def console(self, done: int, warmup: int) -> _Console:
        """What stands for the sampler's console in a call after `done` draws, of which `warmup` iterations warm up."""
        if done == 0:
            self._run_began = time.perf_counter()
            self._sampling_began = None
        return _Console(self, self.task.sampling.warmup + done - warmup)

    def line(self, iteration: int, phase: Any) -> None:
        """Take note of one progress line."""
        if phase == "sampling" and self._sampling_began is None:
            self._sampling_began = time.perf_counter()
        self.pause(phase, iteration)


class _Console:
    """Reads CmdStan-shaped progress lines as they are printed."""

    def __init__(self, progress: Progress, before: int) -> None:
        self._progress = progress
        self._before = before

    def write(self, text: str) -> int:
        """Read a line."""
        if found := _LINE.search(text):
            self._progress.line(self._before + int(found[1]), found[2].lower())
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
