"""How far a queue is, on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tdmx_dask.jobs.ledger import Ledger

__all__ = ["QueueBar"]

_LINES = 2.0
"""s between two lines at the least."""


class QueueBar:
    """Counts the jobs of a queue that end while it is shown; a context manager.

    Parameters
    ----------
    ledger : of the queue
    quiet : show nothing
    """

    def __init__(self, ledger: Ledger, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._ledger, self._quiet = ledger, quiet
        self._failed = self._ledger.count()["failed"]
        self._before = self._ended()[0]
        self._said, self._said_at = "", 0.0
        console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
        self._bar = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn(),
                console=console, transient=True, refresh_per_second=2,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()
        if self._bar is not None:
            self._bar.stop()

    def look(self) -> int:
        """Show how far it is; return how many jobs have not ended."""
        ended, pending, text = self._ended()
        done = max(0, ended - self._before)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=done + pending, description=text)
        elif not self._quiet:
            said = f"{done}/{done + pending} ended, {text}"
            if said != self._said and (not pending or time.monotonic() - self._said_at > _LINES):
                self._said, self._said_at = said, time.monotonic()
                print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)
        return pending

    def _ended(self) -> tuple[int, int, str]:
        counts = self._ledger.count()
        pending = counts["waiting"] + counts["queued"] + counts["running"]
        failed = max(0, counts["failed"] - self._failed)
        text = f"{counts['running']} running" + (f", {failed} failed" if failed else "")
        return sum(counts.values()) - pending, pending, text
