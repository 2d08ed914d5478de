"""Clusters that run on: real processes that are joined by name, asked, killed, and end by themselves."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.config
import psutil
import pytest
from distributed import Client, LocalCluster

import tdmx_dask as tdmx
from tdmx_dask.api import pool_process, pool_start, pool_stop
from tdmx_dask.api import pools as pools_module
from tdmx_dask.api.pool_start import script, start
from tdmx_dask.api.pool_status import enter, look
from tdmx_dask.api.pool_stop import stop
from tdmx_dask.api.pools import Pool, find, is_pool, named, pools
from tdmx_dask.clusters import pool as pool_module
from tdmx_dask.clusters import pool_record, pool_serve
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.pool import Desk, PoolEngine
from tdmx_dask.clusters.pool_record import (
    Record,
    check_name,
    claim,
    error_of,
    error_plain,
    read,
    remove,
    turn,
    write,
)
from tdmx_dask.clusters.pool_serve import serve
from tdmx_dask.clusters.profile import Address
from tdmx_dask.clusters.security import from_files, temporary
from tdmx_dask.clusters.security import write as write_pem
from tdmx_dask.clusters.start import join_address
from tdmx_dask.errors import ClusterError, InputError, StoreError, TdmxError, TdmxWarning
from tdmx_dask.jobs.clock import identity

SMALL = {"n_workers": 1, "threads_per_worker": 1, "dashboard_port": 0}


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def record_of(name: str = "some", **said: Any) -> Record:
    me = identity()
    plain: dict[str, Any] = {
        "name": name, "token": secrets.token_hex(4), "state": "running", "profile": "local", "kind": "local",
        "host": me.host, "pid": me.pid, "born": me.born, "space": me.space, "started": time.time(),
    }  # fmt: skip
    return Record(**{**plain, **said})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where records are; whatever a test leaves is ended."""
    place = tmp_path / "pools"
    with dask.config.set({"tdmx.pools-folder": str(place)}):
        yield place
        for pool in pools():
            stop(pool.record.name, force=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One that several tests use, and leave as it is."""
    place = tmp_path_factory.mktemp("site") / "pools"
    with dask.config.set({"tdmx.pools-folder": str(place)}):
        pool = start("local", SMALL, name="shared")
    try:
        yield pool
    finally:
        with dask.config.set({"tdmx.pools-folder": str(place)}):
            stop("shared", force=True)


@pytest.fixture
def shared(running: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    place = next(tmp_path_factory.getbasetemp().glob("site*")) / "pools"
    with dask.config.set({"tdmx.pools-folder": str(place)}):
        yield running


def test_pool__is_joined_by_name_and_scaled(shared: Pool) -> None:
    assert is_pool("shared")
    with tdmx.cluster("shared") as joined:
        assert (joined.kind, joined.name) == ("pool", "shared")
        assert joined.scheduler_address.startswith("tls://127.0.0.1:")
        joined.scale(2)
        joined.wait_for_workers(2, timeout=20)
        assert joined.client.submit(os.getppid).result() != os.getpid()
        assert joined.jobs == ()
        with pytest.raises(ClusterError, match="job_script=local: workers of a local cluster are no jobs"):
            joined.job_script()
        with pytest.raises(InputError, match="a number of workers is a whole number"):
            joined.scale(-1)
        joined.adapt(1, 1)
        until(lambda: joined.n_workers == 1)
        joined.scale(1)
    with tdmx.cluster("shared") as again:  # the first one only left
        assert again.n_workers == 1


def test_pool__another_process_gets_the_same_counts(shared: Pool, store: Path) -> None:
    question = f"{str(store)!r}, ['1000 mg q8h inf 1h'], ['T>MIC >= 50%'], mic=[1, 4], subjects=3, seed=3"
    code = f"import tdmx_dask as tdmx; print(tdmx.pta({question}, on='shared').attained_by_draw.values.sum())"
    env = {**os.environ, "DASK_TDMX__POOLS_FOLDER": str(shared.folder.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    here = tdmx.pta(
        store, ["1000 mg q8h inf 1h"], ["T>MIC >= 50%"], mic=[1, 4], subjects=3, seed=3, run="direct"
    )
    assert int(done.stdout) == here.attained_by_draw.values.sum()


def test_pool__name_that_is_taken(shared: Pool) -> None:
    with pytest.raises(
        InputError, match=r"name=shared: a cluster of this name runs on .*, pid \d+\. Use it with --on shared"
    ):
        start("local", SMALL, name="shared")
    with pytest.raises(InputError, match="options=n_workers: shared runs already"):
        tdmx.cluster("shared", n_workers=3)


def test_pool__only_its_owner_can_read_it(shared: Pool) -> None:
    assert stat.S_IMODE(shared.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared.folder.iterdir()} == {0o600}
    key = (shared.folder / shared.record.key).read_text()
    middle = key.splitlines()[3]
    assert [path.name for path in shared.folder.iterdir() if middle in path.read_text()] == ["key.pem"]
    process = psutil.Process(shared.record.pid)
    assert middle not in " ".join(process.cmdline())
    assert middle not in " ".join(process.environ().values())
    assert os.getsid(process.pid) == process.pid, "it outlives the terminal"


def test_pool__listens_on_loopback_alone_and_refuses_strangers(shared: Pool, tmp_path: Path) -> None:
    ours = [psutil.Process(shared.record.pid), *psutil.Process(shared.record.pid).children(recursive=True)]
    hosts = {
        each.laddr.ip for process in ours for each in process.net_connections() if each.status == "LISTEN"
    }
    assert hosts == {"127.0.0.1"}
    other = write_pem(temporary(), tmp_path / "other")
    stranger = Address(
        address=shared.record.address, tls_ca_file=other.ca_file, tls_cert=other.cert, tls_key=other.key
    )
    with pytest.raises(ClusterError, match="the scheduler does not answer"):
        join_address(stranger)


def test_pool__status(shared: Pool) -> None:
    joined, pool = enter("shared")
    with joined:
        futures = joined.client.map(time.sleep, [0.7] * 3, pure=False)
        seen = []
        until(lambda: seen.append(look(joined, pool, name="shared")) or seen[-1].tasks["running"] == 1)
        now = seen[-1]
        assert sum(now.tasks.values()) == 3
        assert now.tasks["ready"] >= 1
        assert [each.threads for each in now.workers] == [1]
        assert 0 < now.workers[0].memory < now.workers[0].memory_limit
        assert now.healthy
        joined.client.cancel(futures)
    with pytest.raises(
        InputError, match=r"name=shred: no cluster of this name was started\. There are: shared\."
    ):
        enter("shred")


def test_pool__seen_from_another_host(shared: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a record says where its process cannot be looked at: the port is asked, then the scheduler."""
    record, ours = shared.record, read(shared.folder)
    assert ours == record
    try:
        write(shared.folder, replace(record, host="another"))
        assert _state_of(replace(record, host="another", space="other:1")) == "elsewhere"
        assert _state_of(replace(record, space="other:1")) == "running"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and does not listen
            closed = f"tls://127.0.0.1:{taken.getsockname()[1]}"
            assert _state_of(replace(record, space="other:1", address=closed)) == "gone"
        assert _state_of(replace(record, space="other:1", address="")) == "running"
        assert _state_of(replace(record, space="other:1", address="", started=0.0)) == "gone"
        monkeypatch.setattr(socket, "create_connection", _silent)
        assert _state_of(replace(record, space="other:1")) == "silent"
        write(shared.folder, replace(record, space="other:1"))
        with pytest.raises(
            ClusterError,
            match=r"cluster=shared: its scheduler on .* does not answer\. tdmx cluster stop shared --force",
        ):
            find("shared")
        write(shared.folder, replace(record, space="other:1", host="another"))
        with pytest.raises(ClusterError, match="it runs on loopback of another, and can be used there alone"):
            find("shared")
    finally:
        write(shared.folder, record)


def _state_of(record: Record) -> str:
    return pools_module._state(record)


def _silent(*_args: Any, **_more: Any) -> None:
    raise TimeoutError("timed out")


def test_pool__ended_from_another_host(folder: Path) -> None:
    """Over the scheduler's own connection; where it cannot be reached, by taking its record away."""
    pool = start("local", SMALL, name="far")
    write(pool.folder, replace(pool.record, space="other:1"))
    assert named("far").state == "running"
    assert stop("far") == "cluster far has ended"
    until(lambda: not lives(pool.record.pid))
    assert not pool.folder.exists()


def test_pool__killed(folder: Path) -> None:
    """Its workers die with it; who looks is told; a new one takes its name."""
    pool = start("local", {**SMALL, "n_workers": 2}, name="mine")
    children = psutil.Process(pool.record.pid).children(recursive=True)
    assert len(children) >= 2
    os.kill(pool.record.pid, signal.SIGKILL)
    until(lambda: named("mine").state == "gone")
    until(lambda: not any(lives(child.pid) for child in children))
    with pytest.warns(TdmxWarning, match="cluster mine of .* is gone: its process ended"):
        assert find("mine") is None
    with pytest.raises(ClusterError, match=r"cluster=mine: it is gone: its process \(pid \d+ on .*\) ended"):
        enter("mine")
    with pytest.raises(InputError, match="there is no such profile, and no cluster of this name runs"):
        tdmx.cluster("mine")
    with pytest.warns(TdmxWarning, match="cluster mine of .* is gone; what was left of it was cleared"):
        again = start("local", SMALL, name="mine")
    os.kill(again.record.pid, signal.SIGKILL)
    until(lambda: not lives(again.record.pid))
    assert (
        stop("mine")
        == "cluster mine was gone already: its process had ended; what was left of it was cleared"
    )
    assert stop("mine") == "no cluster mine runs"
    assert [path.name for path in folder.iterdir()] == ["mine.log"]


def test_pool__of_two_commands_one_begins_it(folder: Path) -> None:
    def begin(_: int) -> object:
        try:
            return start("local", SMALL, name="both")
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(begin, range(3)))
    begun = [each for each in found if isinstance(each, Pool)]
    assert len(begun) == 1
    refused = [each for each in found if isinstance(each, str)]
    assert all("a cluster of this name" in each for each in refused)
    assert len(refused) == 2
    assert named("both").record.token == begun[0].record.token
    assert stop("both") == "cluster both has ended"


def test_pool__that_does_not_answer_is_killed_by_force(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_stop, "_FORCED", 0.3)
    monkeypatch.setattr(pool_stop, "_ENDS", 0.3)
    pool = start("local", SMALL, name="deaf")
    children = psutil.Process(pool.record.pid).children(recursive=True)
    os.kill(pool.record.pid, signal.SIGSTOP)
    with pytest.raises(
        ClusterError, match=r"it was asked to end, and has not within 0\.3 s\. See .*log, or try .*--force"
    ):
        stop("deaf")
    assert stop("deaf", force=True).startswith(
        "cluster deaf did not end by itself, and its process was killed"
    )
    assert not lives(pool.record.pid)
    until(lambda: not any(lives(child.pid) for child in children))
    assert not pool.folder.exists()


def test_pool__error_of_the_process_comes_back(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TdmxError, match="file") as caught:
        start("local", {**SMALL, "local_directory": str(tmp_path / "file")}, name="bad")
    assert "Traceback" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["bad.log"], "nothing else is left"


def test_pool__interrupted_start_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = subprocess.Popen

    def begin(*args: Any, **more: Any) -> Any:
        process = original(*args, **more)
        seen.append(process.pid)
        return process

    def interrupt(_: float) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(pool_start.subprocess, "Popen", begin)
    monkeypatch.setattr(pool_start.time, "sleep", interrupt)
    with dask.config.set({"tdmx.pools-folder": str(folder)}), pytest.raises(KeyboardInterrupt, match=r"^$"):
        start("local", SMALL, name="short")
    assert not lives(seen[0])
    assert named("short") is None


@pytest.mark.parametrize(
    ("profile", "options", "more", "match"),
    [
        ("local", {}, {"name": "slurm"}, "name=slurm: it is a profile's name"),
        ("local", {}, {"name": "a/b"}, "name=a/b: a cluster's name is 1 to 64 letters"),
        ("local", {}, {"name": "current"}, "name=current: a cluster's name"),
        ("local", {"tls": False}, {}, "is made of processes that speak TLS"),
        ("local", {"processes": False}, {}, "is made of processes that speak TLS"),
        ("local", {"n_worker": 1}, {}, r"local.n_worker=1: .* Did you mean n_workers\?"),
        ("local", {}, {"jobs": 1, "adapt": (0, 1)}, "jobs=1: a range was given with adapt"),
        ("slurm", {}, {"adapt": (3, 1)}, "slurm.minimum_jobs=3: it is at most maximum_jobs, 1"),
        ("batch", {}, {}, "a cluster of this kind is not started here"),
        ("tls://127.0.0.1:1", {}, {}, "a cluster of this kind is not started here"),
        ("nowhere", {}, {}, "cluster=nowhere: there is no such profile"),
    ],
)
def test_start__refuses(
    folder: Path, profile: str, options: dict[str, Any], more: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        start(profile, options, **more)
    assert named("local") is None


def test_start__folder_that_others_can_enter(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with pytest.raises(StoreError, match="keys are kept in a folder that its owner alone can enter"):
        start("local", SMALL)
    folder.chmod(0o700)


def test_script__of_jobs_alone(folder: Path) -> None:
    assert "#SBATCH -A 1234" in script("slurm", {"account": "1234"})
    assert "kind: DaskCluster" in script("kubernetes", {})
    with pytest.raises(
        InputError, match="profile=local: workers of kind local are no jobs, and have no script"
    ):
        script("local", {})


# The process's own life, without the process.


class _Fake:
    """Stands for the engine of a batch scheduler."""

    kind = "slurm"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def scale(self, n: int) -> None:
        self.asked.append(n)
        if n == 13:
            raise ClusterError("scale", n, "sbatch: error: invalid partition", "See sinfo.")
        if n == 14:
            raise RuntimeError("a fault")

    def adapt(self, minimum: int, maximum: int) -> None:
        self.asked.append((minimum, maximum))

    def job_script(self) -> str:
        return "#!/bin/sh\n"

    def jobs(self) -> tuple[BatchJob, ...]:
        return (
            BatchJob("17", "w-0", "waiting", "Resources", "", None),
            BatchJob("18", state="running", seconds_left=12.5),
        )

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of one that no client uses."""
    here = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **here) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def held(scheduler: str) -> Iterator[Cluster]:
    with Client(scheduler) as client:
        held = Cluster(client, _Fake(), name="held", owns_client=False)
        yield held
        held.close()


@pytest.fixture
def asking(scheduler: str) -> Iterator[PoolEngine]:
    with Client(scheduler) as client:
        yield PoolEngine(client, record_of("held"))


def test_desk__does_what_it_is_asked_once(held: Cluster, asking: PoolEngine) -> None:
    stopped = threading.Event()
    desk = Desk(held, stopped.set)
    asking.scale(3)
    asking.adapt(0, 8)
    assert held.engine.asked == [3, (0, 8)]
    assert asking.job_script() == "#!/bin/sh\n"
    assert asking.jobs() == held.jobs
    with pytest.raises(ClusterError, match=r"scale=13: sbatch: error: invalid partition\. See sinfo\."):
        asking.scale(13)
    with pytest.raises(
        ClusterError, match=r"cluster=held: its process failed: RuntimeError: a fault\. Its log says more\."
    ):
        asking.scale(14)
    with pytest.raises(ClusterError, match="action=dance: the cluster's process knows no such thing"):
        asking._ask("dance")
    assert not stopped.is_set()
    asking.stop()
    assert stopped.wait(5), "it answers first"
    desk.close()


def test_desk__question_that_is_asked_again_is_answered_again(held: Cluster, asking: PoolEngine) -> None:
    desk = Desk(held, lambda: None)
    answers: list[Any] = []
    asking._client.subscribe_topic(pool_module.ANSWERED, lambda event: answers.append(event[1]))
    time.sleep(0.2)  # its wish to hear is sent with others, not at once
    for _ in range(3):
        asking._client.log_event(pool_module.ASKED, {"id": "one", "action": "scale", "values": {"n": 5}})
        until(lambda: answers)
    until(lambda: len(answers) == 3)
    assert {answer["id"] for answer in answers} == {"one"}
    assert held.engine.asked == [5]
    desk.close()


def test_pool_engine__says_that_nobody_answers(asking: PoolEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE", 0.3)
    with pytest.raises(
        ClusterError,
        match=r"cluster=held: its process \(pid \d+ on .*\) does not answer when asked to job script",
    ):
        asking.job_script()


def test_serve__ends_when_nobody_uses_it(held: Cluster, scheduler: str) -> None:
    """Not while a task is there, or somebody is connected."""
    future = held.client.submit(sum, [1, 2])
    other = Client(scheduler)
    began = time.monotonic()
    threading.Timer(0.6, future.release).start()
    threading.Timer(0.9, other.close).start()
    why = serve(held, threading.Event(), lambda: True, idle_after=0.2)
    assert why == "nobody used it for 0.2 s"
    assert 1.0 <= time.monotonic() - began < 5


def test_serve__ends_without_its_record(held: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_serve, "LOOK", 0.05)
    seen = iter([True, False, False, True, False, False, False, True])
    assert serve(held, threading.Event(), lambda: next(seen), idle_after=None) == "its record was taken away"
    assert list(seen) == [True], "three looks in a row"


def test_serve__ends_when_asked_or_told(held: Cluster, asking: PoolEngine) -> None:
    over = threading.Event()
    with ThreadPoolExecutor(1) as other:
        answered = other.submit(asking.stop)
        assert serve(held, over, lambda: True, idle_after=None) == "it was asked to end"
        answered.result(timeout=pool_module.PATIENCE)
    assert serve(held, over, lambda: True, idle_after=None) == "its process was told to end"


def test_serve__ends_without_its_scheduler(held: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_serve, "LOOK", 0.05)
    closing = threading.Timer(0.1, held.client.close)  # as it closes itself when it has connected in vain
    closing.start()
    assert serve(held, threading.Event(), lambda: True, idle_after=None) == "its scheduler is lost"
    closing.join()  # it is still at it when its status says "closed"


def test_credentials__of_files_stay_where_they_are(tmp_path: Path, held: Cluster) -> None:
    files = write_pem(temporary(), tmp_path / "keys")
    given = SimpleNamespace(client=SimpleNamespace(security=from_files(files)))
    assert pool_serve.credentials(given, tmp_path / "pool") == (files.ca_file, files.cert, files.key)
    assert not (tmp_path / "pool").exists()
    with pytest.raises(InputError, match="tls=False: a cluster that runs on speaks TLS"):
        pool_serve.credentials(held, tmp_path / "pool")


# Records.


def test_record__round_trip_and_damage(tmp_path: Path) -> None:
    record = record_of(address="tls://127.0.0.1:1")
    place = tmp_path / "some"
    assert read(place) is None
    place.mkdir()
    write(place, record)
    assert read(place) == record
    said = json.loads((place / "pool.json").read_text())
    (place / "pool.json").write_text(json.dumps({**said, "of a later version": 1}))
    assert read(place) == record
    for damage, match in (
        ("{", "it cannot be read"),
        ("[]", "it holds no mapping"),
        ("{}", "it is no record of a cluster"),
    ):
        (place / "pool.json").write_text(damage)
        with pytest.raises(StoreError, match=rf"{match}.*rm -r"):
            read(place)
    with pytest.raises(FileNotFoundError, match="away"):
        write(tmp_path / "away", record)
    assert [path.name for path in place.iterdir()] == ["pool.json"]


def test_pools__one_damaged_record_hides_no_other(folder: Path) -> None:
    claim_in_turn(folder, record_of("good"))
    claim_in_turn(folder, record_of("bad"))
    (folder / "bad" / "pool.json").write_text("{")
    with pytest.warns(TdmxWarning, match="pool=.*bad/pool.json: it cannot be read"):
        assert [pool.record.name for pool in pools()] == ["good"]
    for name in ("good", "bad"):
        pool_record.shutil.rmtree(folder / name)


def claim_in_turn(folder: Path, record: Record) -> Path:
    with turn(folder, record.name):
        return claim(folder, record, {"request.json": {}})


def test_claim__of_a_folder_without_a_record(tmp_path: Path) -> None:
    place = claim_in_turn(tmp_path / "pools", record_of())
    (place / "pool.json").unlink()
    fresh = record_of()
    assert read(claim_in_turn(tmp_path / "pools", fresh)) == fresh
    assert [path.name for path in (tmp_path / "pools").iterdir()] == ["some"]


def test_remove__is_of_one_record_alone(tmp_path: Path) -> None:
    first = record_of()
    tmp_path.chmod(0o700)
    place = claim_in_turn(tmp_path, first)
    (place / "log").write_text("last words")
    assert remove(tmp_path, first)
    assert not remove(tmp_path, first)
    assert (tmp_path / "some.log").read_text() == "last words"
    second = record_of()
    claim_in_turn(tmp_path, second)
    assert not remove(tmp_path, first), "another has the name by now"
    assert read(place) == second


def test_turn__one_at_a_time_and_never_for_ever(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    inside, most = 0, 0

    def visit(_: int) -> None:
        nonlocal inside, most
        with turn(tmp_path, "some"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(visit, range(12)))
    assert most == 1
    left = tmp_path / ".some.turn"  # of a process that was killed in its turn
    left.mkdir()
    os.utime(left, (time.time() - 60, time.time() - 60))
    began = time.monotonic()
    visit(0)
    assert time.monotonic() - began < 5
    assert not left.exists()


def test_error_plain__round_trip() -> None:
    for error in (ClusterError("a", 1, "the rule", "The fix."), InputError("b", "c", "d")):
        again = error_of(json.loads(json.dumps(error_plain(error))), value="v", fix="f")
        assert type(again) is type(error)
        assert str(again).startswith(str(error))
    assert str(error_of({"error": "Exception", "rule": "no"}, value="v", fix="")) == "cluster=v: no."
    assert error_plain(OSError("x"))["rule"] == "its process failed: OSError: x"


def test_check_name() -> None:
    assert check_name("slurm-long_2.5") == "slurm-long_2.5"
    for bad in ("", "a b", "-a", "..", ".a", "a" * 65, "a.yaml", "a.log", "ä", "a\n"):
        with pytest.raises(InputError, match="a cluster's name is 1 to 64 letters"):
            check_name(bad)


def test_process__without_a_record_ends_at_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", pool_process.__name__, str(tmp_path)], timeout=60)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
