"""Warm children: what a call may do to them, and what is left of it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdmx_dask.errors import InputError, JobCancelled, JobError, JobLost, JobTimeout, StoreError
from tdmx_dask.jobs import children as module
from tdmx_dask.jobs.children import Children
from tdmx_dask.jobs.executor import Call
from tdmx_dask.jobs.failure import may_pass
from tdmx_dask.store.value import decode
from tests.jobs.processes import alive, call, children_of, gone, open_files, pids_in, until

NEVER = threading.Event()


@pytest.fixture
def pool() -> Iterator[Children]:
    gc.collect()
    files, others = open_files(), {each.pid for each in children_of()}
    made = Children(2)
    yield made
    made.close()
    assert open_files() == files, "a file was left open"
    assert {each.pid for each in children_of()} <= others, "a process was left, or a zombie"


def value(pool: Children, asked: Call) -> object:
    return decode(pool.run_call(asked, NEVER).value)


def test_children__answer_and_stay_warm(pool: Children) -> None:
    begun: list[int] = []
    answer = pool.run_call(call("double", x=21), NEVER, begun.append)
    assert decode(answer.value) == 42
    assert answer.worker == f"pid {begun[0]}"
    assert 0 <= answer.seconds < 1
    assert value(pool, call("pid")) == begun[0] != os.getpid()
    assert value(pool, call("tests.jobs.functions:Group.triple", x=2.0)) == 6.0


def test_children__large_arguments_and_results_pass(pool: Children) -> None:
    text = "x" * 5_000_000
    assert value(pool, call("double", x=text)) == 2 * text


def test_children__what_is_printed_comes_back_bounded(pool: Children) -> None:
    answer = pool.run_call(call("print_lines", n=100_000), NEVER)
    assert len(answer.output.encode()) <= 4096
    assert answer.output.endswith("line 99999\nthe last, as an error\nstraight to the console\n")
    assert pool.run_call(call("double", x=1), NEVER).output == ""


@pytest.mark.parametrize(
    ("asked", "kind", "match"),
    [
        (call("fail", text="no such dose"), JobError, r"^error=ValueError: no such dose: the function raised it"),
        (call("refuse", dose=-1.5), InputError, r"^dose=-1.5: a dose is > 0 mg\. Give one\.$"),
        (call("fail_as", name="MemoryError"), MemoryError, "as asked"),
        (call("fail_as", name="ConnectionError"), JobError, "^error=ConnectionError: as asked"),
        (call("quit_python", status=3), JobError, "^error=SystemExit: 3"),
        (call("interrupt"), JobError, "^error=KeyboardInterrupt: the function raised it"),
        (call("unencodable"), InputError, "result"),
        (call("recurse", limit=1_000_000), JobError, "SIGSEGV|RecursionError"),
        (call("double"), JobError, "error=TypeError: double.. missing 1 required positional argument: 'x'"),
        (call("constant"), JobError, "it is a int, no function"),
        (call("no_such"), JobError, "^function=tests.jobs.functions:no_such: it cannot be imported .*AttributeError"),
        (call("no_such_module:f"), JobError, "^function=no_such_module:f: it cannot be imported .*No module named"),
        (call("__main__:f"), JobError, "^function=__main__:f: it cannot be imported .*module:name"),
        (Call("tests.jobs.functions:double", b"nonsense", "x", "1"), StoreError, "no encoded value"),
        (call("crash"), JobError, r"its process crashed with SIGSEGV before it answered; it printed last: .*about to crash"),
        (call("die", signal=int(signal.SIGABRT)), JobError, "crashed with SIGABRT"),
        (call("leave", status=3), JobError, "ended with exit status 3 before it answered; it printed last: leaving"),
        (call("die", signal=int(signal.SIGKILL)), JobLost, "^job=1-1: its process was killed from outside by SIGKILL"),
        (call("die", signal=int(signal.SIGTERM)), JobLost, "^job=1-1: its process was killed from outside by SIGTERM"),
    ],
    ids=lambda each: each.function.split(":")[-1] if isinstance(each, Call) else None,
)  # fmt: skip
def test_children__say_what_went_wrong_and_go_on(
    pool: Children, asked: Call, kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match) as caught:
        pool.run_call(asked, NEVER)
    assert type(caught.value) is kind
    assert may_pass(caught.value) is (kind in (JobLost, MemoryError) or "ConnectionError" in match)
    assert value(pool, call("double", x=1)) == 2


def test_children__traceback_begins_in_the_function(pool: Children) -> None:
    with pytest.raises(JobError, match="ValueError") as caught:
        pool.run_call(call("fail", text="here"), NEVER)
    assert "raise ValueError(text)" in caught.value.__notes__[0]
    assert "jobs/child.py" not in caught.value.__notes__[0]


@pytest.mark.parametrize("end", ["cancel", "timeout", "close"])
def test_children__end_with_all_that_they_started(pool: Children, tmp_path: Path, end: str) -> None:
    flag, raised = threading.Event(), []
    asked = call(
        "spawn_child", path=str(tmp_path / "pids"), seconds=60, timeout=0.5 if end == "timeout" else None
    )

    def run() -> None:
        with pytest.raises(JobTimeout if end == "timeout" else JobCancelled, match="job=1-1") as caught:
            pool.run_call(asked, flag)
        raised.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    pids = pids_in(tmp_path / "pids")
    assert all(map(alive, pids))
    if end == "cancel":
        flag.set()
    elif end == "close":
        pool.close()
    assert gone(pids)
    thread.join(1)
    assert raised


def test_children__end_while_c_code_holds_the_lock(pool: Children) -> None:
    with pytest.raises(JobTimeout, match=r"longer than its 0\.2 s"):
        pool.run_call(call("hold_lock", seconds=30, timeout=0.2), NEVER)


def test_children__lost_one_takes_what_it_started_along(pool: Children, tmp_path: Path) -> None:
    def kill() -> None:
        os.kill(pids_in(tmp_path / "pids")[1], signal.SIGKILL)

    threading.Thread(target=kill).start()
    with pytest.raises(JobLost, match="SIGKILL"):
        pool.run_call(call("spawn_child", path=str(tmp_path / "pids"), seconds=60), NEVER)
    assert gone(pids_in(tmp_path / "pids"))


def test_children__one_that_left_a_process_is_replaced(pool: Children) -> None:
    first = value(pool, call("pid"))
    left = value(pool, call("leave_child", seconds=60))
    assert isinstance(left, int)
    assert gone([left])
    assert value(pool, call("pid")) != first


def test_children__one_that_leaks_or_is_old_is_replaced(
    pool: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = value(pool, call("keep", mb=50))
    assert value(pool, call("pid")) == first
    monkeypatch.setattr(module, "MOST_CALLS", 3)
    assert value(pool, call("pid")) == first
    second = value(pool, call("pid"))
    assert second != first
    assert value(pool, call("keep", mb=600)) == second
    assert value(pool, call("pid")) != second


def test_children__dead_idle_one_is_replaced(pool: Children) -> None:
    first = value(pool, call("pid"))
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    assert gone([first])
    assert value(pool, call("pid")) != first


def test_children__import_what_this_process_can(
    pool: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_script.py").write_text("def f():\n    return 5\n")
    with pytest.raises(JobError, match="cannot be imported"):
        pool.run_call(call("beside_the_script:f"), NEVER)
    monkeypatch.syspath_prepend(tmp_path)
    assert value(pool, call("beside_the_script:f")) == 5


def test_children__edited_module_is_imported_anew(
    pool: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm child that has imported the old one would give its numbers under the new one's name."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_work.py"
    asked = call("tdmx_dask.jobs.batch:apply", function="edited_work:f", items=[3], arguments={}, keep=False)
    file.write_text("def f(x): return x + 1\n", encoding="utf-8")
    assert value(pool, asked)[0] == [4]  # type: ignore[index]
    pid = value(pool, call("pid"))
    assert value(pool, call("pid")) == pid, "an unchanged one stays"
    file.write_text("def f(x): return x + 100\n", encoding="utf-8")
    assert value(pool, asked)[0] == [103]  # type: ignore[index]
    file.unlink()
    with pytest.raises(JobError, match="ModuleNotFoundError"):
        value(pool, asked)


def test_children__one_call_does_not_move_the_next(pool: Children, tmp_path: Path) -> None:
    home = value(pool, call("where"))
    value(pool, call("move", folder=str(tmp_path)))
    assert value(pool, call("where")) == home
    assert value(pool, call("environment", name="OPENBLAS_NUM_THREADS")) == "1"


def test_children__many_threads_share_them(pool: Children) -> None:
    found: list[object] = []
    others = {each.pid for each in children_of()}
    threads = [
        threading.Thread(target=lambda n=n: found.append(value(pool, call("double", x=n)))) for n in range(12)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(map(int, map(str, found))) == [2 * n for n in range(12)]
    assert len({each.pid for each in children_of()} - others) <= 2, "more than the idle ones stayed"


def test_children__closed_ones_take_no_call() -> None:
    pool = Children(1)
    pool.close()
    with pytest.raises(JobCancelled, match="cancelled"):
        pool.run_call(call("double", x=1), NEVER)


def test_children__forked_process_has_its_own(pool: Children) -> None:
    first = value(pool, call("pid"))
    forked = os.fork()
    if not forked:
        status = 1
        try:
            status = 0 if value(pool, call("pid")) != first else 2
            pool.close()
        finally:
            os._exit(status)
    assert os.waitpid(forked, 0)[1] == 0
    assert value(pool, call("pid")) == first


SCRIPT = """
import sys, threading
from tdmx_dask.jobs.children import Children
from tests.jobs.processes import call
pool = Children(2)
never = threading.Event()
pool.run_call(call("double", x=1), never)
print("warm", flush=True)
def run(asked):
    threading.Thread(target=pool.run_call, args=(asked, never), daemon=True).start()
run(call("spawn_child", path=sys.argv[1], seconds=60))
pool.run_call(call("hold_lock", seconds=60), never, print) if len(sys.argv) > 2 else sys.stdin.read()
"""


@pytest.mark.alone
@pytest.mark.parametrize("end", ["killed", "ended"])
def test_children__none_outlives_its_client(tmp_path: Path, end: str) -> None:
    pids_file = tmp_path / "pids"
    command = [sys.executable, "-c", SCRIPT, str(pids_file), *(["hold"] if end == "killed" else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        pids = pids_in(pids_file)
        pids += [each.pid for each in until(lambda: children_of(client.pid))]
        time.sleep(0.1)
        if end == "killed":
            client.kill()
        else:
            assert client.stdin is not None
            client.stdin.close()
        start = time.monotonic()
        assert gone(pids)
        assert time.monotonic() - start < 1
        errors = client.stderr.read()
    assert errors == b""


def test_children__trivial_call_is_fast(pool: Children) -> None:
    value(pool, call("double", x=1))
    best = min(_seconds(pool) for _ in range(5))
    print(f"{best * 1e3:.3f} ms a call")
    assert best < 0.005  # 0.1 ms on an idle machine


def _seconds(pool: Children) -> float:
    start = time.perf_counter()
    for _ in range(20):
        value(pool, call("double", x=1))
    return (time.perf_counter() - start) / 20
