"""Who is next: the order of the queue, and what it promises."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import sqlite3
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdmx_dask.jobs import accounts, moves
from tdmx_dask.jobs.claims import Claim, claim, next_job
from tdmx_dask.jobs.database import Database
from tdmx_dask.jobs.moves import Settled
from tests.jobs.ledgers import HandClock, asked

CLOCK = HandClock()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A queue's file within one transaction: these tests ask who is next, thousands of times."""
    database = Database(tmp_path / "queue")
    with database.writing() as connection:
        yield connection
    database.close()


def put(
    db: sqlite3.Connection, group: str = "a", priority: int = 5, cost: float = 1.0, *, patience: float = 600.0
) -> int:
    return moves.add(db, asked(group=group, priority=priority, cost=cost), "{}", CLOCK, patience=patience)


def take(db: sqlite3.Connection) -> Claim:
    found = claim(db, "me", CLOCK)
    assert found is not None
    return found


def finish(db: sqlite3.Connection, one: Claim, seconds: float) -> None:
    assert moves.settle(db, "me", Settled(one.job, one.number, "complete", b"1", seconds=seconds), CLOCK)


def served(db: sqlite3.Connection) -> float:
    return float(db.execute("SELECT seconds FROM served").fetchone()[0])


# the order


def test_next_job__by_priority_then_group_then_length_then_age(db: sqlite3.Connection) -> None:
    assert next_job(db) is None
    old = put(db, cost=1.0)
    young = put(db, cost=1.0)
    long = put(db, cost=9.0)
    other = put(db, "b", cost=2.0)
    urgent = put(db, "b", priority=6, cost=0.5)
    order = [take(db).job for _ in range(5)]
    # b has used 0.5 s when it is a's turn, then a has used 9 s when it is b's
    assert order == [urgent, long, other, old, young]


def test_next_job__a_late_urgent_one_goes_first(db: sqlite3.Connection) -> None:
    for i in range(200):
        put(db, "abcd"[i % 4], cost=1 + i % 7)
    for _ in range(50):
        finish(db, take(db), 3.0)
    urgent = put(db, "a", priority=6, cost=0.1)
    assert take(db).job == urgent


def test_next_job__an_overdue_one_goes_before_an_urgent_one(db: sqlite3.Connection) -> None:
    low = put(db, "a", priority=-1000)
    urgent = put(db, "b", priority=1000)
    accounts.charge(db, "b", 599.0)
    assert next_job(db) == urgent
    accounts.charge(db, "b", 1.0)
    assert next_job(db) == low
    assert next_job(db, above=5) == urgent  # reserved for urgent ones
    assert next_job(db, above=1000) is None


def oracle(db: sqlite3.Connection, above: int | None) -> int | None:
    """The order, as it is said: over a list, without any index."""
    now = served(db)
    used = {
        name: used_s / share for name, used_s, share in db.execute("SELECT name, used_s, share FROM groups")
    }
    ready = db.execute(
        "SELECT id, priority, grp, cost, due FROM jobs WHERE state = 'queued' AND hold IS NULL"
    ).fetchall()
    if above is not None:
        ready = [row for row in ready if row[1] > above]
    if not ready:
        return None
    overdue = [(due, job) for job, _, _, _, due in ready if due <= now]
    if overdue and above is None:
        return int(min(overdue)[1])
    return int(
        min((-priority, used[group], group, -cost, job) for job, priority, group, cost, _ in ready)[-1]
    )


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.integers(-2, 2),
            st.sampled_from("abc"),
            st.sampled_from((0.5, 1.0, 30.0, 200.0)),
        ),
        st.tuples(st.just("take"), st.floats(0, 300), st.just(""), st.just(0.0)),
        st.tuples(st.just("hold"), st.integers(0, 9), st.just(""), st.just(0.0)),
        st.tuples(st.just("share"), st.just(0), st.sampled_from("abc"), st.sampled_from((0.5, 3.0))),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_next_job__as_a_plain_list_has_it(
    db: sqlite3.Connection, steps: list[tuple[str, float, str, float]]
) -> None:
    db.execute("SAVEPOINT example")
    for what, number, group, cost in steps:
        if what == "put":
            put(db, group, int(number), cost, patience=100.0)
        elif what == "take" and (found := claim(db, "me", CLOCK)) is not None:
            finish(db, found, number)
        elif what == "hold":
            db.execute("UPDATE jobs SET hold = 2000 WHERE state = 'queued' AND id % 10 = ?", (number,))
        elif what == "share":
            db.execute("UPDATE groups SET share = ? WHERE name = ?", (cost, group))
        for above in (None, -1, 0, 2):
            assert next_job(db, above) == oracle(db, above)
    db.execute("ROLLBACK TO example")
    db.execute("RELEASE example")


# the promise


@dataclass
class Asked:
    group: str
    n_groups: int
    at: float
    promised: float
    began: float = math.inf

    @property
    def due(self) -> float:
        return self.at + self.promised


@pytest.mark.parametrize(
    ("n_groups", "n_workers", "error", "seed"),
    [(2, 1, 1.0, 1), (3, 4, 1.0, 2), (5, 2, 3.0, 3), (8, 4, 2.0, 4), (8, 1, 3.0, 5)],
)
def test_promise__no_job_waits_beyond_k_fair_shares(
    db: sqlite3.Connection, n_groups: int, n_workers: int, error: float, seed: int
) -> None:
    """A job begins within ``P + f B + (n_workers + 1) f c`` seconds of service after it was queued.

    P is its promise, ``max(PATIENCE, K × fair share)``; its fair share is (groups that wait) × (its group's work in the queue, its own
    included). c is the largest estimate, f the factor by which estimates may be wrong. B is the work that was overdue before it: the sum
    over the groups of ``P' / (K × groups)`` of one job each, so that B <= P' / K where the same groups wait throughout and P' is the
    longest promise among them. Because:

    - When it is overdue, only jobs go first that were so before it. Take that one of them which its group queued last: at that moment all
      the others of its group were in the queue, so that together they are at most what waited there then, and that is at most its
      P' / (K × groups), as a promise is at least K × groups × waiting.
    - Service is charged in advance by the estimate and put right at the end: what runs already and the one that is just taken may shift
      the count by their errors, and the work of the overdue ones takes up to f times its estimate.
    """
    rng = random.Random(seed)  # noqa: S311
    patience, longest = 100.0, 40.0
    now, running = 0.0, list[tuple[float, int, Claim, float]]()
    waiting: dict[int, tuple[str, float]] = {}
    promises: dict[int, Asked] = {}
    counter = itertools.count()

    def submit(group: str, priority: int, cost: float) -> None:
        job = put(db, group, priority, cost, patience=patience)
        waiting[job] = (group, cost)
        ahead = sum(other for name, other in waiting.values() if name == group)
        groups = len({name for name, _ in waiting.values()})
        promises[job] = Asked(group, groups, served(db), max(patience, 4 * groups * ahead))

    for group in range(n_groups):  # all have some low work that any flood would bury
        for _ in range(6):
            submit(f"g{group}", rng.randint(-1000, 5), rng.choice((0.5, 5.0, longest)))
    for step in range(1500):
        flooding = step < 1200
        while len(running) < n_workers and waiting:
            one = take(db)
            waiting.pop(one.job)
            promises[one.job].began = served(db) - one.cost
            true = one.cost * error ** rng.uniform(-1, 1)
            heapq.heappush(running, (now + true, next(counter), one, true))
        if not running:
            break
        now, _, one, true = heapq.heappop(running)
        finish(db, one, true)
        if flooding:  # one floods with urgent work, more than all workers can do; the others ask for little
            submit("g0", 1000, rng.choice((0.5, longest)))
            if rng.random() < 0.5:
                submit("g0", rng.randint(-1000, 1000), 1.0)
            if rng.random() < 0.15:
                submit(f"g{rng.randrange(n_groups)}", rng.randint(-1000, 5), rng.choice((0.5, 5.0, longest)))
    end, excess, late = served(db), 0.0, 0
    for each in promises.values():
        over = min(each.began, end) - each.due
        if over <= 0:
            continue
        late += 1
        backlog: dict[str, tuple[float, float]] = {}  # of the one that each group queued last
        for other in promises.values():
            if other.due <= each.due <= other.began:
                backlog[other.group] = (other.at, other.promised / (4 * other.n_groups))
        before = sum(seconds for _, seconds in backlog.values())
        assert over <= error * before + (n_workers + 1) * error * longest
        excess = max(excess, over / (error * before + (n_workers + 1) * error * longest))
    assert sum(each.began < math.inf for each in promises.values()) > 500
    print(
        f"\n{n_groups} groups, {n_workers} workers, estimates within {error:g}x: {late} of {len(promises)} after their promise",
        end="",
    )
    print(f", by at most {excess:.2f} of what is allowed")


def test_promise__short_jobs_of_another_do_not_starve(db: sqlite3.Connection) -> None:
    """Hundreds of long jobs of one group, one short one of another, of the same priority: it begins after one more at most."""
    for _ in range(300):
        put(db, "long", cost=100.0)
    first = take(db)
    short = put(db, "short", cost=0.1)
    finish(db, first, 100.0)
    assert short in (take(db).job, take(db).job)


@pytest.mark.parametrize("share", [1.0, 3.0])
def test_fairness__two_groups_of_unequal_appetite(db: sqlite3.Connection, share: float) -> None:
    """While both wait, their service (per share) is equal within one job."""
    rng = random.Random(2)  # noqa: S311
    for _ in range(400):
        put(db, "greedy", cost=rng.choice((1.0, 10.0)), patience=1e9)
        db.execute("UPDATE groups SET share = ? WHERE name = 'greedy'", (share,))
    for _ in range(60):
        put(db, "modest", cost=2.0, patience=1e9)
    apart = []
    while db.execute("SELECT count(*) FROM groups WHERE waiting > 0").fetchone()[0] == 2:
        one = take(db)
        finish(db, one, one.cost)
        used = dict(db.execute("SELECT name, used_s / share FROM groups"))
        apart.append(abs(used["greedy"] - used["modest"]))
    assert len(apart) > 60
    assert max(apart) <= 10.0


# longest first


def makespan(costs: list[float], n_workers: int) -> float:
    ends = [0.0] * n_workers
    for cost in costs:
        heapq.heapreplace(ends, ends[0] + cost)
    return max(ends)


def test_longest_first__ends_earlier_than_naive_order(db: sqlite3.Connection) -> None:
    """Within 4/3 - 1/(3m) of the best on m workers (Graham 1969, doi:10.1137/0117039), and on average before the order of arrival."""
    rng = random.Random(3)  # noqa: S311
    ratios = []
    for _ in range(30):
        n_workers = rng.choice((2, 4, 8))
        costs = [rng.lognormvariate(0, 1.2) for _ in range(rng.randint(n_workers, 40))]
        for cost in costs:
            put(db, cost=cost, patience=1e9)
        order = []
        for _ in costs:
            one = take(db)
            order.append(one.cost)
            finish(db, one, one.cost)
        assert order == sorted(costs, reverse=True)
        best = max(sum(costs) / n_workers, max(costs))  # nobody can do better; the best may be worse
        ours, naive = makespan(order, n_workers), makespan(costs, n_workers)
        assert ours <= sum(costs) / n_workers + max(costs) * (1 - 1 / n_workers)
        pairs = sorted(costs, reverse=True)
        if len(costs) > n_workers:  # two of the longest m + 1 jobs share a worker
            best = max(best, pairs[n_workers - 1] + pairs[n_workers])
        assert ours <= (4 / 3 - 1 / (3 * n_workers)) * best * (1 + 1e-9)
        ratios.append(ours / naive)
    print(
        f"\nlongest first: {statistics.mean(ratios):.3f} of the time of naive order ({min(ratios):.3f} .. {max(ratios):.3f})"
    )
    assert statistics.mean(ratios) < 1
