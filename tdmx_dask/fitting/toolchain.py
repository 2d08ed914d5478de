"""CmdStan on this machine: whether it is here, how it is installed, and compiled programs, kept by what they were made of.

The cache is a folder (`TDMX_STAN_CACHE`, else ``tdmx/stan`` under `XDG_CACHE_HOME`, else under ``~/.cache``); machines that share a home
share it. A compiled program stands in ``<key>/<name>``, where the key is a digest of the program, the version of CmdStan, the flags and the
machine. It is built once and renamed into place (`made_once`).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.made_once import made_once
from tdmx_dask.fitting.program import Program

__all__ = [
    "Build",
    "CmdStan",
    "Flags",
    "Status",
    "cache_folder",
    "compile_program",
    "executable_for",
    "install",
    "installed",
    "materialise",
    "packed",
    "status",
    "usable",
]

MISSING = (
    "It runs in the embedded engine without CmdStan (engine='stanli'); to have it, run tdmx stan install, "
)
MISSING += "which needs a C++ compiler, make and a network."
_TOOLS = ("make", "g++", "clang++")


@dataclass(frozen=True, slots=True)
class CmdStan:
    """An installation of CmdStan.

    Parameters
    ----------
    path : its folder
    version : ``2.37.0``
    lacks : what a compile would miss; empty where it can compile
    """

    path: Path
    version: str
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flags:
    """How a program is compiled.

    Parameters
    ----------
    threads : with STAN_THREADS, for reduce_sum
    """

    threads: bool = False

    def arguments(self) -> list[str]:
        """As make takes them."""
        return ["STAN_THREADS=TRUE"] if self.threads else []


Build = Callable[[Program, Flags, Path], Path]
"""Makes an executable of a program inside of an empty folder and returns its path; the step that needs a compiler."""


@dataclass(frozen=True, slots=True)
class Status:
    """What there is on this machine.

    Parameters
    ----------
    stanli : version of the embedded engine, None where it is missing
    cmdstan : installation, None where there is none
    compiler, make : paths of the tools, None where they are missing
    cache : folder of compiled programs
    programs : names of those that are there, and their size, MB
    """

    stanli: str | None
    cmdstan: CmdStan | None
    compiler: str | None
    make: str | None
    cache: Path
    programs: tuple[tuple[str, float], ...]


def status() -> Status:
    """Look at this machine; nothing is changed and no program is run."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        stanli = version("stanli")
    except PackageNotFoundError:
        stanli = None
    cache = cache_folder()
    found = sorted(path for path in cache.glob("*/*") if _is_program(path)) if cache.is_dir() else []
    programs = tuple((path.name, path.stat().st_size / 1e6) for path in found)
    make, *compilers = (shutil.which(tool) for tool in _TOOLS)
    compiler = shutil.which(os.environ.get("CXX", "")) or next((path for path in compilers if path), None)
    return Status(stanli, installed(), compiler, make, cache, programs)


def _is_program(path: Path) -> bool:
    return (
        path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name and path.parent.name[0] != "."
    )


def installed() -> CmdStan | None:
    """The CmdStan that cmdstanpy would take: of the variable CMDSTAN, of a conda environment, the latest of ``~/.cmdstan``."""
    places = [Path(os.environ[name], *rest) for name, rest in _PLACES if os.environ.get(name)]
    home = Path.home() / ".cmdstan"
    places += sorted(home.glob("cmdstan-*"), key=lambda path: _release(path.name), reverse=True)
    for place in places:
        if (place / "makefile").is_file():
            return _described(place.resolve())
    return None


_PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (("CMDSTAN", ()), ("CONDA_PREFIX", ("bin", "cmdstan")))
_PARTS = {
    "bin/stanc": "its compiler of Stan (bin/stanc)",
    "src/cmdstan/main.cpp": "its sources (src)",
    "stan/lib/stan_math/stan/math.hpp": "the sources of Stan's math",
}


def _described(place: Path) -> CmdStan:
    version = place.name.removeprefix("cmdstan-")
    for line in (place / "makefile").read_text(errors="replace").splitlines():
        if line.replace(" ", "").startswith("CMDSTAN_VERSION:="):
            version = line.partition(":=")[2].strip()
    lacks = tuple(what for part, what in _PARTS.items() if not (place / part).exists())
    return CmdStan(place, version, lacks)


def _release(name: str) -> tuple[tuple[int, ...], bool, str]:
    """Order of versions: 2.9 < 2.37.0-rc1 < 2.37.0."""
    number, _, candidate = name.removeprefix("cmdstan-").partition("-rc")
    digits = tuple(int(part) if part.isdigit() else -1 for part in number.split("."))
    return digits, not candidate, candidate


def install(
    version: str | None = None,
    *,
    folder: Path | None = None,
    cores: int = 2,
    say: Callable[[str], object] | None = None,
) -> CmdStan:
    """Download and build CmdStan by cmdstanpy's installer (some minutes).

    Parameters
    ----------
    version : ``2.37.0``; None: the latest
    folder : where to; None: ``~/.cmdstan``
    cores : >= 1
    say : called with each line that the installer prints

    Raises
    ------
    FitError
        A tool is missing, there is no network, or the build failed.
    """
    found = status()
    if found.compiler is None or found.make is None:
        missing = "make" if found.make is None else "a C++ compiler"
        fix = "Install them (Debian: apt install g++ make; macOS: xcode-select --install), or use engine='stanli'."
        raise FitError(
            "cmdstan", version or "latest", f"{missing} is not installed, and CmdStan is built", fix
        )
    from tdmx_dask.fitting.cmdstan_build import run_installer

    run_installer(version, folder, cores, say or (lambda _: None))
    if folder is not None:
        builds = sorted(folder.glob("cmdstan-*"), key=lambda path: _release(path.name))
        return _described(builds[-1])
    done = installed()
    assert done is not None  # noqa: S101  (the installer would have failed)
    return done


def cache_folder() -> Path:
    """Where compiled programs are kept."""
    if given := os.environ.get("TDMX_STAN_CACHE"):
        return Path(given).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tdmx" / "stan"


def _key(program: Program, version: str, flags: Flags) -> str:
    libc = "-".join(platform.libc_ver())
    machine = [sys.platform, platform.machine(), libc]
    parts = {"program": program.digest, "cmdstan": version, "flags": flags.arguments(), "machine": machine}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def executable_for(
    program: Program, *, threads: bool | None = None, version: str | None = None, folder: Path | None = None
) -> Path | None:
    """The compiled program, if it is in the cache.

    Parameters
    ----------
    program : which
    threads : compiled for several threads a chain; None: as the program can use them
    version : of CmdStan; None: the one that is installed
    folder : of the cache; None: `cache_folder`
    """
    flags = Flags(program.threaded if threads is None else threads)
    if version is None:
        found = installed()
        if found is None:
            return None
        version = found.version
    path = (folder or cache_folder()) / _key(program, version, flags) / program.name
    return path if path.is_file() else None


def compile_program(
    program: Program,
    *,
    threads: bool | None = None,
    version: str | None = None,
    folder: Path | None = None,
    build: Build | None = None,
    say: Callable[[str], object] | None = None,
) -> Path:
    """Compile a program unless that was done before, by whichever process; return its executable.

    Parameters
    ----------
    program, threads, version, folder : as in `executable_for`
    build : the step that needs a compiler; None: CmdStan's make
    say : called where there is something to wait for

    Raises
    ------
    FitError
        CmdStan is not installed or not whole, the program does not compile, or the cache cannot be written.
    """
    if build is None:
        from tdmx_dask.fitting.cmdstan_build import make_with

        found = usable(program)
        version = version or found.version
        build = make_with(found)
    flags = Flags(program.threaded if threads is None else threads)
    version = version or ""
    cache = folder or cache_folder()
    tell = say or (lambda _: None)
    name = program.name
    return made_once(
        cache / _key(program, version, flags) / name,
        lambda empty: build(program, flags, empty),
        waiting=lambda: tell(f"another process compiles {name}; waiting"),
        making=lambda: tell(f"compiling {name} (about a minute)"),
    )


def usable(program: Program) -> CmdStan:
    """The CmdStan that can compile.

    Raises
    ------
    FitError
        There is none, or parts of it are missing.
    """
    found = installed()
    if found is None:
        raise FitError("program", program.name, "it cannot be compiled: CmdStan is not installed", MISSING)
    if found.lacks:
        rule = f"it cannot be compiled: CmdStan in {found.path} lacks {' and '.join(found.lacks)}"
        raise FitError(
            "program", program.name, rule, "Install it anew: tdmx stan install, and unset CMDSTAN."
        )
    return found


def packed(path: str | os.PathLike[str]) -> bytes:
    """An executable as bytes to send, with the libraries of its own (TBB) that it needs."""
    from tdmx_dask.fitting.parcel import pack

    return pack(Path(path))


def materialise(name: str, content: bytes) -> Path:
    """Write an executable that was sent (the bytes of `packed`, or of the file itself) to the cache; return its path.

    Parameters
    ----------
    name : a digest of it; letters and digits
    content : the bytes

    Raises
    ------
    FitError
        The name is no digest, or the cache cannot be written.
    """
    from tdmx_dask.fitting.parcel import unpack

    if not name.isalnum():
        raise FitError("executable", name, "it is known by a digest, letters and digits", "Send it again.")
    return made_once(cache_folder() / f"sent-{name}" / "program", lambda empty: unpack(content, empty))
