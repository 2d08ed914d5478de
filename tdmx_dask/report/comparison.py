"""What the report needs to know of a published cell beside the computed one."""

from __future__ import annotations

from typing import Protocol

from tdmx_dask.domain.published import Cell

__all__ = ["Compared"]


class Compared(Protocol):
    """One cell of a published table and its computed counterpart (fractions)."""

    @property
    def cell(self) -> Cell:
        """As published."""

    @property
    def computed(self) -> float:
        """The computed PTA."""

    @property
    def difference(self) -> float:
        """Computed less published."""

    @property
    def judged(self) -> bool:
        """Whether the cell counts; one that was left out is printed only."""

    @property
    def within(self) -> bool:
        """Whether the difference is within the tolerance of the cell."""
