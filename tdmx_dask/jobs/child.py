"""The program of a child process: it runs one call after another for the process that holds its other end, and never outlives it."""

from __future__ import annotations

import faulthandler
import fcntl
import importlib
import json
import os
import signal
import site
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from tdmx_dask.errors import JobError
from tdmx_dask.jobs.failure import error_message
from tdmx_dask.store.value import decode, encode

__all__ = ["PREFIX", "function_of", "main", "pack"]

PREFIX = struct.Struct("!QQ")
"""A frame: length of its JSON header and of its body, the two, nothing pickled."""

_F_SETSIG = 10  # fcntl(2), Linux
_PIECE = 2**20


def pack(header: Mapping[str, Any], body: bytes = b"") -> list[bytes]:
    """One frame, in pieces."""
    text = json.dumps(header, separators=(",", ":")).encode()
    start = PREFIX.pack(len(text), len(body)) + text
    return [start, body] if len(body) > _PIECE else [start + body]


def main(link: int, lifeline: int) -> NoReturn:
    """Answer calls until the other end closes.

    Parameters
    ----------
    link : file descriptor of the socket that brings calls and takes answers
    lifeline : file descriptor of a pipe that closes when the process at its other end is gone, however it went
    """
    _die_with(lifeline)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    end = socket.socket(fileno=link)
    home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    sources = _Sources()
    try:
        _send(end, {"ready": True})
        while True:
            header, body = _receive(end)
            answer, value = _answer(header["function"], body)
            with suppress(OSError):
                os.fchdir(home)
            _flush()
            _send(
                end, answer | {"left": _left_processes(), "rss": _resident(), "sources": sources.new()}, value
            )
    except OSError:
        os._exit(0)  # the other end is gone


def _answer(path: str, arguments: bytes) -> tuple[dict[str, Any], bytes]:
    start = time.perf_counter()
    try:
        value = encode(function_of(path)(**decode(arguments)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt end the call, not the process
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            error.__traceback__ = error.__traceback__.tb_next  # without this file's own line
        return {"error": error_message(error), "seconds": time.perf_counter() - start}, b""
    return {"seconds": time.perf_counter() - start}, value


_functions: dict[str, Callable[..., Any]] = {}


def function_of(path: str) -> Callable[..., Any]:
    """The function of an import path.

    Raises
    ------
    JobError
        It cannot be imported here, or is nothing that can be called.
    """
    if path in _functions:
        return _functions[path]
    module, _, attributes = path.partition(":")
    try:
        if module == "__main__" or not attributes:
            raise ImportError("a path reads module:name, and the module is no script that runs")
        found: Any = importlib.import_module(module)
        for name in attributes.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise JobError(
            "function",
            path,
            f"it cannot be imported in the process that is to run it ({type(error).__name__}: {error})",
            "Put it in a module that can be imported where jobs run.",
        ) from error
    if not callable(found):
        raise JobError("function", path, f"it is a {type(found).__name__}, no function", "Name a function.")
    _functions[path] = found
    return _functions[path]


class _Sources:
    """Files of users' modules that were imported: where one has changed, this process has the old one, and must not be asked again."""

    def __init__(self) -> None:
        own = Path(__file__).parents[1]
        roots = {sys.prefix, sys.base_prefix, *site.getsitepackages(), site.getusersitepackages(), str(own)}
        self._installed = tuple(f"{Path(root).resolve()}{os.sep}" for root in roots)
        self._known: set[str] = set(sys.modules)

    def new(self) -> dict[str, list[int]]:
        """Path -> time of change (ns) and size, of those imported since the last time."""
        if len(sys.modules) == len(self._known):
            return {}
        names = set(sys.modules) - self._known
        self._known |= names
        found = {}
        for name in names:
            file = getattr(sys.modules.get(name), "__file__", None)
            if not isinstance(file, str) or str(Path(file).resolve()).startswith(self._installed):
                continue
            with suppress(OSError):
                stat = Path(file).stat()
                found[file] = [stat.st_mtime_ns, stat.st_size]
        return found


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the function may have closed or replaced it
            stream.flush()


def _left_processes() -> bool:
    """Whether the call left a process behind, one that has ended and was not waited for included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (each call pays for it)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _send(end: socket.socket, header: Mapping[str, Any], body: bytes = b"") -> None:
    for piece in pack(header, body):
        end.sendall(piece)


def _receive(end: socket.socket) -> tuple[dict[str, Any], bytes]:
    n_header, n_body = PREFIX.unpack(_read(end, PREFIX.size))
    return json.loads(_read(end, n_header)), _read(end, n_body)


def _read(end: socket.socket, size: int) -> bytes:
    found = bytearray(size)
    view, have = memoryview(found), 0
    while have < size:
        got = end.recv_into(view[have:])
        if not got:
            raise ConnectionResetError("the other end has closed")
        have += got
    return bytes(found)


def _die_with(lifeline: int) -> None:
    """Have this process and its group killed at once when the other end of a pipe closes, whatever it does at that moment.

    Linux does it by itself, also while C code holds Python's lock; elsewhere a thread waits for it.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        os.set_blocking(lifeline, False)
        with suppress(BlockingIOError):
            if not os.read(lifeline, 1):  # it closed before the kernel was asked to watch
                os.killpg(0, signal.SIGKILL)
    else:
        threading.Thread(target=_wait_for_end, args=(lifeline,), daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)
