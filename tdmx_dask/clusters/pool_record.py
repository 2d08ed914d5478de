"""What is known of a cluster that runs on: a folder of mode 0700 with a record in JSON and the PEM files of its credentials.

The folder may be on a network file system that several login nodes see: files are replaced by renames, and the only lock is a folder that
is made. Whoever takes a record away ends its cluster: the process that holds it looks now and then whether its record is still there.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tdmx_dask import errors
from tdmx_dask.clusters.security import private_folder
from tdmx_dask.errors import ClusterError, InputError, StoreError, TdmxError

__all__ = [
    "FAILED", "LOG", "Record", "Written", "check_name", "claim", "error_of", "error_plain", "last_log", "names", "read", "read_json",
    "remove", "turn", "write", "write_json",
]  # fmt: skip

RECORD, FAILED, LOG = "pool.json", "failed.json", "log"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BUSY = 30.0
"""Seconds after which whoever holds a turn must have died: a turn takes milliseconds."""

Written = Literal["starting", "running", "ending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A cluster that runs on after the command that started it.

    Parameters
    ----------
    name : by which it is joined
    token : differs from every other record's
    state : what its process wrote last
    profile, kind : by which it was started
    host, pid, born, space : of its process; `born` and `space` tell it from a later one of the same number
    started : s since the epoch
    address : of the scheduler; empty while it starts
    dashboard : link, on loopback of its host
    ca_file, cert, key : PEM files, below its folder or absolute
    """

    name: str
    token: str
    state: Written
    profile: str
    kind: str
    host: str
    pid: int
    born: float
    space: str
    started: float
    address: str = ""
    dashboard: str = ""
    ca_file: str = ""
    cert: str = ""
    key: str = ""


def check_name(name: str) -> str:
    """Refuse what is no name of a cluster.

    Raises
    ------
    InputError
        It has other characters than letters, digits, ``.``, ``_`` and ``-``, or means something else where a cluster is named.
    """
    if not _NAME.fullmatch(name) or name == "current" or name.endswith((".yaml", ".yml", ".log")):
        raise InputError(
            "name", name, "a cluster's name is 1 to 64 letters, digits, '.', '_' or '-', begins with a letter or digit, "
            "and is neither 'current' nor a file's", "For example slurm-long.",
        )  # fmt: skip
    return name


def names(pools: Path) -> tuple[str, ...]:
    """Names that have a record, in order."""
    try:
        found = [
            entry.name for entry in os.scandir(pools) if not entry.name.startswith(".") and entry.is_dir()
        ]
    except FileNotFoundError:
        return ()
    return tuple(sorted(found))


def read(folder: Path) -> Record | None:
    """The record in a folder; None where there is none.

    Raises
    ------
    StoreError
        It cannot be read, or another version of the package wrote it.
    """
    said = read_json(folder / RECORD)
    if said is None:
        return None
    known = {field.name for field in fields(Record)}
    try:
        return Record(**{name: value for name, value in said.items() if name in known})
    except TypeError as error:
        rule = f"it is no record of a cluster ({error})"
        raise StoreError("pool", folder, rule, f"Remove it: rm -r {folder}") from error


def write(folder: Path, record: Record) -> None:
    """Replace the record in a folder that is there.

    Raises
    ------
    FileNotFoundError
        The folder was taken away.
    StoreError
        The disk is full, say.
    """
    write_json(folder / RECORD, asdict(record))


def read_json(path: Path) -> dict[str, Any] | None:
    """A mapping in a file; None where there is no file."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        rule = f"it cannot be read ({error})"
        raise StoreError(
            "pool", path, rule, f"Where it is damaged, remove it: rm -r {path.parent}"
        ) from error
    if not isinstance(said, dict):
        raise StoreError("pool", path, "it holds no mapping", f"Remove it: rm -r {path.parent}")
    return said


def write_json(path: Path, said: Mapping[str, Any]) -> None:
    """Replace a file that its owner alone can read, in one step."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(said, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        fix = "Check space and permissions, or set pools-folder."
        raise StoreError("pool", path, f"it cannot be written ({error})", fix) from error


@contextmanager
def turn(pools: Path, name: str) -> Iterator[None]:
    """Hold a name for a moment: of several commands that begin or clear the same one, each does so in its turn.

    Raises
    ------
    StoreError
        The folder of all records cannot be made, or others can enter it.
    """
    lock = private_folder(pools) / f".{name}.turn"
    while True:
        try:
            lock.mkdir(mode=0o700)
            break
        except FileExistsError:
            if _age(lock) > _BUSY:
                with suppress(OSError):
                    lock.rmdir()
            time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()


def _age(path: Path) -> float:
    """Seconds since it was made, by the clock of its own file system; 0 where it is gone."""
    probe = path.with_name(f".{secrets.token_hex(4)}.now")
    try:
        probe.touch(mode=0o600)
        try:
            return probe.stat().st_mtime - path.stat().st_mtime
        finally:
            probe.unlink()
    except OSError:
        return 0.0


def claim(pools: Path, record: Record, more: Mapping[str, Mapping[str, Any]]) -> Path:
    """Make the folder of a record, all at once; only in its name's `turn`, and where there is none.

    Parameters
    ----------
    pools : folder of all records
    record : state `starting`
    more : file name -> what else it holds
    """
    fresh = pools / f".{record.name}-{record.token}"
    fresh.mkdir(mode=0o700)
    write(fresh, record)
    for name, said in more.items():
        write_json(fresh / name, said)
    folder = pools / record.name
    if folder.is_dir():  # without a record: somebody removed that alone
        junk = fresh.with_name(f"{fresh.name}-ended")
        folder.rename(junk)
        shutil.rmtree(junk, ignore_errors=True)
    fresh.rename(folder)
    return folder


def remove(pools: Path, record: Record) -> bool:
    """Take a record away, where it still is this one; its log is kept beside it. False where it was gone."""
    folder = pools / record.name
    with turn(pools, record.name):
        try:
            now = read(folder)
        except StoreError:
            now = record  # damaged: nobody can use it
        if not folder.is_dir() or (now is not None and now.token != record.token):
            return False
        with suppress(OSError):
            (folder / LOG).replace(last_log(pools, record.name))
        ended = pools / f".{record.name}-{record.token}-ended"
        folder.rename(ended)
    shutil.rmtree(ended, ignore_errors=True)
    return True


def last_log(pools: Path, name: str) -> Path:
    """Where the log of the last cluster of a name is kept after its end."""
    return pools / f"{name}.log"


def error_plain(error: Exception) -> dict[str, str]:
    """An error as JSON has it."""
    if isinstance(error, TdmxError):
        said = {key: str(getattr(error, key)) for key in ("name", "value", "rule", "fix")}
        return {"error": type(error).__name__, **said}
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return {
        "error": "",
        "name": "cluster",
        "value": "",
        "rule": f"its process failed: {text}"[:500],
        "fix": "",
    }


def error_of(said: Mapping[str, Any], *, value: str, fix: str) -> TdmxError:
    """The error that `error_plain` made plain; `value` and `fix` where it was none of ours."""
    kind = getattr(errors, str(said.get("error", "")), None)
    kind = kind if isinstance(kind, type) and issubclass(kind, TdmxError) else ClusterError
    name, rule = str(said.get("name", "cluster")), str(said.get("rule", "it failed"))
    return kind(name, said.get("value") or value, rule.rstrip("."), str(said.get("fix") or fix))
