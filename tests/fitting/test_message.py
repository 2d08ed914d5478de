import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from tdmx_dask.errors import FitError, InputError
from tdmx_dask.fitting.children import ChildKilled
from tdmx_dask.fitting.engine import InitialisationFailed
from tdmx_dask.fitting.frame import FrameBuffer, pack
from tdmx_dask.fitting.message import (
    error_from,
    error_message,
    event_from,
    event_message,
    result_from,
    result_message,
    task_from,
    task_message,
)
from tdmx_dask.fitting.task import STATS, ChainEvent, ChainResult, Sampling, Start
from tests.fitting.stan_programs import task


def _through(message):
    (found,) = FrameBuffer().feed(pack(message))
    return found


def test_task__comes_through_a_frame():
    start = Start({"mu": 0.1 + 0.2, "m": np.eye(2), "none": []}, np.array([0.3, 0.7]), 0.25)
    sent = task(
        seed=2**64 - 1,
        start=start,
        sampling=Sampling(0, 5, 0.9, 7, "dense_e"),
        adapt=False,
        threads=2,
        executable="/x",
    )
    got = task_from(_through(task_message(sent)))
    assert got.start.position == {"mu": 0.1 + 0.2, "m": [[1.0, 0.0], [0.0, 1.0]], "none": []}
    assert np.array_equal(got.start.inv_metric, start.inv_metric)
    assert replace(got, start=start) == sent
    assert got.engine_seed == sent.engine_seed


def test_result__comes_through_a_frame():
    draws, stats = np.random.default_rng(1).normal(size=(5, 2)), np.full((5, len(STATS)), np.nan)
    info = {"khat": np.inf, "log_q": draws[:, 0]}
    sent = ChainResult(
        1,
        2,
        3,
        ("a", "b[1]"),
        draws,
        stats,
        Start({"a": 1.0}, np.eye(2), 0.5),
        0.1,
        0.2,
        45.0,
        "e",
        "laplace",
        info,
        ("x",),
    )
    got = result_from(_through(result_message(sent)))
    for name in ("draws", "stats"):
        assert getattr(got, name).tobytes() == getattr(sent, name).tobytes()
    assert np.array_equal(got.end.inv_metric, np.eye(2))
    assert np.array_equal(got.info["log_q"], draws[:, 0])
    assert got.info["khat"] == np.inf
    assert (got.names, got.log, got.approximation, got.attempt) == (sent.names, sent.log, "laplace", 3)


def test_event__comes_through_a_frame():
    event = ChainEvent("f", 1, 2, 3, "sampling", 10, 20, 1, 0.5, 1.5, "x")
    assert event_from(_through(event_message(event))) == event
    json.dumps(event_message(event))


@pytest.mark.parametrize("kind", [FitError, InitialisationFailed, InputError])
def test_error__comes_through_a_frame(kind):
    error = kind("a", "b", "c", "d")
    got = error_from(_through(error_message(error)))
    assert type(got) is kind
    assert str(got) == "a=b: c. d"


def test_errors__cross_machines():
    for kind in (ChildKilled, InitialisationFailed):
        assert str(pickle.loads(pickle.dumps(kind("a", "b", "c", "d")))) == "a=b: c. d"  # noqa: S301
