"""Jobs that fit: the same draws as the verbs, processes that end with the job, every mistake said at submit."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import tdmx_dask as tdmx
from tdmx_dask.api.fit_request import question_of
from tdmx_dask.api.individual import assess
from tdmx_dask.api.kinds import BUILT_IN, opened
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.patient import Patient, read_patient, shipped_patients
from tdmx_dask.domain.prior import PriorSet
from tdmx_dask.errors import FitError, InputError, JobLost, StoreError, TdmxWarning
from tdmx_dask.jobs.request import Work
from tdmx_dask.store.value import Reference, address
from tests.api.place import HereKnown, HerePlace, answer, stored
from tests.fitting.stan_programs import NORMAL, NORMAL_DATA

KIND = {kind.name: kind for kind in BUILT_IN}
FIT, ANALYSIS, PTA = KIND["stan_fit"], KIND["patient_analysis"], KIND["pta_calculation"]
FEW: dict[str, Any] = {"chains": 2, "iter_warmup": 200, "iter_sampling": 100, "engine": "stanli", "seed": 3}
CORRELATED = {
    "CL": {"median": 8, "cv": 0.31}, "V1": {"median": 20, "omega": 0.29}, "Q": 9.8, "V2": {"median": 13, "cv": 0.4},
    "correlations": {"CL, V1": 0.37, "CL, V2": -0.11},
}  # fmt: skip


@pytest.fixture
def known(tmp_path: Path) -> HereKnown:
    return HereKnown(tmp_path / "data")


@pytest.fixture
def patient() -> Patient:
    return read_patient("meropenem_tdm")


def fits_of(tmp_path: Path, known: HereKnown, spec: dict[str, Any]) -> tuple[Any, Any]:
    """The fit of the job and that of the verb, each in a library of its own."""
    found = opened(answer(FIT, {**spec, "library": tmp_path / "job"}, known))
    return found, tdmx.fit(**{**spec, "library": tmp_path / "verb"})


def test_stan_fit__is_tdmx_fit(known: HereKnown, patient: Patient, tmp_path: Path) -> None:
    place = HerePlace()
    job = opened(answer(FIT, {"patient": patient, "library": tmp_path / "a", **FEW}, known, place))
    verb = tdmx.fit(patient, library=tmp_path / "b", **FEW)
    assert job.draws.attrs["digest"] == verb.draws.attrs["digest"]
    assert job.attrs["request"] == verb.attrs["request"]
    assert job.path.parent == tmp_path / "a"
    assert (place.most_held, place.held, place.calls) == (1, 0, [])
    assert place.steps[-1] == (600, 600)
    assert all(0 <= done <= total for done, total in place.steps)
    assert place.said


@pytest.mark.parametrize(
    "spec",
    [
        {"patient": "meropenem_tdm", "priors": CORRELATED, "model": "2C", "name": "other"},
        {"patient": "meropenem_tdm", "error": tdmx.ErrorModel.from_mapping({"proportional": 0.15})},
        {"program": NORMAL, "data": {**NORMAL_DATA, "y": np.array(NORMAL_DATA["y"])}},
    ],
)
def test_stan_fit__asks_as_the_verb_does(spec: dict[str, Any], known: HereKnown, tmp_path: Path) -> None:
    job, verb = fits_of(tmp_path, known, {**spec, **FEW, "iter_sampling": 20, "method": "mode"})
    assert job.draws.attrs["digest"] == verb.draws.attrs["digest"]
    assert job.attrs["request"] == verb.attrs["request"]


def test_stan_fit__on_a_cluster(known: HereKnown, tmp_path: Path) -> None:
    spec = {"patient": "meropenem_tdm", **FEW}
    place = HerePlace()
    with tdmx.cluster("local", n_workers=1) as cluster:
        place.on = cluster.client
        there = opened(answer(FIT, {**spec, "library": tmp_path / "a"}, known, place))
    here = opened(answer(FIT, {**spec, "library": tmp_path / "b"}, known))
    assert there.draws.attrs["digest"] == here.draws.attrs["digest"]
    assert place.steps[-1] == (600, 600)


@given(st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.floats(-0.9, 0.9))
@settings(max_examples=40, deadline=None)
def test_stan_fit__priors_are_kept_to_the_last_bit(cv: float, omega: float, correlation: float) -> None:
    prior = {
        "CL": {"median": 8, "cv": cv},
        "V": {"median": 20, "omega": omega},
        "correlations": {"CL, V": correlation},
    }
    patient = Patient(
        id="A",
        regimen="1000 mg q8h",
        levels=[(41, 12.3)],
        error=ErrorModel.from_mapping({"proportional": 0.2}),
    )  # type: ignore[arg-type]
    priors = PriorSet.from_mapping(prior)
    for each in ({"patient": patient, "priors": priors}, {"patient": replace(patient, priors=priors)}):
        checked = stored(FIT.check({**each, "library": "fits", **FEW}, HereKnown(Path("data"))))
        assert checked.spec["data"] == question_of(**each).data


def test_stan_fit__killed_again_and_again_is_lost(known: HereKnown, tmp_path: Path) -> None:
    spec = {"patient": "meropenem_tdm", "library": tmp_path, **FEW, "iter_sampling": 10**6, "chains": 1}
    checked = stored(FIT.check(spec, known))
    me = psutil.Process()

    async def run() -> None:
        job = asyncio.ensure_future(FIT.run(Work(1, checked.spec, 1), HerePlace()))
        while not job.done():
            await asyncio.sleep(0.2)
            for each in me.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if each.cpu_percent(0.1) > 30 and not each.children():
                        each.kill()
        await job

    with pytest.raises(JobLost, match="was killed from outside by SIGKILL"):
        asyncio.run(asyncio.wait_for(run(), 60))


def test_stan_fit__program_as_text(known: HereKnown, tmp_path: Path) -> None:
    spec = {"stan_code": NORMAL.code, "stan_data": NORMAL_DATA, "name": "normal", "library": tmp_path, **FEW}
    named = {"program": NORMAL, "data": NORMAL_DATA, "library": tmp_path, **FEW}
    assert FIT.check(spec, known) == FIT.check(named, known)


def test_stan_fit__says_what_it_is(known: HereKnown, patient: Patient, tmp_path: Path) -> None:
    spec = {"patient": patient, "library": tmp_path, **FEW}
    checked = FIT.check(spec, known)
    assert checked.title == f"{patient.id}, {patient.priors.model}"  # type: ignore[union-attr]
    assert checked.family == f"stan_fit {patient.priors.model} nuts"  # type: ignore[union-attr]
    assert checked.size == 2 * 300 * len(patient.levels)
    assert (checked.memory_mb or 0) > 40
    assert FIT.check({**spec, "memory_mb": 777}, known).memory_mb == 777
    assert FIT.check({**spec, "reuse": False}, known).content is None
    same = {
        address(stored(FIT.check(each, known)).content)
        for each in (spec, {**spec, "patient": patient.to_mapping()})
    }
    assert len(same) == 1
    others: list[dict[str, Any]] = [
        {"seed": 4},
        {"chains": 3},
        {"error": {"proportional": 0.1}},
        {"library": tmp_path / "x"},
    ]
    others += [{"patient": replace(patient, levels=((41.0, 12.0),))}, {"name": "b"}, {"adapt_delta": 0.9}]
    assert (
        len(same | {address(FIT.check({**spec, **other}, known).content) for other in others})
        == len(others) + 1
    )


def test_stan_fit__is_fixed_at_submit(
    known: HereKnown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    monkeypatch.chdir(tmp_path)
    with dask.config.set({"tdmx.seed": 11, "tdmx.fits-library": "mine"}):
        checked = FIT.check({"patient": "meropenem_tdm"}, known)
    fixed = checked.spec["settings"]
    assert (fixed["seed"], fixed["library"]) == (11, str(tmp_path / "mine"))
    assert fixed["engine"] in ("stanli", "cmdstan")


def test_stan_fit__other_engine_is_refused(known: HereKnown, tmp_path: Path) -> None:
    checked = FIT.check({"patient": "meropenem_tdm", "library": tmp_path, **FEW}, known)
    spec = {**checked.spec, "address": "0" * 64}
    with pytest.raises(InputError, match="another than when the job was submitted"):
        asyncio.run(FIT.run(Work(1, spec, 1), HerePlace()))


def test_stan_fit__what_goes_wrong_is_raised(known: HereKnown, tmp_path: Path) -> None:
    code = "parameters { real mu; } model { mu ~ normal(0, wrong); }"
    spec = {"program": code, "data": {}, "library": tmp_path, **FEW}
    place = HerePlace()
    with pytest.raises(FitError, match="wrong"):
        answer(FIT, spec, known, place)
    assert place.held == 0


def test_stan_fit__cancelled_it_is_gone(known: HereKnown, tmp_path: Path) -> None:
    spec = {"patient": "meropenem_tdm", "library": tmp_path, **FEW, "iter_sampling": 10**6}
    checked = stored(FIT.check(spec, known))
    place = HerePlace()
    me = psutil.Process()

    async def run() -> float:
        job = asyncio.ensure_future(FIT.run(Work(1, checked.spec, 1), place))
        while not any(done > 500 for done, _ in place.steps):
            await asyncio.sleep(0.02)
        assert place.held == 1
        loop = asyncio.get_running_loop()
        start = loop.time()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return loop.time() - start

    assert asyncio.run(asyncio.wait_for(run(), 60)) < 3
    assert place.held == 0
    assert not list(tmp_path.glob("*.zarr*"))
    assert not any(_is_busy(each) for each in me.children(recursive=True))


def _is_busy(process: psutil.Process) -> bool:
    try:
        return process.cpu_percent(0.2) > 50
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", [name for name, path in shipped_patients().items() if path.suffix == ".csv"])
def test_stan_fit__patients_of_a_cohort(name: str, known: HereKnown, tmp_path: Path) -> None:
    import warnings

    for patient in list(tdmx.read_cohort(name))[:5]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TdmxWarning)
            spec = {"patient": patient, "priors": CORRELATED, "library": tmp_path, **FEW}
            checked = stored(FIT.check(spec, known))
        assert checked.spec["name"] == patient.id


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"patient": None}, r"spec\.patient"),
    ({"patient": "nobody"}, r"spec\.patient=nobody"),
    ({"patient": 5}, r"spec\.patient"),
    (
        {"patient": {"id": "a", "regimen": "1000 mg q8h", "levels": [{"time": -1, "value": 3}]}},
        r"spec\.patient",
    ),
    ({"patient": {"id": "a", "regimen": "1000 mg q8h"}}, r"spec\.priors"),
    ({"model": "9C"}, r"spec\.model"),
    ({"priors": 4}, r"spec\.priors"),
    ({"error": 4}, r"spec\.error"),
    ({"method": "guess"}, r"spec\.method"),
    ({"method": "advi"}, r"spec\.method"),
    ({"engine": "jags"}, r"spec\.engine"),
    ({"engine": "cmdstan", "executable": "nowhere"}, r"spec\.executable"),
    ({"chains": 0}, r"spec\.chains"),
    ({"chains": "four"}, r"spec\.chains"),
    ({"iter_warmup": -1}, r"spec\.iter_warmup"),
    ({"iter_sampling": 1.5}, r"spec\.iter_sampling"),
    ({"adapt_delta": 1}, r"spec\.adapt_delta"),
    ({"target_ess": -1}, r"spec\.target_ess"),
    ({"seed": -1}, r"spec\.seed"),
    ({"seed": 2**64}, r"spec\.seed"),
    ({"memory_mb": 0}, r"spec\.memory_mb"),
    ({"library": 5}, r"spec\.library"),
    ({"warm_start": 1}, r"spec\.warm_start"),
    ({"retries": 2}, r"spec\.retries"),
    ({"on": None, "priority": 3}, r"spec\."),
    ({"chain": 2}, r"spec\.chain=2: .*Did you mean 'chains'"),
]


@pytest.mark.parametrize(("change", "match"), WRONG)
def test_stan_fit__wrong_spec_is_refused(
    change: dict[str, Any], match: str, known: HereKnown, tmp_path: Path
) -> None:
    spec = {"patient": "meropenem_tdm", "library": tmp_path, **FEW, **change}
    with pytest.raises(InputError, match=match):
        FIT.check(spec, known)
    with pytest.raises(InputError, match=match):
        ANALYSIS.check({**spec, "regimens": "1000 mg q8h", "targets": "fT>MIC >= 50%", "mic": 2}, known)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"program": "nowhere"}, r"spec\.program=nowhere"),
        ({"program": 5}, r"spec\.program"),
        ({"patient": "meropenem_tdm"}, r"spec\.patient"),
        ({"data": 5}, r"spec\.data"),
        ({"data": {"N": np.nan}}, r"spec\.N|spec\.data"),
    ],
)
def test_stan_fit__wrong_program_is_refused(
    change: dict[str, Any], match: str, known: HereKnown, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match):
        FIT.check({"program": NORMAL, "data": NORMAL_DATA, "library": tmp_path, **FEW, **change}, known)


# --- from levels to a regimen ---------------------------------------------------------------------------------


def test_patient_analysis__is_fit_and_assess(known: HereKnown, patient: Patient, tmp_path: Path) -> None:
    assert patient.assessment is not None
    job = answer(ANALYSIS, {"patient": "meropenem_tdm", "library": tmp_path / "a", **FEW}, known)
    fit = tdmx.fit(patient, library=tmp_path / "b", **FEW)
    pta, cfr = assess(fit.draws, patient.assessment)
    xr.testing.assert_identical(job["pta"].drop_attrs(), pta.drop_attrs())
    assert (job["cfr"] is None) == (cfr is None)
    if cfr is not None:
        xr.testing.assert_identical(job["cfr"].drop_attrs(), cfr.drop_attrs())
    assert isinstance(job["fit"], Reference)
    found = opened(job)["fit"]
    assert found.attrs["request"] == fit.attrs["request"]
    assert (job["healthy"], job["problems"]) == (fit.diagnose().healthy, list(fit.diagnose().problems))
    assert job["summary"].equals(fit.summary())
    # its posterior answers other questions too
    spec = {"regimens": "1000 mg q8h inf 3h", "targets": "fT>MIC >= 50%", "mic": [2]}
    other = answer(PTA, {"draws": found, **spec}, known)
    assert other.pta.item() == tdmx.pta(fit.draws, **spec).pta.item()


def test_patient_analysis__is_asked_by_the_spec(known: HereKnown, patient: Patient, tmp_path: Path) -> None:
    bare = replace(patient, assessment=None)
    isolates = tdmx.MICDistribution.parse("0.5:0.3, 4:0.7")
    spec = {"patient": bare, "library": tmp_path, **FEW}
    asked = {
        "regimen": ["500 mg q8h", "1000 mg q8h"],
        "target": "fT>MIC >= 50%",
        "isolates": isolates,
        "mic": 1,
    }
    job = answer(ANALYSIS, {**spec, **asked}, known)
    assert job["pta"].mic.values.tolist() == [0.5, 1.0, 4.0]
    assert job["cfr"].sizes["regimen"] == 2
    without = answer(ANALYSIS, spec, known)
    assert (without["pta"], without["cfr"]) == (None, None)
    assert opened(without)["fit"].path == opened(job)["fit"].path
    changed = answer(
        ANALYSIS, {"patient": patient, "library": tmp_path, **FEW, "regimens": "500 mg q6h"}, known
    )
    assert changed["pta"].regimen.values.tolist() == ["500 mg q6h"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"targets": None}, r"spec\.targets"),
        ({"regimens": None}, r"spec\.regimens"),
        ({"regimens": "10 g"}, r"spec\.regimens"),
        ({"mic": None}, r"spec\.mic"),
        ({"mic": "x"}, r"spec\.mic"),
        ({"distributions": 5}, r"spec\.distributions"),
        ({"program": "x"}, r"spec\.program"),
    ],
)
def test_patient_analysis__wrong_question_is_refused(
    change: dict[str, Any], match: str, known: HereKnown, patient: Patient, tmp_path: Path
) -> None:
    spec = {"patient": replace(patient, assessment=None), "library": tmp_path, **FEW}
    spec |= {"regimens": "1000 mg q8h", "targets": "fT>MIC >= 50%", "mic": 2}
    with pytest.raises(InputError, match=match):
        ANALYSIS.check({**spec, **change}, known)


def test_opened__says_what_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        opened({"fit": [Reference("fit", str(tmp_path / "gone.zarr.zip"))]})
    other = Reference("report", "somewhere")
    assert opened((1, [other], {"a": None})) == (1, [other], {"a": None})
