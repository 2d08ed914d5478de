"""A soak of the queue: jobs that raise, time out, allocate and wait, while workers and clients are killed.

``python -m tests.jobs.soak --jobs 2000 --kills 3 --seed 1 --on local`` prints its figures; any job that does not end as planned fails it.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path

import psutil

from tdmx_dask.jobs.ledger import Ledger
from tests.jobs import soak_checks
from tests.jobs.soak_plan import Planned, share

MARK = "TDMX_SOAK"
GROWN = 2.5
"""s after which a worker that replaces another has come up: Dask's nanny gives up where one dies before."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Figures:
    """What happened."""

    jobs: int = 0
    on: str = ""
    seed: int = 0
    seconds: float = 0.0
    jobs_a_second: float = 0.0
    client_kills: int = 0
    worker_kills: int = 0
    child_kills: int = 0
    completed: int = 0
    cached: int = 0
    followed: int = 0
    failed: int = 0
    cancelled: int = 0
    attempts: int = 0
    retries: int = 0
    recovered: int = 0
    executions: int = 0
    again: int = 0
    max_wait_s: float = 0.0
    mean_wait_s: float = 0.0
    unsettled_files: int = 0
    callbacks: int = 0
    more_fds: int = 0

    def __str__(self) -> str:
        lines = []
        for each in fields(self):
            value = getattr(self, each.name)
            text = f"{value:,.2f}" if isinstance(value, float) else str(value)
            lines.append(f"{each.name.replace('_', ' '):<18}{text:>12}")
        return "\n".join(lines)


@dataclass
class Soak:
    """One soak in a folder of its own."""

    folder: Path
    jobs: int
    kills: int
    seed: int
    on: str
    deadline: float
    killed_every: float
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self.log = str(self.folder / "executions")
        Path(self.log).touch()
        (self.folder / "tmp").mkdir()
        self.random = random.Random(self.seed)  # noqa: S311
        self.mark = secrets.token_hex(8)
        n_b = self.jobs // 6
        self.shares = {
            "a": share("a", self.jobs - n_b, self.seed, self.log),
            "b": share("b", n_b, self.seed, self.log),
        }
        self.clients: dict[str, psutil.Process] = {}
        self.starts = 0
        self._ledger: Ledger | None = None
        self._next_kill = 0.0
        self._spared: set[int] = set()
        self._seen: set[psutil.Process] = set()
        self._next_look = 0.0
        self.semaphores_seen = False

    @property
    def ledger(self) -> Ledger:
        """The driver's own connection; it works on nothing."""
        if self._ledger is None:
            self._ledger = Ledger(self.folder / "queue")
        return self._ledger

    def run(self) -> Figures:
        """Soak, and check how it ended."""
        began = time.monotonic()
        try:
            self._soak(began)
            self.figures.seconds = time.monotonic() - began
            self._finish()
        finally:
            for process in self.marked():
                _kill(process)
        soak_checks.check(self)
        self.figures.jobs, self.figures.on, self.figures.seed = self.jobs, self.on, self.seed
        self.figures.jobs_a_second = self.jobs / self.figures.seconds
        return self.figures

    def _soak(self, began: float) -> None:
        """Start clients, kill them, and wait until all jobs have ended."""
        parts = [(i + self.random.uniform(0.05, 0.95)) / self.kills * 0.9 for i in range(self.kills)]
        kills = deque(round(part * self.jobs) for part in parts)
        begin_b, end_b = 0.2 * self.jobs, 0.7 * self.jobs
        self._start("a")
        while (ended := self._ended()) < self.jobs:
            if time.monotonic() - began > self.deadline:
                raise AssertionError(self._stuck(ended))
            for who, client in self.clients.items():
                assert client.is_running(), f"client {who} ended by itself:\n{self.said()}"
                assert client.status() != psutil.STATUS_ZOMBIE, (
                    f"client {who} ended by itself:\n{self.said()}"
                )
            if kills and ended >= kills[0]:
                kills.popleft()
                time.sleep(self.random.uniform(0, 0.1))
                self._kill_client("a")
                time.sleep(self.random.choice([0.0, 0.0, 0.5]))
                self._start("a")
                if kills and self.random.random() < 0.3:  # once more while it starts
                    kills.popleft()
                    time.sleep(self.random.uniform(0, 2.5))
                    self._kill_client("a")
                    self._start("a")
            if "b" not in self.clients and begin_b <= ended < end_b:
                self._start("b")
            elif ended >= end_b:
                (self.folder / "stop-b").touch()
            if "b" in self.clients and (self.folder / "report-b").exists():
                self._ended_well("b")
            elif "b" not in self.clients and not (self.folder / "report-b").exists() and ended >= end_b:
                self._start("b")
            self._see()
            self._kill_worker()
            self._cancel()
            time.sleep(0.03)

    def _finish(self) -> None:
        self._see()
        for who in list(self.clients):
            (self.folder / f"stop-{who}").touch()
            self._ended_well(who)
        orphans = soak_checks.until_none(self.marked, 5.0)
        assert not orphans, f"processes are left: {[each.cmdline() for each in orphans]}"

    def _ended_well(self, who: str) -> None:
        code = self.clients.pop(who).wait(30)
        assert code == 0, f"client {who} ended with {code}:\n{self.said()}"

    def _start(self, who: str) -> None:
        self.starts += 1
        on, workers = (self.on, 2) if who == "a" else ("processes", 1)
        jobs = len(self.shares[who])
        arguments = {
            "folder": self.folder, "log": self.log, "who": who, "on": on, "jobs": jobs, "seed": self.seed, "workers": workers,
            "pause": 6.0 / self.jobs if who == "a" else 0.0,
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.jobs.soak_client"]
        command += [f"--{name}={value}" for name, value in arguments.items()]
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(self.folder / "tmp")}
        environment["DASK_TEMPORARY_DIRECTORY"] = str(self.folder / "dask")
        # what killed workers say on their consoles is not of interest
        environment["DASK_LOGGING__DISTRIBUTED"] = "critical"
        with Path(self.folder, f"said-{self.starts:02}-{who}").open("wb") as said:
            self.clients[who] = psutil.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )

    def said(self) -> str:
        """What clients printed."""
        texts = [
            path.read_text(encoding="utf-8", errors="replace") for path in sorted(self.folder.glob("said-*"))
        ]
        return "\n".join(text[-4000:] for text in texts if text)

    # what is done to them

    def _kill_client(self, who: str) -> None:
        client = self.clients.pop(who)
        below = client.children(recursive=True)
        client.kill()
        client.wait(10)
        self.figures.client_kills += 1
        left = soak_checks.until_none(lambda: [each for each in below if soak_checks.lives(each)], 5.0)
        assert not left, f"processes outlive their client: {[each.cmdline() for each in left]}"

    def _see(self) -> None:
        """Note the processes below the clients: workers hide the environment in which they were started."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 0.2
            self._seen = {each for each in self._seen if soak_checks.lives(each)}
            self._seen.update(each for client in self.clients.values() for each in _below(client))
            self.semaphores_seen = self.semaphores_seen or bool(self.semaphores())

    def _kill_worker(self) -> None:
        """Kill a Dask worker or a child of a job, now and then."""
        now = time.monotonic()
        if now < self._next_kill:
            return
        first = self._next_kill == 0.0
        self._next_kill = now + self.random.expovariate(1 / self.killed_every)
        if first:
            return
        workers, children = [], []
        opened = [(each, self.folder / f"open-{each.pid}") for each in self.clients.values()]
        below = [
            (process, path.stat().st_mtime)
            for client, path in opened
            if path.exists()
            for process in _below(client)
        ]
        for process, since in below:
            command, born = _command(process), _born(process)
            if ("dask worker" in command or "spawn_main" in command) and (
                born < since or time.time() - born > GROWN
            ):
                workers.append(process)
            elif "tdmx_dask.jobs.child" in command:
                children.append(process)
        if workers and self.random.random() < 0.6:
            _kill(self.random.choice(workers))
            self.figures.worker_kills += 1
        elif children:
            _kill(self.random.choice(children))
            self.figures.child_kills += 1

    def _cancel(self) -> None:
        """Cancel the jobs that do not end by themselves: some while they wait, some while they run."""
        if not self._ended():
            return
        sql = "SELECT id, state FROM jobs WHERE kind = 'endless' AND timeout IS NULL AND state IN ('waiting', 'queued', 'running')"
        for job, state in self.read(sql):
            if state == "running" or job % 2:
                if state == "running" and job not in self._spared:
                    self._spared.add(job)  # until the next time
                    continue
                self.ledger.cancel([job])

    # what they have done

    def read(self, sql: str) -> list[tuple[object, ...]]:
        """What another connection reads in the ledger."""
        path = self.folder / "queue" / "queue.sqlite"
        if not path.exists():
            return []
        db = sqlite3.connect(path, timeout=30)
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
        finally:
            db.close()

    def _ended(self) -> int:
        found = self.read(
            "SELECT count(*) FROM jobs WHERE state IN ('completed', 'cached', 'failed', 'cancelled')"
        )
        return int(str(found[0][0])) if found else 0

    def _stuck(self, ended: int) -> str:
        for client in self.clients.values():
            client.send_signal(signal.SIGUSR1)
        time.sleep(1)
        counts = self.read("SELECT state, count(*) FROM jobs GROUP BY state")
        open_ = self.read(
            "SELECT id, kind, state, hold, claims, failures, losses, owner, worker, title FROM jobs "
            "WHERE state NOT IN ('completed', 'cached', 'failed', 'cancelled') LIMIT 20"
        )
        return f"{ended} of {self.jobs} have ended: {counts}\n{open_}\n{self.said()}"

    def marked(self) -> list[psutil.Process]:
        """Processes that were started by this soak, however they were."""
        found = {each for each in self._seen if soak_checks.lives(each)}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and soak_checks.lives(process):
                    found.add(process)
            except psutil.Error:
                continue
        return list(found)

    def semaphores(self) -> list[str]:
        """In shared memory, of this soak alone."""
        return [path.name for path in Path("/dev/shm").glob(f"sem.{self.mark}-*")]  # noqa: S108

    def planned(self) -> list[tuple[int, Planned]]:
        """Jobs with their ids: each client submits its share in order, to groups of its own."""
        sql = "SELECT id, grp FROM jobs ORDER BY id"
        pairs: list[tuple[int, Planned]] = []
        for who, jobs in self.shares.items():
            ids = [int(str(job)) for job, group in self.read(sql) if str(group).startswith(who)]
            assert len(ids) == len(jobs), (
                f"share {who}: {len(ids)} jobs are in the queue, {len(jobs)} were planned"
            )
            pairs += zip(ids, jobs, strict=True)
        return pairs


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _born(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.Error:
        return time.time()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


def soak(
    jobs: int, kills: int, seed: int, on: str, *, deadline: float | None = None, killed_every: float = 2.0
) -> Figures:
    """Soak in a temporary folder; AssertionError says what went wrong."""
    deadline = 120 + 0.1 * jobs if deadline is None else deadline
    with tempfile.TemporaryDirectory(prefix="tdmx-soak-") as name:
        return Soak(Path(name), jobs, kills, seed, on, deadline, killed_every).run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak the queue.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", choices=["local", "processes"], default="local")
    parser.add_argument(
        "--killed-every", type=float, default=2.0, help="mean seconds between kills of workers"
    )
    asked = parser.parse_args()
    print(soak(asked.jobs, asked.kills, asked.seed, asked.on, killed_every=asked.killed_every))


if __name__ == "__main__":
    main()
