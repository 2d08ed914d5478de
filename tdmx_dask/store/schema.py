"""Names, dimensions, dtypes and units of every store, in one place, and the checks that hold them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["DRAWS_SCHEMA", "RESULT_SCHEMA", "check_draws", "check_values"]

DRAWS_SCHEMA = "draws/1"
RESULT_SCHEMA = "result/1"


def check_draws(draws: xr.Dataset, *, model: str | None = None, values: bool = True) -> None:
    """Refuse draws that cannot be used.

    Parameters
    ----------
    draws : variables (chain, draw, …)
    model : "1C", "2C", "3C": its parameters must be there; None: any
    values : look at every value too; false for lazy stores, whose slices are checked as they are read

    Raises
    ------
    SchemaError
        No draws, a parameter of the model is missing, other dimensions, another dtype, other units.
    InputError
        A value is not finite or out of range: which draw, which chain, which parameter.
    """
    raise NotImplementedError


def check_values(
    params: Mapping[str, NDArray[np.float64]], *, chain: int | None = None, start: int = 0
) -> None:
    """Refuse values that no parameter can have; under 1 ns a value.

    Parameters
    ----------
    params : name -> (draw, …) of one chain, or (chain, draw, …) where `chain` is None
    chain : position of the chain, for the message
    start : position of the first draw, for the message

    Raises
    ------
    InputError
        ``CL[chain=0, draw=17]=nan: a clearance must be finite and > 0 L/h. …``
    """
    raise NotImplementedError
