"""Fits and their chains, from the events of workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tdmx_dask.clusters.cancellation import PREFIX
from tdmx_dask.clusters.progress import PHASES
from tdmx_dask.dashboard.page.told import whole
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.pace import Pace
from tdmx_dask.fitting.task import ANEW, overtaken
from tdmx_dask.kernels.running import Summary, combined, unpacked

__all__ = ["FIT", "Batch", "Chain", "Figures", "Fit", "hear_fit"]

FIT = f"{PREFIX}:"
"""With which the topics of fits begin."""

CHAINS, BATCHES, NAME = 1_000, 1_000, 120

ALIKE = 20
"""Fits of one name that are told apart at once."""

LONGEST = 10_000
"""Characters of a summary."""

SHARE = 0.02
"""Part of the time that the figures of a fit may take."""

SILENT = 15.0
"""s after which a fit of which no task is known counts as ended."""


@dataclass(frozen=True, slots=True)
class Figures:
    """R-hat and ESS so far.

    Parameters
    ----------
    rhat : the largest of the parameters, infinite where chains are stuck or not finite; None where nothing is known yet
    ess : the smallest
    bounded : whether it is but an upper bound
    """

    rhat: float | None = None
    ess: float | None = None
    bounded: bool = False


@dataclass(slots=True)
class Batch:
    """A task that runs some chains of a fit.

    Attributes
    ----------
    key : of the task
    where : address of the worker where it was seen to run
    lost : whether it has left that worker, and has not said since that it runs again
    """

    key: str
    where: str = ""
    lost: bool = False


@dataclass(slots=True)
class Chain:
    """What a chain said last: fields of `fitting.task.ChainEvent`; the ticket of the batch in which it runs, and how fast it goes."""

    round: int = 0
    attempt: int = 0
    phase: str = "starting"
    iteration: int = 0
    total: int = 0
    divergences: int = 0
    step_size: float | None = None
    seconds: float = 0.0
    text: str = ""
    ticket: str = ""
    pace: Pace = field(default_factory=Pace)

    @property
    def seconds_left(self) -> float | None:
        """From how fast it went of late; None while nothing can be said."""
        return self.pace.left(self.total, at=self.seconds) if self.phase in ("warmup", "sampling") else None


@dataclass(slots=True)
class Fit:
    """A fit.

    Attributes
    ----------
    name : of the fit
    began, heard, ended : s since 1970; not ended while any of its batches runs
    batches : by ticket
    chains : by number
    asked : chains that it has in all, as far as is known
    done : iterations of all chains
    """

    name: str
    began: float
    heard: float
    ended: float | None = None
    batches: dict[str, Batch] = field(default_factory=dict)
    chains: dict[int, Chain] = field(default_factory=dict)
    asked: int = 0
    done: int = 0
    _pace: Pace = field(default_factory=Pace)
    _summaries: dict[tuple[int, int], str | Summary] = field(default_factory=dict)
    _figures: Figures = field(default_factory=Figures)
    _stale: bool = False
    _next: float = 0.0

    @property
    def phase(self) -> str:
        """Of its slowest chain."""
        return min((chain.phase for chain in self.chains.values()), key=PHASES.index, default="starting")

    @property
    def total(self) -> int:
        """Iterations that there will be: chains that have not begun are as long as the longest of those that have."""
        totals = [chain.total for chain in self.chains.values()]
        return sum(totals) + max(0, self.asked - len(totals)) * max(totals, default=0)

    def left(self, now: float) -> float | None:
        """Seconds until all of its chains are done, from how fast it went of late; None while nothing can be said."""
        together = self._pace.left(self.total, at=now)
        if together is None:
            return None
        return max(together, *(chain.seconds_left or 0.0 for chain in self.chains.values()))

    def figures(self) -> Figures:
        """R-hat and ESS so far, worked out when asked for, in a small part of the time.

        Draws of all rounds are the fit's: a chain that was lengthened comes in parts.
        """
        if self._stale and (self.ended is not None or time.monotonic() >= self._next):
            began = time.thread_time()
            self._stale = False
            self._figures = _figures(self._summaries)
            self._next = time.monotonic() + (time.thread_time() - began) / SHARE
        return self._figures

    def waits(self, number: int) -> bool:
        """Whether a chain has lost its worker, and not begun on another."""
        batch = self.batches.get(self.chains[number].ticket)
        return batch is not None and batch.lost

    def take(self, event: list[Any], ticket: str = "", now: float = 0.0) -> None:
        """Take an event of one of its chains, as it came with a ticket; one that was overtaken changes nothing."""
        _, number, round_, attempt, phase, iteration, total, divergences, step_size, seconds, text, *more = (
            event
        )
        number, round_ = whole(number), whole(round_)
        chain = Chain(
            round_, whole(attempt), str(phase), whole(iteration), whole(total), whole(divergences),
            None if step_size is None else float(step_size), float(seconds), str(text)[:300], ticket,
        )  # fmt: skip
        last = self.chains.get(number)
        if chain.phase not in PHASES or (last is None and len(self.chains) >= CHAINS):
            return
        if last is not None and overtaken(chain, last):
            return
        if chain.phase in ANEW:
            for key in [key for key in self._summaries if key[0] == number and key[1] >= round_]:
                del self._summaries[key]
                self._stale = True
        elif last is not None and last.round == round_:
            chain.pace = last.pace
        chain.pace.see(chain.seconds, chain.iteration)
        self.chains[number] = chain
        self.done += chain.iteration - (0 if last is None else last.iteration)
        self._pace.see(now, self.done)
        if more and isinstance(more[0], str) and 0 < len(more[0]) < LONGEST:
            self._summaries[number, round_] = more[0]
            self._stale = True
            if len(self._summaries) > 2 * CHAINS:
                del self._summaries[next(iter(self._summaries))]

    def look(self, places: Callable[[str], str | None], now: float) -> None:
        """Compare with the tasks that there are: a worker that died could not say so.

        Parameters
        ----------
        places : key of a task -> the worker that has it, empty where none has; None where there is no such task
        now : s since 1970
        """
        found = {ticket: places(batch.key) for ticket, batch in self.batches.items()}
        for ticket, place in found.items():
            batch = self.batches[ticket]
            if place is None:
                del self.batches[ticket]
            else:
                batch.lost = batch.lost or not place or bool(batch.where and batch.where != place)
                batch.where = place
        if not self.batches and self.ended is None and (found or now - self.heard > SILENT):
            self.end(now)

    def begin_again(self, now: float) -> None:
        """It is another fit of the same name."""
        self.began, self.ended = now, None
        self.chains, self._summaries, self._figures, self._stale = {}, {}, Figures(), False
        self.done, self._pace, self._next = 0, Pace(), 0.0

    def end(self, now: float) -> None:
        """None of its batches runs any more. What is known of its draws stays: it may go on with another round."""
        self.batches.clear()
        self.ended = now if self.ended is None else self.ended


def hear_fit(fits: dict[tuple[str, str], Fit], topic: str, said: Mapping[str, Any], now: float) -> None:
    """Take what a worker said of a batch of chains: that it begins or ends, or events of its chains."""
    topic, ticket = topic[:80], str(said["ticket"])[:40]
    if "running" in said:
        if said["running"]:
            name = str(said["name"])[:NAME]
            fit = fits.setdefault((topic, name), Fit(name, now, now))
            fit.ended, fit.heard = None, now
            fit.asked = min(CHAINS, max(fit.asked if fit.batches else 0, whole(said.get("chains", 0))))
            if len(fit.batches) < BATCHES:
                fit.batches[ticket] = Batch(str(said["key"])[:400])
        else:
            for fit in [fit for (place, _), fit in fits.items() if place == topic and ticket in fit.batches]:
                del fit.batches[ticket]
                if not fit.batches:
                    fit.end(now)
        return
    for event in said["events"]:
        fit = _fit_of(fits, (topic, str(event[0])[:NAME]), event, ticket, now)
        fit.heard = now
        fit.take(event, ticket, now)


def _fit_of(
    fits: dict[tuple[str, str], Fit], place: tuple[str, str], event: list[Any], ticket: str, now: float
) -> Fit:
    """The fit to which an event belongs: nobody keeps users from giving several the same name, at once or one after another."""
    topic, name = place
    number, first = whole(event[1]), whole(event[2]) == 0
    fit = Fit(name, now, now)
    for again in range(1, ALIKE + 1):
        key = (topic, name if again == 1 else f"{name} ({again})")
        if key not in fits:  # the page came later than the fit, or it is another of that name
            fits[key] = Fit(key[1], now, now)
        fit = fits[key]
        known = fit.chains.get(number)
        if known is None or known.ticket == ticket or not (first or known.ticket in fit.batches):
            break
        if not any(chain.ticket in fit.batches for chain in fit.chains.values()):
            fit.begin_again(now)
            break
    held = fits.get(place)
    if held is not None and held is not fit and ticket in held.batches:
        fit.batches[ticket] = held.batches.pop(ticket)
        fit.ended = None
    return fit


def _figures(summaries: dict[tuple[int, int], str | Summary]) -> Figures:
    """The worst of all parameters; texts are replaced by what they say, or forgotten where they say nothing."""
    for key, text in list(summaries.items()):
        if isinstance(text, str):
            try:
                summaries[key] = unpacked(text)
            except InputError:
                del summaries[key]
    try:
        found = combined([each for each in summaries.values() if not isinstance(each, str)])
    except InputError:
        return Figures()
    known = np.isfinite(found.ess)
    rhat = None if np.isnan(found.rhat).all() else float(np.nanmax(found.rhat))
    if not known.any():
        return Figures(rhat)
    worst = int(np.nanargmin(found.ess))
    return Figures(rhat, float(found.ess[worst]), bool(found.bounded[worst]))
