"""``tdmx cache`` through the real executable."""

from __future__ import annotations

import json
import subprocess

import pytest

from tdmx_dask.store.cache import Cache
from tdmx_dask.store.value import address
from tests.cli.conftest import TDMX

ANSWERS = {address(n): bytes([n]) * 1000 for n in range(5)}


@pytest.fixture
def folder(tmp_path):
    """Where the command looks by itself, with some answers in it."""
    place = tmp_path / "cache" / "job_results"
    cache = Cache(place)
    for digest, answer in ANSWERS.items():
        cache.put(digest, answer)
    return place


def ok(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_info(tdmx, folder):
    text = ok(tdmx("cache", "info"))
    assert f"folder: {folder}" in text
    assert "answers: 5, 5.18 kiB of at most 1.00 GiB" in text
    assert "longest unused: 0.0 days" in text
    assert "an answer is kept 30 days" in text
    found = json.loads(ok(tdmx("cache", "info", "--json")))
    assert (found["folder"], found["entries"], found["max_age"]) == (str(folder), 5, 30 * 86400)


def test_info__nothing_there_makes_nothing(tdmx, tmp_path):
    text = ok(tdmx("cache", "info", DASK_TDMX__CACHE_MAX_BYTES="5 MiB"))
    assert "answers: 0, 0 B of at most 5.00 MiB" in text
    assert list(tmp_path.iterdir()) == []


def test_clear__asks(tdmx, folder):
    def answer(text):
        command = [TDMX, "cache", "clear"]
        return subprocess.run(
            command, input=text, cwd=folder.parents[1], capture_output=True, text=True, check=False
        )

    for said in ("n\n", ""):
        done = answer(said)
        assert done.returncode == 130
        assert "Remove 5 answers (5.18 kiB) of" in done.stderr
        assert "nothing was removed: it was not confirmed. Add --yes" in done.stderr
        assert Cache(folder).info().entries == 5
    assert "removed 5 answers of" in ok(answer("y\n"))
    assert Cache(folder).info().entries == 0


def test_clear__yes(tdmx, folder):
    (folder / "notes.txt").write_text("mine")
    found = json.loads(ok(tdmx("cache", "clear", "--yes", "--json", "--folder", str(folder))))
    assert found == {"folder": str(folder), "removed": 5}
    assert (folder / "notes.txt").read_text() == "mine"
    assert "removed 0 answers" in ok(tdmx("cache", "clear"))  # nothing to ask about


def test_verify(tdmx, folder):
    digest = next(iter(ANSWERS))
    path = folder / digest[:2] / digest
    path.write_bytes(path.read_bytes()[:-1])
    text = ok(tdmx("cache", "verify"))
    assert f"{folder}: 4 answers are good; 1 were damaged or too old, and were removed" in text
    assert json.loads(ok(tdmx("cache", "verify", "--json"))) == {
        "folder": str(folder),
        "good": 4,
        "removed": 0,
    }


@pytest.mark.parametrize("command", ["info", "clear", "verify"])
def test_refusals_and_help(tdmx, tmp_path, command):
    done = tdmx("cache", command, "--folder", "nowhere")
    assert done.returncode == 2
    assert "error: --folder=nowhere: there is no such folder. See cache-folder" in done.stderr
    done = tdmx("cache", command, DASK_TDMX__CACHE_MAX_AGE="never")
    assert "error: tdmx.cache-max-age=never: it is a length of time, > 0 s. For example 30 d." in done.stderr
    (tmp_path / "file").write_text("")
    done = tdmx("cache", command, DASK_TDMX__CACHE_FOLDER="file")
    assert done.returncode == 2
    assert "path=" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"tdmx cache {command}" in ok(tdmx("cache", command, "--help"))


def test_help__examples(tdmx):
    assert "Examples:" in ok(tdmx("cache", "--help"))
    assert "cache" in ok(tdmx("--help"))
