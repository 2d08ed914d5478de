"""What holds the files of a store: a folder, or a Zip file without compression (a fit of a library is one file, not a hundred).

Both hold the same Zarr v3 hierarchy under the same keys, so digests are the same, and ``zarr.storage.ZipStore`` opens the latter.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Archive", "Container", "Folder", "Writer", "container_at", "extract", "writer_at"]

SUFFIX = ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file


class Container(Protocol):
    """Reads files by their keys, such as ``posterior/CL/c.0.0``."""

    path: Path

    def read(self, key: str) -> bytes:
        """All of a file; an OSError where it is missing or damaged."""
        ...

    def names(self, key: str) -> set[str]:
        """Names in a folder; an OSError where there is none."""
        ...

    def zarr_store(self) -> Any:
        """What xarray opens."""
        ...


class Folder:
    """A store that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> bytes:
        """All of a file."""
        with open(os.path.join(self.path, key), "rb", buffering=0) as source:  # noqa: PTH118, PTH123  (read for each slice)
            return source.read()

    def names(self, key: str) -> set[str]:
        """Names in a folder."""
        return set(os.listdir(self.path / key))  # noqa: PTH208  (names only, and there may be many)

    def zarr_store(self) -> Any:
        """What xarray opens."""
        return self.path


class Archive:
    """A store that is one Zip file; it is opened for each look at it, so that nothing stays open.

    Raises
    ------
    OSError
        It is no Zip file, or it was cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if entry.compress_type != zipfile.ZIP_STORED:
                        raise OSError(f"{entry.filename} is compressed")
                    self._places[entry.filename] = entry.header_offset, entry.file_size
        except zipfile.BadZipFile as error:
            raise OSError(str(error)) from error

    def read(self, key: str) -> bytes:
        """All of a file; what is in it carries its own checksum."""
        place = self._places.get(key)
        if place is None:
            raise FileNotFoundError(2, "it is not in the archive", key)
        offset, size = place
        with self.path.open("rb") as source:
            source.seek(offset)
            header = source.read(30)  # a local file header (PKWARE APPNOTE 6.3, section 4.3.7)
            if header[:4] != b"PK\x03\x04":
                raise OSError(5, "the archive is damaged", key)
            source.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            return source.read(size)

    def names(self, key: str) -> set[str]:
        """Names in a folder."""
        start = f"{key}/" if key else ""
        found = {name[len(start) :].partition("/")[0] for name in self._places if name.startswith(start)}
        if not found:
            raise FileNotFoundError(2, "it is not in the archive", key)
        return found

    def zarr_store(self) -> Any:
        """What xarray opens."""
        from zarr.storage import ZipStore

        return ZipStore(self.path, mode="r")

    def extract(self, folder: Path) -> None:
        """Write its files to a new folder."""
        for key in self._places:
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(key))


def container_at(path: Path) -> Container:
    """The store at a path, a folder or one file.

    Raises
    ------
    OSError
        A file that is no archive of ours.
    """
    return Archive(path) if path.is_file() else Folder(path)


def extract(path: Path, folder: Path) -> None:
    """Copy the store at a path into a new folder."""
    found = container_at(path)
    if isinstance(found, Archive):
        found.extract(folder)
    else:
        import shutil

        shutil.copytree(path, folder)


class Writer:
    """Writes files by their keys; folders come by themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: set[Path] = set()

    def write(self, key: str, data: bytes) -> None:
        """Write one file, once."""
        target = self.path / key
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        with target.open("xb") as file:  # buffered: a raw write may end early where the disk is full
            file.write(data)

    def close(self) -> None:
        """Nothing is left open."""


class _ArchiveWriter(Writer):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._content = io.BytesIO()  # one write to the disk: `zipfile` goes back to each file's header
        self._archive = zipfile.ZipFile(self._content, "w", zipfile.ZIP_STORED)

    def write(self, key: str, data: bytes) -> None:
        """Write one file, once."""
        self._archive.writestr(zipfile.ZipInfo(key, _EPOCH), data)

    def close(self) -> None:
        """Write it all."""
        self._archive.close()
        with self.path.open("xb") as file:
            file.write(self._content.getbuffer())


def writer_at(path: Path, *, archive: bool) -> Writer:
    """A new store at a path: a folder, or one file."""
    return _ArchiveWriter(path) if archive else Writer(path)
