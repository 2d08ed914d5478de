"""Publish a file or folder whole: write beside it, then rename.

A reader sees the old one or the new one, never a half: the new one gets its name only once it is complete and
on the disk. What a killed process left behind is removed by the next one that publishes under the same name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from tdmx_dask.errors import InputError, StoreError

__all__ = ["flush", "flush_all", "staging", "writing_error"]

OURS = ("zarr.json", "run.json")  # a folder with one of these at its top was written by tdmx

_FULL = "Free some space, or choose another place."
_DENIED = ("there is no permission to write here", "Choose another place, or ask for write permission.")
_CAUSES = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("your disk quota is used up", _FULL),
    errno.EFBIG: ("a file would be larger than is allowed here", "Raise ulimit -f, or choose another place."),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: ("the file system is read-only", "Choose another place."),
    errno.EIO: ("the disk reported an input/output error", "Check the disk, or choose another place."),
    errno.ESTALE: ("the network file system lost the folder", "Try again, or choose a local disk."),
    errno.ENAMETOOLONG: ("the file name is too long", "Choose a shorter name."),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "Choose another place."),
}
_ANYWHERE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})  # only writing fails so
_TRIALS, _PAUSE = 20, 0.05  # s
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def staging(path: str | PathLike[str], *, overwrite: bool = False, alone: bool = True) -> Iterator[Path]:
    """Yield a name beside `path` to write to; at the end it takes the place of `path`.

    Folders above `path` are made. An error, or Ctrl-C, removes what was written and leaves `path` as it was.

    Parameters
    ----------
    path : the file or folder to publish
    overwrite : replace what exists; the old is kept until the new is whole
    alone : false for one of many: whoever writes them brings all to the disk at once, by `flush_all`, before this ends

    Yields
    ------
    a path in the same folder that does not exist yet: make it a file or a folder

    Raises
    ------
    InputError
        `path` exists and `overwrite` is false, or it is a folder that tdmx did not write.
    StoreError
        The disk is full, or the place cannot be written.
    """
    target = Path(os.path.realpath(path))
    _check_target(target, path, overwrite=overwrite)
    partial = target.with_name(f"{_prefix(target)}{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        _make_folders(target.parent)
        if alone:
            _remove_left_behind(target)
        yield partial
        if alone:
            flush(partial)
        _swap(partial, target, path, overwrite=overwrite)
    except BaseException as error:
        _remove(partial)
        known = writing_error(error, path, target.parent)
        if known is not None:
            raise known from error
        raise


def writing_error(error: BaseException, path: str | PathLike[str], folder: Path) -> StoreError | None:
    """The one-line error for a failure to write `path` in `folder`; None for any other error."""
    if isinstance(error, StoreError | InputError) or not isinstance(error, OSError | RuntimeError):
        return None
    number = getattr(error, "errno", None)
    if number not in _CAUSES:  # HDF5 and Arrow give the number in the text alone
        number = errno.ENOSPC if "No space left on device" in str(error) else None
        if number is None and "File too large" in str(error):
            number = errno.EFBIG
    if number is None:
        return None
    filename = getattr(error, "filename", None)
    if number not in _ANYWHERE and filename is not None:
        inside = Path(os.path.realpath(os.fsdecode(filename)))
        if not (inside.is_relative_to(folder) or folder.is_relative_to(inside)):
            return None
    rule, fix = _CAUSES[number]
    return StoreError("path", os.fspath(path), rule, fix)


def flush(path: Path) -> None:
    """Bring a file, or a folder and all in it, to the disk."""
    if path.is_dir():
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    flush(Path(entry.path))
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without fsync
            raise
    finally:
        os.close(handle)


def flush_all(paths: Sequence[Path]) -> None:
    """Bring folders of one file system to the disk: in one call of the system where there are several."""
    if len(paths) > 1:
        handle = os.open(paths[0], os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(handle) == 0:
                return
        except (AttributeError, OSError):
            pass  # not Linux
        finally:
            os.close(handle)
    for path in paths:
        flush(path)


def _prefix(target: Path) -> str:
    return f".{target.name}.{socket.gethostname()}-"


def _make_folders(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def _check_target(target: Path, given: str | PathLike[str], *, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise InputError(
            "path",
            os.fspath(given),
            "it exists",
            "Choose another name, or replace it with overwrite=True (--overwrite).",
        )
    if target.is_dir() and any(target.iterdir()) and not any((target / name).is_file() for name in OURS):
        raise InputError(
            "path",
            os.fspath(given),
            "this folder was not written by tdmx, so it is not replaced",
            "Choose another name, or remove the folder yourself.",
        )


def _remove_left_behind(target: Path) -> None:
    """Remove what killed processes of this machine left of the same target."""
    prefix = _prefix(target)
    for entry in list(os.scandir(target.parent)):
        if not (entry.name.startswith(prefix) and entry.name.endswith(".partial")):
            continue
        process = entry.name[len(prefix) :].partition("-")[0]
        if process.isdigit() and not _alive(int(process)):
            _remove(Path(entry.path))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: Path) -> None:
    """Remove a file or a folder, also one in which threads of a failed computation still write."""
    for _ in range(_TRIALS):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        if not os.path.lexists(path):
            return
        time.sleep(_PAUSE)


def _swap(partial: Path, target: Path, given: str | PathLike[str], *, overwrite: bool) -> None:
    """Give the new one its name; the old one, if any, is removed afterwards."""
    _check_target(target, given, overwrite=overwrite)  # another process may have made it meanwhile
    if not os.path.lexists(target):
        partial.rename(target)
    elif partial.is_dir() != target.is_dir():
        kind = "folder" if target.is_dir() else "file"
        raise InputError("path", os.fspath(given), f"a {kind} of this name exists", "Choose another name.")
    elif not partial.is_dir():
        partial.replace(target)
    else:
        if not exchange(partial, target):
            replace_folder(partial, target)
        _remove(partial)
    flush_folder(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot (then nothing was done)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    outcome = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(outcome == 0)


def replace_folder(new: Path, old: Path) -> None:
    """Put `new` in the place of `old` by two renames; afterwards the old one has the name `new`."""
    aside = new.with_name(new.name.removesuffix(".partial") + "-old.partial")
    old.rename(aside)
    try:
        new.rename(old)
    except BaseException:
        aside.rename(old)
        raise
    aside.rename(new)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    with suppress(OSError):  # some file systems have no fsync of folders; the renames stand all the same
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
