"""Random numbers that belong to a draw, never to a chunk, a worker or a thread.

A stream is named by (seed, purpose, chain, block of 1,024 draws, subject) and made by a counter-based
generator: any task can make any block, in any order, and gets the same numbers. The low word of the counter
is left to the generator, which counts in it.
"""

from __future__ import annotations

import threading
from operator import index

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = [
    "BLOCK",
    "PURPOSE_CALIBRATION",
    "PURPOSE_COVARIATE",
    "PURPOSE_ETA",
    "normal_block",
    "uniform_block",
]

BLOCK = 1024
"""Draws in a block: the unit in which tasks are cut."""

PURPOSE_ETA = 1
"""Between-subject deviations of the parameters."""

PURPOSE_COVARIATE = 2
"""Covariates of virtual patients."""

PURPOSE_CALIBRATION = 3
"""Parameters and levels of a simulation-based calibration."""

_WORD = 1 << 64
_HALF_STEP = 2.0**-54


class _Stream(threading.local):
    """One generator a thread, sent to the address of each block: four times quicker than a new one."""

    def __init__(self) -> None:
        self._bits = Philox(0)
        self._state = self._bits.state
        self._generator = Generator(self._bits)

    def at(self, seed: int, purpose: int, chain: int, block: int, subject: int) -> Generator:
        """Generator at the first number of a stream."""
        words = self._state["state"]
        try:
            words["key"][:] = index(seed), index(purpose)
            words["counter"][:] = 0, index(block), index(subject), index(chain)
        except (OverflowError, TypeError):
            address = {"seed": seed, "purpose": purpose, "chain": chain, "block": block, "subject": subject}
            for name, word in address.items():
                _check_word(name, word)
            raise
        self._state["buffer_pos"] = 4
        self._state["has_uint32"] = 0
        self._bits.state = self._state
        return self._generator


def _check_word(name: str, word: object) -> None:
    try:
        inside = 0 <= index(word) < _WORD  # type: ignore[arg-type]
    except TypeError:
        inside = False
    if not inside:
        raise InputError(name, word, "a stream is named by whole numbers from 0 to 2^64 - 1", "Give another.")


_stream = _Stream()


def normal_block(
    seed: int,
    purpose: int,
    chain: int,
    block: int,
    subject: int,
    n_rows: int,
    n_cols: int,
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return standard normal numbers of one block, filled draw by draw.

    Parameters
    ----------
    seed : whole number in [0, 2**64)
    purpose : what the numbers are for; `PURPOSE_ETA`, `PURPOSE_COVARIATE`, ...
    chain, block, subject : the stream's address; a block holds `BLOCK` draws
    n_rows : draws of the block that are wanted, from its first, at most `BLOCK`
    n_cols : numbers a draw
    out : (n_rows, n_cols), C-contiguous; filled instead of a new array

    Returns
    -------
    (n_rows, n_cols); with fewer rows, a prefix of the same numbers

    Raises
    ------
    InputError
        Where a word of the address is not in [0, 2**64), or `n_rows` exceeds `BLOCK`.

    References
    ----------
    Salmon et al. 2011, doi:10.1145/2063384.2063405 (Philox4x64-10).

    Examples
    --------
    >>> longer = normal_block(1, PURPOSE_ETA, 0, 0, 0, 3, 2)
    >>> bool((normal_block(1, PURPOSE_ETA, 0, 0, 0, 2, 2) == longer[:2]).all())
    True
    """
    out = _room(n_rows, n_cols, out)
    return _stream.at(seed, purpose, chain, block, subject).standard_normal(out=out)


def uniform_block(
    seed: int,
    purpose: int,
    chain: int,
    block: int,
    subject: int,
    n_rows: int,
    n_cols: int,
    *,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return uniform numbers in the open interval (0, 1) of one block, filled draw by draw.

    Parameters and errors are those of `normal_block`. Zero, which the generator gives once in 2**53 numbers,
    is replaced by 2**-54, so that the inverse of a distribution function is finite.

    Returns
    -------
    (n_rows, n_cols); with fewer rows, a prefix of the same numbers
    """
    out = _room(n_rows, n_cols, out)
    _stream.at(seed, purpose, chain, block, subject).random(out=out)
    return np.maximum(out, _HALF_STEP, out=out)


def _room(n_rows: int, n_cols: int, out: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the array to fill."""
    if not 0 <= n_rows <= BLOCK:
        raise InputError("n_rows", n_rows, f"a block holds at most {BLOCK} draws", "Ask for the next block.")
    if out is None:
        return np.empty((n_rows, n_cols))
    if out.shape != (n_rows, n_cols):
        raise InputError(
            "out", out.shape, f"the array to fill must be ({n_rows}, {n_cols})", "Give such a one."
        )
    return out
