"""Weighted sums: the plain sum, and the same bits whatever stands beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.kernels.weighted import weighted_sum


@given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_weighted_sum__bits_depend_on_their_terms_alone(n_mic: int, n_cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((n_mic, n_cells))
    weight = np.where(rng.random(n_mic) < 0.6, rng.random(n_mic), 0.0)
    found = weighted_sum(values, weight)
    np.testing.assert_allclose(found, weight @ values, rtol=1e-14)
    for cell in range(n_cells):  # one by one
        np.testing.assert_array_equal(
            weighted_sum(values[:, cell : cell + 1], weight), found[cell : cell + 1]
        )
    np.testing.assert_array_equal(weighted_sum(values[weight > 0], weight[weight > 0]), found)
    np.testing.assert_array_equal(weighted_sum(np.asfortranarray(values), weight), found)


def test_weighted_sum__one_weight_a_mic() -> None:
    with pytest.raises(ValueError, match="zip"):
        weighted_sum(np.ones((3, 2)), np.ones(2))


def test_weighted_sum__counts_are_exact() -> None:
    counts = np.array([[3, 2**30], [1, 5]], dtype=np.int32)
    np.testing.assert_array_equal(weighted_sum(counts, np.array([0.5, 2.0])), [3.5, 2**29 + 10])
