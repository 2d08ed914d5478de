"""The zygote: a light process with the engines imported, which forks a child per request.

A fork of it takes 2 ms where a new interpreter takes 200. It has one thread, so forking is safe whatever threads its client has; it is a
session of its own, so a terminal's Ctrl-C reaches only the client, who decides. It ends, with all its children, when its client does.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import NoReturn

__all__ = ["PID", "STATUS", "main"]

PID = struct.Struct("!q")
"""Answer to a request: the child's process id."""
STATUS = struct.Struct("!qq")
"""How a child ended: its wait status and its largest resident memory as the kernel gives it."""

_LOOK = 0.5


class _Zygote:
    def __init__(self, control: socket.socket, client: int) -> None:
        self.control = control
        self.client = client
        self.children: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)
        self.wake, self.alarm = socket.socketpair()
        self.wake.setblocking(False)
        self.alarm.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.alarm.fileno(), warn_on_full_buffer=False)
        self.selector.register(self.wake, selectors.EVENT_READ)

    def run(self) -> None:
        """Fork and reap until the client is gone."""
        while os.getppid() == self.client:
            for key, _ in self.selector.select(_LOOK):
                if key.fileobj is self.control:
                    if not self.answer():
                        return
                elif key.fileobj is self.wake:
                    with suppress(BlockingIOError):
                        self.wake.recv(4096)
                else:  # whoever waits for this child has closed
                    self.selector.unregister(key.fileobj)
                    _kill(key.data)
            self.reap()

    def answer(self) -> bool:
        """Fork a child for one request; False when the client has closed."""
        try:
            asked, ends, _, _ = socket.recv_fds(self.control, 1, 3)
        except OSError:
            return False
        if not asked:
            return False
        pid = -1
        if len(ends) == 3:
            with suppress(OSError):
                pid = os.fork()
        if pid == 0:
            self.become_child(*ends)
        if pid > 0:
            self.children[pid] = socket.socket(fileno=ends.pop())
            self.selector.register(self.children[pid], selectors.EVENT_READ, pid)
        for end in ends:
            os.close(end)
        with suppress(OSError):
            self.control.sendall(PID.pack(pid))
        return True

    def reap(self) -> None:
        """Tell how children ended; what they left behind in their process group is killed."""
        while self.children:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            end = self.children.pop(pid)
            with suppress(KeyError):
                self.selector.unregister(end)
            with suppress(OSError):
                end.sendall(STATUS.pack(status, usage.ru_maxrss))
            end.close()

    def become_child(self, link: int, console: int, status: int) -> NoReturn:
        """In the forked process: hold no end but its own, then serve."""
        try:
            zygote = os.getppid()
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.selector.close()
            for end in (self.control, self.wake, self.alarm, *self.children.values()):
                end.close()
            os.close(status)
            os.dup2(console, 1)
            os.dup2(console, 2)
            os.close(console)
            _die_with_parent()
            if os.getppid() != zygote:
                os._exit(0)
            from tdmx_dask.fitting.child import serve

            serve(socket.socket(fileno=link))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(70)

    def end(self) -> None:
        """Kill the children."""
        for pid in self.children:
            _kill(pid)


def _kill(pid: int) -> None:
    for kill in (os.kill, os.killpg):  # it may not lead its group yet
        with suppress(OSError):
            kill(pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """On Linux, ask the kernel for SIGKILL when the zygote dies; elsewhere the child looks for itself."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1  # prctl(2)
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def main(control: int, client: int, nice: int) -> None:
    """Serve requests on a file descriptor until the client is gone.

    Parameters
    ----------
    control : file descriptor of the zygote's end
    client : process id of the client
    nice : added to the niceness, >= 0
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if nice:
        os.nice(nice)
    import numpy.random  # noqa: F401  (loaded lazily by numpy)

    import tdmx_dask.fitting.child

    if importlib.util.find_spec("stanli"):
        import stanli

        import tdmx_dask.fitting.stanli_engine  # noqa: F401

        stanli.stan_to_mir(
            "parameters { real x; } model { x ~ normal(0, 1); }"
        )  # its compiler is laid out now

    gc.collect()
    gc.freeze()  # children share these pages
    zygote = _Zygote(socket.socket(fileno=control), client)
    try:
        zygote.run()
    finally:
        zygote.end()
        os._exit(0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
