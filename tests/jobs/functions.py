"""What the tests of the queue run: importable in any process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tdmx_dask.errors import InputError

constant = 7
_kept: list[Any] = []


def double(x: Any) -> Any:
    return 2 * x


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hold_lock(seconds: int) -> None:
    """Sleep in C code that keeps Python's lock."""
    ctypes.PyDLL(None).sleep(seconds)


def fail(text: str) -> None:
    raise ValueError(text)


def fail_as(name: str, text: str = "as asked", number: int | None = None) -> None:
    """Raise a built-in exception."""
    each = getattr(__import__("builtins"), name)
    raise each(text) if number is None else each(number, text)


def refuse(dose: float) -> None:
    raise InputError("dose", dose, "a dose is > 0 mg", "Give one.")


def die(signal: int) -> None:
    os.kill(os.getpid(), signal)
    time.sleep(60)


def crash() -> None:
    print("about to crash")
    ctypes.string_at(0)


def leave(status: int) -> None:
    print("leaving")
    os._exit(status)


def quit_python(status: int) -> None:
    sys.exit(status)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


def allocate(mb: float) -> int:
    """Hold an array of this size, really written to."""
    return int(np.ones(int(mb * 1e6 / 8)).sum())


def keep(mb: float) -> int:
    """Leak an array of this size."""
    _kept.append(np.ones(int(mb * 1e6 / 8)))
    return os.getpid()


def pid() -> int:
    return os.getpid()


def spawn_child(path: str, seconds: float) -> int:
    """Start a process of its own, write its id and this one's to a file, and wait for it."""
    child = subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"])
    write(path, f"{child.pid} {os.getpid()}")
    return child.wait()


def leave_child(seconds: float) -> int:
    """Start a process, and return its id without waiting."""
    return subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"]).pid


def write(path: str, text: str) -> None:
    """Write a file at once whole."""
    beside = Path(f"{path}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


def count_runs(folder: str, seconds: float = 0.0) -> int:
    """Leave a file for each time that it begins, and say how many there are."""
    Path(folder, f"{os.getpid()}-{time.time_ns()}").touch()
    time.sleep(seconds)
    return len(list(Path(folder).iterdir()))


def print_lines(n: int, text: str = "line") -> None:
    for number in range(n):
        print(text, number)
    print("the last, as an error", file=sys.stderr)
    os.write(1, b"straight to the console\n")


def environment(name: str) -> str | None:
    return os.environ.get(name)


def where() -> str:
    return str(Path.cwd())


def move(folder: str) -> None:
    os.chdir(folder)


def unencodable() -> object:
    return object()


def recurse(limit: int) -> None:
    """Recurse in C code until the stack ends."""
    sys.setrecursionlimit(limit)
    nested: Any = None
    for _ in range(limit // 2):
        nested = [nested]
    repr(nested)


class Group:
    """Holds a function, as modules of users do."""

    @staticmethod
    def triple(x: float) -> float:
        return 3 * x


def kill_parent() -> None:
    """Take down whoever started this process, such as a worker."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def wait_for(path: str) -> None:
    """Run until there is such a file."""
    while not Path(path).exists():
        time.sleep(0.01)
