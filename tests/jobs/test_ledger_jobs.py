"""Results in files, jobs that need or equal others, and strange values."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.jobs.ledger import INLINE, Ledger
from tdmx_dask.jobs.moves import Settled
from tests.jobs.ledgers import HandClock, add_one, asked, assert_accounts, rows

BIG = b"x" * (INLINE + 1)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "queue", clock=clock)
    yield found
    found.close()


def run_one(ledger: Ledger, value: bytes = b"1", client: str = "me") -> int:
    claim = ledger.turn(client, n=1).claims[0]
    assert ledger.turn(client, [done(ledger, claim.job, claim.number, value)]).accepted == (True,)
    return claim.job


def done(ledger: Ledger, job: int, claim: int = 1, value: bytes = b"1") -> Settled:
    inline, file = ledger.keep(value)
    return Settled(job, claim, "complete", inline, file, seconds=1.0)


def files(ledger: Ledger) -> set[str]:
    folder = ledger.folder / "results"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


# results in files


def test_result__large_ones_are_files(ledger: Ledger) -> None:
    small, large = add_one(ledger), add_one(ledger)
    ledger.turn("me", n=2)
    ledger.turn("me", [done(ledger, small, value=b"x" * INLINE), done(ledger, large, value=BIG)])
    assert len(files(ledger)) == 1
    assert ledger.result(small) == b"x" * INLINE
    assert ledger.result(large) == BIG
    assert ledger.clear() == 2
    assert files(ledger) == set()


def test_result__its_file_is_gone(ledger: Ledger) -> None:
    add_one(ledger)
    job = run_one(ledger, BIG)
    (name,) = files(ledger)
    (ledger.folder / "results" / name).unlink()
    with pytest.raises(
        StoreError, match=r"the result cannot be read \(No such file or directory\)\. Submit the job again"
    ):
        ledger.result(job)


def test_result__followers_share_a_file(ledger: Ledger) -> None:
    leader, follower, last = (add_one(ledger, digest="d" * 64) for _ in range(3))
    assert [claim.job for claim in ledger.turn("me", n=5).claims] == [leader]
    assert ledger.count()["waiting"] == 2
    ledger.turn("me", [done(ledger, leader, value=BIG)])
    assert [ledger.job(job).state for job in (leader, follower, last)] == ["completed", "cached", "cached"]
    assert len(files(ledger)) == 1
    assert ledger.clear(["completed"]) == 1
    assert ledger.result(follower) == ledger.result(last) == BIG
    assert ledger.clear() == 2
    assert files(ledger) == set()


def test_sweep__what_nobody_refers_to(ledger: Ledger) -> None:
    add_one(ledger)
    run_one(ledger, BIG)
    (kept,) = files(ledger)
    _, fresh = ledger.keep(BIG)
    _, old = ledger.keep(BIG)
    assert old is not None
    long_ago = time.time() - 7200
    for name in (old, kept):
        os.utime(ledger.folder / "results" / name, (long_ago, long_ago))
    assert ledger.sweep() == 1
    assert files(ledger) == {kept, fresh}


def test_sweep__without_results(ledger: Ledger) -> None:
    assert ledger.sweep() == 0
    (ledger.folder / "results").write_text("in the way")
    assert ledger.sweep() == 0
    with pytest.raises(StoreError, match=r"a result of 65537 bytes cannot be written"):
        ledger.keep(BIG)


def test_turn__stale_outcome_drops_its_file(ledger: Ledger) -> None:
    job = add_one(ledger)
    ledger.turn("me", n=1)
    late = done(ledger, job, value=BIG)
    ledger.cancel([job])
    assert ledger.turn("me", [late]).accepted == (False,)
    assert files(ledger) == set()
    assert ledger.job(job).state == "cancelled"


def test_turn__told_twice_keeps_its_file(ledger: Ledger) -> None:
    job = add_one(ledger)
    ledger.turn("me", n=1)
    outcome = done(ledger, job, value=BIG)
    assert ledger.turn("me", [outcome, outcome]).accepted == (True, False)
    assert ledger.turn("me", [outcome]).accepted == (False,)  # as after an answer that did not arrive
    assert ledger.result(job) == BIG


def test_add__all_or_none(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="after=99: there is no such job"):
        ledger.add([(asked(), "{}", BIG), (asked(after=(99,)), "{}", None)])
    assert files(ledger) == set()

    def breaks() -> Iterator[Any]:
        yield asked(), "{}", BIG
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        ledger.add(breaks())
    assert files(ledger) == set()
    assert ledger.jobs() == []


# jobs that need or equal others


def test_revive__not_when_what_it_needs_was_cleared(ledger: Ledger) -> None:
    first = add_one(ledger)
    later = add_one(ledger, after=(first,))
    run_one(ledger)
    ledger.cancel([later])
    assert ledger.clear(["completed"]) == 1
    assert ledger.revive([later]) == []
    assert ledger.job(later).after == (first,)


def test_add__after_a_job_that_was_cleared(ledger: Ledger) -> None:
    first = add_one(ledger)
    run_one(ledger)
    assert ledger.clear() == 1
    with pytest.raises(
        InputError, match=f"after={first}: there is no such job in this queue. Submit it first"
    ):
        add_one(ledger, after=(first,))


def test_revive__of_a_follower(ledger: Ledger) -> None:
    leader, follower = (add_one(ledger, digest="d" * 64) for _ in range(2))
    ledger.turn("me", n=2)
    assert ledger.cancel([follower]) == [follower]
    assert ledger.revive([follower]) == [follower]  # whether or not the other has ended
    ledger.turn("me", [Settled(leader, 1, "fail", error="x", seconds=1.0)])
    assert ledger.revive([leader]) == [leader]
    assert ledger.clear(["failed"]) == 0


@pytest.mark.parametrize("event", ["retry", "lose", "fail"])
def test_followers__run_themselves_when_the_other_does_not(ledger: Ledger, event: Any) -> None:
    """An urgent one does not wait in an ordinary one's place."""
    leader = add_one(ledger, digest="d" * 64, priority=-5)
    ledger.turn("me", n=1)
    urgent = add_one(ledger, digest="d" * 64, priority=100)
    add_one(ledger, priority=50)
    assert [claim.job for claim in ledger.turn("me", n=1).claims] != [urgent]
    assert ledger.job(urgent).state == "waiting"
    turn = ledger.turn("me", [Settled(leader, 1, event, error="x", seconds=1.0)], n=2)
    assert turn.claims[0].job == urgent
    assert ledger.job(leader).state == ("failed" if event == "fail" else "waiting")
    ledger.turn("me", [done(ledger, urgent)])
    assert ledger.job(leader).state == ("failed" if event == "fail" else "cached")


def test_followers__keep_their_turn(ledger: Ledger) -> None:
    leader, follower = (add_one(ledger, digest="d" * 64) for _ in range(2))
    (before,) = rows(ledger, "SELECT due FROM jobs WHERE id = ?", follower)
    ledger.turn("me", n=2)
    add_one(ledger, cost=5000.0)
    ledger.turn("me", [Settled(leader, 1, "fail", error="x", seconds=900.0)])
    assert ledger.job(follower).state == "queued"
    assert rows(ledger, "SELECT due FROM jobs WHERE id = ?", follower) == [before]


def test_patience__is_that_of_the_ledger_for_released_jobs(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, patience=50.0)
    first = add_one(ledger)
    later = add_one(ledger, after=(first,))
    run_one(ledger)
    assert rows(ledger, "SELECT due FROM jobs WHERE id = ?", later) == [(51.0,)]
    ledger.close()


def test_cancel__is_charged_what_it_ran(ledger: Ledger, clock: HandClock) -> None:
    """Or one who cancels in time would be served for ever, and nobody else become overdue."""
    job = add_one(ledger, cost=100.0)
    ledger.turn("me", n=1)
    clock.pass_(40.0)
    ledger.cancel([job])
    assert rows(ledger, "SELECT used_s FROM groups") == [(40.0,)]
    assert rows(ledger, "SELECT seconds FROM served") == [(40.0,)]
    assert ledger.job(job).run_s == 40.0


def test_answer_of_an_equal_job__what_ran_in_vain_stays_counted(ledger: Ledger) -> None:
    first = add_one(ledger, digest="d" * 64)
    ledger.turn("me", n=1)
    ledger.turn("me", [Settled(first, 1, "retry", error="x", seconds=3.0, delay=100.0)])
    leader = add_one(ledger, digest="d" * 64)
    ledger.turn("me", n=1)
    rows(ledger, "UPDATE jobs SET hold = NULL WHERE id = ?", first)
    assert not ledger.turn("me", n=1).claims
    assert ledger.job(first).state == "waiting"
    ledger.turn("me", [done(ledger, leader, 1)])
    assert (ledger.job(first).state, ledger.job(first).run_s) == ("cached", 3.0)
    assert rows(ledger, "SELECT seconds FROM served") == [
        (ledger.job(first).run_s + (ledger.job(leader).run_s or 0.0),)
    ]


def test_chain__of_thousands_ends_without_recursion(ledger: Ledger) -> None:
    n = 3000
    for how in ("cancel", "fail"):
        first = add_one(ledger)
        ids = [first, *ledger.add((asked(after=(job,)), "{}", None) for job in range(first, first + n))]
        if how == "cancel":
            assert ledger.cancel([first]) == [first]
        else:
            ledger.turn("me", n=1)
            ledger.turn("me", [Settled(first, 1, "fail", error="x", seconds=1.0)])
        assert set(ledger.ended_among(ids[1:]).values()) == {"failed"}
        assert ledger.job(ids[-1]).error == f"job {ids[-2]}, which it needs, failed"
        assert_accounts(ledger)


def test_chain__cancelled_or_cleared_as_a_whole(ledger: Ledger) -> None:
    first = add_one(ledger)
    second = add_one(ledger, after=(first,))
    third = add_one(ledger, after=(second,))
    assert ledger.cancel([first, second, third]) == [first, second, third]
    assert ledger.count()["cancelled"] == 3
    older = ledger.add((asked(), "{}", None) for _ in range(2))
    add_one(ledger, after=(older[0],))
    assert ledger.clear(["queued", "waiting"]) == 3
    assert ledger.count()["cancelled"] == 3  # those of before stay
    assert [one.state for one in ledger.history()] == ["cancelled"] * 6


# strange values

TEXTS = ['it\'s "quoted"; DROP TABLE jobs; --', "nul\x00inside", "emoji 💊 é ß 用量", "", " ", "%s {} \\n\n"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts__come_back_as_they_went(ledger: Ledger, text: str) -> None:
    job = ledger.add([(asked(text, group=text, family=text), json.dumps(text), None)])[0]
    (claim,) = ledger.turn(text, n=1).claims
    assert json.loads(claim.spec) == text
    assert json.loads(ledger.spec(job)) == text
    assert ledger.held_by(text) == {(job, 1)}
    ledger.turn(text, [Settled(job, 1, "fail", error=text, note=text, seconds=1.0)])
    found = ledger.job(job)
    assert (found.title, found.group, found.error) == (text, text, text)
    assert ledger.jobs(group=text) == [found]
    if text:
        assert ledger.log(job)[-1].text == text


@pytest.mark.parametrize("job", [0, -1, 2**63, 10**30, 1.0, math.nan, True, "1", None, "x' OR 1"])
def test_ids__that_are_none(ledger: Ledger, job: Any) -> None:
    add_one(ledger)
    for ask in (
        ledger.job,
        ledger.log,
        ledger.spec,
        ledger.result,
        ledger.digest,
        lambda one: ledger.cancel([one]),
        lambda one: ledger.revive([one]),
        lambda one: ledger.ended_among([one]),
        lambda one: add_one(ledger, after=(one,)),
    ):
        with pytest.raises(InputError, match="the id of a job is a whole number from 1 on"):
            ask(job)
    assert ledger.count()["queued"] == 1


def test_ids__that_are_not_there(ledger: Ledger) -> None:
    for ask in (ledger.job, ledger.log, ledger.result, lambda one: ledger.cancel([one])):
        with pytest.raises(InputError, match="job=7: there is no such job in this queue"):
            ask(7)
    assert ledger.ended_among([7]) == {7: "cancelled"}


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan, 1e200])
def test_add__a_cost_that_would_spoil_the_accounts(ledger: Ledger, cost: float) -> None:
    with pytest.raises(InputError, match=r"cost=.*it must be above 0, and below 1e100"):
        add_one(ledger, cost=cost)
    with pytest.raises(InputError, match=r"size=.*it must be above 0, and below 1e100"):
        add_one(ledger, size=cost)


@pytest.mark.parametrize("priority", [1001, -1001, 2**70, 5.5, math.nan, True, "5"])
def test_add__a_priority_that_is_none(ledger: Ledger, priority: Any) -> None:
    with pytest.raises(InputError, match=r"priority=.*a whole number, -1000 \.\. 1000"):
        add_one(ledger, priority=priority)


def test_clear__not_what_runs(ledger: Ledger) -> None:
    for states in (["running"], ["completed", "unheard"]):
        with pytest.raises(
            InputError, match="jobs of these states can be cleared: waiting, queued, completed"
        ):
            ledger.clear(states)  # type: ignore[arg-type]
