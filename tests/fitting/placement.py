"""What the tests of the cluster run on its workers: importable there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from tdmx_dask.errors import FitCancelled
from tdmx_dask.fitting import shipping
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.task import STATS, Batch, ChainResult, Start

_HOLD = "import sys, time; held = b'x' * int(sys.argv[1]); time.sleep(float(sys.argv[2]))"


def hold(batch: Batch, _emit: Emit, cancelled: threading.Event) -> list[ChainResult]:
    """Start a real process that holds as many bytes for as many seconds as the data say."""
    data = json.loads(batch.tasks[0].data)
    start = time.time()
    child = subprocess.Popen([sys.executable, "-S", "-c", _HOLD, str(data["bytes"]), str(data["seconds"])])
    while child.poll() is None:
        if cancelled.wait(0.005):
            child.kill()
            child.wait()
            raise FitCancelled("fit", batch.tasks[0].fit, "it was cancelled")
    empty = np.zeros((1, len(STATS)))
    info = {"start": start, "end": time.time(), "worker": os.getpid()}
    return [ChainResult(0, 0, 0, ("x",), empty[:, :1], empty, Start(), 0, 0, 0, "hold", info=info)]


def die(batch: Batch, emit: Emit, cancelled: threading.Event) -> list[ChainResult]:
    """Take the worker down where the data say so."""
    if json.loads(batch.tasks[0].data).get("die"):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    return run_batch(batch, emit, cancelled)


def hide(path: str) -> None:
    """Let this worker not see a file, as on another machine."""
    seen = shipping.digest_of
    shipping.digest_of = lambda given: None if given == path else seen(given)
