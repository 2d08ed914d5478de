"""Counts as a state that merges: blocks in any order, each once, saved and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.store import checkpoint

__all__ = ["Tally", "new_tally", "resume_tally"]

Counts = NDArray[np.integer]


@dataclass(slots=True)
class Tally:
    """Attainment counted so far.

    Attributes
    ----------
    plan : the question
    blocks : all of its blocks
    n_attained : (pair, target, mic, chain, draw) summed over subjects, or (pair, target, mic, 1, 1) summed over all
    done : (block,), which blocks are counted
    sizes : (block,), profiles of each
    """

    plan: Plan
    blocks: tuple[Block, ...]
    n_attained: Counts
    done: NDArray[np.bool_]
    sizes: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = np.array([block.n_profiles for block in self.blocks], dtype=np.int64)

    def add(self, index: int, counts: Counts) -> None:
        """Count a block; one that is counted already (a task that ran twice) changes nothing."""
        if self.done[index]:
            return
        block = self.blocks[index]
        if self.plan.per_draw:
            part = self.n_attained[:, :, :, block.chain, block.start : block.stop]
        else:
            part = self.n_attained[:, :, :, 0]
        np.add(part, counts, out=part, casting="unsafe")
        self.done[index] = True

    def open_blocks(self) -> Iterator[tuple[int, Block]]:
        """Blocks that are still to be counted, with their positions."""
        return ((i, self.blocks[i]) for i in np.flatnonzero(~self.done).tolist())

    @property
    def n_profiles_done(self) -> int:
        """Profiles counted so far, of one scenario."""
        return int(self.sizes @ self.done)  # asked for after each block, of thousands

    def save(self, path: Path) -> None:
        """Write the state in one step."""
        cuts = np.array(
            [(b.chain, b.start, b.stop, b.subject_start, b.subject_stop) for b in self.blocks], dtype=np.int64
        )
        checkpoint.save(path, self.plan.digest(), {"n_attained": self.n_attained, "blocks": cuts}, self.done)


def new_tally(plan: Plan, blocks: Sequence[Block]) -> Tally:
    """Begin to count."""
    shape: tuple[int, ...] = (len(plan.pairs), len(plan.targets), len(plan.mic))
    if plan.per_draw:
        # the smallest integers that hold a count: 12 MB for a million draws at twelve MICs
        dtype = np.min_scalar_type(plan.n_subjects)
        return Tally(
            plan,
            tuple(blocks),
            np.zeros((*shape, plan.n_chains, plan.n_draws), dtype=dtype),
            np.zeros(len(blocks), dtype=bool),
        )
    return Tally(
        plan, tuple(blocks), np.zeros((*shape, 1, 1), dtype=np.int64), np.zeros(len(blocks), dtype=bool)
    )


def resume_tally(plan: Plan, path: Path) -> Tally | None:
    """Take up a state that was saved, with the blocks that it was cut into; None where there is none.

    Raises
    ------
    InputError
        The state belongs to another question.
    """
    found = checkpoint.load(path, plan.digest())
    if found is None:
        return None
    blocks = tuple(Block(*map(int, row)) for row in found.counts["blocks"])
    return Tally(plan, blocks, np.array(found.counts["n_attained"]), np.array(found.done))
