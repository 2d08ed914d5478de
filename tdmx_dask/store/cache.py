"""Answers kept for later: bytes by their address, in memory and in a folder that processes share.

::

    <folder>/<first two digits>/<address>      one entry: a header (mark, creation, address, length, checksum), then the bytes

An entry is written beside its place and renamed, so a reader sees all of it or nothing; whatever else is found under its name (damaged,
cut off, of another address) counts as absent and is removed. Nothing is locked: a process that finds an entry gone goes on without it.
A cache only makes things faster, so `get` and `put` raise nothing that a disk can cause.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.cache_entry import OVERHEAD, PARTIAL, left_behind, load, touch, write
from tdmx_dask.store.publish import writing_error

__all__ = ["Cache", "CacheInfo"]

_FAN = re.compile(r"[0-9a-f]{2}")
_ADDRESS = re.compile(r"[0-9a-f]{64}")
_KEPT = 0.9  # of the limit, after entries were removed: room for some more before the folder is looked through again
_UNSEEN = (
    8  # the folder is looked through again after writing this fraction of the limit: others write to it too
)
_KEY_BYTES = 64
_MODE = 0o700

_log = logging.getLogger("tdmx_dask.store")


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds, and how often it helped.

    Parameters
    ----------
    folder : where it is
    entries, bytes : on the disk, headers included
    memory_entries, memory_bytes : in the memory of this process, addresses included
    hits, misses : of `get` in this process
    oldest : when the entry that goes out next was last used, s since 1970; None: there is none
    max_bytes, max_age, max_memory_bytes : limits: on the disk, s, in memory
    """

    folder: Path
    entries: int
    bytes: int
    memory_entries: int
    memory_bytes: int
    hits: int
    misses: int
    oldest: float | None
    max_bytes: int
    max_age: float
    max_memory_bytes: int

    def __repr__(self) -> str:
        asked = self.hits + self.misses
        share = f" ({self.hits / asked:.0%})" if asked else ""
        return (
            f"<CacheInfo {self.folder}: {self.entries:,} entries, {self.bytes / 1e6:,.1f} of {self.max_bytes / 1e6:,.1f} MB; "
            f"in memory {self.memory_entries:,}, {self.memory_bytes / 1e6:,.1f} of {self.max_memory_bytes / 1e6:,.1f} MB; "
            f"{self.hits:,} hits of {asked:,}{share}>"
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    size: int
    used: int  # ns since 1970


class Cache:
    """Bytes by address: least recently used out first.

    Safe for threads and for several processes on one folder. The first `put`, and then one in many, looks through the folder to hold its
    limit: with other processes at work the limit may be passed by an eighth for each.

    Parameters
    ----------
    folder : made, for its owner alone, when something is put
    max_bytes : on the disk; 0: nothing is kept there
    max_age : s after which an entry is worth nothing, > 0; one from the future by more than that too: a clock jumped
    memory_bytes : in the memory of this process; 0: nothing is kept there

    Raises
    ------
    InputError
        A limit is out of range.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        max_bytes: int = 2**30,
        max_age: float = 30 * 86400.0,
        memory_bytes: int = 64 * 2**20,
    ) -> None:
        for name, value in (("max_bytes", max_bytes), ("memory_bytes", memory_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(
                    name, value, "a limit is a whole number of bytes, >= 0", "For example 2**30."
                )
        if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not max_age > 0:
            raise InputError("max_age", max_age, "an age is in seconds, > 0", "For example 86400.")
        self.folder = Path(folder).resolve()
        self.max_bytes, self.max_age, self.memory_bytes = max_bytes, float(max_age), memory_bytes
        self._memory: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._held = self._hits = self._misses = 0
        self._lock = threading.Lock()
        self._total: int | None = None  # bytes on the disk, as far as this process knows
        self._unseen = 0  # bytes written since the folder was looked through
        self._counting = threading.Lock()
        self._warned = False

    def __repr__(self) -> str:
        return (
            f"<Cache {self.folder}, at most {self.max_bytes / 1e6:,.1f} MB and {self.max_age / 86400:g} days>"
        )

    def get(self, digest: str) -> bytes | None:
        """The bytes of an address; None where there are none, or they are too old or damaged.

        Parameters
        ----------
        digest : 64 hexadecimal digits, lower case
        """
        path = self._path(digest)
        with self._lock:
            found = self._memory.get(digest)
            if found is not None and self._fresh(found[0]):
                self._memory.move_to_end(digest)
            else:
                found = None
        if found is None:
            found = self._read(path)
            with self._lock:
                self._remember(digest, found)
        with self._lock:
            self._hits += found is not None
            self._misses += found is None
        if found is None:
            return None
        with suppress(OSError):  # another process removed it, or the disk cannot be written
            touch(path)
        return found[1]

    def put(self, digest: str, value: bytes) -> None:
        """Keep bytes; what cannot be written, or is larger than the limits, is not kept.

        Parameters
        ----------
        digest : 64 hexadecimal digits, lower case
        value : any bytes
        """
        path = self._path(digest)
        if not isinstance(value, bytes):
            raise InputError("value", f"<{type(value).__name__}>", "a cache holds bytes", "Encode it first.")
        created = time.time()
        with self._lock:
            self._remember(digest, (created, value))
        size = OVERHEAD + len(value)
        if size > self.max_bytes:
            return
        try:
            self._make_folders(path.parent)
            write(path, digest, created, value)
            self._account(size)
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "%s: nothing is kept on this disk (%s); later failures are not told", self.folder, error
                )

    def info(self) -> CacheInfo:
        """What is there now; looks through the folder.

        Raises
        ------
        StoreError
            The folder cannot be read.
        """
        entries = self._listed()
        oldest = min((entry.used for entry in entries), default=None)
        with self._lock:
            return CacheInfo(
                folder=self.folder,
                entries=len(entries),
                bytes=sum(entry.size for entry in entries),
                memory_entries=len(self._memory),
                memory_bytes=self._held,
                hits=self._hits,
                misses=self._misses,
                oldest=None if oldest is None else oldest / 1e9,
                max_bytes=self.max_bytes,
                max_age=self.max_age,
                max_memory_bytes=self.memory_bytes,
            )

    def clear(self) -> int:
        """Remove all entries; return how many there were on the disk. Other files of the folder are left alone.

        Raises
        ------
        StoreError
            The folder cannot be read, or an entry cannot be removed.
        """
        with self._lock:
            self._memory.clear()
            self._held = 0
        with self._counting:
            self._total = None
        entries = self._listed()
        return sum(self._removed(entry.path) for entry in entries)

    def verify(self) -> tuple[int, int]:
        """Read every entry on the disk; remove those that are damaged or too old.

        Returns
        -------
        how many are good, how many were removed

        Raises
        ------
        StoreError
            The folder cannot be read, or an entry cannot be removed.
        """
        good = removed = 0
        for entry in self._listed():
            try:
                found = load(entry.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._failure(error, "an entry cannot be read") from error
            if found is not None and self._fresh(found[0]):
                good += 1
            else:
                removed += self._removed(entry.path)
        return good, removed

    def _path(self, digest: str) -> Path:
        if not isinstance(digest, str) or not _ADDRESS.fullmatch(digest):
            raise InputError(
                "digest", digest, "an address is 64 hexadecimal digits", "Use store.value.address."
            )
        return self.folder / digest[:2] / digest

    def _fresh(self, created: float) -> bool:
        return abs(time.time() - created) <= self.max_age

    def _remember(self, digest: str, entry: tuple[float, bytes] | None) -> None:
        """Put into memory, or forget; the lock is held."""
        old = self._memory.pop(digest, None)
        if old is not None:
            self._held -= len(old[1]) + _KEY_BYTES
        if entry is None or len(entry[1]) + _KEY_BYTES > self.memory_bytes:
            return
        self._memory[digest] = entry
        self._held += len(entry[1]) + _KEY_BYTES
        while self._held > self.memory_bytes:
            _, (_, value) = self._memory.popitem(last=False)
            self._held -= len(value) + _KEY_BYTES

    def _read(self, path: Path) -> tuple[float, bytes] | None:
        try:
            found = load(path)
        except OSError:
            return None  # absent, or a disk that cannot be read
        if found is not None and self._fresh(found[0]):
            return found
        with suppress(OSError):
            path.unlink()
        return None

    def _make_folders(self, fan: Path) -> None:
        self.folder.mkdir(mode=_MODE, parents=True, exist_ok=True)
        fan.mkdir(mode=_MODE, exist_ok=True)

    def _account(self, size: int) -> None:
        """Count what was written; look through the folder where the limit may be passed."""
        with self._counting:
            self._unseen += size
            if self._total is not None:
                self._total += size
                if self._total <= self.max_bytes and self._unseen * _UNSEEN <= self.max_bytes:
                    return
            self._total, self._unseen = self._trim(), 0

    def _trim(self) -> int:
        """Remove what dead writers left, what is too old, and the least recently used; return the bytes that remain."""
        now = time.time()
        entries = []
        for entry in self._entries():
            if abs(now - entry.used / 1e9) > self.max_age:  # created no later than it was used
                _unlink(entry.path)
            else:
                entries.append(entry)
        total = sum(entry.size for entry in entries)
        if total <= self.max_bytes:
            return total
        for entry in sorted(entries, key=lambda entry: entry.used):
            if total <= _KEPT * self.max_bytes:
                break
            if _unlink(entry.path):
                total -= entry.size
        return total

    def _listed(self) -> list[_Entry]:
        try:
            return list(self._entries())
        except OSError as error:
            raise self._failure(error, "the cache cannot be read") from error

    def _entries(self) -> Iterator[_Entry]:
        """What is in the folder; sweeps what dead writers left on the way."""
        for fan in _scan(self.folder):
            if not _FAN.fullmatch(fan.name) or not fan.is_dir(follow_symlinks=False):
                continue
            for file in _scan(fan.path):
                partial = PARTIAL.fullmatch(file.name)
                if not (partial or _ADDRESS.fullmatch(file.name)) or file.is_dir(follow_symlinks=False):
                    continue
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # another process was quicker
                if not partial:
                    yield _Entry(file.path, status.st_size, status.st_mtime_ns)
                elif left_behind(partial, status.st_mtime):
                    _unlink(file.path)

    def _removed(self, path: str) -> bool:
        try:
            Path(path).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failure(error, "an entry cannot be removed") from error
        return True

    def _failure(self, error: OSError, rule: str) -> StoreError:
        known = writing_error(error, self.folder, self.folder)
        rule = f"{rule} ({error.strerror})"
        return known or StoreError("folder", self.folder, rule, "Choose another folder, or mend this one.")


def _unlink(path: str) -> bool:
    try:
        Path(path).unlink()
    except OSError:
        return False
    return True


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
