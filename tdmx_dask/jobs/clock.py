"""Time and identity of this process: leases and delays are counted on a clock that nobody can set."""

from __future__ import annotations

import functools
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Clock", "Identity", "identity"]


class Clock:
    """The time of this machine.

    `ticks` (s) is the system's monotonic clock: the same in all processes since the machine was booted, so that a wall clock which jumps
    neither ends a lease nor lengthens a delay. It means nothing after another boot. `wall` (s since 1970) is for people.
    """

    def ticks(self) -> float:
        """Seconds since some time before this boot's first process."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, as the machine believes."""
        return time.time()

    def boot(self) -> str:
        """Name of this boot of the machine."""
        return _boot()


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, such that another process can tell whether it still lives.

    Parameters
    ----------
    host, pid : for people
    born : when it started, in ticks of the system since the boot
    space : of process ids: a pid says nothing to a process of another container
    """

    host: str
    pid: int
    born: float
    space: str

    def gone(self) -> bool:
        """Whether the process certainly lives no more; False where that cannot be known."""
        if self.space != _space():
            return False
        try:
            return _born(self.pid) != self.born
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


def identity() -> Identity:
    """Of this process."""
    pid = os.getpid()
    return Identity(platform.node(), pid, _born(pid), _space())


def _born(pid: int) -> float:
    """When a process started; on Linux in ticks since the boot, which no setting of the clock changes."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            raise psutil.NoSuchProcess(pid) from None
        return float(psutil.Process(pid).create_time())
    except OSError as error:
        raise psutil.AccessDenied(pid) from error
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):  # a zombie holds nothing
        raise psutil.NoSuchProcess(pid)
    return float(fields[19])


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


@functools.cache
def _space() -> str:
    try:
        return f"{_boot()}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return _boot()
