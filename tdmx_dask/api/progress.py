"""How far the verbs are: profiles that are counted, chains of fits, jobs of a queue, each told to a board."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tdmx_dask.api.board import Board, Item
from tdmx_dask.errors import FitCancelled, InputError

if TYPE_CHECKING:
    from tdmx_dask.analysis.tally import Tally
    from tdmx_dask.fitting.future import ChainProgress, FitFuture
    from tdmx_dask.fitting.task import ChainEvent
    from tdmx_dask.jobs.ledger import Ledger

__all__ = ["FitBars", "QueueBar", "counting"]

WORDS = {
    "starting": "starting",
    "warmup": "warming up",
    "sampling": "sampling",
    "done": "done",
    "failed": "failed",
    "retrying": "trying again",
}
"""What the phases of a chain are called."""


@contextmanager
def counting(progress: object, tally: Tally) -> Iterator[Callable[[], None]]:
    """A function to call after each step of a count; it says how far the run is.

    Parameters
    ----------
    progress : True for a board, False for none, or a function of (profiles done, profiles in all)
    tally : what is counted

    Raises
    ------
    InputError
        `progress` is none of these.
    """
    total = tally.plan.n_profiles
    if progress is False:
        yield lambda: None
        return
    if callable(progress):
        progress(tally.n_profiles_done, total)
        yield lambda: progress(tally.n_profiles_done, total)
        return
    if progress is not True:
        rule = "it is True, False or a function of (done, in all)"
        raise InputError("progress", progress, rule, "Leave it out.")
    with Board() as board:

        def report() -> None:
            board.update(Item("simulating", tally.n_profiles_done, total, unit="profiles"))

        report()
        yield report


class FitBars:
    """A bar a chain of one fit, a bar a fit of a few, one bar of many, from their chains' events.

    Parameters
    ----------
    n : fits that are asked for
    chains : of each, as asked for
    """

    MOST = 12
    """Fits that have a bar each."""

    def __init__(self, n: int, chains: int) -> None:
        self._n, self._asked = n, chains
        self._board: Board | None = None
        self._guard = threading.RLock()
        self._chains: dict[str, dict[int, ChainEvent | ChainProgress]] = {}
        self._ended: dict[str, str] = {}
        self._part = 0.0

    def attach(self, futures: Sequence[FitFuture]) -> None:
        """Begin to show, until all of them have ended."""
        with self._guard:
            self._board = Board()
            for future in futures:
                self._chains.setdefault(future.name, {})
            self._tell(futures[0].name)
        for future in futures:
            future.watch(self._end)

    def show(self, event: ChainEvent) -> None:
        """Take one event of a chain."""
        with self._guard:
            self._take(event.fit, event)
            if self._board is not None:
                self._tell(event.fit)

    def _take(self, fit: str, event: ChainEvent | ChainProgress) -> None:
        self._chains.setdefault(fit, {})[event.chain] = event
        if self._board is not None and event.phase in ("retrying", "failed") and event.text:
            self._board.say(f"{fit}, chain {event.chain + 1}: {WORDS[event.phase]}, {event.text}")

    def _end(self, future: FitFuture) -> None:
        problem = future.exception()
        with self._guard:
            assert self._board is not None  # noqa: S101
            for last in future.progress():  # its events may be on their way here
                known = self._chains[future.name].get(last.chain)
                if known is None or (known.phase, known.iteration) != (last.phase, last.iteration):
                    self._take(future.name, last)
            self._ended[future.name] = "done" if problem is None else "failed"
            if problem is not None and self._n > 1 and not isinstance(problem, FitCancelled):
                self._board.say(f"{future.name} failed: {problem}")
            self._tell(future.name)
            if len(self._ended) == self._n:
                self._board.close(ok=set(self._ended.values()) == {"done"} or self._n > 1)

    def _tell(self, fit: str) -> None:
        assert self._board is not None  # noqa: S101
        done, total = self._iterations(fit)
        phases = Counter(WORDS[each.phase] for each in self._chains[fit].values())
        doing = (
            ", ".join(f"{n} {word}" if len(phases) > 1 else word for word, n in phases.items()) or "queued"
        )
        if total is not None and done == total:
            doing = "finishing"  # draws are put together, checked and written
        item = Item(fit, done, total, self._ended.get(fit, doing), "iterations")
        if self._n == 1:
            self._board.update(item)
            for chain, each in self._chains[fit].items():
                row = Item(f"chain {chain + 1}", each.iteration, each.total, _doing(each))
                self._board.update(row, row=str(chain))
            return
        if self._n <= self.MOST:
            self._board.update(item, row=fit)
        fractions = [
            1.0 if each in self._ended else part / whole if whole else 0.0
            for each, (part, whole) in ((name, self._iterations(name)) for name in self._chains)
        ]
        self._part = max(self._part, sum(fractions))  # a chain that is tried again is no step back of all
        failed = sum(each == "failed" for each in self._ended.values())
        note = f"{failed} failed" if failed else ""
        self._board.update(Item("fitting", len(self._ended), self._n, note, "fits", self._part))

    def _iterations(self, fit: str) -> tuple[int, int | None]:
        """Done, and in all: chains that have not begun are as long as those that have."""
        events = self._chains[fit].values()
        if not events:
            return 0, None
        longest = max(each.total for each in events)
        missing = max(0, self._asked - len(events))
        return sum(each.iteration for each in events), sum(each.total for each in events) + missing * longest


class QueueBar:
    """Counts the jobs of a queue that end while it is shown; a context manager.

    Parameters
    ----------
    ledger : of the queue
    quiet : show nothing
    """

    def __init__(self, ledger: Ledger, *, quiet: bool) -> None:
        self._ledger = ledger
        counts = ledger.count()
        self._failed = counts["failed"]
        self._before = sum(counts.values()) - counts["waiting"] - counts["queued"] - counts["running"]
        self._board = Board(quiet=quiet)

    def __enter__(self) -> QueueBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.look()
        self._board.close(ok=kind is None)

    def look(self) -> int:
        """Show how far it is; return how many jobs have not ended."""
        counts = self._ledger.count()
        pending = counts["waiting"] + counts["queued"] + counts["running"]
        done = max(0, sum(counts.values()) - pending - self._before)
        failed = max(0, counts["failed"] - self._failed)
        note = f"{counts['running']} running" + (f", {failed} failed" if failed else "")
        self._board.update(Item("ended", done, done + pending, note, "jobs"))
        return pending


def _doing(event: ChainEvent | ChainProgress) -> str:
    """A chain's phase and figures in words."""
    parts = [WORDS[event.phase] + (f", round {event.round + 1}" if event.round else "")]
    if event.divergences:
        parts.append(f"{event.divergences} divergent")
    if event.step_size is not None:
        parts.append(f"step {event.step_size:.2g}")
    return ", ".join(parts)
