"""What a run tells of its curves: the result's own figures, in the order in which they were asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.api.curve import CURVES, MICS, Curve
from tdmx_dask.api.question import Question, ask
from tdmx_dask.dashboard.page.board import Board
from tests.clusters.listener import Listener
from tests.conftest import posterior

DESIGN = [("low", "2 g q8h inf 3h"), ("low", "1 g q8h inf 1h"), ("high", "1 g q8h inf 1h")]
SCENARIOS = {"low": {"CCr": 60.0}, "high": {"CCr": 120.0}}


class Client(Listener):
    """Hands what it is told to a board, as a scheduler does."""

    def __init__(self) -> None:
        self.board = Board()
        super().__init__(self.board.hear)


def population() -> tdmx.Population:
    return tdmx.Population.from_mapping(
        {
            "covariates": {"CCr": {"unit": "mL/min"}},
            "parameters": {"CL": "0.1 * CCr", "V": 20},
            "bsv": {"CL": {"omega": 0.3}},
        }
    )


def question(**more: Any) -> Question:
    given: dict[str, Any] = {
        "mic": [1.0, 4.0, 16.0, 64.0], "population": None, "scenarios": None, "design": None, "subjects": 1, "n": None, "fu": 1.0,
        "weight": None, "seed": 1, "window": None, **more,
    }  # fmt: skip
    draws = given.pop("draws", posterior(omega=False))
    return ask(draws, given.pop("regimens", None), given.pop("targets", "fT>MIC >= 50%"), **given)


def test_curve__the_result_in_the_order_of_the_design() -> None:
    asked: Any = {"scenarios": SCENARIOS, "design": DESIGN, "mic": [1.0, 4.0, 16.0, 64.0], "n": 3000}
    client = Client()
    told = Curve(client, question(draws=population(), **asked), "auto", 0.95)
    (shown,) = client.board.curves.values()
    assert (shown.done, shown.over) == (0, False)
    result = tdmx.pta(population(), None, "fT>MIC >= 50%", fu=1.0, seed=1, **asked)
    told.end(result)
    (shown,) = client.board.curves.values()
    assert shown.over
    assert shown.done == shown.total == 3000
    assert shown.title == "fT>MIC ≥ 50%"
    for line in shown.lines:
        scenario, regimen = line.label.split(", ")
        cell = result.sel(scenario=scenario, regimen=regimen).isel(target=0)
        for name in ("pta", "lower", "upper"):
            assert getattr(line, name) == pytest.approx(cell[name].values)
    assert len({line.label for line in shown.lines}) == 3
    told.drop()
    assert client.board.curves == {}


def test_curve__is_bounded() -> None:
    regimens = [f"{dose} mg q8h inf 1h" for dose in range(100, 1300, 100)]
    client = Client()
    Curve(client, question(regimens=regimens, mic=np.geomspace(0.1, 100, 500).tolist()), "auto", 0.95)
    (shown,) = client.board.curves.values()
    assert len(shown.lines) == CURVES
    assert shown.more == 12 - CURVES
    assert len(shown.mic) == MICS
    assert (shown.mic[0], shown.mic[-1]) == (0.1, pytest.approx(100))


def test_curve__a_client_that_closes_is_not_told() -> None:
    client = Client()
    client.status = "closing"
    Curve(client, question(regimens="1 g q8h"), "auto", 0.95)
    assert client.board.curves == {}
