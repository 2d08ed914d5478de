"""Covariate expressions: read, checked and evaluated here, never by Python's own ``eval``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Expression"]


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula over named arrays."""

    names: frozenset[str]

    @classmethod
    def parse(cls, text: str | float, *, name: str = "expression") -> Expression:
        """Read a formula such as ``13.6 * (CCr / 87.6)**0.66``."""
        raise NotImplementedError

    def evaluate(self, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Return the formula's value; the inputs broadcast."""
        raise NotImplementedError
