"""Settings of every test run."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let child processes answer Ctrl-C: a shell that runs the tests in the background has it ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
