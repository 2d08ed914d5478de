"""One entry of a cache as a file: a header with a checksum, then the bytes."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import google_crc32c

__all__ = ["OVERHEAD", "PARTIAL", "left_behind", "load", "touch", "write"]

_MARK = b"tdmxjob1"
# Mark, creation (s since 1970), address, length; the checksum of these and of the bytes follows.
_HEADER = struct.Struct("<8sd32sQ")
_CHECKSUM = struct.Struct("<I")
OVERHEAD = _HEADER.size + _CHECKSUM.size
"""Bytes of an entry before its own."""
PARTIAL = re.compile(r"\.[0-9a-f]{64}\.(?P<host>.+)-(?P<process>[0-9]+)-[0-9a-f]{8}\.partial")
"""Name of an entry that is being written."""
_STALE = 3600.0  # s; a writer of another machine that has not ended by then is dead


def load(path: str | Path) -> tuple[float, bytes] | None:
    """Creation (s since 1970) and bytes of an entry; None where it is damaged, or not the one of its name.

    Parameters
    ----------
    path : of the entry

    Raises
    ------
    OSError
        There is none, or it cannot be read.
    """
    try:
        # No waiting for the other end of a pipe, and no following of a link.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise
    try:
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as file:
            header, checksum, value = file.read(_HEADER.size), file.read(_CHECKSUM.size), file.readall()
    finally:
        os.close(handle)
    if len(header) + len(checksum) != OVERHEAD:
        return None
    mark, created, digest, length = _HEADER.unpack(header)
    fan, name = Path(path).parts[-2:]
    if mark != _MARK or length != len(value) or digest.hex() != name or name[:2] != fan:
        return None
    if google_crc32c.extend(google_crc32c.value(header), value) != _CHECKSUM.unpack(checksum)[0]:
        return None
    return created, value


def write(path: Path, digest: str, created: float, value: bytes) -> None:
    """Write an entry beside its place, and rename it; it is not brought to the disk at once: a torn one is found when it is read.

    Parameters
    ----------
    path : of the entry, in a folder that exists
    digest : its address
    created : s since 1970
    value : the bytes

    Raises
    ------
    OSError
        It cannot be written; nothing is left.
    """
    header = _HEADER.pack(_MARK, created, bytes.fromhex(digest), len(value))
    checksum = google_crc32c.extend(google_crc32c.value(header), value)
    name = f".{digest}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.partial"
    partial = path.with_name(name)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(partial, flags, 0o600)
        try:
            _write_all(handle, header + _CHECKSUM.pack(checksum))
            _write_all(handle, value)
            touch(handle)
        finally:
            os.close(handle)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def touch(path: int | Path) -> None:
    """Mark as used now, finer than the clock of the file system.

    Parameters
    ----------
    path : of the entry, or an open file
    """
    now = int(time.time() * 1e9)
    os.utime(path, ns=(now, now))


def left_behind(partial: re.Match[str], changed: float) -> bool:
    """Whether the writer of a file that has not its name yet is dead.

    Parameters
    ----------
    partial : match of its name with `PARTIAL`
    changed : when, s since 1970
    """
    if partial["host"] == socket.gethostname():
        import psutil

        if not psutil.pid_exists(int(partial["process"])):
            return True
    return abs(time.time() - changed) > _STALE
