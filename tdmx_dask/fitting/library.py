"""The library of fits: a folder of stores named for what was asked, and of records by which later fits start warm and ask for memory.

::

    fits/<address>.zarr.zip                    a fit: one file, immutable, published whole
    fits/records/<program>/<address>.json      where its chains ended, what it needed, and where its store is

A record is small JSON that is written beside its place and renamed, so processes share a library without a lock. One that is damaged is
as good as none: records make fits faster, and change no posterior.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tdmx_dask.errors import StoreError, TdmxError
from tdmx_dask.store.container import container_at
from tdmx_dask.store.layout import read_mark
from tdmx_dask.store.publish import writing_error
from tdmx_dask.store.schema import DRAWS_SCHEMA

__all__ = ["Library"]

_RECORDS = "records"
SUFFIX = ".zarr.zip"
_FORMAT = 1
_TICK = 2_000_000_000
"""ns; a folder that was changed so lately may change again without another time of change."""

_log = logging.getLogger("tdmx_dask.fitting")


class Library:
    """A folder of fits.

    Parameters
    ----------
    folder : made when something is published
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).resolve()
        self._read: dict[tuple[str, int], dict[str, Any] | None] = {}
        self._listed: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse a folder that cannot be written, before anything is computed for it.

        Raises
        ------
        StoreError
            With the reason.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise StoreError(
                "library", self.folder, "it is a file, not a folder", "Choose another place."
            ) from error
        except OSError as error:
            known = writing_error(error, self.folder, self.folder)
            raise known or StoreError("library", self.folder, f"it cannot be made ({error})") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            rule = "there is no permission to write here"
            raise StoreError("library", self.folder, rule, "Choose another place, or ask for permission.")

    def place(self, address: str) -> Path:
        """The store of a request that is to be published: the next free name."""
        path = self.folder / f"{address}{SUFFIX}"
        number = 1
        while os.path.lexists(path):
            number += 1
            path = self.folder / f"{address}-{number}{SUFFIX}"
        return path

    def find(self, address: str, program: str) -> Path | None:
        """The store of a request that was answered before, if it is whole.

        Parameters
        ----------
        address : digest of the request
        program : digest of its program
        """
        places = [self.folder / f"{address}{SUFFIX}"]
        record = self._load(self._record(address, program))
        if record is not None and isinstance(record.get("store"), str):
            places.append(self.folder / record["store"])
        return next((path for path in places if _answers(path, address)), None)

    def write_record(self, address: str, program: str, record: Mapping[str, Any], store: Path) -> None:
        """Keep what later fits can use; what cannot be written is only slower.

        Parameters
        ----------
        address : digest of the request
        program : digest of its program
        record : as JSON holds it
        store : where the fit is
        """
        path = self._record(address, program)
        partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        where = os.path.relpath(store, self.folder) if store.parent == self.folder else str(store)
        content = {"format": _FORMAT, "address": address, "program": program, "store": where, **record}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
            partial.replace(path)
        except (OSError, ValueError) as error:
            _log.warning("%s: no record was written (%s)", path, error)
            with suppress(OSError):
                partial.unlink()

    def records(self, program: str) -> list[dict[str, Any]]:
        """Records of fits of a program, the oldest first.

        Parameters
        ----------
        program : digest
        """
        folder = self.folder / _RECORDS / program[:16]
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return []
        with self._lock:
            known = self._listed.get(program)
            if known is None or known[0] != changed:
                settled = time.time_ns() - changed > _TICK
                known = changed if settled else -1, self._list(folder, program)
                self._listed[program] = known
            return known[1]

    def _list(self, folder: Path, program: str) -> list[dict[str, Any]]:
        """Read what was not read before; a record that is renamed into its place is another file."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".json"):
                    continue
                key = (entry.path, entry.inode())
                if key not in self._read:
                    self._read[key] = self._load(Path(entry.path))
                record = self._read[key]
                if record is not None and record.get("program") == program:
                    found.append(record)
        return sorted(found, key=lambda record: (float(record.get("created", 0.0)), str(record["address"])))

    def _record(self, address: str, program: str) -> Path:
        return self.folder / _RECORDS / program[:16] / f"{address}.json"

    @staticmethod
    def _load(path: Path) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) and content.get("format") == _FORMAT else None


def _answers(path: Path, address: str) -> bool:
    """Whether a whole store is there that answers a request."""
    try:
        read_mark(path, DRAWS_SCHEMA)
        attributes = json.loads(container_at(path).read("posterior/zarr.json"))["attributes"]
    except (TdmxError, OSError, ValueError, KeyError):
        return False
    return bool(attributes.get("request") == address)
