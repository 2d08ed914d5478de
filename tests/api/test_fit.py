"""The verbs of fits: the same draws here and on a cluster; cohorts that survive; what is asked wrongly is refused at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.domain.patient import Patient, read_patient
from tdmx_dask.errors import ClusterError, FitCancelled, FitError, InputError
from tdmx_dask.fitting.task import ChainEvent
from tests.fitting.stan_programs import NORMAL, NORMAL_DATA

# a connection to a worker that was killed leaves its socket to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

FEW: dict[str, Any] = {"chains": 2, "iter_warmup": 300, "iter_sampling": 300, "engine": "stanli", "seed": 3}
SECONDS = 60
PARALLEL = {"CL": 8.0, "Vmax": 40.0, "Km": 10.0, "Vc": 30.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2) as cluster:
        yield cluster


@pytest.fixture
def patient() -> Patient:
    return read_patient("meropenem_tdm")


def cohort_of(patient: Patient, n: int) -> list[Patient]:
    return [
        replace(patient, id=f"p{number}", levels=((41.0, 10.0 + number), (47.5, 5.0 + number)))
        for number in range(n)
    ]


def test_fit__same_draws_here_and_on_a_cluster(cluster: Cluster, patient: Patient, tmp_path: Path) -> None:
    here = tdmx.fit(patient, library=tmp_path / "a", **FEW)
    there = tdmx.fit(patient, library=tmp_path / "b", on=cluster, **FEW)
    joined = tdmx.fit(patient, library=tmp_path / "c", on=cluster.client, parallel_chains=1, **FEW)
    assert here.draws.attrs["digest"] == there.draws.attrs["digest"] == joined.draws.attrs["digest"]
    assert here.attrs["request"] == there.attrs["request"]
    assert here.path != there.path


def test_fit__goes_straight_into_pta(patient: Patient, tmp_path: Path) -> None:
    fit = tdmx.fit("meropenem_tdm", library=tmp_path, **FEW)
    assert fit.name == patient.id
    pta = tdmx.pta(fit.draws, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[1, 1024])
    assert pta.pta.values.ravel()[0] > 0.9 > pta.pta.values.ravel()[1]
    stored = tdmx.pta(fit.path, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[1, 1024])
    np.testing.assert_array_equal(stored.n_attained, pta.n_attained)
    again = tdmx.fit("meropenem_tdm", library=tmp_path, **FEW)
    assert again.path == fit.path
    assert tdmx.open_fit(fit.path).attrs == fit.attrs


def test_pta__refuses_a_saturable_posterior(patient: Patient, tmp_path: Path) -> None:
    """CL and Vc of a parallel model would pass for a linear model that eliminates too slowly."""
    priors = {name: {"median": median, "omega": 0.2} for name, median in PARALLEL.items()}
    fit = tdmx.fit(
        patient,
        model="parallel",
        priors=priors,
        library=tmp_path,
        **{**FEW, "iter_sampling": 50, "iter_warmup": 50},
    )
    assert {"CL", "Vmax", "Km", "Vc"} <= set(fit.draws.data_vars)
    for given in (fit.draws, fit.path):
        with pytest.raises(
            InputError, match=r"draws=Vmax, Km: these are of a model with saturable elimination"
        ):
            tdmx.pta(given, "1000 mg q8h", "T>MIC >= 50%", mic=[1])


def test_fit__any_program(tmp_path: Path) -> None:
    fit = tdmx.fit(program=NORMAL, data=NORMAL_DATA, name="mine", library=tmp_path, **FEW)
    assert fit.name == "mine"
    assert set(fit.draws.data_vars) == {"mu"}
    (tmp_path / "normal.stan").write_text(NORMAL.code)
    same = tdmx.fit(
        program=str(tmp_path / "normal.stan"), data=NORMAL_DATA, name="mine", library=tmp_path, **FEW
    )
    assert same.path == fit.path
    with pytest.raises(InputError, match="fit=mine: a predictive check needs levels"):
        tdmx.ppc(fit)


def test_fit_async__returns_at_once_and_is_awaited(
    cluster: Cluster, patient: Patient, tmp_path: Path
) -> None:
    events: list[ChainEvent] = []
    start = time.perf_counter()
    future = tdmx.fit_async(patient, library=tmp_path, on=cluster, progress=events.append, **FEW)
    assert time.perf_counter() - start < 2

    async def waited() -> Any:
        return await asyncio.wait_for(_await(future), SECONDS)

    assert asyncio.run(waited()).name == patient.id
    assert future.status == "done"
    end = time.monotonic() + 5
    while {event.chain for event in events if event.phase == "done"} != {0, 1}:
        assert time.monotonic() < end, events
        time.sleep(0.01)


async def _await(future: Any) -> Any:
    return await future


def test_fit_async__cancelled_on_a_cluster(cluster: Cluster, patient: Patient, tmp_path: Path) -> None:
    endless = {**FEW, "iter_sampling": 10_000_000}
    with pytest.raises(ClusterError, match=r"asks for \d+ MB, and the largest worker declares \d+ MB"):
        tdmx.fit(patient, library=tmp_path, on=cluster, **endless)
    future = tdmx.fit_async(patient, library=tmp_path, on=cluster, memory_mb=100, **endless)
    end = time.monotonic() + 20
    while not future.progress():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert future.cancel()
    with pytest.raises(FitCancelled, match="it was cancelled"):
        future.result(5)
    assert tdmx.fit(patient, library=tmp_path, on=cluster, **FEW).name == patient.id


def test_fit_async__a_killed_worker_costs_time_only(patient: Patient, tmp_path: Path) -> None:
    long = {**FEW, "iter_sampling": 60_000}
    expected = tdmx.fit(patient, library=tmp_path / "a", **long).draws.attrs["digest"]
    with tdmx.cluster("local", n_workers=2) as cluster:
        future = tdmx.fit_async(patient, library=tmp_path / "b", on=cluster, parallel_chains=1, **long)
        end = time.monotonic() + 20
        while not future.progress():
            assert time.monotonic() < end
            time.sleep(0.01)
        busy = [each["pid"] for each in _workers(cluster) if _samples(each["pid"])]
        for pid in busy:
            os.kill(pid, signal.SIGKILL)
        assert future.result(SECONDS).draws.attrs["digest"] == expected
        assert busy


def _workers(cluster: Cluster) -> list[dict[str, int]]:
    return [{"pid": pid} for pid in cluster.client.run(os.getpid).values()]


def _samples(pid: int) -> bool:
    """Whether a worker has a process that has one of its own."""
    return any(child.children() for child in psutil.Process(pid).children())


def test_fit_many__one_that_fails_is_kept_beside(cluster: Cluster, patient: Patient, tmp_path: Path) -> None:
    patients = cohort_of(patient, 5)
    lacking = replace(patients[1], covariates={})
    broken = {"id": "p3", "regimen": "1000 mg q8h", "levels": [[1, 2]]}
    cohort = tdmx.fit_many(
        {"p0": patients[0], "p1": lacking, "p2": patients[2], "p3": broken, "p4": patients[4]},
        library=tmp_path, on=cluster, **FEW,
    )  # fmt: skip
    names = {fit.name for fit in cohort}
    assert names | set(cohort.failures) == {f"p{n}" for n in range(5)}
    assert {"p0", "p2", "p4"} <= names
    assert isinstance(cohort.failures["p3"], InputError)
    assert list(cohort.results()) == [name for name in ("p0", "p1", "p2", "p3", "p4") if name in names]
    assert len(cohort) == 5
    assert "done" in repr(cohort)
    assert "<table>" in cohort._repr_html_()


def test_fit_many__all_patients_at_once_into_pta(patient: Patient, tmp_path: Path) -> None:
    patients = cohort_of(patient, 3)
    cohort = tdmx.fit_many(patients, library=tmp_path, **FEW)
    draws = cohort.draws
    assert dict(draws.sizes) == {"chain": 2, "draw": 300, "scenario": 3}
    assert draws.scenario.values.tolist() == ["p0", "p1", "p2"]
    pta = tdmx.pta(draws, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[4, 8, 16])
    assert pta.scenario.values.tolist() == ["p0", "p1", "p2"]
    alone = tdmx.pta(cohort["p1"].result().draws, "1000 mg q8h inf 3h", "fT>MIC >= 50%", mic=[4, 8, 16])
    np.testing.assert_array_equal(pta.pta.sel(scenario="p1").values.ravel(), alone.pta.values.ravel())
    lone = tdmx.fit(patients[1], library=tmp_path / "lone", **FEW)
    np.testing.assert_array_equal(draws.CL.sel(scenario="p1"), lone.draws.CL)


def test_fit_many__models_of_one_patient(patient: Patient, tmp_path: Path) -> None:
    simple = {"CL": {"median": 10, "omega": 0.4}, "V": {"median": 25, "omega": 0.4}}
    models = {"one": {"model": "1C", "priors": simple}, "two": "2C"}
    cohort = tdmx.fit_many(models, patient=patient, library=tmp_path, **FEW)
    found = tdmx.compare_models(cohort)
    assert set(found.table.index) == {"one", "two"}
    assert cohort["one"].result().attrs["program"] == "linear_1c"
    check = tdmx.ppc(cohort["two"].result())
    lazy = tdmx.ppc(cohort["two"].result().path, chunks=1)
    assert lazy.pit.chunks is not None
    np.testing.assert_allclose(lazy.compute().pit, check.pit)
    mode = tdmx.fit(patient, library=tmp_path, method="mode", **FEW)
    with pytest.raises(InputError, match=r"fits\[m\]=mode: only draws of NUTS are compared"):
        tdmx.compare_models({"m": mode, "two": cohort["two"].result()})


def test_fit_many__cancel_and_timeout(patient: Patient, tmp_path: Path) -> None:
    cohort = tdmx.fit_many(cohort_of(patient, 3), library=tmp_path, **{**FEW, "iter_sampling": 10_000_000})
    with pytest.raises(TimeoutError, match="3 of 3 fits are not done"):
        cohort.results(0.1)
    cohort.cancel()
    assert not wait(cohort.futures.values(), 5).not_done
    assert all(isinstance(error, FitCancelled) for error in cohort.failures.values())
    with pytest.raises(InputError, match="cohort=no fit"):
        _ = cohort.draws


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chains": 0}, "chains=0"),
        ({"iter_sampling": 0}, "iter_sampling=0"),
        ({"adapt_delta": 1.0}, "adapt_delta=1.0"),
        ({"target_ess": -1}, "target_ess=-1"),
        ({"target_ess": 100, "chains": 4, "max_chains": 2}, "max_chains=2"),
        ({"seed": -1}, "seed=-1"),
        ({"retries": -1}, "retries=-1"),
        ({"priority": 0.5}, "priority=0.5"),
        ({"memory_mb": 0}, "memory_mb=0"),
        ({"parallel_chains": 0}, "parallel_chains=0"),
        ({"method": "vb"}, "method=vb: it is one of nuts, mode"),
        ({"engine": "jags"}, "engine=jags"),
        ({"model": "4C"}, "model=4C"),
        ({"progress": "yes"}, "progress=yes"),
        ({"program": "linear_2c"}, "patient=given: a program of your own"),
        ({"data": {"n": 1}}, "data=given: data go with program="),
    ],
)
def test_fit_async__refuses_at_once(
    patient: Patient, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        tdmx.fit_async(patient, library=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_fit__refuses_nothing_and_what_is_there(patient: Patient, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patient=None: a fit is of a patient, or of a program"):
        tdmx.fit()
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=r"out=.*it exists"):
        tdmx.fit(patient, out=tmp_path / "there", library=tmp_path)
    with pytest.raises(InputError, match="it is of one fit"):
        tdmx.fit_many([patient], name="x")
    with pytest.raises(InputError, match="two patients have this id"):
        tdmx.fit_many([patient, patient])
    with pytest.raises(InputError, match="there is at least one patient"):
        tdmx.fit_many([])
    with pytest.raises(InputError, match=r"chaims=2: there is no such option\. Did you mean 'chains'"):
        tdmx.fit_many([patient], chaims=2)
    with pytest.raises(FitError, match="method=advi: stanli has not got it"):
        tdmx.fit(patient, method="advi", engine="stanli", library=tmp_path)
    (tmp_path / "syntax.stan").write_text("model { x ~ }")
    with pytest.raises(FitError, match="program=syntax: it does not compile"):
        tdmx.fit(program=tmp_path / "syntax.stan", data={}, library=tmp_path, **FEW)
