"""Which engine runs a fit, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tdmx_dask.errors import FitError, InputError
from tdmx_dask.fitting import toolchain
from tdmx_dask.fitting.program import Program

__all__ = ["ENGINES", "Choice", "choose_engine"]

ENGINES = ("auto", "stanli", "cmdstan")
_COMPILED_ALONE = ("pathfinder", "advi")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine.

    Parameters
    ----------
    name : stanli or cmdstan
    version : name and version: ``cmdstan 2.37.0``
    why : one clause, for the log
    executable : path of the compiled program; None for stanli, and where it is still to be compiled
    """

    name: str
    version: str
    why: str
    executable: str | None = None

    def ready(self, program: Program, *, threads: bool | None = None) -> Choice:
        """Compile the program if that is still to be done (about a minute, once).

        Raises
        ------
        FitError
            It does not compile.
        """
        if self.name == "stanli" or self.executable is not None:
            return self
        return replace(self, executable=os.fspath(toolchain.compile_program(program, threads=threads)))


def choose_engine(
    engine: str,
    program: Program,
    executable: str | os.PathLike[str] | None = None,
    *,
    method: str = "nuts",
    threads: bool | None = None,
) -> Choice:
    """Choose the engine of a fit; nothing is compiled here.

    Parameters
    ----------
    engine : auto takes CmdStan if an executable is given or CmdStan is installed, else stanli
    program : what is fitted
    executable : a compiled CmdStan program
    method : nuts, or an approximation; Pathfinder and ADVI are CmdStan's alone
    threads : compiled for several threads a chain; None: as the program can use them

    Raises
    ------
    InputError
        There is no such engine, no such executable, or one was given to stanli.
    FitError
        The engine is not installed, cannot run here, or has not got the method.
    """
    if engine not in ENGINES:
        raise InputError("engine", engine, f"it is one of {', '.join(ENGINES)}", "Left out, it is auto.")
    if executable is not None:
        if engine == "stanli":
            raise InputError(
                "executable", executable, "stanli runs no compiled programs", "Use engine='cmdstan'."
            )
        if not isinstance(executable, str | os.PathLike):
            raise InputError("executable", executable, "it is the path of a program", "Leave it out.")
        if not Path(executable).is_file():
            raise InputError("executable", executable, "there is no such file", "Compile the program again.")
        from tdmx_dask.fitting.executable import known_executable

        known = known_executable(executable)
        return Choice("cmdstan", known.version, "an executable was given", os.fspath(known.path))
    if engine == "stanli":
        return _stanli("it was asked for", method)
    found = toolchain.installed()
    if found is not None and not found.lacks:
        ready = toolchain.executable_for(program, threads=threads, version=found.version)
        why = "it was asked for" if engine == "cmdstan" else "CmdStan is installed"
        return Choice("cmdstan", f"cmdstan {found.version}", why, None if ready is None else os.fspath(ready))
    if engine == "cmdstan":
        toolchain.usable(program)
    return _stanli("CmdStan is not installed" if found is None else "CmdStan is not whole", method)


def _stanli(why: str, method: str) -> Choice:
    if method in _COMPILED_ALONE:
        fix = "Use engine='cmdstan' (tdmx stan install, which needs a C++ compiler and a network), or method='laplace'."
        raise FitError("method", method, "stanli has not got it; CmdStan has", fix)
    try:
        return Choice("stanli", f"stanli {version('stanli')}", why)
    except PackageNotFoundError as error:
        raise FitError("engine", "stanli", "it is not installed", "pip install stanli.") from error
