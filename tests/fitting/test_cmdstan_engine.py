"""The compiled engine on a real CmdStan 2.37 executable: nothing here is mocked."""

import os
import time
from dataclasses import replace

import numpy as np
import pytest

from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine
from tdmx_dask.fitting.csv_output import read_output
from tdmx_dask.fitting.task import STATS, Batch, Sampling, Start
from tests.fitting.prophet_case import EXECUTABLE, PARAMETERS, prophet_task, script


@pytest.fixture(autouse=True)
def _own_scratch(tmp_path, monkeypatch):
    """Folders of runs lie in a place of the test's own, and none is left."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(place))
    yield
    assert list(place.glob("tdmx-*")) == []


def run(task, events=None):
    (result,) = CmdStanEngine().run([task], (events if events is not None else []).append)
    return result


def columns(result, names=PARAMETERS):
    return result.draws[:, [result.names.index(name) for name in names]]


def run_elsewhere(tmp_path, *tasks, parallel=1):
    """In child processes, as a fit does it; these look at TMPDIR for themselves, so what they leave is looked at here."""
    return run_batch(Batch(tasks, parallel, "cmdstan"), lambda _: None)


# what a task is, and what depends on it


def test_run__columns_statistics_and_end():
    result = run(prophet_task())
    assert result.names[:9] == PARAMETERS
    assert result.names[-1] == "trend[60]"
    assert result.draws.shape == (200, 69)
    assert result.stats.shape == (200, len(STATS))
    assert np.isfinite(result.stats).all()
    assert result.engine == "cmdstan 2.37.0"
    assert set(result.end.position) == {"k", "m", "delta", "sigma_obs", "beta"}
    assert result.end.position["delta"] == columns(result)[-1, 2:7].tolist()
    assert result.end.inv_metric.shape == (9,)
    assert (result.stats[:, STATS.index("stepsize__")] == result.end.step_size).all()
    assert 0 < result.seconds_warmup < 30
    assert 1 < result.peak_mb < 2000


def test_run__reproducible_and_apart_by_chain_round_and_attempt():
    task = prophet_task()
    first = run(task)
    again = run(task)
    np.testing.assert_array_equal(first.draws, again.draws)
    np.testing.assert_array_equal(first.stats, again.stats)
    for change in ({"chain": 1}, {"attempt": 1}, {"seed": 12}):
        assert not (run(replace(task, **change)).draws[:, 0] == first.draws[:, 0]).any()


def test_run_batch__grouping_changes_no_draw(tmp_path):
    tasks = [prophet_task(chain=chain) for chain in range(3)]
    alone = [run(task) for task in tasks]
    for parallel in (1, 2):
        together = run_elsewhere(tmp_path, *tasks, parallel=parallel)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.draws, other.draws)
            np.testing.assert_array_equal(one.end.inv_metric, other.end.inv_metric)


def test_run__rounds_go_on_exactly_where_the_one_before_stood():
    first = run(prophet_task())
    task = prophet_task(round=1, adapt=False, start=first.end, sampling=Sampling(0, 50))
    second, again = run(task), run(task)
    np.testing.assert_array_equal(second.draws, again.draws)
    assert second.end.step_size == first.end.step_size
    np.testing.assert_array_equal(second.end.inv_metric, first.end.inv_metric)
    accepted = STATS.index("accept_stat__")
    unaided = run(replace(task, start=replace(first.end, inv_metric=None)))
    assert second.stats[:, accepted].mean() > 0.6 > unaided.stats[:, accepted].mean()  # the metric is used
    # a step too small to move in 1 leapfrog step of depth 1: the first draw is the start, to the last bit but one
    still = replace(task, start=replace(first.end, step_size=1e-12), sampling=Sampling(0, 1, max_treedepth=1))
    np.testing.assert_allclose(columns(run(still))[0], columns(first)[-1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("metric", "shape"), [("dense_e", (9, 9)), ("unit_e", None)])
def test_run__metrics(metric, shape):
    sampling = Sampling(150, 20, metric=metric, adapt_delta=0.7, max_treedepth=6)
    first = run(prophet_task(sampling=sampling))
    assert (None if first.end.inv_metric is None else first.end.inv_metric.shape) == shape
    assert first.stats[:, STATS.index("treedepth__")].max() <= 6
    onward = replace(sampling, warmup=0)
    second = run(prophet_task(round=1, adapt=False, start=first.end, sampling=onward))
    assert second.end.step_size == first.end.step_size


def test_run__metric_of_the_file_is_that_of_the_comments(tmp_path):
    from tdmx_dask.fitting.cmdstan_command import METRIC, OUTPUT
    from tdmx_dask.fitting.csv_output import read_metric

    keep = script(tmp_path / "keep", f'"$REAL" "$@"; cp {OUTPUT} {METRIC} "{tmp_path}"')
    result = run(prophet_task(executable=keep))
    output = read_output(tmp_path / OUTPUT, 200)
    np.testing.assert_allclose(output.inv_metric, result.end.inv_metric, rtol=1e-5)
    assert output.step_size == pytest.approx(result.end.step_size, rel=1e-5)
    assert read_metric(tmp_path / METRIC)[0] == result.end.step_size


def test_run__reads_what_cmdstanpy_reads(tmp_path):
    import cmdstanpy

    keep = script(tmp_path / "keep", f'"$REAL" "$@"; cp output.csv "{tmp_path}/kept_1.csv"')
    result = run(prophet_task(executable=keep))
    theirs = cmdstanpy.from_csv(os.fspath(tmp_path / "kept_1.csv"))
    np.testing.assert_array_equal(theirs.draws()[:, 0, len(STATS) :], result.draws)
    np.testing.assert_array_equal(theirs.draws()[:, 0, : len(STATS)], result.stats)
    assert tuple(theirs.column_names[len(STATS) :]) == result.names
    assert theirs.divergences[0] == result.divergences


# what is promised across engines: the posterior, not the draws


def test_engines__agree_on_the_posterior_and_not_draw_by_draw():
    from arviz_stats.base import array_stats

    sampling = Sampling(500, 1000)
    found = {}
    for engine in ("cmdstan", "stanli"):
        tasks = tuple(
            prophet_task(
                chain=c, sampling=sampling, executable=None if engine == "stanli" else os.fspath(EXECUTABLE)
            )
            for c in range(2)
        )
        results = run_batch(Batch(tasks, 2, engine), lambda _: None)
        assert set(results[0].names) >= set(PARAMETERS)
        found[engine] = np.stack([columns(result) for result in results])
    ours, theirs = found["cmdstan"], found["stanli"]
    assert not (ours[0] == theirs[0]).any()
    for at, name in enumerate(PARAMETERS):
        one, other = ours[..., at], theirs[..., at]
        error = np.hypot(*(float(array_stats.mcse(each, chain_axis=0, draw_axis=1)) for each in (one, other)))
        assert abs(one.mean() - other.mean()) < 4.5 * error, name
        pooled = np.concatenate([one, other])
        assert float(array_stats.rhat(pooled, chain_axis=0, draw_axis=1)) < 1.02, name


# progress


def test_run__events_first_last_and_live():
    events = []
    began = time.perf_counter()
    run(prophet_task(sampling=Sampling(1000, 8000)), events)
    seconds = time.perf_counter() - began
    assert events[0].phase == "starting"
    assert (events[-1].phase, events[-1].iteration, events[-1].total) == ("done", 9000, 9000)
    between = [event for event in events if event.phase == "sampling"]
    assert between
    assert between[0].step_size is not None
    assert [event.iteration for event in events] == sorted(event.iteration for event in events)
    assert len(events) <= 2 * seconds + 3


def test_run__divergences_are_counted_live():
    events = []
    start = Start({}, None, 3.0)  # a step far too long: nearly all transitions diverge
    task = prophet_task(adapt=False, start=start, sampling=Sampling(0, 30_000, max_treedepth=4))
    result = run(task, events)
    assert result.divergences > 100
    assert 0 < max(event.divergences for event in events if event.phase == "sampling") <= result.divergences


# approximations


def test_mode__is_where_no_neighbour_is_denser():
    result = run(prophet_task(approximate="mode"))
    assert result.draws.shape == (1, 69)
    assert result.stats[0, 0] == result.info["mode_lp"]
    assert result.end.position["k"] == columns(result)[0, 0]
    other = run(prophet_task(approximate="mode", chain=3))
    assert other.info["mode_lp"] == pytest.approx(result.info["mode_lp"], abs=0.2)


@pytest.mark.parametrize("approximate", ["laplace", "pathfinder", "advi"])
def test_approximation__near_the_posterior(approximate):
    """Its mean lies near, its draws are reproducible, and k-hat says how near."""
    exact = run(prophet_task(sampling=Sampling(500, 1000)))
    task = prophet_task(approximate=approximate, sampling=Sampling(0, 400))
    result = run(task)
    assert result.approximation == approximate
    assert result.draws.shape == (400, 69)
    np.testing.assert_array_equal(result.draws, run(task).draws)
    assert np.isfinite(result.stats[:, 0]).all()
    assert np.isnan(result.stats[:, 1:]).all()
    assert result.info["log_q"].shape == (400,)
    assert np.isfinite(result.info["khat"])
    for name in ("beta[1]", "sigma_obs"):
        at = result.names.index(name)
        spread = exact.draws[:, at].std()
        assert abs(result.draws[:, at].mean() - exact.draws[:, at].mean()) < 3 * spread
    onward = run(prophet_task(start=result.end, sampling=Sampling(20, 5)))
    assert onward.draws.shape == (5, 69)


def test_laplace__khat_is_bad_where_the_posterior_is_no_gaussian():
    """A double-exponential prior: Laplace's Gaussian about its edge is far too narrow."""
    task = prophet_task(approximate="laplace", sampling=Sampling(0, 1000))
    assert run(task).info["khat"] > 0.7


def test_approximation__comes_through_a_child(tmp_path):
    (result,) = run_elsewhere(tmp_path, prophet_task(approximate="pathfinder"))
    assert result.info["khat"] > 0
    assert result.info["elbo"] < 100
    assert result.info["log_q"].shape == (200,)
