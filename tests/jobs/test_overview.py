"""What a watch says of a queue: what is next is what is claimed next, and who works is who lives."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdmx_dask.jobs.clock import identity
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.moves import Settled
from tests.jobs.ledgers import ELSEWHERE, HandClock, add_one

JOBS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(4, 6), st.sampled_from([0.5, 1.0, 7.0])),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("patience", [0.0, 600.0])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=JOBS, second=JOBS)
def test_upcoming__is_the_order_of_claims(tmp_path_factory, patience, first, second):
    """Also after some have run, when groups differ in what they had; with overdue jobs (patience 0), of the very next."""
    ledger = Ledger(tmp_path_factory.mktemp("queue"), patience=patience, clock=HandClock())
    for group, priority, cost in first:
        add_one(ledger, group=group, priority=priority, cost=cost)
    for claim in ledger.turn("me", n=len(first) // 2).claims:
        ledger.turn("me", [Settled(claim.job, claim.number, "complete", b"1", seconds=3.0)])
    for group, priority, cost in second:
        add_one(ledger, group=group, priority=priority, cost=cost)
    foreseen = [job.id for job in ledger.overview(50).upcoming]
    assert len(foreseen) == ledger.count()["queued"]
    claimed = [claim.job for claim in ledger.turn("me", n=50 if patience else 1).claims]
    assert foreseen[: len(claimed)] == claimed
    ledger.close()


def test_overview__of_a_queue(tmp_path):
    clock = HandClock()
    ledger = Ledger(tmp_path, clock=clock)
    for title in ("one", "two", "three"):
        add_one(ledger, title=title)
    (claim,) = ledger.turn("me", n=1).claims
    ledger.turn("me", [Settled(claim.job, claim.number, "fail", error="no")])
    ledger.turn("me", n=1)
    now = ledger.overview(1)
    assert (now.total, now.ended, now.pending) == (3, 1, 2)
    assert [job.title for job in now.running] == ["two"]
    assert [job.title for job in now.upcoming] == ["three"]
    assert [job.error for job in now.failed] == ["no"]
    assert ledger.overview().upcoming == ()
    assert ledger.ended_since(clock.wall() - 60) == (1, clock.wall())
    clock.pass_(61)
    assert ledger.ended_since(clock.wall() - 60) == (0, clock.wall() - 60)
    ledger.close()


def test_workers__silent_or_gone_ones_do_not_count(tmp_path):
    clock = HandClock()
    ledger = Ledger(tmp_path, clock=clock, lease=30)
    ledger.beat("here", identity(), 2)
    ledger.beat("elsewhere", ELSEWHERE, 4)
    ledger.beat("only watches", identity(), 0)
    add_one(ledger)
    ledger.turn("here", n=1)
    found = {worker.host: (worker.slots, worker.running) for worker in ledger.overview().workers}
    assert found == {identity().host: (2, 1), "elsewhere": (4, 0)}
    assert ledger.overview().slots == 6
    clock.pass_(20)
    ledger.beat("here", identity(), 2)
    clock.pass_(20)
    assert [worker.slots for worker in ledger.overview().workers] == [2]
    clock.booted = "boot 2"
    assert ledger.overview().workers == ()
    ledger.close()
