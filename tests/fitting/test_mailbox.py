"""A thread that takes what waits: in order, together, and until it is closed."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from tdmx_dask.fitting.mailbox import Call, Mailbox, calls


def test_mailbox__takes_in_order_and_together() -> None:
    taken: list[list[int]] = []
    go, first = threading.Event(), threading.Event()

    def take(items: list[int]) -> None:
        taken.append(items)
        first.set()
        go.wait(5)

    box: Mailbox[int] = Mailbox("box", take)
    box.post(0)
    assert first.wait(5)
    for number in range(1, 50):
        box.post(number)
    go.set()
    box.close()
    assert taken == [[0], list(range(1, 50))]
    box.post(99)
    assert taken[-1][-1] == 49


def test_mailbox__holds_until_told() -> None:
    taken: list[list[int]] = []
    box: Mailbox[int] = Mailbox("box", taken.append, lambda waiting: 0.0 if waiting >= 3 else 30.0)
    start = time.monotonic()
    for number in range(3):
        box.post(number)
        time.sleep(0.02)
    while not taken:
        assert time.monotonic() - start < 5
        time.sleep(0.01)
    box.post(4)
    box.close()
    assert taken == [[0, 1, 2], [4]]


def test_mailbox__what_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    box: Mailbox[Call] = Mailbox("box", calls)
    with caplog.at_level(logging.ERROR):
        box.post(lambda: 1 / 0)
        box.post(lambda: done.append(1))
        box.close()
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text
