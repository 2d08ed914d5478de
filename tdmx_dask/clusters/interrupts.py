"""Preloaded by worker processes on this machine: Ctrl-C reaches the whole process group, and is the client's to answer."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(_worker: Any) -> None:
    """Ignore the interrupt; the client cancels the tasks and closes the workers."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
