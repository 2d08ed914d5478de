"""The queue as its users see it, with real processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tdmx_dask.errors import InputError, JobCancelled, JobError, JobTimeout, StoreError, TdmxWarning
from tests.jobs.processes import alive

F = "tests.jobs.functions"
ROOT = Path(__file__).resolve().parents[2]


def open_queue(folder: Path, max_workers: int | None = 2, **options: Any) -> tdmx.JobQueue:
    """A queue that knows the functions of the tests."""
    queue = tdmx.JobQueue(
        max_workers,
        options.pop("cache", folder / "cache"),
        folder=folder / "queue",
        retry_delay=0.05,
        **options,
    )
    for name in (
        "double",
        "sleep",
        "fail",
        "fail_as",
        "count_runs",
        "spawn_child",
        "print_lines",
        "refuse",
        "unencodable",
        "wait_for",
    ):
        queue.register(name, f"{F}:{name}", cache=name != "count_runs")
    return queue


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[tdmx.JobQueue]:
    with open_queue(tmp_path) as queue:
        yield queue


@pytest.fixture
def single(tmp_path: Path) -> Iterator[tdmx.JobQueue]:
    """One slot, so that there is an order."""
    with open_queue(tmp_path, 1, cache=False) as queue:
        yield queue


def until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def order_of(queue: tdmx.JobQueue, jobs: list[int]) -> list[int]:
    """Jobs in the order in which they began."""
    began = {job: queue.job(job).started for job in jobs}
    assert None not in began.values()
    return sorted(jobs, key=lambda job: began[job])  # type: ignore[arg-type, return-value]


def test_submit__result_and_record(queue: tdmx.JobQueue) -> None:
    job = queue.submit("double", {"x": [1, 2]}, priority=7, group="ward 3")
    assert queue.result(job, timeout=30) == [1, 2, 1, 2]
    found = queue.job(job)
    assert (found.state, found.priority, found.group, found.attempts, found.title) == (
        "completed",
        7,
        "ward 3",
        1,
        "x=[1, 2]",
    )
    assert found.wait_s is not None
    assert found.run_s is not None
    assert 0 <= found.wait_s < 30
    assert 0 < found.run_s < 30
    assert found.submitted <= found.started <= found.ended  # type: ignore[operator]
    assert queue.log(job)[0].text.startswith("runs on pid")
    assert queue.spec(job)["arguments"] == {"x": [1, 2]}


def test_submit__the_call_of_the_package_before(queue: tdmx.JobQueue) -> None:
    """As in the README of the R package: named arguments, a callback, a result that is waited for."""
    heard: list[object] = []
    job = queue.submit(type="double", spec={"x": 21}, priority=10, callback=heard.append)
    assert queue.result(job, wait=True) == 42
    until(lambda: heard == [42])


def test_callbacks__in_a_thread_of_their_own_and_harmless(
    queue: tdmx.JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    threads: list[str] = []
    problems: list[BaseException] = []

    def loud(result: object) -> None:
        threads.append(threading.current_thread().name)
        raise RuntimeError("a callback of the user")

    with caplog.at_level(logging.ERROR):
        first = queue.submit("double", {"x": 1}, callback=loud)
        bad = queue.submit("fail", {"text": "no"}, callback=loud, error_callback=problems.append)
        queue.wait_all([first, bad], timeout=30)
        until(lambda: threads and problems)
    assert threads == ["tdmx-callbacks"]
    assert f"A callback of job {first} failed" in caplog.text
    assert "a callback of the user" in caplog.text
    assert "ValueError: no" in str(problems[0])
    assert queue.result(queue.submit("double", {"x": 5}), timeout=30) == 10  # the queue goes on
    again = queue.submit("double", {"x": 1}, callback=lambda result: threads.append(f"cached {result}"))
    assert queue.status(again) == "cached"
    until(lambda: threads[-1] == "cached 2")
    assert any("which a restart does not survive" in line.text for line in queue.log(first))


def test_cache__answers_equal_specs_and_says_so(queue: tdmx.JobQueue, tmp_path: Path) -> None:
    first = queue.submit("double", {"x": 1.5})
    assert queue.result(first, timeout=30) == 3.0
    second = queue.submit("double", {"x": 1.5}, priority=0)
    assert (queue.status(second), queue.result(second, wait=False)) == ("cached", 3.0)
    assert queue.job(second).attempts == 0
    fresh = queue.submit("double", {"x": 1.5}, fresh=True)
    assert queue.result(fresh, timeout=30) == 3.0
    assert queue.status(fresh) == "completed"
    other = queue.submit("double", {"x": 1.25})
    queue.result(other, timeout=30)
    assert queue.status(other) == "completed"
    stats = queue.get_stats()
    assert (stats.completed, stats.cached, stats.cache_hits, stats.hit_rate) == (3, 1, 1, 0.25)


def test_equal_jobs__computed_once(tmp_path: Path) -> None:
    """One that equals a running job waits for its answer."""
    (tmp_path / "runs").mkdir()
    spec = {"folder": str(tmp_path / "runs"), "seconds": 0.5}
    with open_queue(tmp_path, 3) as queue:
        queue.register("counted", f"{F}:count_runs")
        jobs = queue.submit_batch([{"type": "counted", "spec": spec}] * 3)
        assert [queue.result(job, timeout=30) for job in jobs] == [1, 1, 1]
        assert sorted(queue.status(job) for job in jobs) == ["cached", "cached", "completed"]
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_equal_jobs__all_run_without_a_cache(single: tdmx.JobQueue, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    single.register("counted", f"{F}:count_runs")
    jobs = single.submit_batch([{"type": "counted", "spec": {"folder": str(tmp_path / "runs")}}] * 3)
    assert sorted(single.result(job, timeout=30) for job in jobs) == [1, 2, 3]


def test_result__waits_or_says_why_not(queue: tdmx.JobQueue) -> None:
    job = queue.submit("sleep", {"seconds": 5})
    with pytest.raises(JobError, match=f"job={job}: it is (queued|running), and has no result yet"):
        queue.result(job, wait=False)
    with pytest.raises(JobTimeout, match=r"timeout=0.2 s: 1 of the jobs have not ended"):
        queue.result(job, timeout=0.2)
    assert queue.cancel(job) == [job]
    with pytest.raises(JobCancelled, match="it was cancelled"):
        queue.result(job)


def test_errors__come_back_as_they_were(queue: tdmx.JobQueue) -> None:
    with pytest.raises(InputError, match=r"dose=-5: a dose is > 0 mg. Give one.") as caught:
        queue.result(queue.submit("refuse", {"dose": -5}), timeout=30)
    assert any("refuse (dose=-5), attempt 1" in note for note in caught.value.__notes__)
    with pytest.raises(JobError, match="ZeroDivisionError: as asked") as caught_other:
        queue.result(queue.submit("fail_as", {"name": "ZeroDivisionError"}), timeout=30)
    assert any("Traceback" in note for note in caught_other.value.__notes__)
    job = queue.submit("unencodable", {})
    with pytest.raises(InputError, match="result=<object>"):
        queue.result(job, timeout=30)
    assert queue.job(job).attempts == 1, "what cannot pass is not tried again"


def test_retries__what_may_pass(queue: tdmx.JobQueue) -> None:
    job = queue.submit("fail_as", {"name": "ConnectionError"}, retries=2)
    with pytest.raises(JobError, match="ConnectionError"):
        queue.result(job, timeout=30)
    assert queue.job(job).attempts == 3
    log = [line.text for line in queue.log(job)]
    assert sum(text.startswith("attempt") for text in log) == 3
    assert "it runs again in" in log[1]
    assert "no attempt is left of 3" in log[-1]


def test_retries__more_memory_after_it_ran_out(queue: tdmx.JobQueue) -> None:
    job = queue.submit("fail_as", {"name": "MemoryError"}, retries=2)
    with pytest.raises(MemoryError, match="as asked"):
        queue.result(job, timeout=30)
    log = "\n".join(line.text for line in queue.log(job))
    assert "with 1000 MB" in log
    assert "with 1500 MB" in log


def test_timeout__ends_the_processes(queue: tdmx.JobQueue, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    job = queue.submit("spawn_child", {"path": str(path), "seconds": 60}, timeout=1.0, retries=0)
    with pytest.raises(JobTimeout, match=r"ran longer than"):
        queue.result(job, timeout=30)
    pids = [int(pid) for pid in path.read_text().split()]
    until(lambda: not any(map(alive, pids)), 2)
    assert queue.status(job) == "failed"


def test_cancel__a_running_job_and_all_it_started(queue: tdmx.JobQueue, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    job = queue.submit("spawn_child", {"path": str(path), "seconds": 60})
    after = queue.submit("double", {"x": 1}, after=job)
    until(path.exists)
    pids = [int(pid) for pid in path.read_text().split()]
    assert queue.cancel([job]) == [job]
    assert queue.cancel(job) == []
    assert queue.status(job) == "cancelled"
    until(lambda: not any(map(alive, pids)), 1.5)
    assert queue.status(after) == "failed"
    with pytest.raises(JobError, match=f"job {job}, which it needs, was cancelled"):
        queue.result(after)


def test_cancel__a_queued_job_never_runs(single: tdmx.JobQueue, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    blocker = single.submit("sleep", {"seconds": 0.5})
    job = single.submit("count_runs", {"folder": str(tmp_path / "runs")})
    assert single.cancel(job) == [job]
    single.result(blocker, timeout=30)
    assert single.retry(job) == [job]
    assert single.result(job, timeout=30) == 1


def test_priority__the_urgent_first(single: tdmx.JobQueue) -> None:
    blocker = single.submit("sleep", {"seconds": 0.4})
    until(lambda: single.status(blocker) == "running")
    priorities = [5, 1, 9, 5, 3, 10, 0]
    jobs = [single.submit("double", {"x": i}, priority=priority) for i, priority in enumerate(priorities)]
    single.wait_all(timeout=30)
    began = order_of(single, jobs)
    assert [priorities[jobs.index(job)] for job in began] == sorted(priorities, reverse=True)
    assert began.index(jobs[0]) < began.index(jobs[3]), "of equal ones the older"


def test_priority__a_late_urgent_job_overtakes_a_batch(single: tdmx.JobQueue) -> None:
    """A job of many calls gives way between two of them."""
    batch = single.submit(
        "batch_processing", {"function": f"{F}:sleep", "items": [0.1] * 100, "chunk_size": 1}
    )
    until(lambda: single.status(batch) == "running")
    ordinary = single.submit("double", {"x": 1}, priority=5)
    urgent = single.submit("double", {"x": 2}, priority=10)
    assert single.result(urgent, timeout=30) == 4
    assert single.result(ordinary, timeout=30) == 2, "a short job does not wait for a long one, either"
    assert single.status(batch) == "running"
    single.cancel(batch)


def test_after__in_order_and_only_after_success(queue: tdmx.JobQueue, tmp_path: Path) -> None:
    first = queue.submit("wait_for", {"path": str(tmp_path / "first")})
    second = queue.submit("double", {"x": 3}, after=first)
    third = queue.submit("double", {"x": 4}, after=[first, second], priority=10)
    assert queue.status(second) == queue.status(third) == "waiting"
    assert queue.job(third).after == (first, second)
    (tmp_path / "first").touch()
    queue.wait_all(timeout=30)
    assert order_of(queue, [first, second, third]) == [first, second, third]
    gate = queue.submit("wait_for", {"path": str(tmp_path / "gate")})
    bad = queue.submit("fail", {"text": "no"}, after=gate)
    last = queue.submit("double", {"x": 9}, after=bad)
    (tmp_path / "gate").touch()
    assert queue.wait_all([last], timeout=30) == {last: "failed"}
    with pytest.raises(InputError, match=f"after={bad}: that job is failed"):
        queue.submit("double", {"x": 9}, after=bad)


def test_submit_batch__all_or_none(queue: tdmx.JobQueue) -> None:
    with pytest.raises(InputError, match=r"jobs\[1\].spec=missing"):
        queue.submit_batch([{"type": "double", "spec": {"x": 1}}, {"type": "double"}])
    with pytest.raises(InputError, match=r"jobs\[0\].prority=9: a job has no such option"):
        queue.submit_batch([{"type": "double", "spec": {"x": 1}, "prority": 9}])
    assert queue.jobs() == []
    assert queue.submit_batch([]) == []


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        (("trible", {}), {}, "type=trible: there is no such type of jobs"),
        (("double", 4), {}, "spec=4: a spec is a mapping"),
        (("double", {"x": np.ones(3)}), {}, r"spec\.arguments\.x|spec\.x"),
        (("double", {"x": float("nan")}), {}, "nan is no plain value"),
        (("double", {"x": 1}), {"priority": 1001}, "priority=1001: a priority is a whole number"),
        (("double", {"x": 1}), {"priority": 5.0}, "priority=5.0"),
        (("double", {"x": 1}), {"priority": True}, "priority=True"),
        (("double", {"x": 1}), {"retries": -1}, "retries=-1"),
        (("double", {"x": 1}), {"timeout": 0}, "timeout=0: a time-out is > 0 s"),
        (("double", {"x": 1}), {"timeout": float("nan")}, "timeout=nan"),
        (("double", {"x": 1}), {"group": ""}, "group="),
        (("double", {"x": 1}), {"callback": 3}, "callback=3"),
        (("double", {"x": 1}), {"after": [99]}, "after=99: there is no such job"),
        (("double", {"x": 1}), {"after": "1"}, "after"),
        (("batch_processing", {"function": f"{F}:double"}), {}, "spec.items=missing"),
        (("batch_processing", {"function": f"{F}:double", "items": []}), {}, "there is at least one item"),
        (("batch_processing", {"function": f"{F}:double", "items": "abc"}), {}, "items are a list"),
        (("batch_processing", {"function": lambda x: x, "items": [1]}), {}, "no name by which another process"),
        (("batch_processing", {"function": f"{F}:constant", "items": [1]}), {}, "it is not a function"),
        (("batch_processing", {"function": f"{F}:dubble", "items": [1]}), {}, "the module has no dubble"),
        (("batch_processing", {"function": "nowhere:f", "items": [1]}), {}, "the module cannot be imported"),
        (("batch_processing", {"function": "double", "items": [1]}), {}, "module:name"),
        (("batch_processing", {"function": f"{F}:double", "items": [1], "chunk": 2}), {}, "spec.chunk=2: there is no such key"),
        (("batch_processing", {"function": f"{F}:double", "items": [1], "chunk_size": 0}), {}, "spec.chunk_size=0"),
        (("pta_calculation", {}), {}, r"spec\."),
    ],
)  # fmt: skip
def test_submit__refuses(queue: tdmx.JobQueue, arguments: Any, options: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        queue.submit(*arguments, **options)
    assert queue.jobs() == []


@pytest.mark.parametrize("job", [0, -1, 2**70, "1", None, 1.0, True, 7])
def test_ids__refused_where_there_is_no_such_job(queue: tdmx.JobQueue, job: Any) -> None:
    for ask in (queue.status, queue.result, queue.log, queue.cancel, queue.spec):
        with pytest.raises(InputError, match="job"):
            ask(job)


def test_batch__in_order_and_balanced(queue: tdmx.JobQueue) -> None:
    items = [0.02 * (i % 5) for i in range(60)]
    job = queue.submit("batch_processing", {"function": f"{F}:sleep", "items": items})
    assert queue.result(job, timeout=60) == items
    kept = queue.submit("batch_processing", {"function": f"{F}:refuse", "items": [1, 2], "errors": "keep"})
    assert [list(each) for each in queue.result(kept, timeout=30)] == [["error"], ["error"]]
    numbers = queue.submit(
        "batch_processing", {"function": f"{F}:double", "items": np.arange(3), "arguments": {}}
    )
    assert queue.result(numbers, timeout=30) == [0, 2, 4]
    bad = queue.submit("batch_processing", {"function": f"{F}:refuse", "items": [-1, -2]})
    with pytest.raises(InputError, match="dose="):
        queue.result(bad, timeout=30)


def test_results__of_any_size(queue: tdmx.JobQueue) -> None:
    queue.register("zeros", "numpy:zeros")
    small, large = queue.submit("zeros", {"shape": 10}), queue.submit("zeros", {"shape": [100, 1000]})
    assert np.array_equal(queue.result(small, timeout=30), np.zeros(10))
    assert np.array_equal(queue.result(large, timeout=30), np.zeros((100, 1000)))
    assert len(list((queue.folder / "results").iterdir())) == 1
    assert queue.clear() == 2
    assert list((queue.folder / "results").iterdir()) == []
    assert queue.get_stats().completed == 2, "figures stay"
    assert list(queue.history().state) == ["completed", "completed"]


def test_pta__the_numbers_of_the_verb(queue: tdmx.JobQueue, store: Path) -> None:
    question = {
        "regimens": ["1000 mg q8h inf 3h"],
        "targets": "T>MIC >= 50%",
        "mic": [1, 2, 4, 8],
        "subjects": 3,
        "seed": 4,
    }
    attained = queue.submit("pta_calculation", {"draws": store, **question})
    isolates = tdmx.MICDistribution.parse("1:0.5, 8:0.5")
    response = queue.submit("cfr_calculation", {"pta": attained, "distributions": isolates})
    expected = tdmx.pta(store, **question)
    found = queue.result(attained, timeout=60)
    assert isinstance(found, xr.Dataset)
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))
    assert queue.result(response, timeout=60).cfr.item() == tdmx.cfr(expected, isolates).cfr.item()


def test_close_and_open_again__everything_is_there(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with open_queue(tmp_path, 1, cache=False) as queue:
        done = queue.submit("double", {"x": 4})
        queue.result(done, timeout=30)
        running = queue.submit("sleep", {"seconds": 1})
        until(lambda: queue.status(running) == "running")
        waiting = queue.submit("count_runs", {"folder": str(tmp_path / "runs")})
    with pytest.raises(StoreError, match="it was closed"):
        queue.submit("double", {"x": 1})
    with open_queue(tmp_path, 1, cache=False) as queue:
        assert queue.result(done, wait=False) == 8
        assert queue.result(running, timeout=30) == 1
        assert queue.result(waiting, timeout=30) == 1
        assert queue.job(done).attempts == 1
        assert [line.text for line in queue.log(running)][1] == "given back"


CLIENT = """
import sys, time
import tdmx_dask as tdmx
if __name__ == "__main__":
    folder, runs = sys.argv[1:]
    queue = tdmx.JobQueue(2, False, folder=folder)
    queue.register("count_runs", "tests.jobs.functions:count_runs", cache=False)
    queue.submit_batch([{"type": "count_runs", "spec": {"folder": runs, "seconds": s}} for s in [0] * 4 + [60] * 2 + [0] * 4])
    print("submitted", flush=True)
    time.sleep(60)
"""


def test_kill_9__nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """The client dies; opening the queue again takes up what ran, at once, and leaves what was completed."""
    (tmp_path / "runs").mkdir()
    script = tmp_path / "client.py"
    script.write_text(CLIENT, encoding="utf-8")
    arguments = [sys.executable, str(script), str(tmp_path / "queue"), str(tmp_path / "runs")]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"submitted\n"
        with open_queue(tmp_path, 0, cache=False) as watching:
            until(
                lambda: (
                    sum(job.state == "running" for job in watching.jobs()) == 2
                    and watching.get_stats().completed >= 4
                )
            )
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 3)
    before = len(list((tmp_path / "runs").iterdir()))
    with open_queue(tmp_path, 4, cache=False) as queue:
        until(lambda: sum("is gone" in line.text for job in queue.jobs() for line in queue.log(job.id)) == 2)
        taken = [job for job in queue.jobs() if any("is gone" in line.text for line in queue.log(job.id))]
        until(lambda: [queue.job(job.id).attempts for job in taken] == [2, 2])
        until(lambda: queue.get_stats().completed == 8)
        until(lambda: len(list((tmp_path / "runs").iterdir())) == before + 6)
        assert {job.attempts for job in queue.jobs(states=["completed"])} == {1}
        queue.cancel([job.id for job in taken])


FORGETFUL = """
import sys
import tdmx_dask as tdmx
if __name__ == "__main__":
    queue = tdmx.JobQueue(1, False, folder=sys.argv[1])
    queue.register("sleep", "tests.jobs.functions:sleep")
    job = queue.submit("sleep", {"seconds": 60})
    while not queue.log(job):
        pass
"""


def test_exit_without_close__gives_back_quietly(tmp_path: Path) -> None:
    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "queue")], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    with open_queue(tmp_path, 0) as queue:
        assert queue.status(1) == "queued"
        assert queue.log(1)[-1].text == "given back"


def test_two_clients__one_submits_another_works(tmp_path: Path) -> None:
    heard: list[object] = []
    with open_queue(tmp_path, 0) as asking, open_queue(tmp_path, 2) as working:
        jobs = asking.submit_batch(
            [{"type": "double", "spec": {"x": i}, "callback": heard.append} for i in range(20)]
        )
        assert sorted(
            asking.result(job, timeout=30) for job in asking.as_completed(jobs, timeout=30)
        ) == list(range(0, 40, 2))
        until(lambda: len(heard) == 20)
        sleeping = asking.submit("sleep", {"seconds": 60})
        until(lambda: working.status(sleeping) == "running")
        asking.cancel(sleeping)
        started = time.monotonic()
        assert asking.result(asking.submit("double", {"x": 50}), timeout=30) == 100
        assert time.monotonic() - started < 5
        until(lambda: not working._dispatcher._running, 2)  # the other client ended it


def test_a_type_of_another_process__runs_by_its_path(tmp_path: Path) -> None:
    with open_queue(tmp_path, 0) as asking:
        job = asking.submit("double", {"x": 8})
    with tdmx.JobQueue(1, False, folder=tmp_path / "queue") as queue:
        assert "double" not in queue.types
        assert queue.result(job, timeout=30) == 16


def test_waiting_in_vain__is_said(tmp_path: Path) -> None:
    with open_queue(tmp_path, 0) as queue:
        job = queue.submit("double", {"x": 8})
        with (
            pytest.warns(TdmxWarning, match="nobody works on it"),
            pytest.raises(JobTimeout, match="1 of the jobs"),
        ):
            queue.result(job, timeout=1.5)
    with pytest.raises(Exception, match="closed"):
        queue.result(job)


def test_close__wakes_those_who_wait(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, 1)
    job = queue.submit("sleep", {"seconds": 60})
    threading.Timer(0.5, queue.close).start()
    with pytest.raises(Exception, match="closed"):
        queue.result(job, timeout=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(place)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_disk__results_wait_for_room(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the job that ends on a full disk nor its answer is lost; submitting says what is wrong."""
    with open_queue(disk, 2) as queue:
        small = queue.submit("sleep", {"seconds": 0.7})
        queue.register("zeros", "numpy:zeros")
        until(lambda: queue.status(small) == "running")
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(b"x" * 4_000_000)
        many = [{"type": "double", "spec": {"x": number}} for number in range(1000)]
        with pytest.raises(StoreError, match=r"queue=.*(the disk is full|could not be)"):
            queue.submit_batch(many)
        time.sleep(1.5)
        assert queue.status(small) == "running"
        ballast.unlink()
        assert queue.result(small, timeout=30) == 0.7
        assert queue.job(small).attempts == 1
        large = queue.submit("zeros", {"shape": 400_000}, retries=0)
        with pytest.raises(StoreError, match=r"a result of .* bytes cannot be written"):
            queue.result(large, timeout=30)
        assert list((queue.folder / "results").iterdir()) == []
    assert "It is tried again every second" in caplog.text


def test_get_job_queue__one_a_folder(tmp_path: Path) -> None:
    first = tdmx.get_job_queue(1, folder=tmp_path / "queue", cache=False)
    try:
        assert tdmx.get_job_queue(folder=tmp_path / "queue") is first
        with pytest.raises(InputError, match="is open already, with max_workers=1"):
            tdmx.get_job_queue(3, folder=tmp_path / "queue")
    finally:
        first.close()
    second = tdmx.get_job_queue(folder=tmp_path / "queue", max_workers=0)
    assert second is not first
    second.close()


def test_display(queue: tdmx.JobQueue) -> None:
    assert "empty" in repr(queue)
    queue.submit("print_lines", {"n": 1, "text": "<script>alert(1)</script>"})
    queue.wait_all(timeout=30)
    assert "1 completed; 2 at once" in repr(queue)
    page = queue._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert any("it printed: <script>" in line.text for line in queue.log(1))


@pytest.mark.alone
def test_estimates__learned_from_runs(single: tdmx.JobQueue) -> None:
    for _ in range(3):
        single.result(single.submit("sleep", {"seconds": 0.1}), timeout=30)
    found = single.estimates().loc[f"sleep {F}:sleep"]
    assert found.runs == 3
    assert 0.1 <= found.seconds < 0.2
    assert 1 <= found.factor < 2
    assert single.job(single.submit("sleep", {"seconds": 0.1})).cost == pytest.approx(found.seconds, rel=0.2)


def test_options_of_the_queue__refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_workers=-1"):
        tdmx.JobQueue(-1, folder=tmp_path)
    with pytest.raises(InputError, match="max_workers=0: a cluster was given"):
        tdmx.JobQueue(0, on="local", folder=tmp_path)
    with pytest.raises(InputError, match="cache=7"):
        tdmx.JobQueue(1, 7, folder=tmp_path)  # type: ignore[arg-type]
    with (
        pytest.raises(InputError, match="name=batch_processing: there is such a type already"),
        open_queue(tmp_path) as queue,
    ):
        queue.register("batch_processing", f"{F}:double")
