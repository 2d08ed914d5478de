"""An executable and the libraries of its own, as one run of bytes to another machine of the same kind."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

from tdmx_dask.errors import FitError

__all__ = ["pack", "unpack"]

_OWN = re.compile(r"^\s*(libtbb\S*)\s+=>\s+(\S+)", re.MULTILINE)
_PROGRAM = "program"
_MAGIC = (257, b"ustar")


def pack(path: Path) -> bytes:
    """An uncompressed archive of the executable, and of the Threading Building Blocks that CmdStan links it with.

    Raises
    ------
    FitError
        It cannot be read.
    """
    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, file in ((_PROGRAM, path), *_libraries(path)):
                content = file.read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise FitError("executable", path, f"it cannot be read ({error})", "Compile it again.") from error
    return buffer.getvalue()


def _libraries(path: Path) -> list[tuple[str, Path]]:
    from tdmx_dask.fitting.executable import environment

    try:
        command = ["ldd", os.fspath(path)]
        said = subprocess.run(command, capture_output=True, text=True, env=environment(path), check=False)  # noqa: S603
    except OSError:
        return []  # no ldd: macOS, whose libraries are found by their path
    return [(name, Path(file)) for name, file in _OWN.findall(said.stdout) if Path(file).is_file()]


def unpack(content: bytes, folder: Path) -> Path:
    """Write what `pack` packed, or a bare executable; return the program.

    Raises
    ------
    FitError
        An archive is damaged, or holds something else.
    """
    program = folder / _PROGRAM
    at, word = _MAGIC
    if content[at : at + len(word)] != word:
        program.write_bytes(content)
        return program
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isreg() else None
                known = entry.name == _PROGRAM or re.fullmatch(r"libtbb[\w.-]*", entry.name)
                if file is None or not known:
                    raise FitError(
                        "executable", entry.name, "it is no part of a compiled program", "Send it again."
                    )
                (folder / entry.name).write_bytes(file.read())
    except tarfile.TarError as error:
        raise FitError("executable", "archive", f"it is damaged ({error})", "Send it again.") from error
    return program
