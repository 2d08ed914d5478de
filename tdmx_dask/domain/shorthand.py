"""The shorthand of regimens, read and printed.

::

    1000 mg q8h inf 3h                                   infusion of 3 h every 8 h, without end
    500 mg q8h                                           bolus
    2 g q24h ci                                          continuous infusion: tinf = tau
    15 mg/kg of IBW q12h inf 1h x6                       six doses, by the covariate IBW (WT if not said)
    25 mg/kg load inf 1h, then 2 g q24h ci
    400 mg q12h x3 inf 40min, then from 48h 200 mg q24h x2 inf 40min
    1000 mg at 0h, 8h, 20h inf 1h                        an explicit history
    every 24h (1000 mg at 0h inf 1h; 500 mg at 12h)      unequal doses that repeat

Parts follow one another with ``then``. Without ``from``, a part starts: after a part that repeats, one interval
after its last dose; after one-off doses (``load``, ``at``), one interval of its own after the last of them, or,
for a continuous infusion, at the end of the last one's infusion. A load that says neither ``inf`` nor ``bolus``
takes the infusion of the intermittent part that follows, and is a bolus before a continuous infusion.
``qd bid tid qid`` are read as q24h, q12h, q8h, q6h.
"""

from __future__ import annotations

from tdmx_dask.domain.doses import Cycle, DoseEvent

__all__ = ["parse", "text"]


def parse(text: str) -> tuple[tuple[DoseEvent, ...], Cycle | None, str]:
    """One-off doses, the cycle and the weight from a shorthand."""
    raise NotImplementedError


def text(history: tuple[DoseEvent, ...], cycle: Cycle | None, weight: str = "WT") -> str:
    """The shorthand, such that `parse` gives the same back."""
    raise NotImplementedError
