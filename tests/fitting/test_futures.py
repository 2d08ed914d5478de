"""Fits on a real LocalCluster: the same draws, whoever dies; nothing left behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

from tdmx_dask.api.clusters import cluster as start_cluster
from tdmx_dask.errors import ClusterError, FitCancelled, FitError, TdmxWarning
from tdmx_dask.fitting.children import ChildKilled, run_batch
from tdmx_dask.fitting.futures import ClusterRunner
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import Batch, ChainEvent, ChainResult, ChainTask, Sampling
from tests.credentials import in_environment
from tests.fitting import placement

NORMAL = Program(
    "normal",
    "data {int n; vector[n] y;} parameters {real mu; real<lower=0> s;} "
    "model {mu ~ normal(0, 10); s ~ normal(0, 5); y ~ normal(mu, s);}",
)
# a connection to a worker that was killed leaves its socket to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

LONG = 20_000_000
"""Iterations that nobody waits for."""


def batch(
    seed: int = 1, *, chains: int = 2, draws: int = 200, program: Program = NORMAL, **more: Any
) -> Batch:
    data = json.dumps({"n": 5, "y": [1.0, 2.0, 3.0, 4.0, 5.0], **more})
    sampling = Sampling(200, min(draws, 10**7))
    return Batch(
        tuple(ChainTask(program, data, seed, c, sampling=sampling, fit="fit") for c in range(chains))
    )


class Asked:
    """One batch, and what was said about it."""

    def __init__(self, runner: ClusterRunner, wanted: Batch, **options: Any) -> None:
        self.events: list[ChainEvent] = []
        self.outcomes: list[list[ChainResult] | BaseException] = []
        self.threads: set[str] = set()
        self._over = threading.Event()
        self.ticket = runner.submit(
            wanted,
            **{"name": "patient 7", "memory_mb": 100.0, "priority": 0, "retries": 2, **options},
            emit=self.events.append,
            done=self._done,
        )

    def _done(self, outcome: list[ChainResult] | BaseException) -> None:
        self.outcomes.append(outcome)
        self.threads.add(threading.current_thread().name)
        self._over.set()

    def wait(self, seconds: float = 60) -> list[ChainResult] | BaseException:
        assert self._over.wait(seconds), "it never ended"
        return self.outcomes[0]

    def draws(self) -> list[np.ndarray]:
        found = self.wait()
        if isinstance(found, BaseException):
            raise found
        return [result.draws for result in found]


def fit_children(worker: int) -> list[psutil.Process]:
    """Processes that run chains for a worker: forked by its zygote."""
    found = []
    for zygote in psutil.Process(worker).children():
        found += zygote.children()
    return found


def all_gone(children: list[psutil.Process], seconds: float) -> bool:
    """Whether they end in time; where nobody reaps orphans, a zombie is gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(is_alive, children)):
            return True
        time.sleep(0.01)
    return False


def is_alive(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it never came so far")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with start_cluster(n_workers=2, memory_limit="800 MB") as cluster:
        yield cluster.client


@pytest.fixture
def runner(client: Client) -> Iterator[ClusterRunner]:
    runner = ClusterRunner(client)
    yield runner
    runner.close()


def pids(client: Client) -> list[int]:
    return list(client.run(os.getpid).values())


def test_runner__draws_are_those_of_a_plain_run(runner: ClusterRunner) -> None:
    asked = [Asked(runner, batch(seed)) for seed in range(6)]
    for seed, one in enumerate(asked):
        expected = run_batch(batch(seed), lambda _event: None)
        for found, draws in zip(one.draws(), expected, strict=True):
            np.testing.assert_array_equal(found, draws.draws)
        assert one.threads == {"tdmx-fits"}
    assert all(len(one.outcomes) == 1 for one in asked)


def test_runner__events_of_each_chain_first_and_last(runner: ClusterRunner) -> None:
    asked = Asked(runner, batch(draws=20_000))
    asked.draws()
    for chain in (0, 1):
        mine = [event for event in asked.events if event.chain == chain]
        assert mine[-1].phase == "done"
        assert mine[-1].iteration == mine[-1].total == 20_200
        assert all(isinstance(event, ChainEvent) and event.fit == "fit" for event in mine)


def test_runner__slots_by_threads_and_ceiling_by_memory(runner: ClusterRunner) -> None:
    assert runner.slots == 2
    assert runner.ceiling_mb == 400


def test_runner__what_no_worker_can_hold_is_refused_at_once(runner: ClusterRunner) -> None:
    with pytest.raises(
        ClusterError, match=r"fit patient 7 asks for 401 MB, and the largest worker declares 400 MB"
    ):
        Asked(runner, batch(), memory_mb=401.0)


def test_runner__cancelled_children_are_gone_within_a_second(client: Client, runner: ClusterRunner) -> None:
    asked = [Asked(runner, batch(seed, draws=LONG)) for seed in range(4)]
    workers = pids(client)
    children = until(
        lambda: [p for w in workers for p in fit_children(w)] if all(map(fit_children, workers)) else None
    )
    began = time.monotonic()
    runner.cancel([one.ticket for one in asked])
    assert all(isinstance(one.wait(5), FitCancelled) for one in asked)
    assert all_gone(children, 1 - (time.monotonic() - began))
    assert len(Asked(runner, batch()).draws()) == 2  # the workers are free again
    assert all(len(one.outcomes) == 1 for one in asked)


def test_runner__a_fit_error_is_passed_on_and_not_tried_again(runner: ClusterRunner) -> None:
    wrong = Program("wrong", "parameters {real x;} model {x ~ nonsense(1);}")
    asked = Asked(runner, batch(program=wrong))
    found = asked.wait()
    assert isinstance(found, FitError)
    assert not isinstance(found, ChildKilled)
    assert "wrong" in str(found)
    assert "retrying" not in [event.phase for event in asked.events]


def test_runner__a_killed_child_runs_again_with_more_memory(client: Client, runner: ClusterRunner) -> None:
    asked = Asked(runner, batch(draws=200_000, chains=1))
    for child in until(lambda: [p for worker in pids(client) for p in fit_children(worker)]):
        child.kill()
    (found,) = asked.draws()
    (expected,) = run_batch(batch(draws=200_000, chains=1), lambda _event: None)
    np.testing.assert_array_equal(found, expected.draws)
    (again,) = [event for event in asked.events if event.phase == "retrying"]
    assert "killed from outside by SIGKILL; it runs again with 150 MB" in again.text


def test_runner__a_child_killed_each_time_is_an_error(client: Client, runner: ClusterRunner) -> None:
    asked = Asked(runner, batch(draws=LONG, chains=1), retries=1)
    stop = threading.Event()

    def kill() -> None:
        workers = pids(client)
        while not stop.is_set():
            for worker in workers:
                for child in fit_children(worker):
                    child.kill()
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    found = asked.wait()
    stop.set()
    killer.join()
    assert isinstance(found, ChildKilled)
    assert [event.phase for event in asked.events].count("retrying") == 1


def test_runner__a_killed_worker_gives_the_same_draws() -> None:
    with start_cluster(n_workers=2) as cluster:
        runner = ClusterRunner(cluster.client)
        asked = [Asked(runner, batch(seed, draws=60_000)) for seed in range(4)]
        first = pids(cluster.client)[0]
        children = until(lambda: fit_children(first))
        os.kill(first, signal.SIGKILL)
        assert all_gone(children, 1)
        for seed, one in enumerate(asked):
            for found, plain in zip(
                one.draws(), run_batch(batch(seed, draws=60_000), lambda _e: None), strict=True
            ):
                np.testing.assert_array_equal(found, plain.draws)
        texts = {event.text for one in asked for event in one.events if event.phase == "retrying"}
        assert texts == {"its worker died; it runs again on another"}
        runner.close()
    gc.collect()


def test_runner__a_fit_that_kills_its_workers_is_named_and_others_survive() -> None:
    with start_cluster(n_workers=2) as cluster:
        runner = ClusterRunner(cluster.client, run=placement.die)
        others = [Asked(runner, batch(seed), name=f"patient {seed}") for seed in range(4)]
        bad = Asked(runner, batch(die=1), name="patient 9", retries=1)
        found = bad.wait(100)
        assert isinstance(found, FitError)
        assert (
            "fit=patient 9: its worker died each time it ran (program normal, seed 1, 100 MB asked)"
            in str(found)
        )
        assert all(len(one.draws()) == 2 for one in others)
        runner.close()
    gc.collect()


def test_runner__workers_that_declare_no_memory_are_said_once() -> None:
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        with pytest.warns(TdmxWarning, match="the workers declare no MEM"):
            runner = ClusterRunner(client)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(Asked(runner, batch(), memory_mb=1e9).draws()) == 2
        assert runner.ceiling_mb is None
        runner.close()


def test_runner__a_worker_that_comes_later() -> None:
    """Without a worker nobody knows what it will hold: the batch waits, then runs, or is refused."""
    with (
        LocalCluster(
            n_workers=0,
            processes=False,
            threads_per_worker=1,
            resources={"MEM": 200},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        runner = ClusterRunner(client)
        fits, too_large = Asked(runner, batch()), Asked(runner, batch(), memory_mb=300.0)
        cluster.scale(1)
        assert len(fits.draws()) == 2
        assert "declares 200 MB" in str(too_large.wait(10))
        runner.close()


def test_runner__a_lost_scheduler_is_an_error_and_no_hang() -> None:
    cluster = LocalCluster(
        n_workers=1, processes=False, resources={"MEM": 500}, dashboard_address="127.0.0.1:0"
    )
    client = Client(cluster)
    runner = ClusterRunner(client)
    asked = Asked(runner, batch(draws=LONG))
    client.close()
    found = asked.wait(10)
    assert isinstance(found, ClusterError)
    assert "the scheduler was lost" in str(found)
    runner.close()
    cluster.close()


def test_runner__closing_cancels(client: Client) -> None:
    runner = ClusterRunner(client)
    asked = Asked(runner, batch(draws=LONG))
    workers = pids(client)
    children = until(lambda: [p for w in workers for p in fit_children(w)])
    runner.close()
    assert isinstance(asked.wait(5), FitCancelled)
    assert all_gone(children, 1)


def prophet() -> tuple[str, Batch]:
    """The CmdStan executable of prophet's wheel, and a small batch of its program."""
    import prophet

    folder = Path(prophet.__file__).parent / "stan_model"
    executable = str(folder / "prophet_model.bin")
    t = np.linspace(0, 1, 20)
    data = {
        "T": 20, "K": 1, "t": t.tolist(), "cap": [1.0] * 20, "y": (0.3 * t).tolist(), "S": 1, "t_change": [0.5],
        "X": [[0.0]] * 20, "sigmas": [1.0], "tau": 0.05, "trend_indicator": 0, "s_a": [1.0], "s_m": [0.0],
    }  # fmt: skip
    task = ChainTask(
        Program("prophet", "// prophet's own"),
        json.dumps(data),
        3,
        0,
        sampling=Sampling(100, 50),
        executable=executable,
    )
    return executable, Batch((task,), engine="cmdstan")


def test_runner__an_executable_is_sent_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # the workers' cache
    with start_cluster(n_workers=1, threads_per_worker=1) as cluster:
        runner = ClusterRunner(cluster.client)
        executable, wanted = prophet()
        (here,) = Asked(runner, wanted).draws()
        assert not list(tmp_path.rglob("sent-*"))
        cluster.client.run(placement.hide, executable)
        (sent,) = Asked(runner, wanted).draws()
        (again,) = Asked(runner, wanted).draws()
        runner.close()
    assert len(list(tmp_path.rglob("sent-*/program"))) == 1
    np.testing.assert_array_equal(here, sent)
    np.testing.assert_array_equal(here, again)


def test_runner__an_executable_that_is_nowhere_is_refused(runner: ClusterRunner, tmp_path: Path) -> None:
    _, wanted = prophet()
    absent = Batch((replace(wanted.tasks[0], executable=str(tmp_path / "absent")),), engine="cmdstan")
    with pytest.raises(FitError, match=r"executable=.*absent: there is no such file"):
        Asked(runner, absent)


CLIENT = """
import sys, time
from distributed import Client
from tdmx_dask.fitting.futures import ClusterRunner
from tests.fitting.test_futures import LONG, Asked, batch

runner = ClusterRunner(Client(sys.argv[1]))
asked = [Asked(runner, batch(seed, draws=LONG)) for seed in range(3)]
print("asked", flush=True)
time.sleep(100)
"""


def test_runner__a_killed_client_leaves_no_process(client: Client, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    running = subprocess.Popen(
        [sys.executable, "-c", CLIENT, client.scheduler.address],
        stdout=subprocess.PIPE,
        cwd=root,
        text=True,
        env={**os.environ, **in_environment(client, tmp_path)},
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "asked\n"
    workers = pids(client)
    children = until(
        lambda: [p for w in workers for p in fit_children(w)] if all(map(fit_children, workers)) else None
    )
    running.kill()
    running.wait()
    running.stdout.close()
    assert all_gone(children, 3)
    until(lambda: not any(map(fit_children, workers)))


LARGE, SMALL = (300, 320.0, 2.2), (50, 60.0, 0.55)
"""What a process holds, what is asked for (MB), and for how long (s). Two large ones in turn on a worker, a small one beside each."""


@pytest.mark.alone
def test_runner__a_mix_stays_within_its_budget_and_near_the_best_schedule() -> None:
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=4,
            resources={"MEM": 400},
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        runner = ClusterRunner(client, run=placement.hold)
        workers = pids(client)
        over, peaks = threading.Event(), dict.fromkeys(workers, 0)
        watch = threading.Thread(target=watch_memory, args=(peaks, over))
        watch.start()
        asked = []
        for held, wanted, seconds in 10 * [SMALL] + 4 * [LARGE] + 10 * [SMALL]:
            one = batch(chains=1, bytes=held * 10**6, seconds=seconds)
            asked.append(Asked(runner, one, memory_mb=wanted))
        done = [one.wait() for one in asked]
        over.set()
        watch.join()
        runner.close()
    spans = []
    for one in done:
        assert isinstance(one, list)
        spans.append(one[0].info)
    large = np.median([span["end"] - span["start"] for span in spans[10:14]])
    small = np.median([span["end"] - span["start"] for span in spans[:10] + spans[14:]])
    best = (
        2 * large + small
    )  # beside two large ones run at least six small ones; the rest of ten, at most four, run together
    assert 6 * small <= 2 * large < 10 * small
    taken = max(span["end"] for span in spans) - min(span["start"] for span in spans)
    assert taken < 1.15 * best
    for peak in peaks.values():
        assert 300 < peak / 1e6 <= 400


def watch_memory(peaks: dict[int, int], over: threading.Event) -> None:
    """Sample the resident memory of each worker's children together."""
    while not over.wait(0.01):
        for worker in peaks:
            total = 0
            for child in psutil.Process(worker).children():
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peaks[worker] = max(peaks[worker], total)
