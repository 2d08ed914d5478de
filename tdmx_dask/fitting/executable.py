"""A compiled CmdStan program: what it says of itself, and why one cannot run here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tdmx_dask.errors import FitError

__all__ = ["Executable", "environment", "known_executable"]

_RECOMPILE = "Compile it on this machine: tdmx stan compile."
_MACHINES = {0x03: "x86 (32 bit)", 0x28: "ARM (32 bit)", 0x3E: "x86_64", 0xB7: "aarch64", 0x15: "ppc64"}
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Executable:
    """A program that answers as CmdStan's do.

    Parameters
    ----------
    path : absolute
    release : of CmdStan, (2, 37, 0); empty where it does not say
    threaded : whether it was compiled with STAN_THREADS
    """

    path: Path
    release: tuple[int, ...]
    threaded: bool

    @property
    def version(self) -> str:
        """Name and version of the engine: ``cmdstan 2.37.0``."""
        return " ".join(["cmdstan", ".".join(map(str, self.release))]).strip()


def known_executable(given: str | os.PathLike[str] | None) -> Executable:
    """Look at a compiled program and ask for its version; what it answered is kept until the file changes.

    Raises
    ------
    FitError
        There is none, it may not be run, it is for another machine, or it is no CmdStan program.
    """
    if given is None:
        raise FitError(
            "executable", "none", "CmdStan runs a compiled program", "Compile it: tdmx stan compile PROGRAM."
        )
    path = Path(given).absolute()
    if not path.is_file():
        raise FitError("executable", given, "there is no such file", "Compile the program again.")
    if not os.access(path, os.X_OK):
        raise FitError("executable", given, "it may not be run", f"Allow it: chmod u+x {path}.")
    _check_machine(path)
    status = path.stat()
    return _asked(path, status.st_mtime_ns, status.st_size)


def _check_machine(path: Path) -> None:
    """Compare its ELF header with that of the interpreter which runs here; a script may be anything."""
    if not sys.platform.startswith("linux"):
        return
    with path.open("rb") as file, Path(sys.executable).open("rb") as here:
        theirs, ours = file.read(20), here.read(20)
    if theirs[:2] == b"#!" or ours[:4] != b"\x7fELF":
        return
    if theirs[:4] != b"\x7fELF":
        raise FitError("executable", path, "it is no program of this system", _RECOMPILE)
    if (theirs[4:6], theirs[18:20]) != (ours[4:6], ours[18:20]):
        rule = f"it is a program for {_machine(theirs)}, and this machine is {_machine(ours)}"
        raise FitError("executable", path, rule, _RECOMPILE)


def _machine(head: bytes) -> str:
    code = int.from_bytes(head[18:20], "big" if head[5:6] == b"\x02" else "little")
    return _MACHINES.get(code, f"machine {code}")


@lru_cache(maxsize=256)
def _asked(path: Path, _mtime: int, _size: int) -> Executable:
    command = [os.fspath(path), "info"]
    try:
        asked = subprocess.run(  # noqa: S603  a program that the user or the cache names
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, env=environment(path)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FitError("executable", path, f"it cannot be run ({error})", _RECOMPILE) from error
    said = dict(line.replace(" ", "").split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    if "stan_version_major" not in said:
        last = " | ".join((asked.stdout + asked.stderr).strip().splitlines()[-3:]) or "nothing"
        raise FitError(
            "executable",
            path,
            f"asked what it is (`info`), it ended with {asked.returncode} and said: {last}",
            "Give a program that CmdStan 2.28 or later compiled, or "
            + _RECOMPILE[0].lower()
            + _RECOMPILE[1:],
        )
    release = tuple(int(said.get(f"stan_version_{part}", 0)) for part in ("major", "minor", "patch"))
    return Executable(path, release, said.get("STAN_THREADS", "").lower() in ("true", "1"))


def environment(path: Path) -> dict[str, str]:
    """Variables for a program: libraries that lie beside it are found, after those it names itself."""
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), os.fspath(path.parent)]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder)}
