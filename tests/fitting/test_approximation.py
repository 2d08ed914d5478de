import json
from dataclasses import replace

import numpy as np
import pytest

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.approximation import _constrained
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.engine import InitialisationFailed
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.stanli_engine import StanliEngine, prepared
from tdmx_dask.fitting.task import STATS, Batch, Sampling, Start
from tests.fitting.stan_programs import NORMAL_DATA, SHAPES, normal_answer, nothing, task

PAIR = Program(
    "pair",
    """
data { vector[2] mean_; matrix[2, 2] covariance; }
parameters { vector[2] x; }
model { x ~ multi_normal(mean_, covariance); }
generated quantities { real total = sum(x); real noise = normal_rng(0, 1); }
""",
)
PAIR_DATA = {"mean_": [1.0, -200.0], "covariance": [[4.0, -3.0e-3], [-3.0e-3, 1e-5]]}

LOG_NORMAL = Program("log_normal", "parameters { real<lower=0> x; } model { x ~ lognormal(1.5, 0.3); }")


def _run(asked):
    return StanliEngine().run([asked], nothing)[0]


def test_mode__of_a_normal_posterior():
    one = _run(task(approximate="mode"))
    assert one.approximation == "mode"
    assert one.draws.shape == (1, 2)
    assert one.draws[0, 0] == pytest.approx(normal_answer()[0], abs=1e-5)
    assert one.end.position == {"mu": one.draws[0, 0]}
    assert "unconstrained scale, with the Jacobian" in one.log[0]
    assert np.isnan(one.stats[0, 1:]).all()


def test_mode__of_a_log_normal_is_its_median():
    """With the Jacobian, the density of log x has its mode at 1.5."""
    one = _run(task(LOG_NORMAL, {}, approximate="mode"))
    assert np.log(one.draws[0, 0]) == pytest.approx(1.5, abs=1e-5)


def test_laplace__of_a_gaussian_is_that_gaussian():
    asked = task(PAIR, PAIR_DATA, approximate="laplace", sampling=Sampling(0, 20_000, metric="dense_e"))
    one = _run(asked)
    assert one.names == ("x[1]", "x[2]", "total", "noise")
    covariance = np.array(PAIR_DATA["covariance"])
    np.testing.assert_allclose(one.end.inv_metric, covariance, rtol=1e-6)
    x = one.draws[:, :2]
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(x.mean(axis=0), PAIR_DATA["mean_"], atol=4 * sd.max() / np.sqrt(20_000))
    np.testing.assert_allclose(np.corrcoef(x.T)[0, 1], covariance[0, 1] / sd.prod(), atol=0.02)
    np.testing.assert_allclose(x.std(axis=0), sd, rtol=0.03)
    ratio = one.stats[:, STATS.index("lp__")] - one.info["log_q"]
    assert np.ptp(ratio) < 1e-3
    np.testing.assert_allclose(one.draws[:, 2], x.sum(axis=1), rtol=1e-12)
    assert one.draws[:, 3].std() == pytest.approx(1, abs=0.03)
    assert np.unique(one.draws[:, 3]).size == 20_000


def test_laplace__of_a_log_normal_is_exact_on_the_log_scale():
    one = _run(task(LOG_NORMAL, {}, approximate="laplace", draws=4000))
    assert np.log(one.draws).mean() == pytest.approx(1.5, abs=0.03)
    assert np.log(one.draws).std() == pytest.approx(0.3, rel=0.05)
    assert one.end.inv_metric == pytest.approx([0.09], rel=1e-6)


def test_laplace__draws_are_mapped_without_error():
    asked = task(SHAPES, {}, approximate="laplace")
    model, _ = prepared(asked)
    points = np.random.default_rng(1).normal(size=(200, model.n_unconstrained))
    columns = _constrained(model, points, asked)
    names = list(model.columns)
    np.testing.assert_allclose(
        columns[:, names.index("a")], np.exp(points[:, 0]), rtol=5e-16
    )  # two libraries' exp
    assert np.array_equal(columns[:, names.index("twice")], 2 * columns[:, names.index("a")])
    assert np.array_equal(columns[:, names.index("m[1,1]")], points[:, 1])


def test_laplace__khat_says_when_it_fits_and_when_not():
    good = _run(task(approximate="laplace", draws=2000))
    assert good.info["khat"] < 0.5
    heavy = Program("heavy", "parameters { real x; } model { x ~ student_t(1.5, 0, 1); }")
    assert _run(task(heavy, {}, approximate="laplace", draws=2000)).info["khat"] > 0.7


def test_laplace__same_draws_in_any_child_and_another_per_chain():
    asked = [task(approximate="laplace", chain=chain) for chain in range(2)]
    one, two = run_batch(Batch(tuple(asked), parallel=2), nothing)
    assert one.draws.tobytes() == _run(asked[0]).draws.tobytes()
    assert np.array_equal(one.info["log_q"], _run(asked[0]).info["log_q"])
    assert one.draws.tobytes() != two.draws.tobytes()


def test_laplace__its_end_starts_nuts():
    end = _run(task(approximate="laplace")).end
    (one,) = run_batch(Batch((task(start=end, warmup=100),)), nothing)
    assert np.array_equal(one.end.inv_metric, end.inv_metric)


def test_laplace__draws_without_density_are_replaced():
    wall = Program("wall", 'parameters { real x; } model { if (x > 0.5) reject("wall"); x ~ normal(0, 1); }')
    one = _run(task(wall, {}, approximate="laplace", start=Start({"x": -0.3})))
    assert one.draws.shape == (600, 1)
    assert one.draws.max() <= 0.5
    assert "were replaced" in one.log[-1]


@pytest.mark.parametrize("method", ["pathfinder", "advi"])
def test_methods_of_cmdstan_alone(method):
    with pytest.raises(FitError, match=f"method={method}: only CmdStan has it"):
        _run(task(approximate=method))


def test_laplace__where_there_is_none():
    def asked(code, **more):
        return task(Program("bad", code), {}, approximate="laplace", **more)

    with pytest.raises(FitError, match="not curved like a maximum"):
        _run(asked("parameters { real<lower=0> x; } model { target += -log(x); }"))
    with pytest.raises(FitError, match=r"did not converge|not curved"):
        _run(asked("parameters { real x; } model { target += x; }"))
    with pytest.raises(InitialisationFailed, match="never"):
        _run(asked('parameters { real x; } model { reject("never"); }'))
    with pytest.raises(FitError, match="it has no parameters"):
        _run(asked("model { } generated quantities { real z = 1; }"))
    with pytest.raises(InitialisationFailed, match="no finite density"):
        _run(
            asked(
                "parameters { real x; } model { if (x > 3) reject(1); x ~ normal(0, 1); }",
                start=Start({"x": 9.0}),
            )
        )


def test_laplace__a_scale_far_from_one():
    tiny = json.dumps(NORMAL_DATA | {"y": [1e-3] * 4, "sigma": 1e-3, "tau": 1.0})
    one = _run(replace(task(approximate="laplace"), data=tiny))
    assert one.end.inv_metric == pytest.approx([2.5e-7], rel=1e-5)
