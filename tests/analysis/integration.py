"""Concentrations by numerical integration of the differential equations: nothing here knows of exponentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import OdeSolution, solve_ivp
from scipy.optimize import brentq

Floats = NDArray[np.float64]
Dose = tuple[float, float, float]
"""Time (h), amount (mg), length of the infusion (h; 0 is a bolus)."""

_SAMPLES = 400


@dataclass(frozen=True)
class Segment:
    """Between two moments at which an input starts or stops."""

    start: float
    end: float
    solution: OdeSolution
    volume: float

    def concentration(self, t: float | Floats) -> float | Floats:
        """mg/L; at the segment's start after a bolus given then, at its end before one."""
        return self.solution(t)[0] / self.volume

    def area(self, start: float, end: float) -> float:
        """AUC, mg·h/L."""
        return float(self.solution(end)[3] - self.solution(start)[3])

    def turns(self, start: float, end: float) -> list[float]:
        """Moments at which the concentration turns, between the samples of a fine grid."""
        t = np.linspace(start, end, _SAMPLES)
        step = 1e-7 * (end - start)

        def slope(x: float) -> float:
            low, high = max(x - step, start), min(x + step, end)
            return float(self.concentration(high) - self.concentration(low))

        rising = np.diff(self.concentration(t)) > 0
        return [
            brentq(slope, t[i], t[i + 2])
            for i in np.flatnonzero(rising[1:] != rising[:-1])
            if slope(t[i]) * slope(t[i + 2]) < 0
        ]

    def time_above(self, level: float, start: float, end: float) -> float:
        """Hours with a concentration above `level`."""
        t = np.linspace(start, end, _SAMPLES)
        above = np.asarray(self.concentration(t)) > level
        crossings = [
            brentq(lambda x: float(self.concentration(x)) - level, t[i], t[i + 1], xtol=1e-13)
            for i in np.flatnonzero(above[1:] != above[:-1])
        ]
        edges = [start, *crossings, end]
        first = 0 if above[0] else 1
        return sum(edges[i + 1] - edges[i] for i in range(first, len(edges) - 1, 2))


def integrate(parameters: Mapping[str, float], doses: Sequence[Dose], until: float) -> list[Segment]:
    """Integrate a model of one to three compartments from time 0 to `until` h.

    Parameters
    ----------
    parameters : CL, Vc and, where there are any, Q1 Vp1 Q2 Vp2 (L/h, L)
    """
    get = parameters.get
    cl, v = parameters["CL"], (parameters["Vc"], get("Vp1", 1.0), get("Vp2", 1.0))
    q1, q2 = get("Q1", 0.0), get("Q2", 0.0)
    ends = [time + tinf for time, _, tinf in doses]
    moments = sorted({0.0, until, *(t for t in [*(dose[0] for dose in doses), *ends] if t < until)})
    state = np.zeros(4)
    segments = []
    for start, end in pairwise(moments):
        state[0] += sum(amount for time, amount, tinf in doses if time == start and tinf == 0)
        rate = sum(
            amount / tinf
            for time, amount, tinf in doses
            if tinf > 0 and time <= start and end <= time + tinf + 1e-9
        )

        def flow(_: float, a: Floats, rate: float = rate) -> list[float]:
            c, p1, p2 = a[0] / v[0], a[1] / v[1], a[2] / v[2]
            to_1, to_2 = q1 * (c - p1), q2 * (c - p2)
            return [rate - cl * c - to_1 - to_2, to_1, to_2, c]

        solved = solve_ivp(
            flow, (start, end), state, method="DOP853", rtol=1e-12, atol=1e-11, dense_output=True
        )
        segments.append(Segment(start, end, solved.sol, v[0]))
        state = solved.y[:, -1].copy()
    return segments


@dataclass(frozen=True)
class Window:
    """What a profile does from `start` to `end` h."""

    segments: tuple[tuple[Segment, float, float], ...]
    length: float
    under_way: bool

    @classmethod
    def of(cls, segments: Sequence[Segment], start: float, end: float) -> Window:
        """The parts of the segments that lie in it."""
        parts = [(each, max(each.start, start), min(each.end, end)) for each in segments]
        inside = tuple(part for part in parts if part[2] > part[1] + 1e-9)
        last = next((each for each in segments if each.start < start - 1e-9 <= each.end), None)
        if last is None or last.concentration(start) <= 0.0:
            return cls(inside, end - start, under_way=False)
        falls = last.concentration(start) < last.concentration(start - 1e-3) * (1 - 1e-12)
        return cls(inside, end - start, under_way=last.end > start + 1e-9 or not falls)

    def auc(self) -> float:
        """mg·h/L."""
        return sum(segment.area(start, end) for segment, start, end in self.segments)

    def time_above(self, level: float) -> float:
        """Fraction of the window."""
        return (
            sum(segment.time_above(level, start, end) for segment, start, end in self.segments) / self.length
        )

    def stretches(self) -> list[tuple[float, float]]:
        """Concentrations at the start and the end of each stretch that only rises or only falls."""
        found = []
        for segment, start, end in self.segments:
            edges = [start, *segment.turns(start, end), end]
            level = [float(segment.concentration(t)) for t in edges]
            found += list(pairwise(level))
        return found

    def cmax(self) -> float:
        """mg/L, after a bolus if there is one."""
        return max(max(pair) for pair in self.stretches())

    def cmin(self) -> float:
        """Lowest concentration, mg/L: where a fall ends, the window does, or it starts but not by a dose after a fall."""
        stretches = self.stretches()
        started = [stretches[0][0]] if self.under_way else []
        return min([last for first, last in stretches if last < first] + [stretches[-1][1], *started])
