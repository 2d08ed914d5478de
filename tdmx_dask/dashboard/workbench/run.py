"""A workbench from its start to Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import signal
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from tdmx_dask.api.clusters import join
from tdmx_dask.dashboard.workbench.serve import NICENESS, Workbench
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.fitting.nursery import start_zygote

__all__ = ["run"]


def run(ready: Callable[[str], object], *, on: str | None = None, **options: Any) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    ready : called with the address once it answers
    on : a cluster for fits: a profile, a started one's name, a file or an address
    options : of `Workbench`

    Raises
    ------
    InputError, ClusterError
        The port is taken; the cluster does not answer.
    """
    warnings.simplefilter("ignore", TdmxWarning)  # pages say them
    logging.getLogger("bokeh.server").setLevel(logging.ERROR)
    for name in ("asyncio", "tornado.application"):
        logging.getLogger(name).addFilter(_worth_saying)
    with ExitStack() as stack:
        cluster = None if on is None else stack.enter_context(join(on))
        if cluster is None:
            start_zygote(NICENESS)
        asyncio.run(_serve(ready, {**options, "on": cluster}))


def _worth_saying(record: logging.LogRecord) -> bool:
    """A window that is closed while something is on its way to it, or a server that ends, is no event."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, WebSocketClosedError | StreamClosedError | asyncio.CancelledError)


async def _serve(ready: Callable[[str], object], options: dict[str, Any]) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    workbench = Workbench(**options)
    try:
        ready(workbench.url)
        await over.wait()
    finally:
        workbench.stop()
