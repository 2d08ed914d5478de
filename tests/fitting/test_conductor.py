"""Fits in real child processes: the same draws however they are batched; one that fails, is cancelled or killed harms no other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tdmx_dask.errors import ClusterError, FitCancelled, FitError, StoreError
from tdmx_dask.fitting.conductor import Conductor
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.future import FitFuture
from tdmx_dask.fitting.local import LocalRunner
from tdmx_dask.fitting.mailbox import Mailbox, calls
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.question import ask_program
from tdmx_dask.fitting.task import Batch, ChainEvent, Sampling
from tests.fitting.asking import endless, normal_question, request
from tests.fitting.stan_programs import normal_answer

SECONDS = 60


@pytest.fixture(scope="module")
def conductor() -> Iterator[Conductor]:
    conductor = Conductor()
    yield conductor
    conductor.close()


@pytest.fixture(scope="module")
def runner() -> Iterator[LocalRunner]:
    runner = LocalRunner(2)
    yield runner
    runner.close()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def children_of(pid: int) -> list[psutil.Process]:
    """Processes that sample: below the one that forks them."""
    found = psutil.Process(pid).children(recursive=True)
    alive = []
    for each in found:
        with suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            if each.ppid() != pid and each.status() != psutil.STATUS_ZOMBIE:
                alive.append(each)
    return alive


def draws(fit: Fit) -> np.ndarray:
    return np.asarray(fit.draws["mu"].values)


def test_conductor__a_fit_is_its_posterior_and_where_it_came_from(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    events: list[ChainEvent] = []
    wanted = request(tmp_path, sampling=Sampling(300, 1000))
    (future,) = conductor.submit([wanted], runner, (events.append,))
    fit = future.result(SECONDS)
    mean, sd = normal_answer()
    assert abs(draws(fit).mean() - mean) < 5 * float(fit.summary().loc["mu", "mcse"])
    assert abs(draws(fit).std() / sd - 1) < 0.1
    assert fit.draws.sizes == {"chain": 4, "draw": 1000}
    assert fit.path == tmp_path / f"{wanted.address}.zarr.zip"
    assert future.status == "done"
    assert fit.healthy
    assert fit.diagnose().healthy
    assert {
        "name": "normal",
        "program": "normal",
        "seed": "5",
        "method": "nuts",
        "rounds": 1,
    }.items() <= fit.attrs.items()
    assert fit.attrs["program_digest"] == wanted.question.program.digest
    assert fit.attrs["data_digest"] == wanted.question.digest
    assert fit.attrs["settings"]["chains"] == 4
    assert fit.engine.startswith("stanli ")
    assert fit.attrs["peak_mb"] > 20
    assert 0 < fit.attrs["seconds_sampling"] < fit.seconds
    assert {"posterior", "sample_stats", "posterior_predictive"} <= set(fit.tree.children)
    assert [each.phase for each in future.progress()] == ["done"] * 4
    assert all(each.eta == 0 for each in future.progress())
    until(lambda: {event.chain for event in events if event.phase == "done"} == {0, 1, 2, 3})
    assert "normal" in repr(future)
    assert "<table>" in future._repr_html_()
    assert "healthy" in repr(fit)
    assert "mu" in fit._repr_html_()


def test_conductor__the_same_draws_however_chains_are_batched(conductor: Conductor, tmp_path: Path) -> None:
    found = []
    for number, (slots, parallel) in enumerate([(1, None), (4, None), (4, 1), (3, 2)]):
        seen: list[int] = []
        runner = LocalRunner(slots)
        submit = runner.submit

        def spy(batch: Batch, submit: Any = submit, seen: list[int] = seen, **options: Any) -> str:
            seen.append(len(batch.tasks))
            return str(submit(batch, **options))

        runner.submit = spy  # type: ignore[method-assign]
        (future,) = conductor.submit([request(tmp_path / str(number), parallel=parallel)], runner)
        found.append(draws(future.result(SECONDS)))
        assert sorted(seen) == {0: [4], 1: [1, 1, 1, 1], 2: [4], 3: [2, 2]}[number]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_conductor__a_cohort_takes_one_child_a_fit_and_the_draws_of_lone_fits(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    wanted = [request(tmp_path / "many", normal_question(f"p{n}", sigma=1.0 + n)) for n in range(5)]
    alone = replace(wanted[3], library=request(tmp_path / "one").library)
    futures = conductor.submit(wanted, runner)
    fits = {future.result().name: future.result() for future in as_completed(futures, SECONDS)}
    assert sorted(fits) == [f"p{n}" for n in range(5)]
    (future,) = conductor.submit([alone], runner)
    np.testing.assert_array_equal(draws(future.result(SECONDS)), draws(fits["p3"]))
    assert not np.array_equal(draws(fits["p1"]), draws(fits["p2"]))


def test_conductor__one_that_fails_harms_no_other(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    broken = ask_program(Program("broken", "parameters { real x } model { }"), {}, name="broken")
    (tmp_path / "file").write_text("")
    wanted = [
        request(tmp_path, normal_question("a")),
        request(tmp_path, broken),
        request(tmp_path, normal_question("lacking")),
        request(tmp_path / "file", normal_question("no place")),
        request(tmp_path, normal_question("too large"), memory_mb=1e9),
        request(tmp_path, normal_question("b", sigma=3.0)),
    ]
    del wanted[2].question.data["tau"]
    futures = conductor.submit(wanted, runner)
    assert futures[0].result(SECONDS).name == "a"
    assert futures[5].result(SECONDS).name == "b"
    with pytest.raises(FitError, match=r"program=broken: it does not compile"):
        futures[1].result(SECONDS)
    with pytest.raises(FitError, match=r"tau"):
        futures[2].result(SECONDS)
    with pytest.raises(StoreError, match=r"library=.*file: it is a file"):
        futures[3].result(SECONDS)
    with pytest.raises(ClusterError, match=r"asks for 1000000000 MB, and this machine has \d+ MB"):
        futures[4].result(SECONDS)
    assert [future.status for future in futures] == ["done", "failed", "failed", "failed", "failed", "done"]


def test_conductor__a_cancelled_fit_is_gone_within_a_second(conductor: Conductor, tmp_path: Path) -> None:
    runner = LocalRunner(2)
    first, waiting = conductor.submit([endless(tmp_path, "first"), endless(tmp_path, "second")], runner)
    until(lambda: len(first.progress()) > 0)
    before = len(children_of(os.getpid()))
    assert before >= 1
    start = time.monotonic()
    assert first.cancel()
    assert waiting.cancel()
    for future in (first, waiting):
        with pytest.raises(FitCancelled, match="it was cancelled"):
            future.result(SECONDS)
        assert future.cancelled()
        assert future.status == "cancelled"
        assert not future.cancel()
    until(lambda: len(children_of(os.getpid())) <= before - 1, 1.0)
    assert time.monotonic() - start < 2
    assert list(tmp_path.glob("*.zarr*")) == []
    (again,) = conductor.submit([request(tmp_path)], runner)
    assert again.result(SECONDS).name == "normal"


def test_conductor__a_killed_child_is_replaced_and_gives_the_same_draws(
    conductor: Conductor, tmp_path: Path
) -> None:
    long = Sampling(300, 60_000)
    (whole,) = conductor.submit([request(tmp_path / "a", chains=1, sampling=long)], LocalRunner(1))
    expected = draws(whole.result(SECONDS))
    events: list[ChainEvent] = []
    killed = threading.Event()

    def kill(event: ChainEvent) -> None:
        events.append(event)
        if not killed.is_set():
            killed.set()
            for process in children_of(os.getpid()):
                process.send_signal(signal.SIGKILL)

    (future,) = conductor.submit([request(tmp_path / "b", chains=1, sampling=long)], LocalRunner(1), (kill,))
    np.testing.assert_array_equal(draws(future.result(SECONDS)), expected)
    assert killed.is_set()
    assert any(event.phase == "retrying" and "killed from outside" in event.text for event in events)
    (future,) = conductor.submit([endless(tmp_path / "c", chains=1, retries=0)], LocalRunner(1))
    until(lambda: len(future.progress()) > 0)
    for process in children_of(os.getpid()):
        process.send_signal(signal.SIGKILL)
    with pytest.raises(FitError, match=r"program=normal: .*seed.*killed from outside by SIGKILL"):
        future.result(SECONDS)


def test_conductor__callbacks_that_raise_or_block_harm_nothing(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    told: list[str] = []
    blocked, free = threading.Event(), threading.Event()

    def bad(_: object) -> None:
        raise RuntimeError("the user's own mistake")

    def slow(_: object) -> None:
        blocked.set()
        free.wait(SECONDS)

    (future,) = conductor.submit([request(tmp_path)], runner, (bad,))
    future.add_done_callback(bad)
    future.add_done_callback(lambda each: told.append(each.name))
    future.result(SECONDS)
    until(lambda: told == ["normal"])
    future.add_done_callback(slow)
    assert blocked.wait(SECONDS)
    (other,) = conductor.submit([request(tmp_path, normal_question("other"))], runner)
    assert other.result(SECONDS).name == "other"
    assert asyncio.run(_awaited(other)).name == "other"
    free.set()


async def _awaited(future: Any) -> Fit:
    return await future


def test_future__in_asyncio(conductor: Conductor, runner: LocalRunner, tmp_path: Path) -> None:
    async def both() -> tuple[Fit, float]:
        late = 0.0
        (future,) = conductor.submit([request(tmp_path / "a", sampling=Sampling(300, 20_000))], runner)
        task = asyncio.ensure_future(_awaited(future))
        while not task.done():
            start = time.perf_counter()
            await asyncio.sleep(0.01)
            late = max(late, time.perf_counter() - start)
        (long,) = conductor.submit([endless(tmp_path / "b")], runner)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_awaited(long), 0.3)
        with pytest.raises(FitCancelled, match="cancelled"):
            await long
        return await task, late

    fit, late = asyncio.run(both())
    assert fit.name == "normal"
    assert late < 0.5


def test_future__result_waits_no_longer_than_told(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    (future,) = conductor.submit([endless(tmp_path)], runner)
    with pytest.raises(TimeoutError):
        future.result(0.05)
    assert future.status in ("queued", "running")
    until(lambda: future.status == "running" and any(each.phase == "sampling" for each in future.progress()))
    until(lambda: any(each.eta for each in future.progress()))
    assert "running" in repr(future)
    future.cancel()
    assert isinstance(future.exception(SECONDS), FitCancelled)


def test_conductor__target_ess_stops_early_and_goes_on_where_it_must(
    conductor: Conductor, runner: LocalRunner, tmp_path: Path
) -> None:
    early, more = conductor.submit(
        [
            request(tmp_path, normal_question("early"), sampling=Sampling(300, 10_000), target_ess=400),
            request(
                tmp_path,
                normal_question("more"),
                sampling=Sampling(300, 300),
                target_ess=1500,
                chains=2,
                max_chains=4,
            ),
        ],
        runner,
    )
    fit = early.result(SECONDS)
    assert fit.draws.sizes["draw"] < 2000
    assert fit.summary().loc["mu", "ess_bulk"] >= 400
    assert fit.healthy
    fit = more.result(SECONDS)
    assert fit.attrs["rounds"] * fit.draws.sizes["chain"] > 2
    assert fit.draws.sizes["chain"] * fit.draws.sizes["draw"] > 600
    assert fit.attrs["steps"] > 1
    assert fit.summary().loc["mu", "ess_bulk"] >= 1500
    assert any(line.startswith(("extend:", "add_chains:")) for line in fit.log)


def test_conductor__rounds_are_the_same_draws_on_any_number_of_slots(
    conductor: Conductor, tmp_path: Path
) -> None:
    found = []
    for slots in (1, 4):
        wanted = request(
            tmp_path / str(slots), sampling=Sampling(300, 250), target_ess=1800, chains=2, max_chains=6
        )
        (future,) = conductor.submit([wanted], LocalRunner(slots))
        found.append(draws(future.result(SECONDS)))
    np.testing.assert_array_equal(found[0], found[1])


def test_conductor__closing_cancels_what_runs(tmp_path: Path) -> None:
    conductor, runner = Conductor(), LocalRunner(2)
    (future,) = conductor.submit([endless(tmp_path)], runner)
    until(lambda: len(future.progress()) > 0)
    conductor.close()
    with pytest.raises(FitCancelled, match="it was cancelled"):
        future.result(5)
    with pytest.raises(RuntimeError, match="closed"):
        conductor.submit([request(tmp_path)], runner)


def test_conductor__a_script_that_ends_leaves_no_process(tmp_path: Path) -> None:
    script = (
        "import sys, time, psutil, tdmx_dask as tdmx\n"
        f"future = tdmx.fit_async('meropenem_tdm', iter_sampling=10_000_000, engine='stanli', library={str(tmp_path)!r})\n"
        "while not future.progress(): time.sleep(0.01)\n"
        "print(*(each.pid for each in psutil.Process().children(recursive=True)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    pids = [int(each) for each in done.stdout.split()]
    assert pids
    until(lambda: not any(map(psutil.pid_exists, pids)), 3)
    assert done.stderr == ""


def test_future__progress_follows_a_chain_that_begins_anew() -> None:
    future = FitFuture("fit", "a", Mailbox("callbacks", calls), lambda _: None)

    def hear(phase: Any, iteration: int, seconds: float = 3.0, **more: Any) -> None:
        future.hear(ChainEvent("fit", 0, 0, 0, phase, iteration, 100, seconds=seconds, **more))

    def seen() -> tuple[str, int]:
        (chain,) = future.progress()
        return chain.phase, chain.iteration

    hear("warmup", 20, 1.0)
    hear("warmup", 40, 2.0)
    assert future.progress()[0].eta is None, "two events are no ground"
    hear("sampling", 60)
    hear("warmup", 20)  # overtaken on its way
    assert seen() == ("sampling", 60)
    assert future.progress()[0].eta == pytest.approx(2.0)
    hear("retrying", 0, text="its worker died")
    hear("warmup", 10)
    assert seen() == ("warmup", 10)
