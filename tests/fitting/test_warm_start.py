"""Warm starts: found by content, faster, never worse; given up where they do not hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdmx_dask.domain.patient import Patient, read_patient
from tdmx_dask.fitting.conductor import Conductor
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.library import Library
from tdmx_dask.fitting.local import LocalRunner
from tdmx_dask.fitting.question import FitQuestion, ask
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.task import Sampling
from tdmx_dask.fitting.warm_start import NEAR, WARMUP, find_start
from tests.fitting.asking import normal_question, request

SAMPLING = Sampling(500, 500)


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    conductor, runner = Conductor(), LocalRunner(2)

    def run(*wanted: Request) -> list[Fit]:
        return [future.result(60) for future in conductor.submit(wanted, runner)]

    yield run
    conductor.close()


def day(levels: list[tuple[float, float]], name: str = "A", **changes: Any) -> Patient:
    return replace(read_patient("meropenem_tdm"), id=name, levels=tuple(levels), **changes)


FIRST = [(41.0, 12.3), (47.5, 6.1)]
SECOND = [(41.0, 12.3), (47.4, 5.0), (47.5, 6.1)]


def asked(folder: Path, question: FitQuestion, **options: Any) -> Request:
    return request(folder, question, sampling=options.pop("sampling", SAMPLING), **options)


def test_find_start__the_same_patient_first_then_the_nearest_then_none(tmp_path: Path, run: Any) -> None:
    other, same, far = (
        ask(day(FIRST, "B")),
        ask(day(FIRST, "A")),
        ask(day([(41.0, 123.0), (47.5, 61.0)], "C")),
    )
    library = Library(tmp_path)
    wanted = ask(day(SECOND, "A"))
    assert find_start(library, wanted, SAMPLING) is None
    run(asked(tmp_path, far))
    assert find_start(library, wanted, SAMPLING) is None
    run(asked(tmp_path, other))
    near = find_start(library, wanted, SAMPLING)
    assert near is not None
    assert (near.patient, near.same) == ("B", False)
    assert 0 < near.distance <= NEAR
    run(asked(tmp_path, same, warm_start=False))
    own = find_start(library, wanted, SAMPLING)
    assert own is not None
    assert (own.patient, own.same) == ("A", True)
    assert own.inv_metric.shape == (3,)
    assert own.step_size > 0
    assert len(own.positions) == 4
    assert find_start(library, ask(day(SECOND, "A"), centred=True), SAMPLING) is None
    assert find_start(library, wanted, replace(SAMPLING, metric="dense_e")) is None
    assert (
        find_start(library, ask(day(SECOND, "A"), error={"kind": "additive", "additive": 1.0}), SAMPLING)
        is None
    )


def test_find_start__only_from_healthy_fits(tmp_path: Path, run: Any) -> None:
    (short,) = run(asked(tmp_path, ask(day(FIRST)), sampling=Sampling(20, 20)))
    assert not short.healthy
    assert "ESS" in " ".join(short.attrs["problems"])
    assert find_start(Library(tmp_path), ask(day(SECOND)), SAMPLING) is None


def test_find_start__programs_of_other_sizes_are_unlike(tmp_path: Path, run: Any) -> None:
    run(asked(tmp_path, normal_question("a")))
    assert find_start(Library(tmp_path), normal_question("b", sigma=1.9), SAMPLING) is not None
    longer = normal_question("c", N=5, y=[1.0, 2.0, 4.0, 5.0, 3.0])
    assert find_start(Library(tmp_path), longer, SAMPLING) is None


@pytest.mark.alone
def test_warm_start__is_recorded_shorter_and_of_the_same_posterior(tmp_path: Path, run: Any) -> None:
    (first,) = run(asked(tmp_path / "a", ask(day(FIRST)), sampling=Sampling(1000, 1000)))
    question = ask(day(SECOND))
    (warm,) = run(asked(tmp_path / "a", question, sampling=Sampling(1000, 1000)))
    (cold,) = run(asked(tmp_path / "a", question, sampling=Sampling(1000, 1000), warm_start=False))
    record = warm.attrs["warm_start"]
    assert record["address"] == first.attrs["request"]
    assert record["same_patient"]
    assert record["kept"]
    assert any(line.startswith("warm start from fit") for line in warm.log)
    assert cold.attrs["warm_start"] == {}
    assert warm.attrs["seconds_warmup"] < 0.5 * cold.attrs["seconds_warmup"]
    assert warm.healthy
    for name in ("CL", "Vc"):
        one, other = warm.summary().loc[name], cold.summary().loc[name]
        assert abs(one["mean"] - other["mean"]) < 5 * np.hypot(one["mcse"], other["mcse"])
        assert abs(one["sd"] / other["sd"] - 1) < 0.15


@pytest.mark.parametrize(
    ("inv_metric", "said"),
    [([1e-4, 1.0, 1e4], "the warm start does not hold"), ([1.0], "the warm start failed")],
    ids=["figures", "error"],
)
def test_warm_start__one_that_does_not_hold_is_done_again_cold(
    tmp_path: Path, run: Any, inv_metric: list[float], said: str
) -> None:
    """A record whose metric is wrong by orders of magnitude, or has another shape: full warm-up follows."""
    sampling = Sampling(1000, 1000, max_treedepth=6)
    run(asked(tmp_path, ask(day(FIRST)), sampling=sampling))
    (path,) = (tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text())
    record["start"]["inv_metric"] = inv_metric
    path.write_text(json.dumps(record))
    (fit,) = run(asked(tmp_path, ask(day(SECOND)), sampling=sampling))
    assert not fit.attrs["warm_start"]["kept"]
    assert fit.healthy
    assert any(said in line for line in fit.log)


def test_warm_start__a_cohort_looks_before_it_begins(tmp_path: Path, run: Any) -> None:
    fits = run(*(asked(tmp_path, ask(day(FIRST, name))) for name in "ABCDE"))
    assert [fit.attrs["warm_start"] for fit in fits] == [{}] * 5
    assert WARMUP < 150


def test_find_start__in_a_large_library(tmp_path: Path) -> None:
    """What a cohort of a hundred asks of a library of thousands takes a moment."""
    library, question = Library(tmp_path), ask(day(FIRST))
    record = {
        "patient": "B", "features": question.features, "healthy": True, "created": 0.0,
        "shape": ["diag_e", list(question.parameters), 0],
        "start": {"positions": [{}], "inv_metric": [1.0] * 3, "step_size": 0.5, "warmup_seconds": 0.1},
    }  # fmt: skip
    digest = question.program.digest
    for number in range(2000):
        changes = {"patient": "A", "created": 1.0} if number == 3 else {"created": 2.0 + number}
        library.write_record(f"{number}", digest, {**record, **changes}, tmp_path / "x.zarr.zip")
    assert len(library.records(digest)) == 2000
    time.sleep(2.1)  # a folder that was changed just now is listed each time
    start = time.process_time()
    for _ in range(20):
        found = find_start(library, question, SAMPLING)
    assert found is not None
    assert found.address == "3"
    assert (time.process_time() - start) / 20 < 0.05
    library.write_record("4", digest, {**record, "patient": "A", "created": 1e9}, tmp_path / "x.zarr.zip")
    found = find_start(library, question, SAMPLING)
    assert found is not None
    assert found.address == "4"
