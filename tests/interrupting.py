"""Ctrl-C in the midst of a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil


def interrupt(script: str, store: Path, folder: Path) -> tuple[list[psutil.Process], str]:
    """Run a script that prints how much is done, interrupt its process group once that is something; its descendants and its stderr."""
    file = folder / "interrupted.py"
    file.write_text(script)
    running = subprocess.Popen(
        [sys.executable, file, store],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    while int(running.stdout.readline()) == 0:
        pass
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    return children, errors
