"""Chunks of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.errors import InputError
from tdmx_dask.jobs.batch import CHUNK_SECONDS, apply, chunk_of


@given(st.integers(1, 10**6), st.integers(1, 1000), st.none() | st.floats(1e-9, 1e6))
def test_chunk_of__between_one_and_what_is_left(left: int, slots: int, seconds: float | None) -> None:
    assert 1 <= chunk_of(left, slots, seconds) <= left


def test_chunk_of__guided_by_what_is_left() -> None:
    """Half of an equal share, so that the last chunks are single items; short items go together, and no chunk lasts long."""
    left, sizes = 100, []
    while left:
        sizes.append(chunk_of(left, 4, 0.1))
        left -= sizes[-1]
    assert sizes[0] == int(CHUNK_SECONDS / 0.1)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-8:] == [1] * 8
    assert chunk_of(10**6, 4, 1e-6) >= 50_000
    assert chunk_of(100, 4, 10.0) == 1
    assert chunk_of(100, 4, None) == 1


def test_apply__in_order_and_with_errors_kept() -> None:
    values, seconds = apply("tests.jobs.functions:double", [1, "a"], {}, False)
    assert values == [2, "aa"]
    assert seconds >= 0
    kept, _ = apply("tests.jobs.functions:refuse", [-1], {}, True)
    assert kept == [{"error": "InputError: dose=-1: a dose is > 0 mg. Give one."}]
    with pytest.raises(InputError, match="dose=-1"):
        apply("tests.jobs.functions:refuse", [-1], {}, False)
