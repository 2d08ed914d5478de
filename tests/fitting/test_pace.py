"""Time left is what it will be, and nothing is said before that can be known."""

from __future__ import annotations

import pytest

from tdmx_dask.fitting.pace import Pace


def paced(*steps: tuple[float, float]) -> Pace:
    pace = Pace()
    for at, done in steps:
        pace.see(at, done)
    return pace


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ((0, 0), (30, 0)),  # nothing has moved
        ((30, 1), (31, 2)),  # one step is no rate
        ((30.0, 1), (30.1, 2), (30.2, 3), (30.3, 4)),  # one burst of workers that run in step
    ],
)
def test_pace__says_nothing_before_there_is_ground(steps):
    assert paced(*steps).left(100, at=31) is None


def test_pace__a_start_that_takes_long_is_no_part_of_the_rate():
    assert paced((0, 0), (20, 1), (21, 2), (22, 3)).left(10, at=22) == pytest.approx(7)


def test_pace__follows_a_rate_that_changes():
    """Warm-up at 10 a second for 20 s, sampling at 100 a second since: what is left is as fast as sampling."""
    warming = [(t, 10 * t) for t in range(1, 21)]
    sampling = [(20 + t, 200 + 100 * t) for t in range(1, 16)]
    left = paced(*warming, *sampling).left(5000, at=35)
    assert left == pytest.approx((5000 - 1700) / 100, rel=0.15)


def test_pace__bursts_of_workers_are_no_speed():
    """Two workers end a task each at 3, 6, 9 … s: 2 of 20 in 3 s."""
    steps = [(t + late, n) for t, n in zip(range(3, 13, 3), range(1, 9, 2), strict=True) for late in (0.0,)]
    steps = [pair for t, n in steps for pair in ((t, n), (t + 0.1, n + 1))]
    assert paced(*steps).left(20, at=12.1) == pytest.approx(18, abs=1)


def test_pace__what_stalls_has_more_left_not_less():
    pace = paced((1, 10), (2, 20), (3, 30))
    assert pace.left(100, at=3.5) < pace.left(100, at=3)
    assert pace.left(100, at=60) > pace.left(100, at=30) > 2 * pace.left(100, at=3)


def test_pace__begins_anew_where_less_is_done():
    pace = paced((1, 10), (2, 20), (3, 30), (4, 5))
    assert pace.left(100, at=4) is None
    assert paced((1, 10), (2, 20), (3, 30), (4, 0), (5, 1), (6, 2), (7, 3)).left(5, at=7) == pytest.approx(2)
