"""A progress bar in the terminal or the notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["bar"]


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
