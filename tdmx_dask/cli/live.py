"""What a terminal shows while chains run: a bar each; where nobody watches, a line each time a chain begins something else."""

from __future__ import annotations

import sys
from concurrent.futures import wait
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.fitting.future import ChainProgress, FitFuture

__all__ = ["CohortBar", "watch"]

_PAUSE = 0.1
"""s between two looks; the events that are shown come twice a second."""

_WORDS = {
    "starting": "starting",
    "warmup": "warming up",
    "sampling": "sampling",
    "done": "done",
    "failed": "failed",
    "retrying": "trying again",
}


def watch(future: FitFuture, *, quiet: bool = False) -> None:
    """Show how far the chains of a fit are, on stderr, until it has ended.

    Parameters
    ----------
    future : of the fit
    quiet : show nothing, and wait
    """
    if quiet:
        wait([future])
        return
    console = _console()
    if console.is_terminal:
        _bars(future, console)
    else:
        _lines(future, sys.stderr)


def _bars(future: FitFuture, console: Console) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    progress = Progress(
        TextColumn("chain {task.fields[chain]}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[doing]}"),
        console=console,
        transient=True,
    )
    bars: dict[int, TaskID] = {}
    with progress:
        while not future.done():
            for each in future.progress():
                if each.chain not in bars:
                    bars[each.chain] = progress.add_task("", total=each.total, chain=each.chain + 1, doing="")
                progress.update(
                    bars[each.chain],
                    total=each.total,
                    completed=each.iteration,
                    doing=_doing(each, future.status),
                )
            wait([future], _PAUSE)


def _lines(future: FitFuture, stream: TextIO) -> None:
    said: dict[int, tuple[object, ...]] = {}
    while True:
        over = future.done()
        for each in future.progress():
            state = (each.attempt, each.round, each.phase)
            if said.get(each.chain) != state and each.phase != "starting":
                said[each.chain] = state
                print(
                    f"{future.name}, chain {each.chain + 1}: {each.iteration}/{each.total} {_doing(each, '')}",
                    file=stream,
                    flush=True,
                )
        if over:
            return
        wait([future], _PAUSE)


def _doing(each: ChainProgress, status: str) -> str:
    """A chain's phase and figures in words."""
    parts = [_WORDS.get(each.phase, each.phase) + (f", round {each.round + 1}" if each.round else "")]
    if each.divergences:
        parts.append(f"{each.divergences} divergent")
    if each.step_size is not None:
        parts.append(f"step {each.step_size:.2g}")
    if each.eta is not None and each.eta >= 1 and each.phase in ("warmup", "sampling"):
        parts.append(f"{each.eta:.0f} s left")
    if status == "publishing":
        parts.append("writing")
    if each.text and each.phase in ("failed", "retrying"):
        parts.append(each.text)
    return ", ".join(parts)


class CohortBar:
    """How many fits of a cohort are done, on stderr: a bar on a terminal, else a line a fit.

    Parameters
    ----------
    total : fits
    quiet : show nothing
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._total, self._done, self._failed, self._quiet = total, 0, 0, quiet
        console = _console()
        self._bar = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("fitting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
                TimeRemainingColumn(), console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=total)
            self._bar.start()

    def step(self, name: str, *, failed: bool = False, text: str = "") -> None:
        """Count one fit that has ended."""
        self._done += 1
        self._failed += failed
        if self._bar is not None:
            note = f"{self._failed} failed" if self._failed else ""
            self._bar.update(self._task, completed=self._done, description=note)
        elif not self._quiet:
            end = "failed" if failed else "done"
            line = f"{self._done}/{self._total}  {name} {end}{', ' + text if text else ''}"
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
