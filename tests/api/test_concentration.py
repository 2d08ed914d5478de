"""The verb `concentrations`, against integration of the differential equations, and what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.analysis import concentration as blocks
from tests.analysis.integration import integrate
from tests.analysis.test_exposure import LONG, MODELS, NAMES, REGIMENS, WEIGHT, draws, profile

SPREAD = {"CL": np.exp(np.random.default_rng(1).normal(1.6, 0.3, 500)), "Vc": np.full(500, 25.0)}
POPULATION = tdmx.Population.from_mapping(
    {
        "name": "made up",
        "parameters": {"CL": "4 * (CCr / 80)", "Vc": 20.0},
        "covariates": {"CCr": {"unit": "mL/min", "value": 80.0}},
        "bsv": {"CL": {"cv": 0.3}},
        "fu": 0.5,
    }
)


def course(model: str, regimen: Any, **options: Any) -> Any:
    return tdmx.concentrations(draws(model), regimen, quantiles=[0.5], weight=WEIGHT, **options)


@pytest.mark.parametrize("name", NAMES)
def test_concentrations__are_those_of_the_integrated_profile(name: str) -> None:
    model = list(MODELS)[NAMES.index(name) % 3]
    times = [0.25, 1.75, 5.9, 8.1, 13.3, 26.4, 40.0, 61.0]
    segments = profile(model, name)
    found = course(model, REGIMENS[name], times=times, window="0..62h").concentration.values.ravel()
    for time, value in zip(times, found, strict=True):
        segment = next(each for each in segments if each.start < time <= each.end)
        assert value == pytest.approx(segment.concentration(time), rel=1e-7, abs=1e-9)
    cycle = REGIMENS[name].cycle
    if cycle is None or cycle.n is not None:
        return
    late = cycle.start + (LONG - cycle.start) // cycle.tau * cycle.tau - cycle.tau
    phases = [0.15 * cycle.tau, 0.6 * cycle.tau, 0.99 * cycle.tau]
    found = course(model, REGIMENS[name], times=phases).concentration.values.ravel()
    for phase, value in zip(phases, found, strict=True):
        segment = next(each for each in segments if each.start < late + phase <= each.end)
        assert value == pytest.approx(segment.concentration(late + phase), rel=1e-7)


def test_concentrations__quantiles_are_those_of_all_profiles() -> None:
    times = [0.5, 3.0, 11.0]
    doses = [(0.0, 1000.0, 1.0)]
    shares = (0.0, 0.05, 0.37, 0.5, 1.0)
    few = {name: values[:7] for name, values in SPREAD.items()}
    values = np.array(
        [
            [next(s for s in one if s.start < t <= s.end).concentration(t) for t in times]
            for one in (integrate({"CL": cl, "Vc": 25.0}, doses, 12.0) for cl in few["CL"])
        ]
    )
    found = tdmx.concentrations(
        few, "1000 mg q12h inf 1h", times=times, window="first_dose", quantiles=shares
    )
    np.testing.assert_allclose(found.concentration[0, 0], np.quantile(values, shares, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found["mean"][0, 0], values.mean(axis=0), rtol=1e-9)


def test_concentrations__the_area_is_dose_by_clearance_and_the_interval_repeats() -> None:
    found = tdmx.concentrations(SPREAD, "1000 mg q8h inf 1h", n_times=4001, n_intervals=2)
    time, mean = found.time.values, found["mean"].values.ravel()
    first = time <= 8.0
    expected = 1000 * np.mean(1 / SPREAD["CL"])
    assert np.trapezoid(mean[first], time[first]) == pytest.approx(expected, rel=1e-5)
    assert np.trapezoid(mean[~first], time[~first]) == pytest.approx(expected, rel=2e-3)
    again = np.interp(8.0 + time[first], time, mean)
    np.testing.assert_allclose(again, mean[first], rtol=1e-5)
    assert found.attrs["window"] == "ss"
    assert found.window_end.values.tolist() == [8.0]


def test_concentrations__the_default_times_hold_what_happens() -> None:
    regimens = ["1000 mg q8h inf 30min", "500 mg q12h"]
    at = tdmx.concentrations(SPREAD, regimens, n_times=5)
    assert {0.5, 8.5, 1e-6} <= set(at.time.values.tolist())
    assert at.time.values[-1] == 12.0
    assert at.window_end.values.tolist() == [8.0, 12.0]
    day = tdmx.concentrations(SPREAD, regimens, n_times=5, window="day1")
    assert {8.0, 8.5, 12.0, 12.000001, 16.5} <= set(day.time.values.tolist())
    later = tdmx.concentrations(SPREAD, "500 mg q12h", n_times=5, window=(24, 48))
    assert (later.time.values[0], later.time.values[-1]) == (24.0, 48.0)
    assert later.attrs["window"] == "24..48h"


def test_concentrations__a_treatment_that_starts_late() -> None:
    late = tdmx.Regimen(1000, 8, start_time=100)
    found = tdmx.concentrations(SPREAD, late, n_times=3, window="first_dose")
    assert (found.time.values[0], found.time.values[-1]) == (100.0, 108.0)
    assert found.time.attrs["long_name"] == "time on the regimens' clock"
    usual = tdmx.concentrations(SPREAD, "1 g q8h", n_times=3, window="first_dose")
    assert usual.time.attrs["long_name"] == "time since the start of treatment"


@pytest.mark.parametrize(("tau", "k"), [(0.7, 3), (4.8, 3), (0.1, 7), (1.1, 6)])
def test_concentrations__just_before_a_dose_due_then_whatever_the_rounding(tau: float, k: int) -> None:
    alone, time = {"CL": [5.0], "Vc": [20.0]}, float(f"{k * tau:.6g}")
    regimen = tdmx.Regimen(100, tau)
    before = sum(5.0 * np.exp(-0.25 * (time - j * tau)) for j in range(k))
    found = tdmx.concentrations(alone, regimen, times=[time, time + 0.01, time + 20], window=(0, time + 30))
    assert found.concentration[0, 0, 0, 0] == pytest.approx(before, rel=1e-12)
    assert found.concentration[0, 0, 0, 1] == pytest.approx((before + 5.0) * np.exp(-0.0025), rel=1e-9)
    at = tdmx.exposures(alone, regimen, [f"C@{time}h", f"Cmin in {time - tau / 2}..{time}h"])
    assert [value.item() for value in at.values()] == pytest.approx([before, before], rel=1e-12)
    after = tdmx.exposures(
        alone, regimen, [f"{each} in {time}..{time + tau / 2}h" for each in ("Cmax", "Cmin")]
    )
    expected = [before + 5.0, (before + 5.0) * np.exp(-0.125 * tau)]
    assert [value.item() for value in after.values()] == pytest.approx(expected, rel=1e-12)


def test_concentrations__agree_with_the_indices_of_pta() -> None:
    found = tdmx.concentrations(SPREAD, "1000 mg q8h inf 30min", n_times=3, quantiles=[0.0])
    lowest = found.concentration.values.ravel()
    least = [
        float(tdmx.critical_mic(SPREAD, "1000 mg q8h inf 30min", f"{index}/MIC >= 1").min())
        for index in ("Cmin", "Cmax")
    ]
    assert lowest[0] == pytest.approx(least[0])
    assert lowest.max() == pytest.approx(least[1])


def test_concentrations__patients_of_a_population_and_their_scenarios() -> None:
    ask = functools.partial(tdmx.concentrations, POPULATION, "1000 mg q12h inf 1h", n=3000, seed=4, n_times=9)
    found = ask(scenarios={"low": {"CCr": 40}, "high": {"CCr": 120}})
    assert found.attrs["n_profiles"] == 3000
    assert (found.concentration.sel(scenario="low") > found.concentration.sel(scenario="high")).all()
    trough = tdmx.sample(POPULATION, 3000, seed=4, scenarios={"low": {"CCr": 40}}).squeeze()
    alone = tdmx.concentrations(
        {"CL": trough.CL.values.ravel(), "Vc": np.full(3000, 20.0)}, "1000 mg q12h inf 1h", n_times=9
    )
    np.testing.assert_allclose(found.concentration.sel(scenario="low"), alone.concentration[0], rtol=1e-12)
    free = ask(free=True)
    np.testing.assert_allclose(free.concentration, 0.5 * ask().concentration, rtol=1e-12)
    assert free.concentration.attrs["long_name"] == "unbound concentration"
    assert free.attrs["fu"] == "0.5, of the population"


def test_concentrations__a_weight_that_the_population_does_not_know() -> None:
    by_weight = tdmx.concentrations(
        POPULATION, "15 mg/kg q12h inf 1h", n=50, n_times=5, weight=70, scenarios={"a": {"CCr": 80}}
    )
    plain = tdmx.concentrations(
        POPULATION, "1050 mg q12h inf 1h", n=50, n_times=5, scenarios={"a": {"CCr": 80}}
    )
    np.testing.assert_allclose(by_weight.concentration, plain.concentration, rtol=1e-12)


def test_concentrations__some_pairs_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    regimens = ["1000 mg q8h", "500 mg q8h inf 1h", "2000 mg q24h ci"]
    whole = tdmx.concentrations(SPREAD, regimens, n_times=7)
    monkeypatch.setattr(blocks, "MOST_VALUES", 2 * whole.sizes["time"] * 500)
    assert whole.equals(tdmx.concentrations(SPREAD, regimens, n_times=7))
    monkeypatch.setattr(blocks, "MOST_VALUES", 2000)
    with pytest.raises(
        ValueError, match=r"times=.* x 500 profiles: .* at most 2,000 .* Ask for at most 4 times"
    ):
        tdmx.concentrations(SPREAD, regimens, n_times=7)


def test_concentrations__of_a_store(store: Any) -> None:
    lazy = tdmx.concentrations(store, "1000 mg q8h inf 1h", n_times=5, subjects=2, seed=1)
    loaded = tdmx.concentrations(
        tdmx.open_draws(store).load(), "1000 mg q8h inf 1h", n_times=5, subjects=2, seed=1
    )
    np.testing.assert_array_equal(lazy.concentration, loaded.concentration)
    assert len(lazy.attrs["draws_digest"]) > 8
    chunked = tdmx.open_draws(store).load().chunk({"draw": 700}).drop_vars("omega")
    typical = tdmx.open_draws(store).load().drop_vars("omega")
    for verb in (functools.partial(tdmx.concentrations, n_times=5), tdmx.exposures):
        np.testing.assert_array_equal(
            *(next(iter(verb(draws, "1000 mg q8h inf 1h").values())) for draws in (chunked, typical))
        )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"times": np.array(3.0)}, r"times=3.0: times are numbers of hours. Write \[0, 1, 2, 4, 8\]"),
        ({"quantiles": np.array(0.5)}, r"quantiles=0.5: quantiles are fractions"),
        ({"times": [0, -1]}, r"times=-1: a time must be a finite number >= 0 h"),
        ({"times": [0, 2, 2]}, r"times=2 h: times are ascending, and none is there twice"),
        ({"times": "0, 1"}, r"times=0, 1: times are numbers of hours"),
        ({"times": []}, r"times=0 of them: there are 1 to 100,000 times"),
        ({"n_times": 1}, r"n_times=1: the number of times"),
        ({"n_times": 10**6}, r"n_times=1000000: there are at most 100,000 times"),
        ({"quantiles": [0.5, 1.5]}, r"quantiles=1.5: a quantile must be a finite number >= 0 and <= 1"),
        ({"quantiles": [0.5, 0.5]}, r"quantiles=\[0.5, 0.5\]: there is at least one, and none twice"),
        ({"quantiles": 0.5}, r"quantiles=0.5: quantiles are fractions"),
        ({"window": "soon"}, r"window=soon: this is not a window"),
        (
            {"window": "day1", "n_intervals": 2},
            r"n_intervals=2: several dosing intervals are shown at steady state",
        ),
        ({"n_intervals": 0}, r"n_intervals=0: the number of dosing intervals"),
        (
            {"regimens": "1000 mg q8h x3"},
            r"window=ss: the regimen 1000 mg q8h x3 ends, so it has no steady state",
        ),
        ({"regimens": "15 mg/kg q8h"}, r"WT=missing: a dose in mg/kg needs a body weight"),
        ({"draws": {"CL": [1.0]}}, r"Vc"),
        ({"draws": {"CL": [1.0], "Vc": [1.0], "Vmax": [1.0], "Km": [1.0]}}, r"saturable"),
        ({"draws": {"CL": [-1.0], "Vc": [1.0]}}, r"CL"),
        ({"n": 5}, r"n=5: the number of virtual patients goes with a population"),
    ],
)
def test_concentrations__what_is_refused(options: dict[str, Any], match: str) -> None:
    given = {"draws": SPREAD, "regimens": "1000 mg q8h", **options}
    with pytest.raises(ValueError, match=match):
        tdmx.concentrations(**given)
