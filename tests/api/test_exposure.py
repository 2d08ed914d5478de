"""The verb `exposures`, against integration of the differential equations, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tests.analysis.integration import Window
from tests.analysis.test_exposure import CASES, REGIMENS, WEIGHT, draws, profile, span
from tests.api.test_concentration import POPULATION, SPREAD

SOME = [case for i, case in enumerate(CASES) if i % 3 == 0]


@pytest.mark.parametrize(("model", "name", "window"), SOME, ids=[" ".join(case) for case in SOME])
def test_exposures__are_those_of_the_integrated_profile(model: str, name: str, window: str) -> None:
    expected = span(name, window)
    assert expected is not None
    profiled = Window.of(profile(model, name), *expected)
    level = 0.6 * profiled.cmax()
    asked = [
        "AUC",
        "Cmax",
        "Cmin",
        f"T>MIC at {level}",
        f"T>MIC at {0.9 * profiled.cmax()} mg/L",
        "T>MIC at 1e5",
    ]
    found = tdmx.exposures(draws(model), REGIMENS[name], asked, weight=WEIGHT, window=window)
    values = [found[index].item() for index in asked]
    exact = [profiled.auc(), profiled.cmax(), profiled.cmin()]
    exact += [profiled.time_above(level), profiled.time_above(0.9 * profiled.cmax()), 0.0]
    np.testing.assert_allclose(values, exact, rtol=1e-6, atol=1e-9)
    assert [found[index].attrs["units"] for index in asked[:4]] == ["mg·h/L", "mg/L", "mg/L", "1"]


def test_exposures__time_above_is_the_inverse_of_the_critical_mic() -> None:
    regimen = tdmx.Regimen.parse("1000 mg q8h inf 1h")
    critical = tdmx.critical_mic(SPREAD, regimen, "T>MIC >= 43%")
    some = SPREAD["CL"][:5]
    for i, cl in enumerate(some):
        alone = {"CL": [cl], "Vc": [25.0]}
        found = tdmx.exposures(alone, regimen, f"T>MIC at {float(critical.values.ravel()[i])!r}")
        assert next(iter(found.values())).item() == pytest.approx(0.43, abs=1e-9)


def test_exposures__share_of_profiles_is_pta() -> None:
    found = tdmx.exposures(
        POPULATION, "1000 mg q12h inf 1h", ["fT>MIC at 4", "fT>2xMIC at 2", "fAUC24"], n=2000, seed=2
    )
    pta = tdmx.pta(
        POPULATION, "1000 mg q12h inf 1h", ["fT>MIC >= 50%", "fAUC24/MIC >= 30"], mic=4, n=2000, seed=2
    )
    assert found.sizes == {"scenario": 1, "regimen": 1, "chain": 1, "draw": 2000, "subject": 1}
    assert (found["fT>MIC at 4"] >= 0.5).mean() == pta.pta[0, 0, 0, 0]
    assert (found["fAUC24"] / 4 >= 30).mean() == pta.pta[0, 0, 1, 0]
    np.testing.assert_array_equal(found["fT>MIC at 4"], found["fT>2xMIC at 2"])
    assert found.attrs["seed"] == "2"


def test_exposures__a_limit_counts_as_attained() -> None:
    alone = {"CL": [1.0], "Vc": [10.0]}
    regimen = "240 mg q24h ci"  # 10 mg/L all the time
    (value,) = tdmx.exposures(alone, regimen, "T>MIC at 10").values()
    assert value.item() == 1.0 == tdmx.pta(alone, regimen, "T>MIC >= 100%", mic=10).pta.item()


def test_exposures__lowest_of_a_rise() -> None:
    found = tdmx.exposures(SPREAD, "2 g q24h ci", ["Cmin in 10..17h", "Cmin in interval 2", "C@10h", "C@24h"])
    np.testing.assert_allclose(found["Cmin in 10..17h"], found["C@10h"])
    np.testing.assert_allclose(found["Cmin in interval 2"], found["C@24h"])


def test_exposures__subjects_of_a_draw_and_sites(store: Any) -> None:
    found = tdmx.exposures(
        store, "1000 mg q8h inf 1h", ["Cmin", "Cmin at ELF 0.4", "C@8h"], subjects=3, seed=1
    )
    assert found.sizes["subject"] == 3
    np.testing.assert_allclose(0.4 * found["Cmin"], found["Cmin at ELF 0.4"])
    critical = tdmx.critical_mic(store, "1000 mg q8h inf 1h", "Cmin/MIC >= 1", subjects=3, seed=1)
    np.testing.assert_array_equal(found["Cmin"], critical[:, :, 0])


@pytest.mark.parametrize(
    ("indices", "match"),
    [
        ((), r"indices=\(\): there is at least one index"),
        (("AUC24", "AUC24"), r"indices=AUC24: an index is given twice"),
        (("auc24", "AUC24"), r"indices=AUC24: an index is given twice. Leave one out"),
        (
            ("T>MIC at 2", "Cmin", "T>MIC at 2.0 in ss"),
            r"indices=T>MIC at 2.0 in ss: an index is given twice",
        ),
        ((3,), r"indices=3: an index is a text"),
        ("AUC42", r"target=AUC42: 'AUC42' is not an index. Did you mean 'AUC24'\?"),
        ("Cmin >= 3", r"target=Cmin >= 3: an exposure has no limit"),
        ("AUC24/MIC at 2", r"an exposure is not divided by a MIC. Write AUC24"),
        ("T>MIC at 0", r"MIC=0: a MIC must be a finite number > 0 mg/L. Write T>MIC at 2"),
        ("fT>MIC", r"target=fT>MIC: T>MIC needs a MIC in mg/L. Write fT>MIC at 2"),
        ("Cmax at 2", r"Cmax does not depend on a MIC. Leave it out"),
        ("Cmax at ELF", r"site=ELF: ELF needs its ratio to plasma"),
        ("AUC24 in 0..30h", r"AUC24 is over a window of 24 h"),
        ("Cmax in week 1", r"window=week 1: this is not a window"),
    ],
)
def test_exposures__what_is_refused(indices: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        tdmx.exposures(SPREAD, "1000 mg q8h", indices)


def test_exposures__that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"exposures=150,000,000: one number a profile.*at most 67,108,864"):
        tdmx.exposures(POPULATION, "1000 mg q8h", n=50_000_000)
