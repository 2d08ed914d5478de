"""How many profiles are counted: asked for after each block, however many there are."""

from __future__ import annotations

import time

import numpy as np

from tdmx_dask.analysis.plan import Block
from tdmx_dask.analysis.tally import Tally
from tests.analysis.test_growing import question


def test_n_profiles_done__is_the_sum_and_costs_little_of_many_blocks() -> None:
    blocks = tuple(Block(0, start, start + 1 + start % 7, 0, 3) for start in range(40_000))
    tally = Tally(question(20).plan, blocks, np.zeros(1, dtype=int), np.zeros(len(blocks), dtype=bool))
    assert tally.n_profiles_done == 0
    tally.done[::3] = True
    began = time.thread_time()
    expected = sum(block.n_profiles for block in blocks[::3])
    of_a_sum = time.thread_time() - began
    began = time.thread_time()
    for _ in range(20):
        assert tally.n_profiles_done == expected
    assert time.thread_time() - began < 10 * of_a_sum
