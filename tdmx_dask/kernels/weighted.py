"""Weighted sums whose bits depend on their terms alone: not on the processor, on shapes, or on terms without weight.

A matrix product would leave the order of addition to the linear algebra library, which chooses it by the machine and the array's shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["weighted_sum"]


def weighted_sum(
    values: NDArray[np.floating | np.integer], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add values times their weights, one after the other.

    Parameters
    ----------
    values : (term, ...), such as PTA by MIC
    weight : (term,)

    Returns
    -------
    (...)
    """
    total = np.zeros(values.shape[1:])
    term = np.empty_like(total)
    for value, share in zip(values, weight, strict=True):
        if share:
            total += np.multiply(value, share, out=term)
    return total
