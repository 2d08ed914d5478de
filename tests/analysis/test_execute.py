"""How work is cut: tasks that are worth a scheduler's trouble, and not more of them than it can pass on."""

from __future__ import annotations

import pytest

from tdmx_dask.analysis.execute import n_tasks


@pytest.mark.parametrize(
    ("seconds", "threads", "expected"),
    [
        (0.2, 2, 4),  # 50 ms each
        (1.0, 2, 8),  # four a thread
        (4.0, 2, 16),  # a quarter of a second each
        (10.0, 2, 32),  # sixteen a thread
        (30.0, 2, 32),
        (40.0, 2, 40),  # a second each
        (155.0, 2, 155),
        (20.0, 1000, 1000),  # one a thread: less than 50 ms each would cost more than it gives
        (1e4, 1000, 4000),
        (155e3, 1000, 31_000),  # 10^12 profiles: 5 s each, 200 a second
        (155e3, 100, 155_000),
        (0.0, 2, 8),  # not measured
    ],
)
def test_n_tasks__by_work_and_threads(seconds: float, threads: int, expected: int) -> None:
    assert n_tasks(seconds, threads) == expected
