"""A program of its own process: its console line by line, its memory, its end; it dies with the process that started it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Ended", "own_peak_mb", "run_program", "signal_name"]

_TICK = 0.25
_KEPT = 400
_READ = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Parameters
    ----------
    code : exit code; negative: the signal that ended it
    peak_mb : its largest resident memory, MB (10^6 bytes)
    lines : the last lines of its console
    """

    code: int
    peak_mb: float
    lines: tuple[str, ...]


def run_program(
    command: Sequence[str],
    *,
    folder: Path,
    variables: dict[str, str],
    line: Callable[[str], object],
    tick: Callable[[], object],
) -> Ended:
    """Run a program to its end.

    Parameters
    ----------
    command : program and arguments
    folder : it runs in
    variables : of its environment
    line : called with each line of the console
    tick : called before each piece of the console is read, and at least every quarter of a second

    Raises
    ------
    OSError
        It cannot be started.
    """
    before = own_peak_mb()
    process = subprocess.Popen(  # noqa: S603  a program that the user or the cache names
        [*_dying_with_parent(), *command],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    kept: deque[str] = deque(maxlen=_KEPT)

    def heard(text: str) -> None:
        if text.strip():
            kept.append(text.rstrip())
            line(text)

    try:
        status, usage_mb, polled = _followed(process, heard, tick)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        assert process.stdout is not None  # noqa: S101  for the type checker
        process.stdout.close()
    # A process inherits the mark of the image it replaces, so the kernel's figure counts only above our own.
    peak = usage_mb if usage_mb > before or not polled else polled
    return Ended(os.waitstatus_to_exitcode(status), peak, tuple(kept))


def _followed(
    process: subprocess.Popen[bytes], heard: Callable[[str], None], tick: Callable[[], object]
) -> tuple[int, float, float]:
    """Read the console until the program has ended; return its status, and its peak by the kernel and as polled, MB."""
    pipe = process.stdout
    assert pipe is not None  # noqa: S101  for the type checker
    os.set_blocking(pipe.fileno(), False)
    rest, polled, is_open = b"", 0.0, True
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if is_open:
                selector.select(_TICK)
            tick()
            polled = max(polled, _resident(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG if is_open else 0)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
            # what it wrote before it ended is read below, though another may hold the pipe open
            while is_open:
                try:
                    piece = os.read(pipe.fileno(), _READ)
                except BlockingIOError:
                    break
                is_open = bool(piece)
                *lines, rest = (rest + piece).split(b"\n")
                for each in lines:
                    heard(each.decode(errors="replace"))
            if pid:
                heard(rest.decode(errors="replace"))
                unit = 1 if sys.platform == "darwin" else 1024
                return status, usage.ru_maxrss * unit / 1e6, polled


@cache
def _dying_with_parent() -> tuple[str, ...]:
    """What to put before a command so that the kernel kills it with the thread that started it; Linux, else nothing."""
    import shutil

    found = shutil.which("setpriv")
    if not found:
        return ()
    command = (found, "--pdeathsig", "KILL")
    works = subprocess.run([*command, "true"], capture_output=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    return () if works.returncode else command


def own_peak_mb() -> float:
    """Peak of this process, MB: what a process that it starts is born with."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _resident(pid: int) -> float:
    """Peak of a running program, MB; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        name = Path(f"/proc/{pid}/exe").readlink().name
        if "VmHWM:" in status and name != "setpriv":
            return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return 0.0


def signal_name(number: int) -> str:
    """SIGKILL of 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
