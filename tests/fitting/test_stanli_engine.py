import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.stanli_engine import SEGMENT, StanliEngine
from tdmx_dask.fitting.task import STATS, Sampling, Start
from tdmx_dask.kernels.ess import ess_mean
from tests.fitting.stan_programs import NORMAL_DATA, SHAPES, normal_answer, nothing, task


def _run(*tasks):
    return StanliEngine().run(tasks, nothing)


def test_stanli__normal_model_against_the_conjugate_posterior():
    results = _run(*(task(chain=chain, warmup=500, draws=1500) for chain in range(4)))
    mu = np.stack([one.draws[:, 0] for one in results])
    mean, sd = normal_answer()
    ess = float(ess_mean(mu[..., np.newaxis])[0])
    assert ess > 1000
    assert abs(mu.mean() - mean) < 4 * sd / np.sqrt(ess)
    assert mu.std() == pytest.approx(sd, rel=4 / np.sqrt(2 * ess))
    rep = np.stack([one.draws[:, 1] for one in results])
    assert rep.std() == pytest.approx(np.hypot(sd, NORMAL_DATA["sigma"]), rel=0.05)


def test_stanli__result_as_cmdstan_names_it():
    (one,) = _run(task(chain=3, draws=SEGMENT * 2 + 7))
    assert one.names == ("mu", "y_rep")
    assert one.draws.shape == (SEGMENT * 2 + 7, 2)
    assert one.stats.shape == (SEGMENT * 2 + 7, len(STATS))
    assert (one.task_chain, one.task_round, one.attempt) == (3, 0, 0)
    assert one.engine.startswith("stanli ")
    assert one.end.position == {"mu": one.draws[-1, 0]}
    assert one.end.step_size == one.stats[-1, STATS.index("stepsize__")]
    assert np.unique(one.stats[:, STATS.index("stepsize__")]).size == 1
    assert len(np.unique(one.draws[:, 0])) > 300
    assert one.seconds_warmup > 0
    assert one.seconds_sampling > 0


def test_stanli__first_segment_is_stanli_called_bare():
    import stanli

    asked = task(draws=SEGMENT + 50)
    (one,) = _run(asked)
    model = stanli.Model(stan_code=asked.program.code, data=asked.data)
    bare = model.sample(chains=1, seed=asked.engine_seed, warmup=300, samples=SEGMENT, refresh=0)
    assert np.array_equal(one.draws[:SEGMENT], bare.draws()[0])
    assert np.array_equal(one.stats[:SEGMENT], bare.sampler_stats[0])


def test_stanli__rounds_go_on_where_the_chain_stands():
    (first,) = _run(task(SHAPES, {}, draws=400))
    go_on = task(SHAPES, {}, round=1, warmup=0, draws=300, adapt=False, start=first.end)
    (second,), (again,) = _run(go_on), _run(go_on)
    assert np.array_equal(second.draws, again.draws)
    assert second.end.step_size == first.end.step_size
    assert np.array_equal(second.end.inv_metric, first.end.inv_metric)
    assert not np.array_equal(second.draws, first.draws[:300])


def test_stanli__position_of_every_kind_of_parameter_comes_back():
    (one,) = _run(task(SHAPES, {}, draws=10))
    position = one.end.position
    assert set(position) == {"a", "m", "p", "r", "v"}
    assert np.shape(position["m"]) == (2, 3)
    assert np.shape(position["v"]) == (2, 2)
    still = task(SHAPES, {}, round=1, warmup=0, draws=1, adapt=False, start=Start(position, None, 1e-12))
    (stays,) = _run(replace(still, sampling=replace(still.sampling, max_treedepth=1)))
    np.testing.assert_allclose(stays.draws[0], one.draws[-1], atol=1e-9)


def test_stanli__variables_that_are_no_parameters_are_ignored():
    start = Start({"mu": 2.0, "y_rep": 5.0, "other": [1.0]})
    (one,) = _run(task(start=start))
    (plain,) = _run(task(start=Start({"mu": 2.0})))
    assert np.array_equal(one.draws, plain.draws)
    (elsewhere,) = _run(task(start=Start({"mu": -2.0})))
    assert not np.array_equal(one.draws, elsewhere.draws)


def test_stanli__a_given_metric_is_used():
    metric, step = np.array([0.7]), 0.4
    (short,) = _run(task(warmup=100, start=Start({"mu": 3.0}, metric, step)))
    assert np.array_equal(short.end.inv_metric, metric)  # Stan adapts no metric in less than 150 iterations
    assert short.end.step_size != step
    (fixed,) = _run(task(warmup=0, adapt=False, start=Start({"mu": 3.0}, metric, step)))
    assert fixed.end.step_size == step
    assert fixed.stats[0, STATS.index("stepsize__")] == step


@pytest.mark.parametrize("metric", ["diag_e", "dense_e", "unit_e"])
def test_stanli__metrics(metric):
    sampling = Sampling(200, 300, metric=metric)
    (one,) = _run(task(SHAPES, {}, sampling=sampling))
    n = 1 + 6 + 2 + 3 + 4
    shape = {"diag_e": (n,), "dense_e": (n, n), "unit_e": None}[metric]
    assert (one.end.inv_metric is None) if shape is None else one.end.inv_metric.shape == shape
    (more,) = _run(
        task(SHAPES, {}, sampling=replace(sampling, warmup=0), round=1, adapt=False, start=one.end)
    )
    assert np.isfinite(more.draws).all()


RANDOM_DATA = Program(
    "random_data",
    """
transformed data { real z = normal_rng(0, 1); }
parameters { real x; }
model { x ~ normal(z, 1); }
generated quantities { real data_z = z; }
""",
)


def test_stanli__transformed_data_are_drawn_once_a_fit():
    results = _run(*(task(RANDOM_DATA, {}, chain=chain, draws=SEGMENT * 2) for chain in range(2)))
    (later,) = _run(task(RANDOM_DATA, {}, round=1, warmup=0, adapt=False, start=results[0].end))
    z = np.concatenate([one.draws[:, 1] for one in (*results, later)])
    assert np.unique(z).size == 1
    assert not np.array_equal(results[0].draws[:, 0], results[1].draws[:, 0])
    (other,) = _run(task(RANDOM_DATA, {}, seed=8))
    assert other.draws[0, 1] != z[0]


def test_stanli__threads_of_reduce_sum():
    program = Program(
        "summed",
        """
functions { real part(array[] real y, int first, int last, real mu) { return normal_lpdf(y | mu, 2); } }
data { int N; array[N] real y; }
parameters { real mu; }
model { mu ~ normal(0, 3); target += reduce_sum(part, y, 1, mu); }
""",
    )
    assert program.threaded
    data = {"N": 400, "y": np.random.default_rng(1).normal(1, 2, 400).tolist()}
    one, two = (_run(task(program, data, threads=threads))[0] for threads in (1, 2))
    assert one.draws.mean() == pytest.approx(two.draws.mean(), abs=0.05)


def test_stanli__no_parameters():
    program = Program("none", "model { } generated quantities { real z = normal_rng(0, 1); }")
    (one,) = _run(task(program, {}, draws=SEGMENT * 2))
    assert np.unique(one.draws).size == SEGMENT * 2
    assert one.end.position == {}


def test_stanli__a_chain_on_the_edge_of_its_support():
    program = Program("edge", "parameters { real<lower=1e20> x; } model { x ~ normal(1e20, 1e3); }")
    (one,) = _run(task(program, {}, draws=SEGMENT * 2))
    assert one.draws.shape == (SEGMENT * 2, 1)
    assert "in one piece" in one.log[-1]
    assert one.end.position == {}


def test_stanli__events_are_few_and_change_no_draw(monkeypatch):
    heard = []
    asked = task(draws=400)
    (one,) = StanliEngine().run([asked], heard.append)
    assert [event.phase for event in heard] == ["starting", "done"]
    assert heard[-1].iteration == heard[-1].total == 700
    assert heard[-1].step_size == one.end.step_size
    monkeypatch.setattr("tdmx_dask.fitting.progress._PAUSE", 0)
    (chatty,) = StanliEngine().run([asked], heard.append)
    assert len(heard) > 50
    assert np.array_equal(one.draws, chatty.draws)


def test_stanli__divergences_are_counted_and_told():
    funnel = Program(
        "funnel", "parameters { real v; vector[9] x; } model { v ~ normal(0, 5); x ~ normal(0, exp(v / 2)); }"
    )
    heard = []
    (one,) = StanliEngine().run([task(funnel, {}, sampling=Sampling(300, 1000, 0.5))], heard.append)
    assert one.divergences > 0
    assert heard[-1].divergences == one.divergences


@pytest.mark.parametrize(
    ("code", "data", "why"),
    [
        (
            "parameters { real x } model { }",
            {},
            r"program=bad: it does not compile: Syntax error in bad.stan, line 1.*Expected \";\"",
        ),
        (
            "parameters { real x; }\nmodel { x ~ nrmal(0, 1); }",
            {},
            r"Semantic error in bad.stan, line 2.*nrmal_lpdf",
        ),
        ("data { int K; } parameters { real x; } model { }", {}, "data of bad=K: it is missing"),
        (
            "data { int K; } parameters { real x; } model { }",
            {"K": 1.5},
            "data of bad=K: it does not fit .*non-int",
        ),
        (
            "data { vector[3] y; } parameters { real x; } model { }",
            {"y": [1]},
            "data of bad=y: it does not fit .*dims",
        ),
        (
            "data { int<lower=0> K; } parameters { real x; } model { }",
            {"K": -1},
            "data of bad=K: .*greater than or equal",
        ),
        (
            'transformed data { reject("no way"); } parameters { real x; } model { }',
            {},
            "program=bad: .*no way",
        ),
        (
            "parameters { real x; } model { vector[2] a = [1, x]'; target += a[3]; }",
            {},
            "program=bad: .*out of bounds",
        ),
    ],
)
def test_stanli__what_cannot_be_run_is_named(code, data, why):
    with pytest.raises(FitError, match=why):
        _run(task(Program("bad", code), data))


def test_stanli__data_that_are_no_json():
    with pytest.raises(FitError, match="data of normal=JSON: they cannot be read"):
        _run(replace(task(), data='{"N": '))


@pytest.mark.parametrize(
    ("position", "why"),
    [
        ({"a": 1.0}, "start=m: it is a parameter of the program and has no starting value"),
        (
            {"a": -1.0, "m": np.zeros((2, 3)), "p": [1 / 3] * 3, "r": np.eye(3), "v": np.zeros((2, 2))},
            "start=shapes: .*for a",
        ),
    ],
)
def test_stanli__starts_that_do_not_fit(position, why):
    with pytest.raises(FitError, match=why):
        _run(task(SHAPES, {}, start=Start(position)))


def test_stanli__a_reject_on_the_way_is_a_rejection():
    program = Program(
        "walled", 'parameters { real x; } model { if (x > 1) reject("wall at ", x); x ~ normal(0, 1); }'
    )
    (one,) = _run(task(program, {}, start=Start({"x": 0.0})))
    assert one.draws.max() <= 1


def test_stanli__runs_beside_itself():
    asked = [task(chain=chain) for chain in range(2)]
    wanted = _run(*asked)
    found = [None, None]

    def work(at):
        found[at] = _run(asked[at])[0]

    threads = [threading.Thread(target=work, args=(at,)) for at in range(2)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - began < 20
    assert all(np.array_equal(one.draws, other.draws) for one, other in zip(found, wanted, strict=True))
