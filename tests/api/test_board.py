"""What is shown of progress: how an item reads, when a board draws, and where."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

import tdmx_dask as tdmx
from tdmx_dask.api.board import Board, Item, Lines, _face
from tdmx_dask.api.board_notebook import html_of
from tdmx_dask.api.board_terminal import Bars, table
from tdmx_dask.api.progress import FitBars, counting
from tdmx_dask.fitting.future import FitFuture
from tdmx_dask.fitting.mailbox import Mailbox, calls
from tdmx_dask.fitting.task import ChainEvent

FIT = Item("meropenem_tdm", 12_200, 20_000, "2 warming up, 2 sampling", "iterations", left=12.3)


class Seen:
    """A face that remembers."""

    first, pause = 0.05, 0.05

    def __init__(self):
        self.drawn, self.said, self.ended, self.threads = [], [], [], set()

    def draw(self, items):
        self.drawn.append(list(items))
        self.threads.add(threading.current_thread().name)

    def say(self, text):
        self.said.append(text)

    def end(self, items, text):
        self.ended.append((list(items), text))

    @property
    def latest(self):
        return self.drawn[-1] if self.drawn else []


class Slow(Seen):
    """One that takes its time to go."""

    def end(self, items, text):
        time.sleep(0.3)
        super().end(items, text)


def until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (FIT, "meropenem_tdm 12,200 of 20,000 iterations (61 %), 2 warming up, 2 sampling, 12 s left"),
        (Item("simulating", 5, 10, unit="profiles"), "simulating 5 of 10 profiles (50 %)"),
        (Item("simulating", 10, 10, unit="profiles"), "simulating 10 profiles"),
        (Item("fitting", 3, 200, "1 failed", "fits", part=50.0), "fitting 3 of 200 fits (25 %), 1 failed"),
        (Item("bed 4", note="queued", unit="iterations"), "bed 4, queued"),
        (Item("ended", 0, 0, unit="jobs"), "ended 0 jobs"),
        (Item("ended", 8, 9, unit="jobs", left=0.2), "ended 8 of 9 jobs (89 %), 1 s left"),
        (Item("ended", 1, 9, unit="jobs", left=3800), "ended 1 of 9 jobs (11 %), 63 min left"),
    ],
)
def test_item__as_a_line(item, text):
    assert item.text() == text


def test_board__what_is_over_at_once_leaves_no_trace():
    with Board(face=(face := Seen())) as board:
        board.update(FIT)
    time.sleep(0.15)
    assert (face.drawn, face.ended) == ([], [])


def test_board__draws_headline_first_and_ends_once():
    with Board(face=(face := Seen())) as board:
        board.update(Item("chain 1", 1, 2), row="0")
        board.update(FIT)
        time.sleep(0.3)
    board.close()
    assert [each.name for each in face.drawn[-1]] == ["meropenem_tdm", "chain 1"]
    assert face.threads == {"tdmx-progress"}
    ((_, text),) = face.ended
    assert re.fullmatch(r"took \d+ ms", text)
    n = len(face.drawn)
    time.sleep(0.15)
    assert len(face.drawn) == n


def test_board__the_whole_takes_as_long_as_its_slowest_part(monkeypatch):
    face = Seen()
    clock = iter(range(1000))
    with Board(face=face) as board:
        monkeypatch.setattr("tdmx_dask.api.board.time.monotonic", lambda: float(next(clock)))
        for step in range(1, 5):
            board.update(Item("bed 4", 45 * step, 200))
            board.update(Item("chain 1", 40 * step, 200), row="0")
            board.update(Item("chain 2", 5 * step, 200), row="1")
        head, fast, slow = board._items()
    assert fast.left < head.left == slow.left


def test_board__says_that_it_was_stopped():
    face = Seen()
    with suppress(KeyboardInterrupt), Board(face=face) as board:
        board.say("worker 2 is gone")
        raise KeyboardInterrupt
    assert face.said == ["worker 2 is gone"]
    assert face.ended[0][1].startswith("stopped after")


def _closed():
    with io.StringIO() as stream:
        return stream


def _unread():
    reads, writes = os.pipe()
    os.close(reads)
    return os.fdopen(writes, "w")


STREAMS = {
    "none": lambda: None, "closed": _closed, "full": lambda: os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"), "unread": _unread,
    "no file": lambda: SimpleNamespace(write=len, flush=lambda: None),
}  # fmt: skip


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("stream", STREAMS)
def test_board__where_nothing_can_be_shown_the_work_goes_on(stream, terminal, monkeypatch):
    monkeypatch.setattr(Lines, "first", 0.02)
    monkeypatch.setattr(Bars, "first", 0.02)
    monkeypatch.setattr(Lines, "pause", 0.02)
    given = STREAMS[stream]()
    if terminal and stream in ("full", "unread"):
        given.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", given)
    with Board() as board:
        for done in range(3):
            board.update(Item("simulating", done, 10))
            time.sleep(0.05)
        board.say("worker 2 is gone")
        assert board._thread.is_alive()
    with suppress(AttributeError, OSError):
        given.close()


def test_lines__one_a_change_with_the_time_and_no_control_signs(capsys):
    lines = Lines()
    for item in (FIT, FIT, Item("meropenem_tdm", 20_000, 20_000, "done", "iterations")):
        lines.draw([item])
    lines.end([item], "took 3.1 s")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.sub(r"^\d\d:\d\d:\d\d ", "", err, flags=re.MULTILINE).splitlines() == [
        FIT.text(),
        "meropenem_tdm 20,000 iterations, done",
        "meropenem_tdm 20,000 iterations, done, took 3.1 s",
    ]
    assert err.isprintable() or set(err) - set(map(chr, range(32, 127))) == {"\n"}


@pytest.mark.parametrize("width", [40, 80, 120])
def test_table__keeps_to_the_width_and_to_its_lines(width):
    rows = [FIT, Item("chain 1", 3000, 5000, "sampling, 3 divergent, step 0.62", left=4), Item("chain 2")]
    Console(width=width, file=(file := io.StringIO())).print(table(rows, width))
    lines = file.getvalue().splitlines()
    assert len(lines) == len(rows)
    assert max(map(len, lines)) <= width
    assert "12 s left" in lines[0]
    assert "12,200/20,000" in lines[0]


def test_html__escapes_every_text():
    html = html_of([Item("<script>a</script>", 1, 4, "<b>", "<i>")], ["<img src=x>"])
    assert not re.search(r"<(script|b|i|img)\b", html)
    assert '<progress value="0.250"' in html


def event(fit: str, chain: int, phase: str, iteration: int) -> ChainEvent:
    return ChainEvent(fit, chain, 0, 0, phase, iteration, 100)


def bars(
    monkeypatch: pytest.MonkeyPatch, n: int, face: Seen | None = None
) -> tuple[FitBars, Seen, list[FitFuture]]:
    """Bars of `n` fits of two chains on a face that remembers."""
    face = face or Seen()
    monkeypatch.setattr("tdmx_dask.api.board._face", lambda: face)
    mailbox = Mailbox("callbacks", calls)
    futures = [FitFuture(f"bed {k}", str(k), mailbox, lambda _: None) for k in range(n)]
    shown = FitBars(n, 2)
    shown.attach(futures)
    return shown, face, futures


def test_fits__one_has_a_row_a_chain_and_counts_chains_that_have_not_begun(monkeypatch):
    shown, face, (future,) = bars(monkeypatch, 1)
    until(lambda: [each.text() for each in face.latest] == ["bed 0, queued"])
    shown.show(event("bed 0", 0, "sampling", 60))
    until(lambda: len(face.latest) == 2)
    head, chain = face.latest
    assert (head.done, head.total, head.note) == (60, 200, "sampling")
    assert (chain.name, chain.done, chain.total) == ("chain 1", 60, 100)
    shown.show(event("bed 0", 1, "warmup", 10))
    until(lambda: face.latest[0].note == "1 sampling, 1 warming up")
    for chain in (0, 1):
        shown.show(event("bed 0", chain, "done", 100))
    until(lambda: face.latest[0].note == "finishing")
    future.set_exception(ValueError("no"))
    until(lambda: face.ended)
    assert face.ended[0][1].startswith("stopped after")


def test_fits__many_are_one_bar_that_moves_within_fits(monkeypatch):
    shown, face, futures = bars(monkeypatch, 20)
    for chain in (0, 1):
        shown.show(event("bed 3", chain, "sampling", 50))
    futures[0].set_result(None)
    futures[1].set_exception(ValueError("no levels"))
    until(lambda: face.latest and face.latest[0].done == 2)
    (head,) = face.latest
    assert (head.done, head.total, head.part, head.note) == (2, 20, 2.5, "1 failed")
    assert face.said == ["bed 1 failed: no levels"]
    n = len(face.drawn)
    shown.show(event("bed 3", 0, "starting", 0))  # its worker died
    until(lambda: len(face.drawn) > n + 1)
    assert face.latest[0].part == 2.5, "no step back"
    for future in futures[2:]:
        future.set_result(None)
    until(lambda: face.ended)
    assert face.ended[0][1].startswith("took")


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_fits__bars_are_gone_before_anybody_has_the_outcome(monkeypatch, ask):
    """What is printed next would meet bars that another thread is about to take away, and leave some of them on the screen."""

    shown, face, futures = bars(monkeypatch, 2, Slow())
    shown.show(event("bed 0", 0, "sampling", 60))
    until(lambda: face.drawn)
    for future in futures:
        future.set_exception(ValueError("no"))
    for future in futures:
        with suppress(ValueError):
            getattr(future, ask)(5)
    assert len(face.ended) == 1


def test_fits__what_cannot_be_shown_is_no_outcome(monkeypatch):
    """Not even of a task that awaits: it would wait for ever."""

    class Broken(Seen):
        def end(self, items, text):
            raise RuntimeError("no screen")

    async def awaited(future):
        return await asyncio.wait_for(future, 5)

    _shown, face, (future, other) = bars(monkeypatch, 2, Broken())
    until(lambda: face.drawn)
    waiting = threading.Timer(0.1, future.set_result, ["a fit"])
    other.set_result(None)
    waiting.start()
    assert asyncio.run(awaited(future)) == "a fit"
    assert future.result() == "a fit"


def test_fits__an_interrupt_while_bars_are_taken_away_leaves_that_to_another(monkeypatch):
    class Interrupted(Seen):
        def end(self, items, text):
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            super().end(items, text)

    _shown, face, (future,) = bars(monkeypatch, 1, Interrupted())
    until(lambda: face.drawn)
    future._callbacks.post(lambda: time.sleep(0.3))  # the thread of callbacks comes second
    future.set_result(None)
    with pytest.raises(KeyboardInterrupt):
        future.result()
    until(lambda: face.ended)


def test_fits__what_happened_last_is_said_though_it_is_still_on_its_way(monkeypatch):
    shown, face, (future,) = bars(monkeypatch, 1)
    future._listeners.append(shown.show)
    future._callbacks.post(lambda: time.sleep(0.3))
    future.hear(replace(event("bed 0", 1, "failed", 7), text="it ran into a wall"))
    future.set_exception(ValueError("no"))
    future.exception()
    assert face.said == ["bed 0, chain 2: failed, it ran into a wall"]
    time.sleep(0.5)
    assert len(face.said) == 1
    assert [item.done for item in face.ended[0][0]] == [7, 7]


def test_board__says_nothing_once_it_is_gone():
    face = Slow()
    board = Board(face=face)
    board.update(Item("simulating"))
    until(lambda: face.drawn)
    closing = threading.Thread(target=board.close)
    closing.start()
    time.sleep(0.1)
    board.say("too late")
    closing.join()
    assert face.said == []


def test_board__whoever_closes_it_second_waits_until_it_is_gone():
    face = Slow()
    board = Board(face=face)
    board.update(Item("simulating"))
    until(lambda: face.drawn)
    first = threading.Thread(target=board.close)
    first.start()
    time.sleep(0.1)
    board.close()
    assert len(face.ended) == 1
    first.join()
    assert len(face.ended) == 1


def test_fits__a_chain_that_is_tried_again_is_said_at_once(monkeypatch):
    shown, face, (future,) = bars(monkeypatch, 1)
    shown.show(replace(event("bed 0", 1, "retrying", 0), text="its worker died"))
    assert face.said == ["bed 0, chain 2: trying again, its worker died"]
    future.set_result(None)


def test_counting__a_run_that_fails_ends_its_board(monkeypatch):
    """A bar that is left is one that goes on to draw over what comes after it."""
    face = Seen()
    monkeypatch.setattr("tdmx_dask.api.board._face", lambda: face)
    tally = SimpleNamespace(plan=SimpleNamespace(n_profiles=10), n_profiles_done=3)
    with suppress(ValueError), counting(True, tally):
        until(lambda: face.drawn)
        raise ValueError("a block")
    ((items, text),) = face.ended
    assert items[0].text() == "simulating 3 of 10 profiles (30 %)"
    assert text.startswith("stopped after")


def test_wait_all__with_a_bar_returns_the_same(monkeypatch, tmp_path):
    face = Seen()
    monkeypatch.setattr("tdmx_dask.api.board._face", lambda: face)
    with tdmx.JobQueue(max_workers=1, folder=tmp_path / "queue", cache=False) as queue:
        spec = {"function": "time:sleep", "items": [0.2]}
        jobs = [queue.submit("batch_processing", spec) for _ in range(2)]
        assert queue.wait_all(progress=True, timeout=60) == dict.fromkeys(jobs, "completed")
    assert face.ended[0][0][0].text() == "ended 2 jobs"


@pytest.mark.parametrize(
    ("terminal", "term", "face"),
    [(True, "xterm", "Bars"), (True, "dumb", "Lines"), (False, "xterm", "Lines")],
)
def test_face__bars_on_a_terminal_alone(terminal, term, face, monkeypatch):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")  # a pipe is none, whatever is said
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert type(_face()).__name__ == face
