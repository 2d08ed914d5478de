"""Counting attainment at a grid of MICs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tdmx_dask.kernels.counts import ROWS, attained, attained_in_all, keep_freed_memory

MIC = (0.25, 0.5, 1.0, 2.0, 16.0)


def test_counts_over_subjects_include_equality_and_no_nan():
    critical = np.array([[0.5, 2.0, np.nan], [0.49, np.inf, 1.0], [0.0, 16.0, 15.9]])
    counts = attained(critical, (0.5, 2.0, 16.0))
    assert counts.dtype == np.int32
    assert counts.tolist() == [[1, 3, 2], [0, 3, 1], [0, 2, 0]]


@given(arrays(np.float64, (3, 5), elements=st.floats(0.0, 32.0)))
def test_counts_fall_with_mic_and_add_over_subjects(critical):
    counts = attained(critical, MIC)
    assert counts.shape == (len(MIC), 5)
    assert (np.diff(counts, axis=0) <= 0).all()
    np.testing.assert_array_equal(attained(critical[:1], MIC) + attained(critical[1:], MIC), counts)


def test_counts_of_many_subjects_do_not_wrap():
    assert attained(np.ones((1000, 2)), (1.0, 1.5)).tolist() == [[1000, 1000], [0, 0]]
    assert attained(np.ones((255, 1)), (1.0,)).item() == 255
    assert attained(np.ones((256, 1)), (1.0,)).item() == 256


@given(arrays(np.float64, (7, 11), elements=st.floats(0.0, 32.0)))
def test_counts_of_all_are_the_sum_over_draws(critical):
    assert attained_in_all(critical, MIC).tolist() == attained(critical, MIC).sum(axis=1).tolist()


def test_no_mic_and_no_subject_count_nothing():
    assert attained(np.ones((2, 3)), ()).shape == (0, 3)
    assert attained(np.ones((0, 3)), MIC).tolist() == [[0] * 3] * 5


def test_passes_are_whole_blocks_of_draws():
    assert ROWS % 1024 == 0
    assert keep_freed_memory() is None
