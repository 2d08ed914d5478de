"""A client that leaves nothing half-open and no setting of Dask's changed, and that the garbage collector does not close."""

from __future__ import annotations

from typing import Any, ClassVar

import dask.config
import distributed

__all__ = ["Client"]

_HERE = "dask.distributed"
"""Dask's setting `scheduler` while a client is open."""


class Client(distributed.Client):
    """distributed's own, but closed by whoever made it, and at once where it cannot start.

    distributed's closes itself when it is collected, in whatever that thread is just doing: in the start of another client it then waits
    for a lock which the same thread holds, for ever (distributed 2026.8, `LoopRunner`; seen once in some thousand joins). What is left
    open ends with the process.

    distributed's also leaves Dask's setting ``scheduler`` at ``"dask.distributed"`` where two are closed in the order in which they
    were made, or one within its own ``with``: whatever is lazy then fails for want of a client. Here it is what it was before the
    first, once the last is closed.
    """

    _chosen: ClassVar[Any] = None

    def __init__(self, *given: Any, **options: Any) -> None:
        found = dask.config.get("scheduler", None)
        if found != _HERE:
            Client._chosen = found
        super().__init__(*given, **options)

    def start(self, **options: Any) -> None:
        """Connect to the scheduler."""
        try:
            super().start(**options)
        except BaseException:
            self.close()
            self._loop_runner.stop()  # its thread would stay: what failed has closed the rest
            raise

    async def _close(self, fast: bool = False) -> None:
        await super()._close(fast)
        if dask.config.get("scheduler", None) == _HERE and not _another():
            dask.config.set(scheduler=Client._chosen)

    def __del__(self) -> None:
        pass


def _another() -> bool:
    """Whether a client is open that lazy collections are computed on."""
    try:
        return bool(distributed.Client.current().status != "closed")
    except ValueError:
        return False
