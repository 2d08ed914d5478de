"""How long something that counts up will still take."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

__all__ = ["Pace"]

_TOGETHER = 0.25
"""s within which steps count as one: workers that run in step end in bursts."""

_FEWEST = 3
_MOST = 200
"""Parts of what was seen that are told apart, at most."""


class Pace:
    """Time left, from how fast it went of late; nothing before there is ground for it.

    What passes before the first step is no part of it: processes start, a program is compiled. The rate is that of the last third of
    what was seen, 10 s at least, for warm-up and sampling differ in speed. While nothing moves for longer than it did before, what
    is left grows instead of running out.

    Parameters
    ----------
    ground : s of steps before anything is said

    Examples
    --------
    >>> pace = Pace()
    >>> for second in range(1, 5):
    ...     pace.see(second, 10 * second)
    >>> pace.left(100, at=4), pace.left(100, at=5), pace.left(100, at=13)
    (6.0, 5.0, 24.0)
    """

    def __init__(self, ground: float = 1.5) -> None:
        self._ground = ground
        self._seen: deque[tuple[float, float]] = deque()
        self._first = 0.0

    def see(self, at: float, done: float) -> None:
        """Tell how much is done.

        Parameters
        ----------
        at : s, on any clock
        done : of anything; less than before begins anew
        """
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        if done <= 0 or (self._seen and done == self._seen[-1][1]):
            return
        if not self._seen:
            self._first = at
        elif at - self._seen[-1][0] < max(_TOGETHER, (at - self._first) / _MOST):
            self._seen[-1] = self._seen[-1][0], done
            return
        self._seen.append((at, done))
        since = at - max(10.0, (at - self._first) / 3)
        while len(self._seen) > _FEWEST and self._seen[1][0] < since:
            self._seen.popleft()

    def left(self, total: float, *, at: float) -> float | None:
        """Seconds until all is done; None while nothing can be said, and once all is done."""
        if len(self._seen) < _FEWEST:
            return None
        (since, before), (last, done) = self._seen[0], self._seen[-1]
        if last - since < self._ground or done >= total:
            return None
        steps = list(self._seen)
        longest = max(later[0] - earlier[0] for earlier, later in pairwise(steps))
        stalled = at - last > 2 * longest
        if stalled:
            return (total - done) * (at - since) / (done - before)
        return max(0.0, (total - done) / _slope(steps) - (at - last))


def _slope(steps: list[tuple[float, float]]) -> float:
    """Of the line through all steps (least squares): the last of a few may have ended early or late."""
    n = len(steps)
    middle, level = sum(at for at, _ in steps) / n, sum(done for _, done in steps) / n
    rise = sum((at - middle) * (done - level) for at, done in steps)
    return rise / sum((at - middle) ** 2 for at, _ in steps)
