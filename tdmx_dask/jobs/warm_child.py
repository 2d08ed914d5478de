"""One warm child process from the side of its parent: its link, its console, and how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tdmx_dask.jobs.child import PREFIX
from tdmx_dask.jobs.shortage import times_memory_ran_out

__all__ = ["Ended", "WarmChild"]

_LOOK = 0.05
_PATIENCE = 60.0
_CLOSING = 1.0
_PIECE = 2**20
_TAIL = 4096
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
sys.path[:] = json.loads(sys.argv[3])
from tdmx_dask.jobs.child import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""


class Ended(Exception):  # noqa: N818  (it says what happened; callers never see it)
    """A child closed its end before it answered."""


class WarmChild:
    """One child process: its link, its console, and the pipe by whose closing the kernel kills it."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path, self.calls = path, 0
        self.sources: dict[str, list[int]] = {}
        self.tail, self.ready = b"", False
        self.ran_out = times_memory_ran_out()
        self.killed = False
        self._lock = threading.Lock()
        self.link, theirs = socket.socketpair()
        life, self.life = os.pipe()
        try:
            arguments = [str(theirs.fileno()), str(life), json.dumps(path)]
            self.process = subprocess.Popen(  # noqa: S603  (this interpreter, no shell)
                [sys.executable, "-I", "-c", _MAIN, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno(), life],
                start_new_session=True,
                env={**os.environ, **_ONE_THREAD},
            )
        except BaseException:
            self.link.close()
            os.close(self.life)
            raise
        finally:
            theirs.close()
            os.close(life)
        assert self.process.stdout is not None  # noqa: S101  (a pipe was asked for)
        self.console: IO[bytes] = self.process.stdout
        os.set_blocking(self.console.fileno(), False)
        self.link.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self.console, select.POLLIN)

    def exchange(self, request: list[bytes], look: Callable[[], None]) -> tuple[dict[str, Any], bytes]:
        """Send a frame, if there is one, and wait for the next; `look` is called many times a second and may raise.

        Raises
        ------
        Ended
            It closed its end.
        """
        waiting = [memoryview(piece) for piece in request]
        held, wanted, header = bytearray(), PREFIX.size, 0
        try:
            while True:
                while waiting:
                    try:
                        sent = self.link.send(waiting[0])
                    except BlockingIOError:
                        break
                    waiting = [waiting[0][sent:], *waiting[1:]] if sent < len(waiting[0]) else waiting[1:]
                self._poll.register(self.link, select.POLLIN | (select.POLLOUT if waiting else 0))
                for fd, _ in self._poll.poll(_LOOK * 1000):
                    if fd != self.link.fileno():
                        self.hear()
                        continue
                    with suppress(BlockingIOError):
                        piece = self.link.recv(min(_PIECE, max(wanted - len(held), 4096)))
                        if not piece:
                            raise Ended
                        held += piece
                if not header and len(held) >= PREFIX.size:
                    header, body = PREFIX.unpack_from(held)
                    wanted = PREFIX.size + header + body
                if header and len(held) >= wanted:
                    self.hear()
                    start = PREFIX.size + header
                    return json.loads(held[PREFIX.size : start]), bytes(memoryview(held)[start:])
                look()
        except ConnectionError:
            raise Ended from None

    def outdated(self) -> bool:
        """Whether a file has changed that it has imported from outside of the installed packages."""
        try:
            return any(
                [(now := Path(file).stat()).st_mtime_ns, now.st_size] != then
                for file, then in self.sources.items()
            )
        except OSError:
            return True

    def hear(self) -> None:
        """Keep the last of what it printed; no more than a moment's worth is read, however much it prints."""
        for _ in range(16):
            try:
                piece = os.read(self.console.fileno(), 2**16)
            except BlockingIOError:
                return
            if not piece:
                with suppress(KeyError):
                    self._poll.unregister(self.console)  # it closed its console; its link says when it ends
                return
            self.tail = (self.tail + piece)[-_TAIL:]

    def said(self) -> str:
        """The last of what it printed."""
        return self.tail.decode(errors="replace").removeprefix("\ufffd")

    def kill(self) -> None:
        """Kill it and all that it started; safe from any thread."""
        with self._lock:
            if self.process.returncode is None:
                self.killed = True
                with suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Kill what is left of it, and forget it; how it had ended by itself, if it had."""
        until = time.monotonic() + (0.0 if self.killed else _CLOSING)
        while (code := self.code()) is None and time.monotonic() < until:
            time.sleep(0.001)
        self.kill()
        self.hear()
        with self._lock, suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        self.close()
        return code

    def code(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it lives. Its number stays its own until it is waited for."""
        try:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else in this process waited for it
            return self.process.poll()
        if found is None or not found.si_pid:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def close(self) -> None:
        """Close this side's ends."""
        self.link.close()
        os.close(self.life)
        self.console.close()

    def forget(self) -> None:
        """In a forked process: let go of it without ending it."""
        self.close()
        self.process.returncode = 0  # it is no child of this process, so there is nothing to wait for
