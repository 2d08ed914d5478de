"""The library: found by content, whole or not at all, shared by processes, never a reason to fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tdmx_dask.errors import StoreError
from tdmx_dask.fitting.library import Library
from tdmx_dask.store.draws import write_draws

PROGRAM = "p" * 64


def store(path: Path, address: str) -> Path:
    draws = xr.Dataset({"CL": (("chain", "draw"), np.ones((1, 4)))}, attrs={"request": address})
    write_draws(draws, path)
    return path


def test_library__finds_what_answers_a_request(tmp_path: Path) -> None:
    library = Library(tmp_path / "fits")
    library.check()
    assert library.find("a" * 64, PROGRAM) is None
    place = library.place("a" * 64)
    store(place, "a" * 64)
    assert library.find("a" * 64, PROGRAM) == place
    assert library.place("a" * 64).name == "a" * 64 + "-2.zarr.zip"
    store(library.place("b" * 64), "another request")
    assert library.find("b" * 64, PROGRAM) is None
    elsewhere = store(tmp_path / "out.zarr", "c" * 64)
    library.write_record("c" * 64, PROGRAM, {}, elsewhere)
    assert library.find("c" * 64, PROGRAM) == elsewhere
    shutil.rmtree(elsewhere)
    assert library.find("c" * 64, PROGRAM) is None


def test_library__a_damaged_store_is_none(tmp_path: Path) -> None:
    library = Library(tmp_path)
    place = store(library.place("a"), "a")
    (place / "posterior" / "zarr.json").write_text("{")
    assert library.find("a", PROGRAM) is None
    (place / "zarr.json").unlink()
    assert library.find("a", PROGRAM) is None


def test_library__damaged_records_are_passed_over(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.write_record("a", PROGRAM, {"healthy": True}, tmp_path / "a.zarr")
    folder = tmp_path / "records" / PROGRAM[:16]
    (folder / "b.json").write_text('{"format": 1, "addr')
    (folder / "c.json").write_text("[]")
    (folder / "d.json").write_text('{"format": 99}')
    assert [each["address"] for each in library.records(PROGRAM)] == ["a"]
    assert library.records(PROGRAM)[0]["store"] == "a.zarr"
    assert library.records("q" * 64) == []
    library.write_record("b", PROGRAM, {}, tmp_path / "b.zarr")
    assert [each["address"] for each in Library(tmp_path).records(PROGRAM)] == ["a", "b"]


def test_library__a_record_that_cannot_be_written_is_only_lost(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.write_record("a", PROGRAM, {"peak": float("nan")}, tmp_path / "a.zarr")
    assert library.records(PROGRAM) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    (tmp_path / "records").rmdir() if not any((tmp_path / "records").iterdir()) else shutil.rmtree(
        tmp_path / "records"
    )
    (tmp_path / "records").write_text("")
    library.write_record("a", PROGRAM, {}, tmp_path / "a.zarr")
    assert library.records(PROGRAM) == []


def test_library__refuses_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"library=.*file: it is a file, not a folder"):
        Library(tmp_path / "file").check()
    with pytest.raises(StoreError, match="a part of this path is a file"):
        Library(tmp_path / "file" / "fits").check()


def test_library__two_processes_at_once(tmp_path: Path) -> None:
    """Two processes ask for the same fits at the same time: whole stores, the same draws, whole records."""
    script = (
        "import sys, tdmx_dask as tdmx\n"
        "from tests.fitting.asking import normal_question\n"
        "questions = [normal_question(f'p{n}', sigma=1.0 + n) for n in range(4)]\n"
        "few = {'chains': 2, 'iter_warmup': 100, 'iter_sampling': 100, 'seed': 1, 'engine': 'stanli'}\n"
        f"cohort = tdmx.fit_many(questions, library={str(tmp_path)!r}, **few)\n"
        "for name, fit in sorted(cohort.results().items()): print(fit.draws.attrs['digest'])\n"
        "print(cohort.failures)\n"
    )
    command = [sys.executable, "-c", script]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0] == said[1]
    assert said[0][0].splitlines()[-1] == "{}"
    records = list((tmp_path / "records").rglob("*.json"))
    assert len(records) == 4
    assert all(json.loads(path.read_text())["format"] == 1 for path in records)
    assert list(tmp_path.rglob("*.partial")) == []
