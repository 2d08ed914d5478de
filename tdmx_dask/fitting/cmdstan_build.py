"""The steps that need a compiler: CmdStan's installer, and its make for one program."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.program import Program

if TYPE_CHECKING:
    from tdmx_dask.fitting.toolchain import Build, CmdStan, Flags

__all__ = ["make_with", "run_installer", "translate"]

_MINUTES = 30
_LINES = 15
_OFFLINE = re.compile(
    r"connect|network|resolve|urlopen|timed out|retriev|cannot be downloaded", re.IGNORECASE
)
_STEM = "program"


def make_with(cmdstan: CmdStan) -> Build:
    """The step by CmdStan's own makefile."""

    def build(program: Program, flags: Flags, folder: Path) -> Path:
        source = folder / f"{_STEM}.stan"
        source.write_text(program.code, encoding="utf-8")
        translate(cmdstan, program, source)
        command = [
            "make",
            "-C",
            os.fspath(cmdstan.path),
            *flags.arguments(),
            os.fspath(source.with_suffix("")),
        ]
        _called(command, program, "its C++ does not compile", "Look at CmdStan: tdmx stan status.")
        for library in (cmdstan.path / "stan/lib/stan_math/lib/tbb").glob("libtbb.so.*"):
            (folder / library.name).write_bytes(library.read_bytes())  # for machines without this CmdStan
        return source.with_suffix("")

    return build


def translate(cmdstan: CmdStan, program: Program, source: Path) -> Path:
    """Translate a program to C++.

    Raises
    ------
    FitError
        It does not compile: with the line, and what stanc says of it.
    """
    target = source.with_suffix(".hpp")
    named = f"--filename-in-msg={program.name}.stan"
    command = [os.fspath(cmdstan.path / "bin" / "stanc"), named, f"--o={target}", os.fspath(source)]
    _called(command, program, "it does not compile", "Correct the program.")
    return target


def _called(command: list[str], program: Program, what: str, fix: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  tools of CmdStan
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60 * _MINUTES,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FitError("program", program.name, f"{Path(command[0]).name} failed ({error})", fix) from error
    if done.returncode:
        lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
        last = "".join(f"\n  | {line}" for line in lines[-_LINES:])
        raise FitError(
            "program",
            program.name,
            f"{what}; command: {' '.join(command)}",
            f"{fix} The console's last lines:{last}",
        )


class _Lines(io.TextIOBase):
    """Passes lines on, and keeps the last."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.kept: list[str] = []
        self._say = say
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            for line in filter(None, (each.strip() for each in text.splitlines())):
                self.kept = [*self.kept[-_LINES:], line]
                self._say(line)
        return len(text)


def run_installer(version: str | None, folder: Path | None, cores: int, say: Callable[[str], object]) -> None:
    """Run cmdstanpy's installer; its console goes to `say`.

    Raises
    ------
    FitError
        There is no network, no such version, or the build failed.
    """
    shown = version or "latest"
    try:
        from cmdstanpy.install_cmdstan import InstallationSettings, run_install
    except ImportError as error:
        raise FitError(
            "cmdstan",
            shown,
            f"its installer is in cmdstanpy, and that cannot be loaded ({error})",
            "pip install cmdstanpy.",
        ) from error
    lines = _Lines(say)
    handler = logging.StreamHandler(lines)
    logger = logging.getLogger("cmdstanpy")
    before, logger.handlers = logger.handlers, [handler]
    try:
        with contextlib.redirect_stdout(lines):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            where = None if folder is None else os.fspath(folder)
            run_install(InstallationSettings(version=version, dir=where, cores=cores, progress=False))
    except Exception as error:
        said = f"{error} {' '.join(lines.kept)}"
        if _OFFLINE.search(said):
            rule = f"it cannot be downloaded ({error})"
            fix = (
                "It needs a network (github.com). On a machine without one, unpack a release of CmdStan, run make build in "
                "it and set CMDSTAN to its folder; or use engine='stanli', which needs neither."
            )
            raise FitError("cmdstan", shown, rule, fix) from error
        last = "".join(f"\n  | {line}" for line in lines.kept)
        raise FitError(
            "cmdstan", shown, f"the installation failed ({error})", f"Its last lines:{last}"
        ) from error
    finally:
        logger.handlers = before
