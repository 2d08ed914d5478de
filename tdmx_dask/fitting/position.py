"""Positions of a chain: columns as CmdStan names them, and values as Stan's JSON writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["position_of"]


def position_of(names: Sequence[str], values: ArrayLike) -> dict[str, Any]:
    """Nest one draw by variable.

    Parameters
    ----------
    names : columns, ``theta[1]``, ``omega[1,2]``
    values : (column,)

    Returns
    -------
    name -> a number, or nested lists

    Examples
    --------
    >>> position_of(["a", "b[1,1]", "b[2,1]", "b[1,2]", "b[2,2]"], [0, 1, 2, 3, 4])
    {'a': 0.0, 'b': [[1.0, 3.0], [2.0, 4.0]]}
    """
    cells: dict[str, list[tuple[tuple[int, ...], float]]] = {}
    for name, value in zip(names, np.asarray(values, dtype=np.float64).tolist(), strict=True):
        variable, _, index = name.partition("[")
        at = tuple(int(i) - 1 for i in index.rstrip("]").split(",")) if index else ()
        cells.setdefault(variable, []).append((at, value))
    position: dict[str, Any] = {}
    for variable, found in cells.items():
        shape = tuple(np.max([at for at, _ in found], axis=0) + 1) if found[0][0] else ()
        array = np.empty(shape)
        for at, value in found:
            array[at] = value
        position[variable] = array.tolist()
    return position
