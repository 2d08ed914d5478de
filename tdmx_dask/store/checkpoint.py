"""The counts of a streamed run on disk, so that the run can go on after a stop."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError, StoreError, TdmxWarning
from tdmx_dask.store.publish import staging

__all__ = ["Checkpoint", "load", "save"]

_DONE, _DIGEST, _COUNT = "done", "digest", "count:"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a streamed run had reached.

    Parameters
    ----------
    counts : name -> integers, as they were saved
    done : (task,), which tasks the counts hold
    """

    counts: dict[str, NDArray[np.generic]]
    done: NDArray[np.bool_]


def save(
    path: str | PathLike[str],
    digest: str,
    counts: Mapping[str, NDArray[np.generic]],
    done: NDArray[np.bool_],
) -> None:
    """Write a checkpoint in one step: the file is the old one or the new one, never half.

    Parameters
    ----------
    path : file, ``….npz``
    digest : of the study, its settings and its draws
    counts : name -> numeric array
    done : (task,)

    Raises
    ------
    StoreError
        The disk is full, or the place cannot be written; an earlier checkpoint stands.
    """
    arrays: dict[str, NDArray[np.generic]] = {
        _COUNT + name: np.asarray(count) for name, count in counts.items()
    }
    arrays |= {_DONE: np.asarray(done, dtype=np.bool_), _DIGEST: np.array(digest, dtype=np.str_)}
    with staging(path, overwrite=True) as partial, partial.open("xb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: str | PathLike[str], digest: str) -> Checkpoint | None:
    """Read a checkpoint; None where there is none. A damaged file is none, with a warning.

    Parameters
    ----------
    path : file
    digest : of the study that shall go on

    Raises
    ------
    InputError
        The checkpoint belongs to a study with another digest.
    StoreError
        The file cannot be read.
    """
    try:
        with Path(path).open("rb") as source, np.load(source, allow_pickle=False) as file:
            found = str(file[_DIGEST])
            counts = {name.removeprefix(_COUNT): file[name] for name in file.files if name.startswith(_COUNT)}
            done = np.asarray(file[_DONE], dtype=np.bool_)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            "checkpoint", os.fspath(path), f"it cannot be read ({error.strerror or error})"
        ) from error
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        text = f"checkpoint={os.fspath(path)}: it is damaged ({error}), so the run starts from the beginning."
        warnings.warn(text, TdmxWarning, stacklevel=2)
        return None
    if found != digest:
        raise InputError(
            "checkpoint",
            os.fspath(path),
            "the study, its settings or its draws have changed since it was saved",
            "Start without resuming, or restore the study.",
        )
    return Checkpoint(counts, done)
