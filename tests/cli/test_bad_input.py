"""Wrong input of commands: one line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import STUDY, TDMX


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done, folder: Path, before: dict[str, bytes]) -> str:
    """The one line of a refusal."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert files(folder) == before
    return lines[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("regimens:", "regimen:", "regimen=[1 g q8h inf 30min, 1 g q8h inf 3h]: this key is not known here. Did you mean regimens?"),
        ("1 g q8h inf 3h", "-1 g q8h inf 3h", "regimens[1]=-1 g q8h inf 3h"),
        ("1 g q8h inf 3h", "0 mg q8h", "regimens[1]=0 mg q8h"),
        ("1 g q8h inf 3h", "1 g q8h inf 9h", "tinf"),
        ("1 g q8h inf 3h", "{dose: 1000, tau: 8, tinf: 9}", "regimens[1].tinf=9: "),
        (">= 50%", ">= 150%", "targets=fT>MIC >= 150%"),
        ("fu: 0.98", "fu: 98", "fu=98: it must be between 0 and 1"),
        ("Vc: 20", "Vd: 20", "population"),
        (', Vc: 20', '', "population"),
        ("Vc: 20", "Vc: .inf", "population.parameters.Vc"),
        ("CCr / 80", "CRr / 80", "Did you mean CCr?"),
        ("cv: 0.3", "cv: -0.3", "population.bsv.CL.cv=-0.3"),
        ("{unit: mL/min}", "{unit: mL/min, equation: ckd-epi-2021}", "ckd-epi-2021 gives mL/min/1.73m2, another quantity"),
        ("covariates: {CCr: 40}", "covariates: {CCr: -40}", "CL"),
        ("1:0.5, 4:0.5", "1:0.5, 4:-0.5", "distributions"),
        ("1:0.5, 4:0.5", "1:0.5, 32:0.5", "this MIC was not counted"),
        ("name: small", "name: !!python/object/apply:os.system [touch hacked]", "line 2: YAML tags are not read here"),
        ("name: small", "name: small\nname: twice", "line 3: the key 'name' is given twice"),
        ("n: 2048", "n: 0", "n=0: it must be between 1 and"),
    ],
)  # fmt: skip
def test_run__study_refused(inside, tmp_path, old, new, expected):
    assert old in STUDY
    (tmp_path / "s.yaml").write_text(STUDY.replace(old, new))
    before = files(tmp_path)
    assert expected in refused(inside("run", "s.yaml"), tmp_path, before)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: " + b"[" * 10_000_000, "a YAML file has at most 1 MB"),
        (b"a: " + b"[" * 500_000, "line 1: values nest at most 40 deep"),
        (b"\xff\xfea", "the text is not UTF-8"),
        (b"a: \0", "NUL bytes"),
        (b"", "the top must be a mapping"),
    ],
)
def test_run__file_refused(inside, tmp_path, content, expected):
    (tmp_path / "s.yaml").write_bytes(content)
    before = files(tmp_path)
    assert expected in refused(inside("run", "s.yaml"), tmp_path, before)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "nowhere.yaml"), "study=nowhere.yaml: there is no such file"),
        (("run", "seed_workload"), "Did you mean seed_workloads?"),
        (("run",), "Missing argument 'STUDY'"),
        (("rnu",), "command=rnu: there is no such command. Did you mean run?"),
        (("run", "seed_workloads", "--worker", "1"), "No such option"),
        (("run", "seed_workloads", "--workers", "0"), "0 is not in the range"),
        (("draws", "info", "nowhere.zarr"), "nowhere.zarr"),
        (("draws", "import", "a.csv", "b.zarr", "--unit", "CL"), "--unit=CL: it reads PARAMETER=VALUE"),
        (("study", "check", "nowhere.yaml"), "there is no such file"),
        (("study", "copy", "meropenem"), "Did you mean meropenem_sepsis?"),
    ],
)
def test_command__refused(inside, tmp_path, arguments, expected):
    assert expected in refused(inside(*arguments), tmp_path, {})


QUESTION = ("-r", "1 g q8h inf 30min", "-t", "fT>MIC >= 50%", "--fu", "0.9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CL,Vc\n5,30\nnan,30\n", "CL[chain=0, draw=1]=nan: a clearance must be finite and > 0 L/h"),
        ("CL,Vc\n5,30\n5,inf\n", "Vc[chain=0, draw=1]=inf"),
        ("CL,Vc\n5,30\n-5,30\n", "CL[chain=0, draw=1]=-5"),
        ("CL,Q1,Vp1\n5,3,3\n", "Vc"),
        ("CL,Vc\n", "draw"),
        ("", "draws.csv"),
        ("CL,Vc\n5,x\n", "x"),
    ],
)
def test_pta__draws_refused(inside, tmp_path, text, expected):
    (tmp_path / "draws.csv").write_text(text)
    before = files(tmp_path)
    assert expected in refused(inside("pta", "draws.csv", *QUESTION), tmp_path, before)
    assert expected in refused(
        inside("draws", "import", "draws.csv", "out.zarr", "--model", "1C"), tmp_path, before
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("-r", "-5 mg q8h"), "-5 mg q8h"),
        (("-r", "5 mg q8h inf 9h"), "tinf"),
        (("-t", "AUC/MIC <= 700"), "AUC/MIC <= 700"),
        (("-t", "fT>MIC >= 101%"), "101%"),
        (("--fu", "98"), "fu=98"),
        (("--mic", "0"), "above 0 mg/L"),
        (("--mic", "1..3"), "doubling dilutions"),
        (("--level", "95"), "level=95"),
        (("--subjects", "0"), "subjects=0"),
        (("-r", "15 mg/kg q8h"), "weight"),
        (("--csv", "."), "."),
    ],
)
def test_pta__question_refused(inside, tmp_path, draws_csv, change, expected):
    before = files(tmp_path)
    asked = dict(zip(QUESTION[::2], QUESTION[1::2], strict=True)) | {change[0]: change[1]}
    arguments = [part for pair in asked.items() for part in pair]
    assert expected in refused(inside("pta", draws_csv.name, *arguments), tmp_path, before)


def test_import__wrong_units(inside, tmp_path, draws_csv):
    before = files(tmp_path)
    line = refused(inside("draws", "import", draws_csv.name, "d.zarr", "--unit", "CL=kg"), tmp_path, before)
    assert "CL" in line
    assert "kg" in line


@pytest.mark.parametrize(
    "harm",
    [
        lambda store: next(store.rglob("c.0.0")).unlink(),
        lambda store: (store / "zarr.json").write_text("{}"),
        lambda store: (store / "zarr.json").unlink(),
        lambda store: next(store.rglob("c.0.0")).write_bytes(b"junk"),
    ],
    ids=["half written", "another schema", "no mark", "damaged"],
)
def test_store__refused(inside, tmp_path, draws_csv, harm):
    assert inside("draws", "import", draws_csv.name, "d.zarr").returncode == 0
    harm(tmp_path / "d.zarr")
    before = files(tmp_path)
    assert "d.zarr" in refused(inside("pta", "d.zarr", *QUESTION), tmp_path, before)


def test_weights__mended_with_a_note(tdmx, tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("1:0.5, 4:0.5", "1:0.5, 4:0.7"))
    done = tdmx("study", "check", "s.yaml")
    assert done.returncode == 0
    assert done.stderr.startswith("note: ")
    assert "sum" in done.stderr


def test_run__folder_that_exists(tdmx, tmp_path, study_file):
    assert tdmx("run", "small.yaml", "--out", "r", "--quiet").returncode == 0
    before = files(tmp_path)
    assert "overwrite" in refused(tdmx("run", "small.yaml", "--out", "r"), tmp_path, before)
    again = tdmx("run", "small.yaml", "--out", "r", "--quiet", "--overwrite")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    after = files(tmp_path)
    assert after["r/pta.csv"] == before["r/pta.csv"]
    assert after["r/run.json"] != before["r/run.json"]


def test_run__folder_of_someone_else(inside, tmp_path, study_file):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("years of work")
    before = files(tmp_path)
    refused(inside("run", "small.yaml", "--out", "r", "--overwrite"), tmp_path, before)


def limited(command: list[str], cwd: Path):
    import subprocess

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, preexec_fn=small_files
    )  # fmt: skip


def test_run__disk_full(tmp_path, study_file):
    before = files(tmp_path)
    line = refused(limited([TDMX, "run", "small.yaml", "--out", "r", "--quiet"], tmp_path), tmp_path, before)
    assert "larger than is allowed" in line


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_run__no_permission(tmp_path, study_file):
    import subprocess

    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    before = files(tmp_path)
    drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*drop, TDMX, "run", "small.yaml", "--out", "locked/r", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "no permission to write" in refused(done, tmp_path, before)
