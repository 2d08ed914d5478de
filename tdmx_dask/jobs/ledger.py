"""The ledger: all jobs of a queue, in one folder that survives whoever uses it.

::

    queue/queue.sqlite     jobs, their specs, logs and small results
    queue/results/         results above `INLINE` bytes, one file each
    queue/data/            data in memory that specs refer to, by digest

Each method is one transaction: it is on the disk when the method returns, or it has not happened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdmx_dask.errors import InputError, JobError
from tdmx_dask.jobs import accounts, leases, moves, records
from tdmx_dask.jobs.claims import Claim, claim, release_held
from tdmx_dask.jobs.clock import Clock, Identity
from tdmx_dask.jobs.database import Database
from tdmx_dask.jobs.moves import Settled
from tdmx_dask.jobs.overview import Overview, ended_since, overview
from tdmx_dask.jobs.records import Ended, Job, LogLine, QueueStats
from tdmx_dask.jobs.request import Request
from tdmx_dask.jobs.results import INLINE, Results, left_behind
from tdmx_dask.jobs.state import ENDED, STATES, SUCCEEDED, State

__all__ = ["INLINE", "Ledger", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one visit to the ledger brought.

    Parameters
    ----------
    accepted : for each outcome, whether the claim was still the client's
    claims : jobs to run now
    next_hold : seconds until a delayed job may run; None where there is none
    """

    accepted: tuple[bool, ...]
    claims: tuple[Claim, ...]
    next_hold: float | None


class Ledger:
    """The jobs of a queue.

    Parameters
    ----------
    folder : made if it is not there; on a disk of this machine
    lease : seconds of silence after which a client has lost its jobs
    patience : seconds of service after which, at the earliest, a job is overdue
    clock : of this machine

    Raises
    ------
    StoreError
        As `database.Database`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        lease: float = leases.LEASE_SECONDS,
        patience: float = accounts.PATIENCE,
        clock: Clock | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.data = self.folder / "data"
        self.clock = Clock() if clock is None else clock
        self._lease, self._patience = lease, patience
        self._results = Results(self.folder / "results")
        self._database = Database(self.folder)

    # asking

    def add(self, wanted: Iterable[tuple[Request, str, bytes | None]]) -> list[int]:
        """Add jobs, all or none; return their ids.

        Parameters
        ----------
        wanted : request, its spec as JSON, and its answer where the cache has it

        Raises
        ------
        InputError
            A job that one of them needs is not there, or did not succeed.
        """
        items: list[tuple[Request, str, bytes | None, str | None]] = []
        try:
            items.extend((request, spec, *self._results.keep(answer)) for request, spec, answer in wanted)
            with self._database.writing() as db:
                return [
                    moves.add(
                        db,
                        request,
                        spec,
                        self.clock,
                        answer=inline,
                        answer_file=file,
                        patience=self._patience,
                    )
                    for request, spec, inline, file in items
                ]
        except BaseException:
            self._results.drop(file for _, _, _, file in items)
            raise

    def cancel(self, wanted: Iterable[int]) -> list[int]:
        """Cancel jobs; return those that had not ended."""
        with self._database.writing() as db:
            ids = list(wanted)
            moves.known(db, ids)
            latest_first = sorted(set(ids), reverse=True)  # or those that need another would fail with it
            cancelled = {job for job in latest_first if moves.cancel(db, job, self.clock)}
        return [job for job in dict.fromkeys(ids) if job in cancelled]

    def revive(self, wanted: Iterable[int]) -> list[int]:
        """Queue jobs again that failed or were cancelled; return those that did."""
        with self._database.writing() as db:
            ids = list(wanted)
            moves.known(db, ids)
            return [job for job in ids if moves.revive(db, job, self.clock)]

    def clear(self, states: Collection[State] = tuple(ENDED)) -> int:
        """Remove jobs; their figures stay in the history. Waiting and queued ones are cancelled; a running one is not removed.

        Jobs that others wait for stay.
        """
        strange = [state for state in states if state not in STATES or state == "running"]
        if strange:
            rule = f"jobs of these states can be cleared: {', '.join(state for state in STATES if state != 'running')}"
            raise InputError("states", strange[0], rule, "Cancel running jobs first.")
        with self._database.writing() as db:
            n, files = moves.clear(db, states, self.clock)
        self._results.drop(files)
        return n

    # working

    def turn(
        self,
        client: str,
        outcomes: Sequence[Settled] = (),
        *,
        n: int = 0,
        urgent: int = 0,
        above: int = 0,
        notes: Iterable[tuple[int, str, str | None]] = (),
        progress: Mapping[int, tuple[int, int]] | None = None,
    ) -> Turn:
        """Settle what has ended and claim what is next, in one transaction.

        Parameters
        ----------
        client : who asks
        outcomes : of claims
        n : most jobs to claim
        urgent, above : besides, at most so many jobs of a priority higher than `above`
        notes : (job, line of its log, where it runs or None)
        progress : job -> (done, total)
        """
        with self._database.writing() as db:
            for job, text, worker in notes:
                moves.note(db, job, self.clock, text)
                if worker is not None:
                    db.execute("UPDATE jobs SET worker = ? WHERE id = ? AND owner = ?", (worker, job, client))
            for job, (done, total) in (progress or {}).items():
                db.execute(
                    "UPDATE jobs SET done = ?, total = ? WHERE id = ? AND owner = ?",
                    (done, total, job, client),
                )
            accepted = tuple(moves.settle(db, client, outcome, self.clock) for outcome in outcomes)
            stale = [
                each.result_file
                for each, taken in zip(outcomes, accepted, strict=True)
                if not taken and not moves.refers(db, each)
            ]
            next_hold = release_held(db, self.clock)
            claims: list[Claim] = []
            for limit in [None] * n + [above] * urgent:
                found = claim(db, client, self.clock, limit)
                if found is None:
                    break
                claims.append(found)
        self._results.drop(stale)
        return Turn(accepted, tuple(claims), next_hold)

    def keep(self, value: bytes) -> tuple[bytes | None, str | None]:
        """Prepare a result for `Settled`: itself where it is small, else the name of a file that is on the disk now."""
        return self._results.keep(value)

    def held_by(self, client: str) -> set[tuple[int, int]]:
        """Claims (job, number) that are still a client's."""
        with self._database.reading() as db:
            return set(
                db.execute(
                    "SELECT id, claims FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND owner = ?",
                    (client,),
                )
            )

    def beat(self, client: str, who: Identity, slots: int) -> list[int]:
        """Say that a client lives; take the jobs of those that do not, and return their ids."""
        with self._database.writing() as db:
            leases.beat(db, client, who, slots, self.clock)
            return leases.recover(db, client, self.clock, self._lease)

    def leave(self, client: str) -> None:
        """Strike off a client that ends; what it still holds is queued again."""
        with self._database.writing() as db:
            for job, claims in db.execute(
                "SELECT id, claims FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND owner = ?",
                (client,),
            ).fetchall():
                moves.settle(db, client, Settled(job, claims, "lose", note="given back"), self.clock)
            leases.leave(db, client)

    def sweep(self) -> int:
        """Remove results and data that no job refers to, and that nobody has touched for an hour; return their number.

        Processes that died leave results, and jobs that were cleared leave data.
        """
        with self._database.reading() as db:
            kept = {
                row[0] for row in db.execute("SELECT result_file FROM jobs WHERE result_file IS NOT NULL")
            }
            lost = [path for path in left_behind(self._results.folder) if path.name not in kept]
            for path in left_behind(self.data):
                if (
                    db.execute("SELECT 1 FROM bodies WHERE instr(spec, ?) LIMIT 1", (path.name,)).fetchone()
                    is None
                ):
                    lost.append(path)
        for path in lost:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return len(lost)

    # reading

    def changes(self) -> int:
        """A number that is another one after another process has written."""
        return self._database.changes()

    def stamp(self) -> tuple[int, int]:
        """Another value after anybody has written, this process too."""
        return self._database.stamp()

    def job(self, job: int) -> Job:
        """One job; `InputError` where there is none."""
        with self._database.reading() as db:
            return records.read_job(db, job)

    def jobs(
        self,
        *,
        states: Sequence[State] | None = None,
        kind: str | None = None,
        group: str | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """Jobs, the latest first."""
        with self._database.reading() as db:
            return records.jobs(db, states=states, kind=kind, group=group, limit=limit)

    def log(self, job: int) -> list[LogLine]:
        """The log of a job."""
        with self._database.reading() as db:
            moves.known(db, [job])
            return records.log_of(db, job)

    def spec(self, job: int) -> str:
        """The spec of a job, JSON."""
        with self._database.reading() as db:
            moves.known(db, [job])
            return str(db.execute("SELECT spec FROM bodies WHERE job = ?", (job,)).fetchone()[0])

    def digest(self, job: int) -> str | None:
        """Address of a job's answer."""
        with self._database.reading() as db:
            moves.known(db, [job])
            found = db.execute("SELECT digest FROM jobs WHERE id = ?", (job,)).fetchone()[0]
        return None if found is None else str(found)

    def result(self, job: int) -> bytes:
        """The encoded result of a job that has succeeded.

        Raises
        ------
        JobError
            It has none (yet).
        StoreError
            Its file is gone.
        """
        with self._database.reading() as db:
            moves.known(db, [job])
            state, file, inline = db.execute(
                "SELECT state, result_file, result FROM jobs JOIN bodies ON bodies.job = jobs.id WHERE id = ?",
                (job,),
            ).fetchone()
        if state not in SUCCEEDED:
            raise JobError("job", job, f"it is {state}, and has no result", "")
        if file is None:
            return bytes(inline)
        return self._results.read(file)

    def overview(self, shown: int = 0) -> Overview:
        """What is going on, with at most so many upcoming and failed jobs; cheap."""
        with self._database.reading() as db:
            return overview(db, self.clock, lease=self._lease, shown=shown)

    def ended_since(self, at: float) -> tuple[int, float]:
        """Jobs that ended after a time, and when the first of them began, s since 1970."""
        with self._database.reading() as db:
            return ended_since(db, at)

    def count(self) -> dict[State, int]:
        """Jobs in each state."""
        with self._database.reading() as db:
            return records.count(db)

    def stats(self) -> QueueStats:
        """Figures over all jobs that there have been."""
        with self._database.reading() as db:
            return records.stats(db)

    def history(self) -> list[Ended]:
        """All jobs that have ended, those cleared since included, in the order in which they did."""
        with self._database.reading() as db:
            return records.history(db)

    def ended_among(self, wanted: Iterable[int]) -> dict[int, State]:
        """Those of some jobs that have ended, and how."""
        with self._database.reading() as db:
            return records.ended_among(db, wanted)

    def estimate(self, family: str, size: float) -> accounts.Estimate:
        """What a job may cost, from earlier runs of its family."""
        with self._database.reading() as db:
            return accounts.estimate(db, family, size)

    def estimates(self) -> list[tuple[str, float, float, float]]:
        """(family, runs that count, seconds of a unit of size, factor of its scatter) of what was learned."""
        with self._database.reading() as db:
            rows = db.execute("SELECT family, n FROM rates ORDER BY family").fetchall()
            return [(family, n, *accounts.estimate(db, family, 1.0)) for family, n in rows]

    def close(self) -> None:
        """Close the file."""
        self._database.close()
