"""What is said of the draws of a chain while it runs: the same as of its draws once it has ended."""

import time

import numpy as np
import pytest

from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine
from tdmx_dask.fitting.csv_output import GrowingCsv
from tdmx_dask.fitting.progress import Progress
from tdmx_dask.fitting.so_far import MOST, WATCHED, SoFar
from tdmx_dask.fitting.speaker import Speaker
from tdmx_dask.fitting.stanli_engine import SEGMENT, StanliEngine
from tdmx_dask.fitting.task import ChainEvent
from tdmx_dask.kernels.running import summary, unpacked
from tests.fitting.prophet_case import prophet_task
from tests.fitting.stan_programs import task


@pytest.mark.parametrize("engine", [StanliEngine(), CmdStanEngine()], ids=["stanli", "cmdstan"])
def test_events__last_summary_is_that_of_all_draws(engine):
    events = []
    asked = task(draws=600) if engine.name == "stanli" else prophet_task()
    (result,) = engine.run([asked], events.append)
    said = unpacked(events[-1].summary)
    n_cells = said.means.shape[1]
    assert 2 <= n_cells <= 1 + WATCHED
    watched = np.column_stack([result.stats[:, 0], result.draws[:, : n_cells - 1]])
    expected = summary(watched)
    assert said.n == expected.n == len(result.draws) // 2
    assert said.means == pytest.approx(expected.means)
    assert said.covariance == pytest.approx(expected.covariance, rel=1e-5, abs=1e-5)


def test_events__each_segment_is_summarised(monkeypatch):
    monkeypatch.setattr("tdmx_dask.fitting.progress._PAUSE", 0.0)
    monkeypatch.setattr("tdmx_dask.fitting.so_far._SHARE", 1e9)
    events = []
    StanliEngine().run([task(draws=3 * SEGMENT)], events.append)
    lengths = [2 * unpacked(event.summary).n for event in events if event.summary]
    assert lengths == [SEGMENT, 2 * SEGMENT, 3 * SEGMENT]


def test_so_far__spends_a_small_share_of_the_time():
    watched, draws = SoFar(), np.random.default_rng(1).normal(size=(4000, 8))
    watched.add(draws)
    began = time.thread_time()
    assert watched.take() != ""
    seconds = time.thread_time() - began
    watched.add(draws)
    assert watched.take() == ""
    time.sleep(110 * seconds)
    assert watched.take() != ""


def test_so_far__at_the_end_there_is_time_for_all_draws(monkeypatch):
    monkeypatch.setattr("tdmx_dask.fitting.so_far._SHARE", 1e-9)
    said = []
    progress = Progress(task(), said.append)
    for phase in ("sampling", "sampling", "done"):
        progress.draws.add(np.random.default_rng(1).normal(size=(100, 8)))
        progress.say(phase, 1)
    progress.draws.clear()
    progress.draws.add(np.random.default_rng(1).normal(size=(100, 8)))
    progress.say("sampling", 1)
    assert [unpacked(event.summary).n if event.summary else 0 for event in said] == [50, 0, 150, 50]


@pytest.mark.parametrize("length", [1, 250, 777])
def test_so_far__holds_no_more_than_it_should(length):
    watched = SoFar()
    numbers = np.arange(3 * MOST, dtype=float)[:, None]
    for start in range(0, len(numbers), length):
        watched.add(numbers[start : start + length])
    kept = unpacked(watched.take())
    assert 2 * kept.n == 3 * MOST // 4
    assert kept.means[:, 0] == pytest.approx([3 * MOST / 4, 9 * MOST / 4], abs=5)


def test_so_far__nothing_new_says_nothing():
    watched = SoFar()
    assert watched.take() == ""
    watched.add(np.ones((100, 2)))
    assert watched.take() != ""
    assert watched.take() == ""
    watched.clear()
    assert watched.take() == ""


def test_growing_csv__gives_new_draws_once(tmp_path):
    path = tmp_path / "output.csv"
    path.write_text("lp__,stepsize__,divergent__,a,b.1,b.2\n-1,0.5,0,1,2,3\n-2,0.5,1,4,5,6\n-3,0.5")
    csv = GrowingCsv(path)
    csv.look()
    assert csv.take().tolist() == [[-1, 1, 2, 3], [-2, 4, 5, 6]]
    csv.look()
    assert csv.take().size == 0
    with path.open("a") as file:
        file.write(",0,7,8,9\n")
    csv.look()
    assert csv.take().tolist() == [[-3, 7, 8, 9]]
    assert (csv.draws, csv.divergences) == (3, 1)


@pytest.mark.parametrize(
    "row", ["-2,0.5", "-2,0.5,0,4,5", "-2,0.5,0,x,5,6", "-2,,0,4,5,6", ",", "-2;0.5;0;4;5;6"]
)
def test_growing_csv__breaks_no_fit_over_a_row_that_is_none(tmp_path, row):
    path = tmp_path / "output.csv"
    path.write_text(f"lp__,stepsize__,divergent__,a,b.1,b.2\n-1,0.5,0,1,2,3\n{row}\n-3,0.5,1,7,8,9\n")
    csv = GrowingCsv(path)
    csv.look()
    assert csv.take().tolist() == [[-1, 1, 2, 3], [-3, 7, 8, 9]]
    assert (csv.draws, csv.divergences) == (2, 1)


def test_growing_csv__a_header_that_is_none(tmp_path):
    path = tmp_path / "output.csv"
    path.write_text("lp__,stepsi\nlp__,stepsize__,divergent__,a\n-1,0.5,0,1\n")
    csv = GrowingCsv(path)
    csv.look()
    assert csv.take().tolist() == [[-1, 1]]


def test_speaker__an_event_with_a_summary_is_not_left_out():
    carried = []
    speaker = Speaker(carried.extend)
    for iteration, text in ((10, ""), (20, ""), (30, "draws"), (40, "")):
        speaker.emit(ChainEvent("f", 0, 0, 0, "sampling", iteration, 100, summary=text))
    speaker.finish()
    assert [event[5] for event in carried] == [10, 30]
