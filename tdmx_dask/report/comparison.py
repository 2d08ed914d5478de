"""A published table of PTA beside the computed one."""

from __future__ import annotations

from dataclasses import dataclass

from tdmx_dask.errors import InputError

__all__ = ["Compared", "Comparison"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One cell of a published table and its computed counterpart (fractions)."""

    scenario: str
    regimen: str
    target: str
    mic: float  # mg/L
    published: float
    computed: float

    @property
    def deviation(self) -> float:
        """Computed less published, a fraction."""
        return self.computed - self.published


@dataclass(frozen=True, slots=True)
class Comparison:
    """All cells of a published table, where they come from and how near they should be.

    Parameters
    ----------
    source : citation of the published table
    rows : the cells
    tolerance : largest deviation that counts as agreement, a fraction (0.03: three percentage points)
    """

    source: str
    rows: tuple[Compared, ...]
    tolerance: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise InputError(
                "tolerance",
                self.tolerance,
                "must be a fraction between 0 and 1",
                "Give 0.03 for three percentage points.",
            )

    @property
    def largest(self) -> float:
        """Largest absolute deviation, a fraction; NaN without rows or where a cell is NaN."""
        return max((abs(row.deviation) for row in self.rows), default=float("nan"))
