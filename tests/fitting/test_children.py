"""Children are real processes here: they are killed, cancelled and orphaned."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tdmx_dask.errors import FitCancelled, FitError
from tdmx_dask.fitting import nursery
from tdmx_dask.fitting.children import ChildKilled, run_batch
from tdmx_dask.fitting.engine import InitialisationFailed
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import Batch, Start
from tests.fitting.stan_programs import NORMAL_DATA, endless, nothing, task

FOREVER = Program("forever", "parameters { real x; } model { while (1) { real y = x; } x ~ normal(0, 1); }")


def _children_of(pid):
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in said.stdout.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")]


def _gone(pids, within=1.0):
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def _runs(pid):
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(said.stdout.strip()) and not said.stdout.startswith("Z")


class _Running:
    """A batch that runs in a thread, once its first chain samples."""

    def __init__(self, *tasks, parallel=1, until="sampling", engine="stanli"):
        self.cancelled = threading.Event()
        self.outcome = None
        began = threading.Semaphore(0)

        def hear(event):
            if event.phase == until:
                began.release()

        def work():
            try:
                self.outcome = run_batch(Batch(tasks, parallel, engine), hear, self.cancelled)
            except FitError as error:
                self.outcome = error

        self.thread = threading.Thread(target=work)
        self.thread.start()
        for _ in range(parallel):
            if not began.acquire(timeout=20):
                self.cancelled.set()
                self.ended()
                pytest.fail(f"no chain began: {self.outcome}")
        self.zygote = nursery.zygote_pid()
        self.children = _children_of(self.zygote)

    def ended(self, within=5.0):
        self.thread.join(within)
        assert not self.thread.is_alive()
        return self.outcome


def _same(found, wanted):
    assert [(one.task_chain, one.task_round, one.attempt) for one in found] == [
        (one.task_chain, one.task_round, one.attempt) for one in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        assert one.draws.tobytes() == other.draws.tobytes()
        assert one.stats.tobytes() == other.stats.tobytes()
        assert one.end.position == other.end.position


@pytest.fixture(scope="module")
def four():
    """Four chains, each in a child of its own."""
    return [run_batch(Batch((task(chain=chain),)), nothing)[0] for chain in range(4)]


def test_run_batch__same_draws_however_chains_are_batched(four):
    tasks = tuple(task(chain=chain) for chain in range(4))
    _same(run_batch(Batch(tasks), nothing), four)
    _same(run_batch(Batch(tasks, parallel=3), nothing), four)
    _same(run_batch(Batch(tasks[::-1], parallel=2), nothing)[::-1], four)
    assert len({one.draws.tobytes() for one in four}) == 4


def test_run_batch__two_at_once_from_two_threads_among_many(four):
    idle = threading.Event()
    others = [threading.Thread(target=idle.wait) for _ in range(30)]
    for thread in others:
        thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(run_batch, Batch((task(chain=chain),)), nothing) for chain in range(4)]
            _same([one.result()[0] for one in asked], four)
    finally:
        idle.set()
        for thread in others:
            thread.join()


def test_run_batch__nothing_to_do():
    assert run_batch(Batch(()), nothing) == []


def test_run_batch__tells_how_much_memory_a_child_took(four):
    assert all(20 < one.peak_mb < 400 for one in four)


def test_run_batch__child_killed_from_outside_and_run_again(four):
    running = _Running(endless())
    os.kill(running.children[0], signal.SIGKILL)
    error = running.ended()
    assert type(error) is ChildKilled
    assert "chain 0 (seed 7) was killed from outside by SIGKILL" in str(error)
    _same(run_batch(Batch((task(chain=0),)), nothing), four[:1])


def test_run_batch__child_that_crashes():
    running = _Running(endless())
    os.kill(running.children[0], signal.SIGSEGV)
    error = running.ended()
    assert type(error) is FitError
    assert "program=normal" in str(error)
    assert "chain 0 (seed 7) crashed with signal SIGSEGV; it printed last:" in str(error)
    assert "child.py" in str(error)


@pytest.mark.parametrize("parallel", [1, 2])
def test_run_batch__cancelled_children_are_gone_within_a_second(parallel):
    running = _Running(*(endless(chain=chain) for chain in range(3)), parallel=parallel)
    assert len(running.children) == parallel
    running.cancelled.set()
    assert _gone(running.children)
    assert isinstance(running.ended(1), FitCancelled)


def test_run_batch__a_cancelled_child_that_never_looks_up_is_gone_too():
    running = _Running(task(FOREVER), until="starting")
    running.cancelled.set()
    assert _gone(running.children)
    assert isinstance(running.ended(1), FitCancelled)


def test_run_batch__a_stopped_child_can_be_cancelled():
    running = _Running(endless())
    os.kill(running.children[0], signal.SIGSTOP)
    running.cancelled.set()
    assert _gone(running.children, 3)
    assert isinstance(running.ended(), FitCancelled)


def test_run_batch__one_failure_ends_its_siblings():
    broken = Program("broken", "parameters { real x } model { }")
    running = _Running(endless(), until="starting")
    before = set(_children_of(running.zygote))
    with pytest.raises(FitError, match="it does not compile"):
        run_batch(Batch((endless(chain=1), task(broken)), parallel=2), nothing)
    assert set(_children_of(running.zygote)) == before
    running.cancelled.set()
    running.ended()


def test_run_batch__an_emit_that_raises_leaves_no_child():
    def broken(event):
        raise ValueError("no more events")

    with pytest.raises(ValueError, match="no more events"):
        run_batch(Batch((endless(),)), broken)
    assert _children_of(nursery.zygote_pid()) == []


def test_zygote__killed_and_replaced(four):
    running = _Running(endless())
    os.kill(running.zygote, signal.SIGKILL)
    error = running.ended()
    assert type(error) is ChildKilled
    assert _gone(running.children)
    _same(run_batch(Batch((task(chain=0),)), nothing), four[:1])
    assert nursery.zygote_pid() != running.zygote


def test_zygote__a_terminal_s_interrupt_is_not_for_children():
    running = _Running(endless())
    assert os.getpgid(running.zygote) != os.getpgid(0)
    for pid in (running.zygote, *running.children):
        os.killpg(os.getpgid(pid), signal.SIGINT)
    time.sleep(0.3)
    assert all(_runs(pid) for pid in (running.zygote, *running.children))
    running.cancelled.set()
    running.ended()


def test_zygote__its_niceness_is_an_option():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    nursery.start_zygote(nice=3)
    try:
        running = _Running(endless())
        assert os.getpriority(os.PRIO_PROCESS, running.children[0]) == before + 3
        running.cancelled.set()
        running.ended()
    finally:
        nursery.start_zygote(nice=0)


def test_zygote__children_hold_no_end_of_each_other():
    running = _Running(endless(), endless(chain=1), parallel=2)
    os.kill(running.children[0], signal.SIGKILL)
    assert type(running.ended()) is ChildKilled
    assert _gone(running.children)


def test_zygote__a_forked_process_has_its_own(four):
    run_batch(Batch((task(),)), nothing)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own = run_batch(Batch((task(),)), nothing)[0].draws
            nursery._end()
            os.write(write, b"same" if own.tobytes() == four[0].draws.tobytes() else b"other")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"same"
    os.waitpid(pid, 0)
    _same(run_batch(Batch((task(),)), nothing), four[:1])


_CLIENT = """
import sys, threading, time
from tdmx_dask.fitting import nursery
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.task import Batch
from tests.fitting.stan_programs import endless, task
run_batch(Batch((task(),)), lambda event: None)
if sys.argv[1] == "exit":
    print(nursery.zygote_pid(), flush=True)
else:
    batch = Batch((endless(), endless(chain=1)), parallel=2)
    say = lambda event: event.phase == "sampling" and print(nursery.zygote_pid(), flush=True)
    thread = threading.Thread(target=run_batch, args=(batch, say), daemon=True)
    thread.start()
    time.sleep(60)
"""


def _client(how):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _CLIENT, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_client__dead_and_no_orphan_left(by):
    with _client("run") as client:
        zygote = int(client.stdout.readline())
        client.stdout.readline()
        processes = [zygote, *_children_of(zygote)]
        assert len(processes) == 3
        os.killpg(client.pid, by)
        client.wait(5)
        assert _gone(processes)
        client.stdout.close()
        client.stderr.close()


def test_client__ends_without_a_warning():
    with _client("exit") as client:
        said, complaints = client.communicate(timeout=20)
        assert complaints == ""
        assert client.returncode == 0
        assert _gone([int(said)])


def test_run_batch__chains_that_start_by_luck():
    unlucky = Program(
        "unlucky", 'parameters { real x; } model { if (x < 1.96) reject("x is ", x); x ~ normal(0, 1); }'
    )
    heard = []
    results = run_batch(
        Batch(tuple(task(unlucky, chain=chain, draws=50) for chain in range(12))), heard.append
    )
    again = [one for one in results if one.attempt]
    assert again
    assert len(again) < 12
    for one in again:
        assert "chain" in one.log[0]
        assert "tried again from another position" in one.log[0]
    retried = [event for event in heard if event.phase == "retrying"]
    assert len(retried) == sum(one.attempt for one in results)
    assert "x is" in retried[0].text
    _same(run_batch(Batch((task(unlucky, chain=again[0].task_chain, draws=50),)), nothing), again[:1])


def test_run_batch__a_chain_that_never_starts():
    never = Program("never", 'parameters { real x; } model { reject("never at ", x); }')
    heard = []
    with pytest.raises(InitialisationFailed, match=r"chain 2 \(seed 7\) cannot be started.*never at"):
        run_batch(Batch((task(never, chain=2),)), heard.append)
    assert [event.phase for event in heard].count("retrying") == 4
    assert heard[-1].phase == "failed"


def test_run_batch__a_bad_start_is_replaced_by_a_random_one():
    low = Program("low", 'parameters { real x; } model { if (x > 3) reject("too far"); x ~ normal(0, 1); }')
    (result,) = run_batch(Batch((task(low, start=Start({"x": 5.0})),)), nothing)
    assert result.attempt == 1
    assert "too far" in result.log[0]
    with pytest.raises(InitialisationFailed, match="too far"):
        run_batch(Batch((task(low, start=Start({"x": 5.0}), round=1, warmup=0, adapt=False),)), nothing)


def test_run_batch__five_megabytes_of_data():
    y = np.random.default_rng(1).normal(3, 2, 260_000)
    data = {"N": len(y), "y": y.tolist(), "sigma": 2.0, "tau": 10.0}
    (one,) = run_batch(Batch((task(data=data, warmup=50, draws=20),)), nothing)
    assert len(task(data=data).data) > 5_000_000
    assert abs(one.draws[:, 0].mean() - y.mean()) < 0.05


def test_run_batch__an_unknown_engine():
    with pytest.raises(FitError, match="engine=jags: it is stanli or cmdstan"):
        run_batch(Batch((task(),), engine="jags"), nothing)


def test_run_batch__what_a_program_prints_does_no_harm():
    chatty = Program("chatty", 'parameters { real x; } model { print("x = ", x); x ~ normal(0, 1); }')
    (one,) = run_batch(Batch((task(chatty, NORMAL_DATA),)), nothing)
    assert len(one.draws) == 600


def _prophet():
    """A compiled CmdStan program and its data: a trend over 300 days."""
    prophet = pytest.importorskip("prophet")
    executable = Path(prophet.__file__).parent / "stan_model" / "prophet_model.bin"
    days = np.linspace(0, 1, 300)
    data = {
        "T": 300,
        "K": 1,
        "t": days.tolist(),
        "cap": [1.0] * 300,
        "y": (days + np.random.default_rng(1).normal(0, 0.1, 300)).tolist(),
        "S": 3,
        "t_change": [0.25, 0.5, 0.75],
        "X": [[0.0]] * 300,
        "sigmas": [1.0],
        "tau": 0.05,
        "trend_indicator": 0,
        "s_a": [1.0],
        "s_m": [0.0],
    }
    return executable, data


@pytest.mark.parametrize("how", ["cancelled", "killed", "zygote killed"])
def test_run_batch__a_grandchild_goes_with_its_child(how):
    executable, data = _prophet()
    program = Program("prophet", "// compiled elsewhere")
    running = _Running(endless(program=program, data=data, executable=str(executable)), engine="cmdstan")
    grandchildren = [pid for child in running.children for pid in _children_of(child)]
    assert len(running.children) == len(grandchildren) == 1
    if how == "cancelled":
        running.cancelled.set()
    else:
        os.kill(running.children[0] if how == "killed" else running.zygote, signal.SIGKILL)
    assert _gone([*running.children, *grandchildren])
    assert isinstance(running.ended(), FitCancelled if how == "cancelled" else ChildKilled)
