"""Streams of random numbers: prefixes, addresses, moments, and numbers that must never change."""

import threading
from itertools import product

import numpy as np
import pytest
from numpy.random import Generator, Philox

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.random import BLOCK, PURPOSE_COVARIATE, PURPOSE_ETA, normal_block, uniform_block


@pytest.mark.parametrize("make", [normal_block, uniform_block])
@pytest.mark.parametrize("n_rows", [0, 1, 7, 1000, BLOCK])
def test_fewer_rows_are_a_prefix(make, n_rows):
    whole = make(11, PURPOSE_ETA, 1, 2, 3, BLOCK, 4)
    np.testing.assert_array_equal(make(11, PURPOSE_ETA, 1, 2, 3, n_rows, 4), whole[:n_rows])


def test_a_stream_is_what_the_design_says():
    key, counter = np.array([5, 1], np.uint64), np.array([0, 3, 4, 2], np.uint64)
    expected = Generator(Philox(key=key, counter=counter)).standard_normal((BLOCK, 3))
    np.testing.assert_array_equal(
        normal_block(5, 1, chain=2, block=3, subject=4, n_rows=BLOCK, n_cols=3), expected
    )


def test_first_numbers_never_change():
    normals = [[-0.04739162, -1.19291669], [0.40070997, -0.8106332]]
    uniforms = [[0.88246683, 0.36903833], [0.51706969, 0.33178975]]
    np.testing.assert_allclose(normal_block(7, PURPOSE_ETA, 0, 0, 0, 2, 2), normals, atol=5e-9)
    np.testing.assert_allclose(uniform_block(7, PURPOSE_ETA, 0, 0, 0, 2, 2), uniforms, atol=5e-9)


def test_no_two_streams_share_a_value():
    addresses = product((0, 1), (PURPOSE_ETA, PURPOSE_COVARIATE), (0, 1, 2), (0, 1, 2), (0, 1, 2))
    blocks = [normal_block(*address, BLOCK, 4).ravel() for address in addresses]
    pooled = np.concatenate(blocks)
    assert pooled.size == 108 * 4096
    assert np.unique(pooled).size == pooled.size


def test_neighbouring_blocks_are_not_shifted_copies():
    """A block index in the low word of the counter would make block 1 the tail of block 0."""
    first, second = (uniform_block(3, PURPOSE_ETA, 0, block, 0, BLOCK, 4).ravel() for block in (0, 1))
    assert np.intersect1d(first, second).size == 0
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_moments_over_streams():
    blocks = np.stack(
        [
            normal_block(1, PURPOSE_ETA, 0, block, subject, BLOCK, 4)
            for block in range(8)
            for subject in range(8)
        ]
    )
    n = blocks.size
    assert abs(blocks.mean()) < 4 / np.sqrt(n)
    assert abs(blocks.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((blocks**3).mean()) < 4 * np.sqrt(15 / n)
    correlation = np.corrcoef(blocks.reshape(-1, 4), rowvar=False)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(n / 4)


def test_uniforms_are_inside_the_open_interval():
    uniforms = np.stack([uniform_block(1, PURPOSE_COVARIATE, 0, block, 0, BLOCK, 8) for block in range(16)])
    assert uniforms.min() > 0
    assert uniforms.max() < 1
    assert abs(uniforms.mean() - 0.5) < 4 / np.sqrt(12 * uniforms.size)


@pytest.mark.parametrize("make", [normal_block, uniform_block])
def test_out_is_filled(make):
    out = np.full((5, 2), np.nan)
    assert make(2, PURPOSE_ETA, 0, 0, 0, 5, 2, out=out) is out
    np.testing.assert_array_equal(out, make(2, PURPOSE_ETA, 0, 0, 0, 5, 2))


def test_order_of_calls_and_threads_do_not_matter():
    expected = [normal_block(9, PURPOSE_ETA, 0, block, 0, 300, 3) for block in range(20)]
    found = {}

    def work(blocks):
        for block in blocks:
            found[block] = normal_block(9, PURPOSE_ETA, 0, block, 0, 300, 3)

    threads = [threading.Thread(target=work, args=(range(start, 20, 3),)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for block in range(20):
        np.testing.assert_array_equal(found[block], expected[block])


def test_the_largest_address_is_accepted():
    last = 2**64 - 1
    assert np.isfinite(normal_block(last, last, last, last, last, 4, 2)).all()


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("word", [-1, 2**64, 1.5, "7", None, np.nan])
def test_an_address_of_other_words_is_refused(position, word):
    address = [1, 1, 0, 0, 0]
    address[position] = word
    name = ("seed", "purpose", "chain", "block", "subject")[position]
    with pytest.raises(InputError, match=rf"{name}=.*whole numbers from 0 to 2\^64 - 1"):
        normal_block(*address, 2, 2)


def test_a_refused_address_leaves_no_trace():
    expected = normal_block(1, 1, 0, 0, 0, 4, 2)
    with pytest.raises(InputError, match="subject=-1"):
        normal_block(1, 1, 0, 0, -1, 4, 2)
    np.testing.assert_array_equal(normal_block(1, 1, 0, 0, 0, 4, 2), expected)


@pytest.mark.parametrize("n_rows", [-1, BLOCK + 1])
def test_more_rows_than_a_block_are_refused(n_rows):
    with pytest.raises(InputError, match=r"n_rows=.*at most 1024 draws"):
        normal_block(1, 1, 0, 0, 0, n_rows, 2)


def test_an_out_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"out=\(2, 3\): the array to fill must be \(3, 2\)"):
        uniform_block(1, 1, 0, 0, 0, 3, 2, out=np.empty((2, 3)))
