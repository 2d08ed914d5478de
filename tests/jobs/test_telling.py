"""What a client tells a cluster of its queue: little, and only what is new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdmx_dask.clusters.page_names import QUEUE
from tdmx_dask.jobs import telling
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.moves import Settled
from tdmx_dask.jobs.telling import SHOWN, QueueTeller, told
from tests.clusters.listener import Listener
from tests.jobs.ledgers import asked


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "queue")
    yield found
    found.close()


def test_told__counts_and_some_of_each_state(ledger: Ledger) -> None:
    jobs = ledger.add([(asked(), "{}", None) for _ in range(100)])
    claims = ledger.turn("me", n=5).claims
    ledger.turn("me", [Settled(claims[0].job, claims[0].number, "complete", b"1", None, seconds=2.0)])
    found = told(ledger)
    assert found["counts"] == {
        "waiting": 0, "queued": 95, "running": 4, "completed": 1, "cached": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    states = [row["state"] for row in found["rows"]]
    assert states == ["running"] * 4 + ["queued"] * SHOWN + ["completed"]
    assert found["rows"][0]["id"] == jobs[1]
    assert found["rows"][-1]["run"] is not None
    assert found["rows"][4]["submitted"] <= time.time()


def test_told__is_bounded(ledger: Ledger) -> None:
    ledger.add([(asked("x" * 100), "{}", None) for _ in range(3000)])
    ledger.cancel(range(1, 1001))
    found = told(ledger)
    assert sum(found["counts"].values()) == 3000
    assert len(found["rows"]) == 2 * SHOWN
    assert len(str(found)) < 20_000


def test_teller__says_what_is_new_and_says_goodbye(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PERIOD", 0.02)
    monkeypatch.setattr(telling, "SHARE", 1.0)
    said: list[dict[str, Any]] = []
    client: Any = Listener(lambda topic, message: said.append(message) if topic == QUEUE else None)
    teller = QueueTeller(ledger, client)
    _until(lambda: len(said) == 1)
    time.sleep(0.2)
    assert len(said) == 1
    ledger.add([(asked(), "{}", None)])
    _until(lambda: len(said) == 2)
    assert said[1]["counts"]["queued"] == 1
    monkeypatch.setattr(telling, "AGAIN", 0.1)
    _until(lambda: len(said) >= 4)
    assert said[3] == said[1]
    teller.close()
    assert said[-1] == {"client": "c", "queue": str(ledger.folder), "closed": True}


def test_teller__without_a_cluster_there_is_nobody_to_tell(ledger: Ledger) -> None:
    QueueTeller(ledger, None).close()


def _until(true: Any) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
