import time

from tdmx_dask.fitting.progress import Progress
from tests.fitting.stan_programs import task


def test_progress__first_and_last_are_said_and_two_a_second_between():
    heard = []
    progress = Progress(task(warmup=300, draws=700), heard.append)
    progress.say("starting")
    console = progress.console(0, 300)
    until = time.perf_counter() + 1.3
    iteration = 0
    while time.perf_counter() < until:
        iteration = min(iteration + 1, 300)
        console.write(f"Chain [1] Iteration: {iteration:4d} / 550 [ 10%]  (Warmup)")
    progress.say("done", progress.total, 0.5)
    assert [event.phase for event in heard] == ["starting", "warmup", "warmup", "done"]
    assert [event.total for event in heard] == [1000] * 4
    assert heard[-1].iteration == 1000
    assert heard[-1].step_size == 0.5
    assert heard[1].iteration == 300


def test_progress__iterations_of_later_segments_count_on(monkeypatch):
    heard = []
    progress = Progress(task(warmup=300, draws=700), heard.append)
    monkeypatch.setattr("tdmx_dask.fitting.progress._PAUSE", 0)
    progress.console(250, 0).write("Chain [1] Iteration: 20 / 250 [ 10%]  (Sampling)")
    assert heard[-1].iteration == 300 + 250 + 20
    assert heard[-1].phase == "sampling"


def test_progress__other_output_is_passed_over():
    heard = []
    progress = Progress(task(), heard.append)
    assert progress.console(0, 300).write("Chain [1] Elapsed Time: 0.001 seconds (Warm-up)\n") > 0
    assert heard == []
