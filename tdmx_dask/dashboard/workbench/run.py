"""A workbench from its start to Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tdmx_dask.api.clusters import join
from tdmx_dask.dashboard.workbench.serve import NICENESS, Workbench
from tdmx_dask.fitting.nursery import start_zygote

__all__ = ["run"]


def run(
    ready: Callable[[str], object],
    *,
    port: int,
    library: Path | None = None,
    on: str | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    ready : called with the address once it answers
    port, library, origins : as of `Workbench`
    on : a cluster for fits: a profile, a started one's name, a file or an address

    Raises
    ------
    InputError, ClusterError
        The port is taken; the cluster does not answer.
    """
    with ExitStack() as stack:
        cluster = None if on is None else stack.enter_context(join(on))
        if cluster is None:
            start_zygote(NICENESS)
        asyncio.run(_serve(ready, port, library, cluster, origins))


async def _serve(
    ready: Callable[[str], object], port: int, library: Path | None, on: object, origins: Sequence[str]
) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    workbench = Workbench(port=port, library=library, on=on, origins=origins)
    try:
        ready(workbench.url)
        await over.wait()
    finally:
        workbench.stop()
