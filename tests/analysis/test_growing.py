"""The PTA of some blocks: that of a run which had no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tdmx_dask.analysis.evaluate import count_block
from tdmx_dask.analysis.growing import so_far
from tdmx_dask.analysis.summarise import summarise
from tdmx_dask.analysis.tally import Tally, new_tally
from tdmx_dask.api.question import Question, ask
from tests.conftest import posterior

MIC = np.geomspace(0.5, 64, 60).tolist()


def question(subjects: int, **more: Any) -> Question:
    given: dict[str, Any] = {
        "mic": MIC, "population": None, "scenarios": None, "design": None, "n": None, "fu": 0.9, "weight": None, "seed": 1,
        "window": None, **more,
    }  # fmt: skip
    draws = posterior(omega=subjects > 1)
    return ask(draws, ["1 g q8h inf 1h", "2 g q8h inf 3h"], "fT>MIC >= 50%", subjects=subjects, **given)


def counted(asked: Question, blocks: int | None = None, subjects: int = 10**6) -> Tally:
    tally = new_tally(asked.plan, asked.plan.blocks(1024, subjects))
    for index, block in list(tally.open_blocks())[:blocks]:
        tally.add(index, count_block(asked.plan, block, asked.inputs.values(block)))
    return tally


@pytest.mark.parametrize("subjects", [1, 20])
def test_so_far__all_blocks_give_the_result(subjects: int) -> None:
    asked = question(subjects)
    tally = counted(asked)
    found = so_far(tally, "auto", 0.9, asked.inputs.dependent)
    expected = summarise(asked.plan, tally.n_attained, "auto", 0.9, asked.inputs.dependent)
    assert found is not None
    assert found.kind == expected.kind
    assert found.n == asked.plan.n_profiles
    for one, other in (
        (found.pta, expected.pta),
        (found.lower, expected.lower),
        (found.upper, expected.upper),
    ):
        assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("subjects", [1, 20])
def test_so_far__some_blocks_are_near_it_with_a_wider_interval(subjects: int) -> None:
    asked = question(subjects)
    part = so_far(counted(asked, 2), "monte_carlo", 0.95, False)
    whole = so_far(counted(asked), "monte_carlo", 0.95, False)
    assert part is not None
    assert whole is not None
    assert part.n == 2 * 1024 * subjects < whole.n
    assert part.pta == pytest.approx(whole.pta, abs=0.05)
    steep = (whole.pta > 0.1) & (whole.pta < 0.9)
    assert steep.any()
    assert ((part.upper - part.lower)[steep] > (whole.upper - whole.lower)[steep]).all()


def test_so_far__draws_with_some_of_their_subjects() -> None:
    asked = question(20)
    assert so_far(counted(asked, 0), "auto", 0.95, False) is None
    whole = so_far(counted(asked), "auto", 0.95, False)
    some = so_far(
        counted(asked, 3, subjects=8), "auto", 0.95, False
    )  # of the first draws all subjects, 8 of 20 and 8 and 4
    part = so_far(counted(asked, 5, subjects=8), "auto", 0.95, False)  # of the next 16
    assert whole is not None
    for found, n in ((some, 1024 * 20), (part, 1024 * 20)):
        assert found is not None
        assert (found.n, found.kind) == (n, "credible")
        assert found.pta == pytest.approx(whole.pta, abs=0.05)
        assert found.lower == pytest.approx(whole.lower, abs=0.1)
    first = so_far(counted(asked, 2, subjects=8), "auto", 0.95, False)
    assert first is not None
    assert (first.n, first.kind) == (1024 * 16, "credible")


def test_so_far__one_subject_of_several_has_no_interval_yet() -> None:
    asked = question(20)
    found = so_far(counted(asked, 1, subjects=1), "auto", 0.95, False)
    assert found is not None
    assert (found.n, found.kind) == (1024, "none")
    assert np.isnan(found.lower).all()
    assert found.pta.min() >= 0
    assert found.pta.max() <= 1
