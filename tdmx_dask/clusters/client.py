"""A client that leaves nothing half-open where its scheduler does not answer, and that the garbage collector does not close."""

from __future__ import annotations

from typing import Any

import distributed

__all__ = ["Client"]


class Client(distributed.Client):
    """distributed's own, but closed by whoever made it, and at once where it cannot start.

    distributed's closes itself when it is collected, in whatever that thread is just doing: in the start of another client it then waits
    for a lock which the same thread holds, for ever (distributed 2026.8, `LoopRunner`; seen once in some thousand joins). What is left
    open ends with the process.
    """

    def start(self, **options: Any) -> None:
        """Connect to the scheduler."""
        try:
            super().start(**options)
        except BaseException:
            self.close()
            self._loop_runner.stop()  # its thread would stay: what failed has closed the rest
            raise

    def __del__(self) -> None:
        pass
