"""Attainment counted at a grid of MICs, and the memory that blocks of arrays need.

The critical MIC of a profile is the largest MIC at which it attains its target, so PTA at a MIC is the share of profiles with
``critical >= mic`` (Mouton et al., J Antimicrob Chemother 2005;55:601, for the term), counted in integers: they add in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tdmx_dask.kernels.disposition import Array, namespace

__all__ = ["ROWS", "THREAD_ROWS", "attained", "attained_in_all", "keep_freed_memory"]

ROWS = 8192
"""Profiles in one pass of the kernels: the temporaries of a pass, 64 kB each, then fit the second-level cache."""

THREAD_ROWS = 32768
"""The same where threads share an interpreter: longer calls, for a thread waits for the lock between any two of them."""


def attained(critical: Array, mic: Sequence[float]) -> Array:
    """Count the subjects of each draw that attain the target at each MIC.

    Parameters
    ----------
    critical : (subject, draw), mg/L
    mic : mg/L, of any length

    Returns
    -------
    (mic, draw), int32; a NaN attains nothing
    """
    xp = namespace(critical)
    counts = xp.empty((len(mic), critical.shape[1]), dtype=xp.int32)
    narrow = xp.uint8 if critical.shape[0] < 256 else xp.int32  # eight bits are added eight times as fast
    for i, level in enumerate(mic):
        counts[i] = xp.sum((critical >= level).view(xp.uint8), axis=0, dtype=narrow)
    return counts


def attained_in_all(critical: Array, mic: Sequence[float]) -> Array:
    """Count the profiles that attain the target at each MIC.

    Parameters
    ----------
    critical : of any shape, mg/L
    mic : mg/L, of any length

    Returns
    -------
    (mic,), int64
    """
    xp = namespace(critical)
    return xp.asarray([int(xp.count_nonzero(critical >= level)) for level in mic], dtype=xp.int64)


@functools.cache
def keep_freed_memory() -> None:
    """Tell the C library, once a process, to keep freed temporaries for the next block instead of handing them to the system.

    glibc raises its thresholds for this when a large block is freed (mallopt(3), M_MMAP_THRESHOLD); the block is never touched, so
    it costs no memory. Without it every block pays for its pages again: two to three times the kernel's own time.
    """
    import numpy as np

    np.empty((32 << 20) - 65536, dtype=np.uint8)
