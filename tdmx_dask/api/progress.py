"""A progress bar in the terminal or the notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdmx_dask.fitting.task import ChainEvent

__all__ = ["FitBars", "bar"]


def bar(total: int) -> Callable[[int, int], None]:
    """Return a function of (profiles done, profiles in all) that draws a bar on standard error; none where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal and not console.is_jupyter:
        return lambda _done, _total: None
    progress = Progress(
        TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("profiles"), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    task = progress.add_task("pta", total=total)
    progress.start()

    def show(done: int, _total: int) -> None:
        progress.update(task, completed=done)
        if done >= total:
            progress.stop()

    return show


class FitBars:
    """A bar a fit on standard error, from its chains' events; none where that is no terminal.

    Parameters
    ----------
    n : fits; of more than `MOST` one bar counts the chains that are done
    """

    MOST = 12

    def __init__(self, n: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(file=sys.stderr)
        self._progress: Any = None
        self._fits: dict[str, tuple[Any, dict[tuple[int, int], tuple[int, int]]]] = {}
        self._together = n > self.MOST
        if not console.is_terminal and not console.is_jupyter:
            return
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self._progress.start()

    def show(self, event: ChainEvent) -> None:
        """Take one event."""
        if self._progress is None:
            return
        name = "fitting" if self._together else event.fit
        if name not in self._fits:
            self._fits[name] = (self._progress.add_task(name, note=""), {})
        task, chains = self._fits[name]
        key = (hash(event.fit) if self._together else 0, event.chain)
        chains[key] = (event.iteration, event.total)
        note = f"{event.divergences} divergent" if event.divergences else event.phase
        done, total = (sum(each) for each in zip(*chains.values(), strict=True))
        self._progress.update(task, completed=done, total=total, note="" if self._together else note)

    def stop(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
