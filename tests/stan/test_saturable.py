"""The saturable programs against Lambert's W, a steady state, and the linear kernels."""

import numpy as np
import pytest
from scipy.special import lambertw
from stanli import Model

from tdmx_dask.fitting.program import read_program
from tests.stan.patients import patient_data, predicted
from tests.stan.test_linear import assert_gradient, draws_of

MEDIANS = {"michaelis_menten": (500.0, 5.0, 30.0), "parallel": (2.0, 300.0, 5.0, 30.0)}
CLOSE = 1e-6


def model_of(program, **changes):
    size = len(MEDIANS[program])
    data = patient_data(
        1, prior_mean=np.log(MEDIANS[program]).tolist(), prior_chol=(0.3 * np.eye(size)).tolist(), **changes
    )
    return Model(stan_code=read_program(program).code, data=data), data


def some_draws(model, names):
    fit = model.sample(chains=1, seed=4, warmup=60, samples=6, refresh=0)
    return fit, np.array([draws_of(fit, name) for name in names])


def test_bolus__is_lamberts():
    """C/Km exp(C/Km) = C0/Km exp((C0 - Vmax t/Vc)/Km) after each bolus (Beal, J Pharmacokinet Biopharm 1982;10:109)."""
    doses = {"dose_time": [0.0, 6.0, 20.0], "dose_amount": [500.0, 700.0, 300.0], "dose_tinf": [0.0] * 3}
    model, data = model_of("michaelis_menten", n_doses=3, **doses, level_time=[6.0, 21.0, 26.0])
    fit, parameters = some_draws(model, ("Vmax", "Km", "Vc"))
    for i, (v_max, k_m, v_c) in enumerate(parameters.T):
        for m, time in enumerate(data["level_time"]):
            c = 0.0
            events = [
                (t, a) for t, a in zip(doses["dose_time"], doses["dose_amount"], strict=True) if t < time
            ]
            for (start, amount), end in zip(events, [t for t, _ in events[1:]] + [time], strict=True):
                c += amount / v_c
                c = k_m * lambertw(c / k_m * np.exp((c - v_max / v_c * (end - start)) / k_m)).real
            assert draws_of(fit, f"predicted[{m + 1}]")[i] == pytest.approx(c, rel=CLOSE, abs=1e-7)


def test_infusion__ends_in_its_steady_state():
    """Where elimination equals the input: Vmax C/(Km + C) = R."""
    dose = {"n_doses": 1, "dose_time": [0.0], "dose_amount": [20_000.0], "dose_tinf": [2000.0]}
    model, _ = model_of("michaelis_menten", **dose, level_time=[1900.0, 1990.0, 2000.0])
    fit, (v_max, k_m, _) = some_draws(model, ("Vmax", "Km", "Vc"))
    for m in range(3):
        np.testing.assert_allclose(
            draws_of(fit, f"predicted[{m + 1}]"), k_m * 10.0 / (v_max - 10.0), rtol=CLOSE
        )


def test_parallel__is_linear_far_below_km():
    """With Km beyond all concentrations both ways are linear: CL + Vmax/Km; levels before the first dose are 0."""
    chol = (0.2 * np.eye(4)).tolist()
    medians = np.log([2.0, 3e9, 1e9, 30.0]).tolist()
    data = patient_data(1, level_time=[-1.0, 41.0, 47.5], prior_mean=medians, prior_chol=chol)
    fit, (cl, v_max, k_m, v_c) = some_draws(
        Model(stan_code=read_program("parallel").code, data=data), ("CL", "Vmax", "Km", "Vc")
    )
    assert not draws_of(fit, "predicted[1]").any()
    for i in range(cl.size):
        expected = predicted(data, np.log([cl[i] + v_max[i] / k_m[i], v_c[i]]))
        np.testing.assert_allclose(
            [draws_of(fit, f"predicted[{m}]")[i] for m in (2, 3)], expected[1:], rtol=CLOSE
        )


def test_parallel__balances_mass():
    """Amounts by a Runge-Kutta of our own, overlapping infusions and boluses."""
    doses = {"dose_time": [3.0, 0.0, 5.0], "dose_amount": [500.0, 900.0, 300.0], "dose_tinf": [0.0, 4.0, 2.0]}
    model, data = model_of("parallel", n_doses=3, **doses, level_time=[3.0, 4.5, 12.0])
    fit, parameters = some_draws(model, ("CL", "Vmax", "Km", "Vc"))
    cl, v_max, k_m, v_c = parameters
    step, c = 0.0025, np.zeros(cl.size)

    def slope(c, rate):
        return (rate - (cl + v_max / (k_m + c)) * c) / v_c

    for n in range(round(12.0 / step) + 1):
        time = n * step
        for m in np.flatnonzero(np.isclose(data["level_time"], time, rtol=0, atol=1e-9)):
            np.testing.assert_allclose(draws_of(fit, f"predicted[{m + 1}]"), c, rtol=CLOSE)
        c = c + (500.0 / v_c if abs(time - 3.0) < 1e-9 else 0.0)
        rate = 225.0 * (time < 4.0 - 1e-9) + 150.0 * (5.0 - 1e-9 < time < 7.0 - 1e-9)
        a = slope(c, rate)
        b = slope(c + step / 2 * a, rate)
        d = slope(c + step / 2 * b, rate)
        c = c + step / 6 * (a + 2 * b + 2 * d + slope(c + step * d, rate))


@pytest.mark.parametrize("program", list(MEDIANS))
def test_gradient__is_the_differences(program):
    model, _ = model_of(program)
    for q in 0.5 * np.random.default_rng(1).normal(size=(2, model.n_unconstrained)):
        assert_gradient(model, q, rtol=1e-4)
