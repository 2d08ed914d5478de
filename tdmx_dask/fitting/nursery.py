"""One zygote per process: started when a child is wanted, started again when it died, ended with the interpreter."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.zygote import PID

__all__ = ["fork_child", "start_zygote", "zygote_pid"]

_PATIENCE = 60.0
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
_MAIN = """
import json, sys
sys.path[:] = json.loads(sys.argv[4])
from tdmx_dask.fitting.zygote import main
main(*map(int, sys.argv[1:4]))
"""


class _Nursery:
    """A zygote and the socket to it."""

    def __init__(self, nice: int) -> None:
        self.nice = nice
        self.control, theirs = socket.socketpair()
        self.control.settimeout(_PATIENCE)
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        with theirs:
            arguments = [str(theirs.fileno()), str(os.getpid()), str(nice), json.dumps(sys.path)]
            self.process = subprocess.Popen(  # noqa: S603  (this interpreter, no shell)
                [sys.executable, "-I", "-c", _MAIN, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, **_ONE_THREAD},
            )

    def fork(self, ends: list[int]) -> int:
        """Have a child forked that holds these ends; return its process id.

        Raises
        ------
        OSError
            The zygote is gone, or cannot fork.
        """
        socket.send_fds(self.control, [b"f"], ends)
        answer = b""
        while len(answer) < PID.size:
            piece = self.control.recv(PID.size - len(answer))
            if not piece:
                raise ConnectionResetError("it ended")
            answer += piece
        pid: int = PID.unpack(answer)[0]
        if pid < 0:
            raise OSError("it could not fork: no process or no file descriptor is left")
        return pid

    def close(self) -> str:
        """End it; return the last lines it complained with."""
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with self.errors:
            self.errors.seek(0)
            return self.errors.read()[-2000:].decode(errors="replace").strip()

    def forget(self) -> None:
        """In a forked process: let go of the parent's zygote without ending it."""
        with suppress(OSError):
            self.control.close()
        self.errors.close()
        self.process.returncode = 0  # it is no child of this process, so there is nothing to wait for


_lock = threading.Lock()
_nursery: _Nursery | None = None
_nice = 0


def start_zygote(nice: int | None = None) -> None:
    """Start the zygote ahead of the first fit (0.2 s), or start it anew with another niceness; what runs under the old one ends.

    Parameters
    ----------
    nice : added to the niceness of the children, 0 .. 19; None: as it was (0 at first)
    """
    global _nice
    with _lock:
        if nice is not None and nice != _nice:
            _end()
            _nice = nice
        _alive()


def zygote_pid() -> int | None:
    """Process id of the zygote, if there is one."""
    return None if _nursery is None else _nursery.process.pid


def fork_child() -> tuple[socket.socket, socket.socket, socket.socket, int]:
    """Fork a child: its socket, its console, the socket that says how it ended, and its process id.

    Raises
    ------
    FitError
        No process can be started.
    """
    pairs = [socket.socketpair() for _ in range(3)]
    pid, why = -1, ""
    try:
        with _lock:
            for _ in range(2):  # a zygote that died is replaced once
                try:
                    pid = _alive().fork([theirs.fileno() for _, theirs in pairs])
                    break
                except OSError as error:
                    why = f"{error}; {_end()}"
        if pid < 0:
            raise FitError(
                "engine", "child process", f"none can be started ({why})", "Free memory or processes."
            )
    finally:
        for ours, theirs in pairs:
            theirs.close()
            if pid < 0:
                ours.close()
    link, console, status = (ours for ours, _ in pairs)
    return link, console, status, pid


def _alive() -> _Nursery:
    global _nursery
    if _nursery is not None and _nursery.process.poll() is not None:
        _end()
    if _nursery is None:
        _nursery = _Nursery(_nice)
    return _nursery


def _end() -> str:
    global _nursery
    ours, _nursery = _nursery, None  # at exit a thread may be ending it, too
    return "" if ours is None else ours.close()


def _forget() -> None:
    global _nursery, _lock
    _lock = threading.Lock()
    if _nursery is not None:
        _nursery.forget()
        _nursery = None


atexit.register(_end)
os.register_at_fork(after_in_child=_forget)
