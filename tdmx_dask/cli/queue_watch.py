"""``tdmx queue watch``: a queue as it goes on, on a terminal; lines where nobody watches."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import folder_option, reading
from tdmx_dask.cli.screen import open_screen
from tdmx_dask.cli.worker import Signals, signals

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.cli.queue_tables import Pace
    from tdmx_dask.jobs.ledger import Ledger
    from tdmx_dask.jobs.overview import Overview

__all__ = ["keys", "watch"]

_PAUSE = 0.25
_SHARE = 50
"""It looks for no more than one part in so many of a core's time."""

_DRAW = 1.0
"""s after which times are drawn anew though nothing has happened."""

_LINES = 5.0
"""s between two lines where nobody watches."""

_SHOWN = 20
_MINUTE = 60.0


@click.command(
    context_settings=HELP,
    epilog=examples("tdmx queue watch", "tdmx queue watch --until-done", "tdmx queue watch --once"),
)
@folder_option
@click.option("--once", is_flag=True, help="Print it once.")
@click.option("--until-done", is_flag=True, help="End once no job is left that has not ended.")
def watch(folder: Path | None, once: bool, until_done: bool) -> None:
    """Watch a queue: what runs, what is next, what failed, how fast it goes. q or Ctrl-C ends it; the queue goes on.

    Where the output is no terminal, a line is printed each time that something has changed, at most one in 5 s.
    """
    from tdmx_dask.cli.queue_tables import Pace, frame

    screen = open_screen()
    with reading(folder) as ledger, signals() as heard:
        lately, since = ledger.ended_since(time.time() - _MINUTE)
        pace = Pace(lately, time.time() - since)
        if once:
            now = ledger.overview(_SHOWN)
            pace.see(now.ended)
            screen.print(frame(now, pace, ledger.folder, width=screen.width))
        elif screen.is_terminal:
            _live(ledger, screen, pace, heard, until_done=until_done)
        else:
            _lines(ledger, pace, heard, until_done=until_done)


def _live(ledger: Ledger, screen: Console, pace: Pace, heard: Signals, *, until_done: bool) -> None:
    from rich.live import Live

    from tdmx_dask.cli.queue_tables import frame

    now = ledger.overview(_SHOWN)
    seen, read_at, drawn, size = ledger.changes(), time.monotonic(), 0.0, screen.size
    with keys() as taken, Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            used, began = time.thread_time(), time.monotonic()
            changed = ledger.changes()
            if changed != seen or began - read_at > _LINES:
                now, read_at = ledger.overview(_SHOWN), began
            if changed != seen or began - drawn >= _DRAW or screen.size != size:
                seen, drawn, size = changed, began, screen.size
                now = replace(now, at=time.time())
                pace.see(now.ended)
                picture = frame(now, pace, ledger.folder, width=size.width, height=size.height)
                live.update(picture, refresh=True)
            if heard.count or (until_done and not now.pending):
                break
            if taken.pressed("q", max(_PAUSE, _SHARE * (time.thread_time() - used))):
                break
    screen.print(frame(now, pace, ledger.folder, width=screen.width, height=screen.height))


def _lines(ledger: Ledger, pace: Pace, heard: Signals, *, until_done: bool) -> None:
    from tdmx_dask.cli.queue_tables import line

    said, said_at, now = "", 0.0, ledger.overview()
    seen = ledger.changes()
    while True:
        changed = ledger.changes()
        if changed != seen:
            seen, now = changed, ledger.overview()
        pace.see(now.ended)
        over = bool(heard.count) or (until_done and not now.pending)
        if over or time.monotonic() - said_at > _LINES:
            counts = _counts(now)
            if counts != said:
                said, said_at = counts, time.monotonic()
                click.echo(f"{time.strftime('%H:%M:%S')} {line(now, pace)}")
                sys.stdout.flush()
        if over:
            return
        time.sleep(_PAUSE)


def _counts(now: Overview) -> str:
    return str(dict(now.counts))


class _Keys:
    """Keys that are pressed on the terminal, if stdin is one."""

    def __init__(self, stream: int | None) -> None:
        self._stream = stream

    def pressed(self, key: str, seconds: float) -> bool:
        """Wait so long, or until a key is pressed; whether it was this one."""
        import os

        if self._stream is None:
            time.sleep(seconds)
            return False
        if not select.select([self._stream], [], [], seconds)[0]:
            return False
        read = os.read(self._stream, 64)
        if not read:  # the terminal is gone
            self._stream = None
        return key.encode() in read.lower()


@contextmanager
def keys() -> Iterator[_Keys]:
    """Take keys as they are pressed, without a line's end, and show none of them."""
    if not sys.stdin.isatty():
        yield _Keys(None)
        return
    try:
        import termios
        import tty
    except ImportError:  # another system's terminal
        yield _Keys(None)
        return
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield _Keys(stream)
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
