"""What people see while something runs: bars on a terminal or in a notebook, lines in a pipe or a file, nothing where it is short."""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from tdmx_dask.fitting.pace import Pace
from tdmx_dask.jobs.display import seconds

__all__ = ["Board", "Face", "Item", "Lines", "left_text"]

_FIRST = 0.3
"""s before bars are drawn: what is over by then needs none."""

_UNSEEN = (OSError, ValueError, AttributeError)
"""What a standard error raises that is a pipe which nobody reads any more, a full disk, closed, or no file: no work is lost for it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is on its way.

    Parameters
    ----------
    name : of it
    done, total : of `unit`; a total of None is not known yet
    note : what else there is to say
    unit : that is counted, in the plural
    part : what is done, where that is finer than `done` shows (fractions of fits); None: `done`
    left : seconds; None where there is no ground to say
    """

    name: str
    done: float = 0
    total: float | None = None
    note: str = ""
    unit: str = ""
    part: float | None = None
    left: float | None = None

    @property
    def fraction(self) -> float | None:
        """Of what is to be done, 0 to 1."""
        part = self.done if self.part is None else self.part
        return min(1.0, part / self.total) if self.total else None

    @property
    def figures(self) -> str:
        """How many of how many."""
        if self.total is None:
            return f"{self.done:,.0f}" if self.done else ""
        return f"{self.done:,.0f}/{self.total:,.0f}"

    def text(self) -> str:
        """All of it as one line."""
        counted = share = ""
        if self.total is not None:
            counted = (
                f" {self.total:,.0f}"
                if self.done == self.total
                else f" {self.done:,.0f} of {self.total:,.0f}"
            )
        if self.fraction is not None and self.done != self.total:
            share = f" ({100 * self.fraction:.0f} %)"
        head = f"{self.name}{counted}{' ' + self.unit if self.unit and counted else ''}{share}"
        return ", ".join(part for part in (head, self.note, left_text(self.left)) if part)


class Face(Protocol):
    """Where a board is drawn."""

    first: float
    """s before it is drawn for the first time."""

    pause: float
    """s between two drawings, at the least."""

    def draw(self, items: Sequence[Item]) -> None:
        """Show the headline and the rows under it."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def end(self, items: Sequence[Item], text: str) -> None:
        """Take bars away; `text` says how it ended."""


@dataclass
class _Seen:
    item: Item
    pace: Pace = field(default_factory=Pace)


class Board:
    """A headline, and rows under it, for as long as something runs; a context manager.

    Whoever does the work tells it how far it is, as often as it likes and from any thread; a thread of its own draws. Nothing is drawn in
    the first moments, so that what is short leaves no trace. All goes to standard error, or into the cell of a notebook.

    Parameters
    ----------
    quiet : show nothing
    face : where it is drawn; None: a terminal, a notebook, or lines
    """

    def __init__(self, *, quiet: bool = False, face: Face | None = None) -> None:
        self._face = None if quiet else face or _face()
        self._rows: dict[str, _Seen] = {}
        self._guard, self._drawing = threading.Lock(), threading.Lock()
        self._over, self._shown, self._gone = threading.Event(), False, False
        self._began = time.monotonic()
        if self._face is not None:
            # what a thread displays belongs to the cell whose context it has
            run = contextvars.copy_context().run
            self._thread = threading.Thread(
                target=run, args=(self._watch,), name="tdmx-progress", daemon=True
            )
            self._thread.start()
            atexit.register(self.close)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(ok=kind is None)

    @property
    def quiet(self) -> bool:
        """Whether nothing is shown."""
        return self._face is None

    def update(self, item: Item, row: str = "") -> None:
        """Tell how far something is.

        Parameters
        ----------
        item : how far
        row : which one; empty for the headline
        """
        if self._face is None:
            return
        now = time.monotonic()
        with self._guard:
            seen = self._rows.setdefault(row, _Seen(item))
            seen.item = item
            seen.pace.see(now, item.done if item.part is None else item.part)

    def say(self, text: str) -> None:
        """Show a line at once that stays: something went wrong and is tried again, or is given up."""
        if self._face is None:
            return
        with self._drawing, suppress(*_UNSEEN):
            if not self._over.is_set():
                self._shown = True
                self._face.say(text)

    def close(self, *, ok: bool = True) -> None:
        """End it; what was drawn goes, or becomes one line.

        Parameters
        ----------
        ok : whether all was done
        """
        if self._face is None:
            return
        with self._drawing:  # whoever comes second waits until it is gone
            if self._gone:
                return
            self._over.set()
            took = seconds(time.monotonic() - self._began)
            try:
                with suppress(*_UNSEEN):
                    if self._shown:
                        self._face.end(self._items(), f"{'took' if ok else 'stopped after'} {took}")
            except Exception:
                self._gone = True
                raise
            self._gone = True  # but after Ctrl-C: the next call, at exit the last, takes it away
        atexit.unregister(self.close)

    def _watch(self) -> None:
        assert self._face is not None  # noqa: S101
        pause = self._face.first
        while not self._over.wait(pause):
            pause = max(
                self._face.pause, 0.02 * (time.monotonic() - self._began) if self._face.pause > 1 else 0
            )
            with self._drawing, suppress(*_UNSEEN):
                if self._rows and not self._over.is_set():
                    self._shown = True
                    self._face.draw(self._items())

    def _items(self) -> list[Item]:
        """The headline, then the rows."""
        now = time.monotonic()
        with self._guard:
            rows = [self._rows[name] for name in sorted(self._rows, key=bool)]
            items = [
                replace(
                    each.item,
                    left=None if each.item.total is None else each.pace.left(each.item.total, at=now),
                )
                for each in rows
            ]
        if items and items[0].left is not None:  # all is not over before the slowest of its parts
            slowest = max(each.left or 0.0 for each in items)
            items[0] = replace(items[0], left=slowest)
        return items


class Lines:
    """Plain lines, for where nobody watches: one after 2 s, then one in 5 s (and fewer the longer it takes), and the last."""

    first, pause = 2.0, 5.0

    def __init__(self) -> None:
        self._said = ""

    def draw(self, items: Sequence[Item]) -> None:
        """Print the headline, if it has changed."""
        if (text := items[0].text()) != self._said:
            self._said = text
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line with the time of day."""
        if sys.stderr is not None:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def end(self, items: Sequence[Item], text: str) -> None:
        """Print the headline for the last time."""
        if items:
            self.say(f"{replace(items[0], left=None).text()}, {text}")


def left_text(left: float | None) -> str:
    """``12 s left``; empty where nothing can be said."""
    if left is None:
        return ""
    return f"{max(left, 1):.0f} s left" if left < 100 else f"{seconds(left)} left"


def _face() -> Face:
    """The notebook's cell, the terminal, or lines."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from tdmx_dask.api.board_notebook import Cell

        return Cell()
    if os.environ.get("TERM", "") not in ("dumb", "unknown"):
        with suppress(AttributeError, ValueError):  # there is none, it is closed, or no file
            if sys.stderr.isatty():
                from tdmx_dask.api.board_terminal import Bars

                return Bars()
    return Lines()
