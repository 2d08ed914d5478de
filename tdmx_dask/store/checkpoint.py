"""The counts of a streamed run on disk, so that the run can go on after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

__all__ = ["Checkpoint", "load", "save"]


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
    """
    raise NotImplementedError


def load(path: str | PathLike[str], digest: str) -> Checkpoint | None:
    """Read a checkpoint; None where there is none. A damaged file is none, with a warning.

    Raises
    ------
    InputError
        The checkpoint belongs to a study with another digest.
    """
    raise NotImplementedError
