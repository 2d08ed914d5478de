"""The ledger against a model of it in plain Python, by what Hypothesis thinks of."""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tdmx_dask.errors import InputError, JobError
from tdmx_dask.jobs.claims import Claim
from tdmx_dask.jobs.ledger import INLINE, Ledger
from tdmx_dask.jobs.moves import MOST_LOSSES, Settled
from tdmx_dask.jobs.state import STATES, State
from tests.jobs.ledgers import ELSEWHERE, HandClock, asked, assert_accounts, rows

CLIENTS = ("one", "two", "three")
DIGESTS = ("a" * 64, "b" * 64)
LEASE = 30.0
ENDED = {"completed", "cached", "failed", "cancelled"}
SUCCEEDED = {"completed", "cached"}
OPEN = {"waiting", "queued", "running"}


@dataclass
class ModelJob:
    priority: int
    group: str
    cost: float
    digest: str | None
    after: tuple[int, ...]
    state: str
    answer: bytes | None = None
    follows: int | None = None
    owner: str | None = None
    claims: int = 0
    losses: int = 0
    hold: float | None = None


@dataclass
class Model:
    """Jobs as dictionaries: no index, no transaction, no accounts."""

    jobs: dict[int, ModelJob] = field(default_factory=dict)
    beats: dict[str, tuple[str, float]] = field(default_factory=dict)
    cleared: dict[int, str] = field(default_factory=dict)
    cleared_attempts: int = 0

    def end(self, job: int, state: str, answer: bytes | None = None) -> None:
        one = self.jobs[job]
        one.state, one.answer, one.owner, one.hold, one.follows = state, answer, None, None, None
        self.ripple(job)

    def ripple(self, job: int) -> None:
        """What the others make of a job that has ended, or runs no more."""
        one = self.jobs[job]
        for other_id, other in sorted(self.jobs.items()):
            if other.state != "waiting":
                continue
            if other.follows == job:
                if one.state in SUCCEEDED:
                    self.end(other_id, "cached", one.answer)
                else:
                    other.state, other.follows = "queued", None
            elif job in other.after:
                if one.state in {"failed", "cancelled"}:
                    self.end(other_id, "failed")
                elif self.ready(other):
                    other.state = "queued"

    def ready(self, one: ModelJob) -> bool:
        return all(need in self.jobs and self.jobs[need].state in SUCCEEDED for need in one.after)

    def requeue(self, job: int) -> None:
        one = self.jobs[job]
        one.state, one.owner = "queued", None
        self.ripple(job)

    def lose(self, job: int) -> None:
        one = self.jobs[job]
        one.losses += 1
        if one.losses > MOST_LOSSES:
            self.end(job, "failed")
        else:
            self.requeue(job)

    def claimed(self, client: str, claim: Claim) -> None:
        one = self.jobs[claim.job]
        assert one.state == "queued"
        assert one.hold is None
        one.claims += 1
        assert claim.number == one.claims
        assert claim.needs == tuple(sorted(set(one.after)))
        one.state, one.owner = "running", client

    def cancel(self, job: int) -> bool:
        if self.jobs[job].state in ENDED:
            return False
        self.end(job, "cancelled")
        return True


jobs_drawn = st.integers(0, 40)


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="ledger-")
        self.clock = HandClock()
        self.ledgers = [Ledger(self.folder, lease=LEASE, clock=self.clock) for _ in range(2)]
        self.model = Model()
        self.gone: list[tuple[str, int, int]] = []  # claims that were somebody's once
        self.turns = 0
        for client in CLIENTS[:2]:
            self.beat(client)
        for digest in (None, *DIGESTS[:1] * 3):
            self.add([(2, "x", 1.0, digest, [], 0)])
        self.add([(3, "y", 1.0, None, [0], 0)])
        self._turn("one", [], 2, 0)

    def teardown(self) -> None:
        for ledger in getattr(self, "ledgers", []):
            ledger.close()
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)

    @property
    def ledger(self) -> Ledger:
        """The two by turns."""
        self.turns += 1
        return self.ledgers[self.turns % 2]

    def pick(self, number: int, *states: str) -> int | None:
        found = [job for job, one in self.model.jobs.items() if not states or one.state in states]
        return found[number % len(found)] if found else None

    # asking

    @rule(
        many=st.lists(
            st.tuples(
                st.integers(-3, 3),
                st.sampled_from("xyz"),
                st.sampled_from((0.5, 1.0, 20.0)),
                st.sampled_from((None, None, *DIGESTS)),
                st.lists(jobs_drawn, max_size=2),
                st.sampled_from((0, 0, 0, 1, INLINE + 1)),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def add(self, many: list[tuple[int, str, float, str | None, list[int], int]]) -> None:
        wanted, models, refused = [], [], False
        for priority, group, cost, digest, needs, length in many:
            answer = b"x" * length or None
            after = tuple(need for number in needs if (need := self.pick(number)) is not None)
            wanted.append(
                (asked(group=group, priority=priority, cost=cost, digest=digest, after=after), "{}", answer)
            )
            state = "queued"
            if answer is not None:
                state = "cached"
            elif any(self.model.jobs[need].state in {"failed", "cancelled"} for need in after):
                refused = True
            elif any(self.model.jobs[need].state not in SUCCEEDED for need in after):
                state = "waiting"
            models.append(ModelJob(priority, group, cost, digest, tuple(sorted(set(after))), state, answer))
        if refused:
            with pytest.raises(InputError, match=r"after=\d+: that job is (failed|cancelled)"):
                self.ledger.add(wanted)
            return
        ids = self.ledger.add(wanted)
        assert not set(ids) & (set(self.model.jobs) | set(self.model.cleared))
        self.model.jobs |= dict(zip(ids, models, strict=True))

    @rule(numbers=st.lists(jobs_drawn, min_size=1, max_size=3))
    def cancel(self, numbers: list[int]) -> None:
        ids = [job for number in numbers if (job := self.pick(number)) is not None]
        found = self.ledger.cancel(ids)
        expected = {job for job in sorted(set(ids), reverse=True) if self.model.cancel(job)}
        assert set(found) == expected
        assert len(found) == len(expected)

    @rule(number=jobs_drawn)
    def cancel_follower(self, number: int) -> None:
        found = [job for job, one in self.model.jobs.items() if one.follows is not None]
        if found:
            job = found[number % len(found)]
            assert self.ledger.cancel([job]) == [job]
            self.model.cancel(job)

    @rule(number=jobs_drawn)
    def revive(self, number: int) -> None:
        job = self.pick(number, "failed", "cancelled")
        if job is None:
            return
        one = self.model.jobs[job]
        can = self.model.ready(one)
        assert self.ledger.revive([job]) == ([job] if can else [])
        if can:
            one.state, one.losses, one.hold = "queued", 0, None

    @rule(states=st.sets(st.sampled_from([state for state in STATES if state != "running"])))
    def clear(self, states: set[State]) -> None:
        chosen = {job for job, one in self.model.jobs.items() if one.state in states}
        for job in sorted(chosen, reverse=True):
            self.model.cancel(job)
        needed = {
            other
            for one in self.model.jobs.values()
            if one.state in OPEN
            for other in (*one.after, one.follows)
        }
        chosen -= needed
        assert self.ledger.clear(states) == len(chosen)
        for job in chosen:
            one = self.model.jobs.pop(job)
            self.model.cleared[job] = one.state
            self.model.cleared_attempts += one.claims

    # working

    @rule(client=st.sampled_from(CLIENTS), n=st.integers(0, 3), urgent=st.integers(0, 1))
    def turn(self, client: str, n: int, urgent: int) -> None:
        self._turn(client, [], n, urgent)

    @rule(
        number=jobs_drawn,
        event=st.sampled_from(("complete", "hit", "fail", "retry", "lose")),
        big=st.booleans(),
        delay=st.sampled_from((0.0, 7.0)),
        n=st.integers(0, 2),
    )
    def settle(self, number: int, event: str, big: bool, delay: float, n: int) -> None:
        job = self.pick(number, "running")
        if job is None:
            self._turn(CLIENTS[number % 2], [], 2, 0)
            return
        one = self.model.jobs[job]
        assert one.owner is not None
        value = b"%d" % job * (INLINE if big else 1) if event in ("complete", "hit") else None
        inline, file = self.ledger.keep(value) if value is not None else (None, None)
        outcome = Settled(
            job, one.claims, event, inline, file, "error" if value is None else None, "note", 0.5, delay
        )  # type: ignore[arg-type]
        client = one.owner
        self.gone.append((client, job, one.claims))
        if event == "complete":
            self.model.end(job, "completed", value)
        elif event == "hit":
            self.model.end(job, "cached", value)
        elif event == "fail":
            self.model.end(job, "failed")
        else:
            one.hold = self.clock.tick + delay if event == "retry" and delay else None
            self.model.requeue(job)
        self._turn(client, [outcome], n, 0, accepted=(True,))

    @precondition(lambda self: self.gone)
    @rule(number=jobs_drawn)
    def settle_stale(self, number: int) -> None:
        """What comes too late, or a second time, changes nothing."""
        client, job, claim = self.gone[number % len(self.gone)]
        one = self.model.jobs.get(job)
        if one is not None and one.state == "running" and (one.owner, one.claims) == (client, claim):
            return
        inline, file = self.ledger.keep(b"stale" * INLINE)
        stale = Settled(job, claim, "complete", inline, file, seconds=1.0)
        self._turn(client, [stale], 0, 0, accepted=(False,))
        assert file not in {path.name for path in self.ledger.folder.joinpath("results").iterdir()}

    def _turn(
        self, client: str, outcomes: list[Settled], n: int, urgent: int, accepted: tuple[bool, ...] = ()
    ) -> None:
        found = self.ledger.turn(client, outcomes, n=n, urgent=urgent, above=1)
        assert found.accepted == accepted
        for one in self.model.jobs.values():
            if one.hold is not None and one.hold <= self.clock.tick:
                one.hold = None
        holds = [one.hold for one in self.model.jobs.values() if one.hold is not None]
        assert found.next_hold == (min(holds) - self.clock.tick if holds else None)
        # Which one is next is for test_order.py. Here: whoever equals one that runs waits for it, and nobody idles.
        ids = [claim.job for claim in found.claims]
        assert len(ids) <= n + urgent
        for claim in found.claims:
            self.model.claimed(client, claim)
            self.gone.append((client, claim.job, claim.number))
        assert all(self.model.jobs[job].priority > 1 for job in ids[n:])
        for job, follows in rows(
            self.ledger,
            "SELECT job, other FROM needs JOIN jobs ON id = job WHERE follows AND state = 'waiting'",
        ):
            one, other = self.model.jobs[job], self.model.jobs[follows]
            if one.follows is None:
                assert one.state == "queued"
                one.state, one.follows = "waiting", follows
            assert one.follows == follows
            assert other.state == "running"
            assert one.digest == other.digest
        if len(ids) < n:
            assert not [one for one in self.model.jobs.values() if one.state == "queued" and one.hold is None]

    @rule(client=st.sampled_from(CLIENTS))
    def beat(self, client: str) -> None:
        now, boot = self.clock.tick, self.clock.booted
        lost = self.ledger.beat(client, ELSEWHERE, 2)
        beats = self.model.beats
        beats[client] = (boot, now)
        for name, (booted, last) in list(beats.items()):
            if booted != boot or now - last > LEASE:
                del beats[name]
        orphans = [
            job for job, one in self.model.jobs.items() if one.state == "running" and one.owner not in beats
        ]
        assert sorted(lost) == sorted(orphans)
        for job in orphans:
            self.model.lose(job)

    @rule(client=st.sampled_from(CLIENTS))
    def leave(self, client: str) -> None:
        self.ledger.leave(client)
        self.model.beats.pop(client, None)
        for job, one in list(self.model.jobs.items()):
            if one.state == "running" and one.owner == client:
                self.model.requeue(job)

    # time and mishap

    @rule(seconds=st.sampled_from((1.0, 8.0, 31.0)))
    def wait(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(seconds=st.sampled_from((-1e8, -3600.0, 3600.0, 1e8)))
    def set_wall(self, seconds: float) -> None:
        self.clock.walled += seconds

    @rule()
    def reboot(self) -> None:
        self.clock.booted += "'"
        self.clock.tick = 5.0
        for one in self.model.jobs.values():
            if one.hold is not None:
                one.hold = -1.0
        self.reopen()

    @rule()
    def reopen(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.ledgers = [Ledger(self.folder, lease=LEASE, clock=self.clock) for _ in range(2)]

    # what always holds

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        ledger, model = self.ledger, self.model
        found = {job.id: job for job in ledger.jobs()}
        assert {job: one.state for job, one in found.items()} == {
            job: one.state for job, one in model.jobs.items()
        }
        for job, one in model.jobs.items():
            assert found[job].attempts == one.claims
            assert found[job].done == (one.state in ENDED)
            assert set(found[job].after) == set(one.after)
            assert (found[job].ended is not None) == (one.state in ENDED)
            if one.state in SUCCEEDED:
                assert one.answer == ledger.result(job)
            else:
                with pytest.raises(JobError, match=f"job={job}: it is {one.state}, and has no result"):
                    ledger.result(job)
        owners = dict(rows(ledger, "SELECT id, owner FROM jobs WHERE owner IS NOT NULL"))
        assert owners == {job: one.owner for job, one in model.jobs.items() if one.state == "running"}
        for client in CLIENTS:
            held = {(job, one.claims) for job, one in model.jobs.items() if one.owner == client}
            assert ledger.held_by(client) == held
        assert not rows(
            ledger,
            "SELECT 1 FROM bodies WHERE result IS NOT NULL AND job IN (SELECT id FROM jobs WHERE state NOT IN ('completed', 'cached'))",
        )

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "model"):
            return
        ledger, model = self.ledger, self.model
        now = [one.state for one in model.jobs.values()]
        assert ledger.count() == {state: now.count(state) for state in STATES}
        figures = ledger.stats()
        ever = now + list(model.cleared.values())
        assert {state: getattr(figures, state) for state in STATES} == {
            state: ever.count(state) for state in STATES
        }
        assert figures.total == len(ever)
        assert figures.attempts == model.cleared_attempts + sum(one.claims for one in model.jobs.values())
        assert figures.clients == len(model.beats)
        assert not figures.mean_wait_s < 0
        assert math.isnan(figures.mean_run_s) or figures.mean_run_s >= 0
        everyone = {
            **{job: one.state for job, one in model.jobs.items()},
            **dict.fromkeys(model.cleared, "cancelled"),
        }
        assert ledger.ended_among(everyone) == {
            job: state for job, state in everyone.items() if state in ENDED
        }
        history = {one.id: one.state for one in ledger.history()}
        ended = {job: one.state for job, one in model.jobs.items() if one.state in ENDED}
        assert history == {**model.cleared, **ended}

    @invariant()
    def accounts_agree(self) -> None:
        if hasattr(self, "model"):
            assert_accounts(self.ledger)
            running = sum(one.cost for one in self.model.jobs.values() if one.state == "running")
            used = rows(self.ledger, "SELECT seconds FROM served")[0][0]
            assert used >= running - 1e-6

    @invariant()
    def files_agree(self) -> None:
        """A file for each large answer, and no other."""
        if not hasattr(self, "model"):
            return
        answers = {job: one.answer for job, one in self.model.jobs.items() if one.answer is not None}
        named = {
            name
            for (name,) in rows(self.ledger, "SELECT result_file FROM jobs WHERE result_file IS NOT NULL")
        }
        there: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            there = {path.name for path in self.ledger.folder.joinpath("results").iterdir()}
        assert named == there
        assert bool(named) == any(len(answer) > INLINE for answer in answers.values())


LedgerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedger = LedgerMachine.TestCase
