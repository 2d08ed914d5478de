"""CmdStan's CSV files: comments, the sampler's columns, an adaptation block, one file a chain."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError

__all__ = ["exact", "is_cmdstan", "read_chains", "read_text", "write_chain"]

GZIP = b"\x1f\x8b"
_NOT_DRAWS = {"optimize": "one point", "diagnose": "a test of gradients", "log_prob": "log densities"}


@dataclass(frozen=True, slots=True)
class _Chain:
    """One file: its settings by name, its columns, its draws after warm-up."""

    path: str
    settings: dict[str, str]
    header: list[str]
    values: NDArray[np.float64]


def is_cmdstan(head: str) -> bool:
    """Whether a file that begins so was written by CmdStan."""
    lines = head.splitlines()
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return (bool(lines) and lines[0].startswith("#") and "stan_version_major" in head) or first.startswith(
        "lp__,"
    )


def read_text(path: str | PathLike[str]) -> str:
    """Read a text file, also a gzipped one; UTF-8, with or without a byte-order mark."""
    data = Path(path).read_bytes()
    try:
        if data[:2] == GZIP:
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, OSError) as error:
        raise InputError(
            "file", os.fspath(path), f"this is no text in UTF-8 ({error})", "Save it as UTF-8."
        ) from error


def exact() -> dict[str, Any]:
    """Options with which pandas reads every bit of a number: from 3.1 on it does so by itself."""
    import pandas as pd

    release = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {"float_precision": "round_trip"} if release < (3, 1) else {}


def read_chains(paths: Sequence[str | PathLike[str]]) -> tuple[dict[str, NDArray[np.float64]], bool]:
    """Read CmdStan's files, one a chain.

    Parameters
    ----------
    paths : files of one run, in the order of the chains

    Returns
    -------
    name as CmdStan has it -> (chain, draw), without warm-up; and whether it is Markov chains

    Raises
    ------
    InputError
        A file was cut short or holds no draws, or the files do not belong together.
    """
    chains = [_read(path) for path in paths]
    first = chains[0]
    for other in chains[1:]:
        if other.header != first.header:
            raise InputError(
                "file", other.path, f"it has other columns than {first.path}", "Give the files of one run."
            )
        if len(other.values) != len(first.values):
            raise InputError(
                "file",
                other.path,
                f"it has {len(other.values)} draws and {first.path} has {len(first.values)}; chains are equally long",
                "Give whole chains.",
            )
    together = np.stack([chain.values for chain in chains])
    columns = {name: together[:, :, position] for position, name in enumerate(first.header)}
    return columns, first.settings.get("method", "sample") == "sample"


def _read(path: str | PathLike[str]) -> _Chain:
    text = read_text(path)
    name = os.fspath(path)
    settings: dict[str, str] = {}
    header: list[str] = []
    rows: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            key, found, value = line.lstrip("# ").partition("=")
            if found:
                settings.setdefault(key.strip(), value.replace("(Default)", "").strip())
            if line.startswith("# Adaptation terminated"):
                rows.clear()  # what stands before is warm-up
        elif not header:
            header = line.split(",")
        elif line:
            if line.count(",") + 1 != len(header):
                rule = f"it has {line.count(',') + 1} of {len(header)} columns: the file was cut short"
                raise InputError(
                    "file", f"{name}, line {number}", rule, "Run the chain again, or give another file."
                )
            rows.append(line)
    method = settings.get("method", "sample")
    if method in _NOT_DRAWS:
        raise InputError(
            "file",
            name,
            f"CmdStan's method {method} gives {_NOT_DRAWS[method]}, no draws",
            "Use method sample.",
        )
    if method == "variational" and rows:
        rows.pop(0)  # the mean of the approximation
    if not rows:
        raise InputError(
            "file", name, "there are no draws in it", "Run the chain again, or give another file."
        )
    if not text.endswith("\n"):
        raise InputError(
            "file", f"{name}, line {number}", "the file was cut short here", "Run the chain again."
        )
    rows = rows[_warm_up(name, number, settings, len(rows)) :]
    return _Chain(name, settings, header, _numbers(rows, name))


def _warm_up(name: str, last: int, settings: Mapping[str, str], n_rows: int) -> int:
    """How many rows are warm-up though no adaptation ended after them; a file with too few rows is refused."""
    if settings.get("method", "sample") != "sample" or not settings.get("num_samples", "").isdigit():
        return 0
    thin = int(settings["thin"]) if settings.get("thin", "").isdigit() else 1
    wanted = -(-int(settings["num_samples"]) // max(thin, 1))
    if n_rows < wanted:
        rule = f"the file ends after {n_rows} of {wanted} draws: it was cut short"
        raise InputError("file", f"{name}, line {last}", rule, "Wait for the chain to end, or run it again.")
    return n_rows - wanted


def _numbers(rows: list[str], name: str) -> NDArray[np.float64]:
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(
            io.StringIO("\n".join(rows)), header=None, dtype=np.float64, **exact()
        )
    except ValueError as error:
        raise InputError("file", name, f"a value is no number ({error})", "Run the chain again.") from error
    return table.to_numpy()


def write_chain(
    path: Path, columns: Mapping[str, NDArray[Any]], settings: Mapping[str, object], chain: int
) -> None:
    """Write one chain as CmdStan does.

    Parameters
    ----------
    path : file to make
    columns : name as CmdStan has it -> (draw,)
    settings : name -> value, for the comments
    chain : position of the chain
    """
    import pandas as pd

    lines = [f"# {name} = {value}" for name, value in {**settings, "id": chain + 1}.items()]
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write("\n".join(lines) + "\n")
        pd.DataFrame(dict(columns)).to_csv(file, index=False, lineterminator="\n")
