from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tdmx_dask.jobs import accounts
from tdmx_dask.jobs.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    database = Database(tmp_path / "queue")
    with database.writing() as connection:
        yield connection
    database.close()


def used(db: sqlite3.Connection) -> dict[str, float]:
    return dict(db.execute("SELECT name, used_s FROM groups").fetchall())


def test_estimate__of_a_family_never_seen(db: sqlite3.Connection) -> None:
    found = accounts.estimate(db, "new", 3.0)
    assert found.seconds == accounts.UNKNOWN_SECONDS
    assert found.factor == math.inf


def test_estimate__recovers_rate_and_scatter(db: sqlite3.Connection) -> None:
    rng = np.random.default_rng(1)
    for size in rng.uniform(1, 1000, 400):
        accounts.learn(db, "f", size, 0.02 * size * math.exp(rng.normal(0, 0.3)))
    found = accounts.estimate(db, "f", 1.0)
    # About 50 runs count: the mean of the log has a standard error of 0.3 / sqrt(50) = 0.04, its spread one of 10 %.
    assert abs(math.log(found.seconds / 0.02)) < 4 * 0.3 / math.sqrt(50)
    assert math.log(found.factor) == pytest.approx(0.3, rel=0.4)


def test_estimate__is_proportional_to_size(db: sqlite3.Connection) -> None:
    for seconds in (1.0, 2.0, 4.0):
        accounts.learn(db, "f", 10.0, seconds)
    one, many = accounts.estimate(db, "f", 10.0), accounts.estimate(db, "f", 1000.0)
    assert one.seconds == pytest.approx(2.0)  # the geometric mean
    assert many.seconds == pytest.approx(200.0)
    assert (
        many.factor == one.factor == pytest.approx(2.0)
    )  # log 2 is the standard deviation of (0, 1, 2) log 2


def test_estimate__is_exact_of_runs_that_do_not_scatter(db: sqlite3.Connection) -> None:
    accounts.learn(db, "f", 2.0, 6.0)
    assert accounts.estimate(db, "f", 1.0) == (
        pytest.approx(3.0),
        math.inf,
    )  # one run says nothing of scatter
    accounts.learn(db, "f", 2.0, 6.0)
    assert accounts.estimate(db, "f", 1.0) == pytest.approx((3.0, 1.0))


def test_estimate__forgets(db: sqlite3.Connection) -> None:
    for seconds in [1.0] * 200 + [10.0] * 300:
        accounts.learn(db, "f", 1.0, seconds)
    assert accounts.estimate(db, "f", 1.0).seconds == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(("size", "seconds"), [(1e-99, 1e9), (1e99, 0.0), (1e-99, 0.0), (1e99, 1e9)])
def test_estimate__is_finite_at_the_ends(db: sqlite3.Connection, size: float, seconds: float) -> None:
    accounts.learn(db, "f", size, seconds)
    accounts.learn(db, "f", 1.0, 1.0)
    for other in (1e-99, 1.0, 1e99):
        assert 0 <= accounts.estimate(db, "f", other).seconds < math.inf


def test_queued__who_was_away_saved_nothing(db: sqlite3.Connection) -> None:
    accounts.queued(db, "busy", 10.0)
    accounts.charge(db, "busy", 700.0)
    accounts.queued(db, "new", 1.0)
    assert used(db) == {"busy": 700.0, "new": 700.0}


def test_queued__nor_while_the_queue_was_empty_for_a_moment(db: sqlite3.Connection) -> None:
    accounts.queued(db, "busy", 10.0)
    accounts.unqueued(db, "busy", 10.0)
    accounts.charge(db, "busy", 700.0)  # all of it runs, and nobody waits
    accounts.queued(db, "new", 1.0)
    accounts.queued(db, "busy", 10.0)
    assert used(db) == {"busy": 700.0, "new": 700.0}


def test_queued__keeps_what_one_has_used(db: sqlite3.Connection) -> None:
    accounts.queued(db, "little", 1.0)
    accounts.queued(db, "much", 1.0)
    accounts.charge(db, "much", 50.0)
    accounts.unqueued(db, "much", 1.0)
    accounts.queued(db, "much", 1.0)
    assert used(db) == {"little": 0.0, "much": 50.0}


def test_unqueued__leaves_no_rest_of_rounding(db: sqlite3.Connection) -> None:
    costs = [0.1 * k for k in range(1, 200)]
    for cost in costs:
        accounts.queued(db, "a", cost)
    for cost in sorted(costs, reverse=True):
        accounts.unqueued(db, "a", cost)
    assert db.execute("SELECT waiting, waiting_s FROM groups").fetchall() == [(0, 0.0)]


def test_due__is_k_fair_shares(db: sqlite3.Connection) -> None:
    for group, cost in (("a", 300.0), ("a", 200.0), ("b", 100.0), ("c", 1.0)):
        accounts.queued(db, group, cost)
    accounts.charge(db, "c", 1000.0)
    assert accounts.K == 4
    assert accounts.due(db, "a", patience=600.0) == 1000 + 4 * 3 * 500
    assert accounts.due(db, "b", patience=600.0) == 1000 + 4 * 3 * 100
    assert accounts.due(db, "c", patience=600.0) == 1000 + 600
    db.execute("UPDATE groups SET share = 2 WHERE name = 'a'")
    assert accounts.due(db, "a", patience=600.0) == 1000 + 4 * 500 * (2 + 1 + 1) / 2


def test_due__grows_by_what_waits_in_front(db: sqlite3.Connection) -> None:
    found = []
    for _ in range(5):
        accounts.queued(db, "a", 200.0)
        found.append(accounts.due(db, "a", patience=0.0))
    assert [after - before for before, after in itertools.pairwise(found)] == [800.0] * 4
