"""A Stan program: one text with its includes in place, known by its digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path

from tdmx_dask.errors import FitError, InputError

__all__ = ["Program", "read_program", "shipped_programs", "stan_folder"]

_INCLUDE = re.compile(r"^[ \t]*#include[ \t]+[<\"]?([^\s\">]+)[\">]?[ \t]*$", re.MULTILINE)
_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Program:
    """A Stan program as it is sent to an engine, on whichever machine.

    Parameters
    ----------
    name : of its file, without the suffix
    code : the whole program; no ``#include`` is left
    """

    name: str
    code: str

    def __post_init__(self) -> None:
        if not self.code.strip():
            raise InputError("program", self.name, "the program is empty", "Give a Stan program.")

    @property
    def digest(self) -> str:
        """The sha256 of the code."""
        return hashlib.sha256(self.code.encode()).hexdigest()

    @property
    def threaded(self) -> bool:
        """Whether it can use several threads a chain."""
        return "reduce_sum" in self.code


def stan_folder() -> Path:
    """Folder of the programs that come with the package."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_shipped" / "stan"
    return shipped if shipped.is_dir() else package.parent / "stan"


@cache
def shipped_programs() -> dict[str, Path]:
    """Programs that come with the package, by name."""
    return {path.stem: path for path in sorted(stan_folder().glob("*.stan"))}


def read_program(given: str | PathLike[str]) -> Program:
    """Read a shipped program by its name, or one of the user's by its path.

    Includes are looked for beside the file, then in the package's own folder ``stan``.

    Raises
    ------
    InputError
        There is no such program.
    FitError
        An include is missing, or includes itself.
    """
    text = str(given)
    path = shipped_programs().get(text, Path(text))
    if not path.is_file():
        known = ", ".join(shipped_programs())
        raise InputError(
            "program", text, "there is no such Stan program", f"Shipped: {known}; or give a path."
        )
    return Program(path.stem, _flattened(path, (path.parent, stan_folder()), 0))


def _flattened(path: Path, folders: tuple[Path, ...], depth: int) -> str:
    if depth > _DEPTH:
        raise FitError("program", path.name, "its includes include each other", "Remove the circle.")

    def included(match: re.Match[str]) -> str:
        for folder in folders:
            if (folder / match[1]).is_file():
                return _flattened(folder / match[1], folders, depth + 1)
        where = " or ".join(folder.name for folder in dict.fromkeys(folders))
        raise FitError(
            "program", path.name, f"its include {match[1]} is not in {where}", "Put it beside the program."
        )

    try:
        return _INCLUDE.sub(included, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FitError("program", path.name, f"it cannot be read ({error})", "Save it as UTF-8.") from error
