"""The steps that need a compiler: CmdStan's installer, and its make for one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
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
_NO_INSTALLER = re.compile(r"No module named")
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


def run_installer(version: str | None, folder: Path | None, cores: int, say: Callable[[str], object]) -> None:
    """Run cmdstanpy's installer, in a process of its own; its console goes to `say`.

    Raises
    ------
    FitError
        There is no network, no such version, or the build failed.
    """
    shown = version or "latest"
    command = [
        sys.executable,
        "-u",  # lines as they are printed, and before what it says when it fails
        "-W",
        "ignore::RuntimeWarning",
        "-m",
        "cmdstanpy.install_cmdstan",
        "--cores",
        str(cores),
    ]
    command += ["--version", version] if version else []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        command += ["--dir", os.fspath(folder)]
    kept: deque[str] = deque(maxlen=_LINES)
    with subprocess.Popen(  # noqa: S603  our own interpreter
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101  for the type checker
        silent = False
        for line in map(str.rstrip, process.stdout):
            kept.append(line)
            silent = silent or line.startswith("Traceback")
            if line and not silent:
                say(line)
    if process.returncode:
        raise _not_installed(shown, [line for line in kept if line])


def _not_installed(version: str, lines: list[str]) -> FitError:
    """What went wrong, by the last line of the installer."""
    reason = lines[-1].rpartition("Error: ")[2].rstrip(". ") if lines else "it said nothing"
    if _NO_INSTALLER.search(reason):
        return FitError(
            "cmdstan",
            version,
            f"its installer is in cmdstanpy, and that is missing ({reason})",
            "pip install cmdstanpy.",
        )
    if _OFFLINE.search(reason):
        fix = (
            "It needs a network (github.com). On a machine without one, unpack a release of CmdStan, run make build in it "
            "and set CMDSTAN to its folder; or use engine='stanli', which needs neither."
        )
        return FitError("cmdstan", version, f"it cannot be downloaded ({reason})", fix)
    last = "".join(f"\n  | {line}" for line in lines)
    return FitError("cmdstan", version, f"the installation failed ({reason})", f"Its last lines:{last}")
