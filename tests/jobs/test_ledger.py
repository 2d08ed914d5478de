"""What the ledger keeps when processes die, disks fill up and files are damaged; the doors that it keeps shut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tdmx_dask.errors import StoreError
from tdmx_dask.jobs.clock import identity
from tdmx_dask.jobs.ledger import INLINE, Ledger
from tdmx_dask.jobs.moves import MOST_LOSSES, Settled
from tests.jobs.ledgers import ELSEWHERE, HandClock, add_one, asked, assert_accounts, rows

BIG = b"x" * (INLINE + 1)
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "queue", clock=clock)
    yield found
    found.close()


def done(ledger: Ledger, job: int, claim: int = 1, value: bytes = b"1") -> Settled:
    inline, file = ledger.keep(value)
    return Settled(job, claim, "complete", inline, file, seconds=1.0)


def files(ledger: Ledger) -> set[str]:
    folder = ledger.folder / "results"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


# processes

ADD = """
import sys
from tdmx_dask.jobs.ledger import Ledger
from tests.jobs.ledgers import add_one
ledger = Ledger(sys.argv[1])
print("ready", flush=True)
while True:
    print(add_one(ledger, answer=b"x" * 70_000 if len(sys.argv) > 2 else None), flush=True)
"""


@pytest.mark.parametrize("large", [(), ("large",)])
def test_add__survives_a_kill(tmp_path: Path, large: tuple[str, ...]) -> None:
    returned: list[int] = []
    for n in (10, 25):
        with start(ADD, tmp_path, *large) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            returned += [int(child.stdout.readline()) for _ in range(n)]
            child.send_signal(signal.SIGKILL)
            returned += [
                int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]
    ledger = Ledger(tmp_path)
    kept = {job.id for job in ledger.jobs()}
    assert len(returned) == len(set(returned))
    assert set(returned) <= kept
    assert len(kept - set(returned)) <= 2  # written, but not yet said
    assert_accounts(ledger)
    if large:
        assert {len(ledger.result(job)) for job in kept} == {70_000}
    assert add_one(ledger) > max(kept)
    assert rows(ledger, "PRAGMA integrity_check") == [("ok",)]
    ledger.close()


CLAIM = """
import json, sys, time
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.moves import Settled
ledger, me = Ledger(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
mine, outcomes = [], []
while True:
    turn = ledger.turn(me, outcomes, n=1)
    assert all(turn.accepted)
    if not turn.claims:
        break
    time.sleep(0.001)
    mine += [(claim.job, claim.number) for claim in turn.claims]
    outcomes = [Settled(claim.job, claim.number, "complete", b"1", seconds=0.1) for claim in turn.claims]
print(json.dumps(mine))
"""


def test_turn__two_processes_claim_each_job_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ids = ledger.add((asked(group="abc"[i % 3]), "{}", None) for i in range(500))
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    children = [
        subprocess.Popen(
            [*command, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for name in ("one", "two")
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    found = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        found.append(json.loads(child.communicate()[0]))
        assert child.returncode == 0
    assert all(found)  # both had some
    assert sorted(job for one in found for job, _ in one) == ids
    assert {number for one in found for _, number in one} == {1}
    assert ledger.count()["completed"] == 500
    ledger.close()


OPEN = """
import sys
from tdmx_dask.jobs.ledger import Ledger
sys.stdin.readline()
Ledger(sys.argv[1]).close()
"""


def test_ledger__made_by_several_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "new")]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) for _ in range(4)
    ]
    for child in children:
        child.communicate(b"\n", timeout=60)
    assert [child.returncode for child in children] == [0] * 4


def test_threads__share_a_ledger(ledger: Ledger) -> None:
    ids: list[int] = []

    def add() -> None:
        ids.extend(add_one(ledger) for _ in range(30))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert ledger.count()["queued"] <= 120
    assert sorted(ids) == [job.id for job in ledger.jobs()][::-1]


def test_close__while_it_is_in_use(ledger: Ledger) -> None:
    problems: list[BaseException] = []

    def add() -> None:
        try:
            while True:
                add_one(ledger)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    time.sleep(0.1)
    ledger.close()
    thread.join(10)
    assert isinstance(problems[0], StoreError)
    assert "it was closed. Open it again" in str(problems[0])
    with pytest.raises(StoreError, match="it was closed"):
        ledger.count()
    ledger.close()  # twice is no harm


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork__is_refused(ledger: Ledger) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger.count()
        except StoreError as error:
            code = 0 if "another process opened it, and forked" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert add_one(ledger) == 1


def test_beat__takes_the_jobs_of_a_dead_process(tmp_path: Path) -> None:
    script = (
        "import sys; from tdmx_dask.jobs.ledger import Ledger; from tdmx_dask.jobs.clock import identity\n"
        "ledger = Ledger(sys.argv[1]); ledger.beat('gone', identity(), 1); print(ledger.turn('gone', n=1).claims[0].job, flush=True)\n"
        "sys.stdin.read()"
    )
    ledger = Ledger(tmp_path)
    job = add_one(ledger)
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert int(child.stdout.readline()) == job
    assert ledger.beat("me", identity(), 1) == []  # it lives
    child.kill()
    child.communicate()
    assert ledger.beat("me", identity(), 1) == [job]
    assert ledger.job(job).state == "queued"
    assert "is gone" in ledger.log(job)[-1].text
    assert ledger.turn("me", n=1).claims[0].number == 2
    ledger.close()


# time


def test_clock__wall_clock_jumps_change_nothing(ledger: Ledger, clock: HandClock) -> None:
    ledger.beat("me", ELSEWHERE, 1)
    first, second = add_one(ledger), add_one(ledger)
    clock.pass_(2.0)
    ledger.turn("me", n=1)
    ledger.turn("me", [Settled(first, 1, "retry", error="x", seconds=0.1, delay=10.0)], n=1)
    for jump in (1e8, -2e8, 5e7):
        clock.walled += jump
        assert ledger.turn("me", n=1).claims == ()
        assert ledger.beat("other", ELSEWHERE, 1) == []
    clock.pass_(9.0)
    assert ledger.turn("me", n=1).next_hold == pytest.approx(1.0)
    clock.pass_(1.0)
    assert ledger.turn("me", n=1).claims[0].job == first
    assert {ledger.job(job).wait_s for job in (first, second)} == {2.0}


def test_clock__a_reboot_ends_leases_and_delays(ledger: Ledger, clock: HandClock) -> None:
    ledger.beat("me", ELSEWHERE, 1)
    held, running = add_one(ledger), add_one(ledger)
    ledger.turn("me", n=2)
    ledger.turn("me", [Settled(held, 1, "retry", error="x", seconds=0.1, delay=1e6)])
    clock.booted, clock.tick = "boot 2", 3.0
    assert ledger.beat("new", ELSEWHERE, 1) == [running]
    assert {claim.job for claim in ledger.turn("new", n=2).claims} == {held, running}


def test_lose__one_that_kills_its_clients_fails(ledger: Ledger, clock: HandClock) -> None:
    job = add_one(ledger)
    for n in range(MOST_LOSSES + 1):
        ledger.beat(f"client {n}", ELSEWHERE, 1)
        assert ledger.turn(f"client {n}", n=1).claims[0].number == n + 1
        clock.pass_(31.0)
        assert ledger.beat("me", ELSEWHERE, 1) == [job]
    assert ledger.job(job).state == "failed"
    assert "its client died 6 times" in str(ledger.job(job).error)
    assert ledger.revive([job]) == [job]


# doors


def test_ledger__belongs_to_its_owner_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deep" / "queue")
    add_one(ledger, answer=BIG)
    for folder in (ledger.folder, ledger.folder / "results"):
        assert folder.stat().st_mode & 0o777 == 0o700
    ledger.close()


def test_ledger__not_where_everybody_may_write(tmp_path: Path) -> None:
    """Who can add a job chooses the function that it runs."""
    folder = tmp_path / "queue"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StoreError, match=r"everybody on this machine may write to it.*chmod o-w"):
        Ledger(folder)
    assert list(folder.iterdir()) == []
    folder.chmod(0o770)
    Ledger(folder).close()


@pytest.mark.parametrize("kind", ["nfs4", "CIFS", "fuse.sshfs", "lustre"])
def test_ledger__not_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    part = namedtuple("part", "mountpoint fstype")
    parts = [part("/", "ext4"), part(str(tmp_path), kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)  # noqa: A006
    with pytest.raises(StoreError, match=rf"it is on a network file system \({kind}\).*folder=") as caught:
        Ledger(tmp_path / "deep" / "queue")
    assert "queue=" in str(caught.value)
    parts.append(part(str(tmp_path / "deep"), "ext4"))  # a local disk below
    Ledger(tmp_path / "deep" / "queue").close()


@pytest.mark.parametrize(
    "content",
    [
        b"not a database, but text of some length" * 100,
        b"\x00" * 5000,
        b"SQLite format 3\x00" + b"\xff" * 4080,
    ],
)
def test_ledger__damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"queue=.*it cannot be used \(.*\)\. If it is damaged, restore it"):
        Ledger(tmp_path)
    assert path.read_bytes() == content


def test_ledger__damaged_in_the_middle(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add((asked(f"{i}"), "{}", None) for i in range(500))
    ledger.close()
    path = tmp_path / "queue.sqlite"
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = b"\xaa" * (len(data) // 2 - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="it cannot be used"):
        Ledger(tmp_path).jobs()


def test_ledger__foreign_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"this file is not a queue of tdmx\. Choose another folder"):
        Ledger(tmp_path)
    assert path.read_bytes() == before


def test_ledger__newer_layout(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / "queue.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"made by another version of tdmx \(layout 99, this one has 1\)"):
        Ledger(tmp_path)


def test_ledger__file_where_a_folder_should_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    for place in (path, path / "below"):
        with pytest.raises(StoreError, match="the folder cannot be made"):
            Ledger(place)


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_ledger__folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="it cannot be written"):
        Ledger(tmp_path / "shut")


# a real small disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if (
        not ROOT
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small disk can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_disk__nothing_is_half_written(disk: Path) -> None:
    ledger = Ledger(disk / "queue")
    ledger.beat("me", identity(), 1)
    first = add_one(ledger)
    (claim,) = ledger.turn("me", n=1).claims
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    ballast.write_bytes(b"x" * max(0, free - 60_000))
    added: list[int] = []
    spec = json.dumps("x" * 3000)

    def fill() -> None:
        while True:
            added.extend(ledger.add([(asked(), spec, None), (asked(), spec, None)]))

    with pytest.raises(
        StoreError, match=r"the disk is full; nothing was written\. Make room|the disk could not be"
    ):
        fill()
    assert added
    with pytest.raises(StoreError, match=r"a result of \d+ bytes cannot be written \(No space left"):
        ledger.keep(b"x" * 200_000)
    assert files(ledger) == set()
    with pytest.raises(StoreError, match="cannot be written"):
        ledger.add([(asked(), "{}", b"x" * 200_000)])
    assert {job.id for job in ledger.jobs()} == {first, *added}  # reading goes on
    outcome = Settled(claim.job, claim.number, "complete", b"7" * INLINE, seconds=1.0)
    with pytest.raises(StoreError, match="the disk"):
        ledger.turn("me", [outcome], n=1)
    assert ledger.job(first).state == "running"
    ballast.unlink()
    turn = ledger.turn("me", [outcome], n=1)
    assert turn.accepted == (True,)
    assert len(turn.claims) == 1
    assert ledger.result(first) == b"7" * INLINE
    assert add_one(ledger) not in added
    assert_accounts(ledger)
    assert rows(ledger, "PRAGMA integrity_check") == [("ok",)]
    ledger.close()


def test_read_only_disk(disk: Path) -> None:
    ledger = Ledger(disk / "queue")
    add_one(ledger)
    ledger.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for place in (disk / "queue", disk / "new"):
        with pytest.raises(StoreError, match=r"it cannot be written|the folder cannot be made"):
            Ledger(place)


# many


def test_100000_jobs__keep_add_and_turn_quick(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(
        (asked(group=f"g{i % 20}", priority=i % 10, cost=1 + i % 13), "{}", None) for i in range(100_000)
    )
    adds, turns, outcomes = [], [], list[Settled]()
    for i in range(100):
        begin = time.perf_counter()
        add_one(ledger, group=f"g{i % 7}", priority=i % 10)
        middle = time.perf_counter()
        (claim,) = ledger.turn("me", outcomes, n=1).claims
        turns.append(time.perf_counter() - middle)
        adds.append(middle - begin)
        outcomes = [Settled(claim.job, claim.number, "complete", b"1", seconds=0.01)]
    print(
        f"\n100,000 queued: add {statistics.median(adds) * 1e3:.2f} ms, turn {statistics.median(turns) * 1e3:.2f} ms"
    )
    assert statistics.median(adds) < 0.05
    assert statistics.median(turns) < 0.05
    ledger.close()
