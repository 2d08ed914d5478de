"""The soak in its short form; `make soak` runs the long one."""

from __future__ import annotations

import pytest

from tests.jobs.soak import soak


@pytest.mark.slow
@pytest.mark.parametrize(("on", "seed"), [("local", 1), ("processes", 2)])
def test_soak__every_job_ends_once_as_it_must(on: str, seed: int) -> None:
    figures = soak(200, 2, seed, on, deadline=120, killed_every=0.7)
    print(figures)
    assert figures.client_kills == 2
    assert figures.worker_kills + figures.child_kills > 0
    assert figures.recovered > 0
