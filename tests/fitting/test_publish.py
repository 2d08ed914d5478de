"""From chains to stores: what a fit leaves behind, what it refuses, and what a full disk says."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.domain.patient import read_patient
from tdmx_dask.errors import FitError, SchemaError, StoreError
from tdmx_dask.fitting.conductor import Conductor
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.local import LocalRunner
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.question import ask, ask_program
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.task import Sampling
from tdmx_dask.store.draws import verify_draws, write_draws
from tests.conftest import posterior
from tests.fitting.asking import request


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    conductor, runner = Conductor(), LocalRunner(2)

    def run(wanted: Request) -> Fit:
        (future,) = conductor.submit([wanted], runner)
        return future.result(60)

    yield run
    conductor.close()


def test_publish__a_patient_by_plain_names_in_our_units(tmp_path: Path, run: Any) -> None:
    question = ask(read_patient("meropenem_tdm"))
    fit = run(request(tmp_path, question, sampling=Sampling(500, 300)))
    draws = fit.draws
    assert {"CL", "Vc", "Q1", "Vp1", "sigma_proportional", "predicted", "fu"} <= set(draws.data_vars)
    assert not {"raw", "theta", "sigma_raw"} & set(draws.data_vars)
    assert {name: draws[name].attrs["units"] for name in ("CL", "Vc", "Q1", "Vp1")} == {
        "CL": "L/h", "Vc": "L", "Q1": "L/h", "Vp1": "L"
    }  # fmt: skip
    assert draws.predicted.dims == ("chain", "draw", "observation")
    tree = fit.tree
    assert set(tree.children) == {
        "posterior", "sample_stats", "log_likelihood", "posterior_predictive", "constant_data"
    }  # fmt: skip
    for group in ("log_likelihood", "posterior_predictive"):
        assert dict(tree[group]["level"].sizes) == {"chain": 4, "draw": 300, "observation": 2}
    assert {"diverging", "energy", "lp", "tree_depth", "step_size"} <= set(tree["sample_stats"].data_vars)
    np.testing.assert_array_equal(tree["constant_data"]["level"], [12.3, 6.1])
    assert verify_draws(fit.path) == draws.attrs["digest"]
    result = tdmx.pta(draws, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[0.5, 2, 8, 64])
    assert result.attrs["fu"] != "none"
    assert np.all(np.diff(result.pta.values.ravel()) <= 0)


def test_publish__a_vector_is_one_variable_and_what_is_not_finite_is_left_out(
    tmp_path: Path, run: Any
) -> None:
    program = Program(
        "made",
        "parameters { real mu; matrix[2, 3] m; } model { mu ~ normal(0, 1); to_vector(m) ~ normal(0, 1); } "
        "generated quantities { real never = log(-1); matrix[2, 3] twice = 2 * m; vector[2] log_lik = [mu, 2 * mu]'; "
        "vector[2] y_rep = [mu, mu]'; }",
    )
    fit = run(request(tmp_path, ask_program(program, {}, parameters=("mu",))))
    assert fit.draws["m"].shape == (4, 300, 2, 3)
    np.testing.assert_array_equal(fit.draws["twice"], 2 * fit.draws["m"])
    assert "never" not in fit.draws
    assert "never is not stored: it has values that are not finite" in fit.log
    np.testing.assert_array_equal(fit.tree["log_likelihood"]["log_lik"][..., 1], 2 * fit.draws["mu"])
    assert fit.tree["posterior_predictive"]["y"].shape == (4, 300, 2)


def test_publish__draws_that_no_store_takes_are_the_fits_fault(tmp_path: Path, run: Any) -> None:
    program = Program("negative", "parameters { real CL; } model { CL ~ normal(0, 1); }")
    with pytest.raises(
        FitError, match=r"fit=negative: its draws cannot be stored: CL\[.*a clearance must be finite and > 0"
    ):
        run(request(tmp_path, ask_program(program, {})))
    assert list(tmp_path.glob("*.zarr*")) == []


def test_publish__the_same_request_again(tmp_path: Path, run: Any) -> None:
    first = run(request(tmp_path))
    assert run(request(tmp_path)).path == first.path
    fresh = run(request(tmp_path, reuse=False, warm_start=True))
    assert fresh.path != first.path
    assert fresh.path.name == first.path.name.replace(".zarr.zip", "-2.zarr.zip")
    np.testing.assert_array_equal(fresh.draws["mu"], first.draws["mu"])
    out = tmp_path / "elsewhere" / "mine.zarr"
    assert run(request(tmp_path, out=out)).path == out
    assert verify_draws(out) == first.draws.attrs["digest"]
    new = tmp_path / "new.zarr"
    made = run(request(tmp_path, out=new, seed=6))
    assert made.path == new
    assert run(request(tmp_path, seed=6)).path == new


def test_publish__approximations_are_named_as_what_they_are(tmp_path: Path, run: Any) -> None:
    question = ask(read_patient("meropenem_tdm"))
    fit = run(request(tmp_path, question, method="laplace"))
    assert (fit.method, fit.attrs["approximate"]) == ("laplace", 1)
    assert fit.draws.attrs["sampling"] == "independent"
    assert fit.draws.sizes == {"chain": 1, "draw": 1200, "observation": 2}
    assert fit.attrs["khat"] == pytest.approx(0.3, abs=0.7)
    assert fit.healthy == (fit.attrs["khat"] <= 0.7)
    assert "log_q" in fit.tree["sample_stats"]
    mode = run(request(tmp_path, question, method="mode"))
    assert mode.draws.sizes["draw"] == 1
    assert not mode.healthy
    assert "it has no spread" in mode.warnings[0]
    assert not mode.diagnose().healthy
    pole = Program(
        "pole",
        "parameters { real<lower=0> x; } model { x ~ lognormal(0, 3); target += -0.5 * x^0.2 + 4 * sin(x); }",
    )
    bad = run(request(tmp_path, ask_program(pole, {}), method="laplace"))
    if not bad.healthy:
        assert "do not trust this approximation" in bad.warnings[0]


def test_publish__a_full_disk_is_a_store_error(small_disk: Path, run: Any) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        run(request(small_disk, sampling=Sampling(200, 40_000)))
    assert list(small_disk.glob("*.zarr*")) == []
    assert run(request(small_disk, sampling=Sampling(200, 200))).name == "normal"


def test_fit__only_stores_of_fits(tmp_path: Path) -> None:
    write_draws(posterior(omega=False), tmp_path / "plain.zarr")
    with pytest.raises(SchemaError, match="were not made by a fit"):
        Fit(tmp_path / "plain.zarr")
    with pytest.raises(StoreError, match="there is no such store"):
        Fit(tmp_path / "none.zarr")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip("mounting a small disk needs root")
    yield place
    assert libc.umount2(os.fsencode(place), 2) == 0
