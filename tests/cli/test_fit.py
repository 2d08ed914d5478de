"""``tdmx fit`` and ``tdmx calibrate`` through the real executable."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import TDMX

SHORT = ("--chains", "2", "--warmup", "200", "--draws", "200", "--engine", "stanli")
PATIENT = """
id: bed_4
priors: {CL: {median: 10, cv: 30%}, V: {median: 20, cv: 30%}}
regimen: 1000 mg q8h inf 30min x6
levels:
  - {time: 41h, value: 30 mg/L}
  - {time: 47.5h, value: 3 mg/L}
error: {kind: proportional, proportional: {median: 15%, cv: 30%}}
"""
COHORT = """ID,TIME,AMT,DUR,DV,EVID,ADDL,II
a,0,1000,0.5,.,1,5,8
a,41,.,.,30,0,.,.
a,47.5,.,.,3,0,.,.
b,0,1000,0.5,.,1,5,8
b,41,.,.,20,0,.,.
"""


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    file = tmp_path / "bed_4.yaml"
    file.write_text(PATIENT)
    return file


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    file = tmp_path / "ward.csv"
    file.write_text(COHORT)
    return file


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit__shipped_patient_in_one_go(tdmx, tmp_path):
    done = tdmx("fit", "meropenem_tdm", "--out", "out", *SHORT, "--seed", "1")
    assert done.returncode == 0, done.stderr
    for text in ("Posterior", "CL, L/h", "Levels, mg/L", "(PTA), %", "(CFR), %", "Research use only"):
        assert text in done.stdout
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found >= {
        "draws.zarr",
        "posterior.csv",
        "levels.csv",
        "pta.csv",
        "pta.zarr",
        "cfr.csv",
        "pta.png",
        "report.html",
        "run.json",
    }
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["patient"] == "meropenem_tdm"
    assert record["engine"].startswith("stanli")
    if sum(record["seconds"].values()) < 1.5:  # lines begin after two seconds, which a busy machine may take
        assert done.stderr == "", "what is over at once shows no progress"
    else:
        assert all(" meropenem_tdm " in line for line in done.stderr.splitlines()), done.stderr
    posterior = {row["parameter"]: row for row in rows(tmp_path / "out" / "posterior.csv")}
    assert 5 < float(posterior["CL"]["q50"]) < 20
    assert float(posterior["CL"]["q5"]) < float(posterior["CL"]["q50"]) < float(posterior["CL"]["q95"])
    again = tdmx("draws", "info", "out/draws.zarr", "--verify")
    assert again.returncode == 0, again.stderr
    assert "every value agrees" in again.stdout


def test_fit__json_is_all_there_is(tdmx, patient):
    done = tdmx(
        "fit",
        str(patient),
        "--json",
        *SHORT,
        "-r",
        "1000 mg q8h inf 3h",
        "-t",
        "T>MIC >= 50%",
        "--mic",
        "1,2",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["parameter"] for row in found["posterior"]} >= {"CL", "Vc", "sigma_proportional"}
    assert [row["mic"] for row in found["pta"]] == [1.0, 2.0]
    assert [row["time"] for row in found["levels"]] == [41.0, 47.5]
    assert all(row["replicated_q5"] < row["predicted"] < row["replicated_q95"] for row in found["levels"])
    assert isinstance(found["healthy"], bool)


def test_fit__same_seed_same_draws(tdmx, patient, tmp_path):
    one = tdmx("fit", str(patient), "--json", "--fresh", "--cold", "--out", "1", *SHORT, "--seed", "5")
    two = tdmx("fit", str(patient), "--json", "--fresh", "--cold", "--out", "2", *SHORT, "--seed", "5")
    assert json.loads(one.stdout)["posterior"] == json.loads(two.stdout)["posterior"]


def test_fit__without_targets_there_is_no_pta(tdmx, patient, tmp_path):
    done = tdmx("fit", str(patient), *SHORT, "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    assert "PTA" not in done.stdout
    assert not (tmp_path / "results" / "bed_4" / "pta.csv").exists()
    assert [row["parameter"] for row in rows(tmp_path / "table.csv")][:2] == ["CL", "Vc"]
    refused = tdmx("fit", str(patient), *SHORT)
    assert refused.returncode == 2
    assert "results/bed_4" in refused.stderr


def test_fit__cohort_with_failures_beside(tdmx, cohort, tmp_path):
    """The second patient has no covariate that the population needs."""
    text = COHORT.replace("ADDL,II", "ADDL,II,CCr").replace("5,8\na", "5,8,80\na", 1)
    lines = [
        line if line.count(",") == 8 else line + ("," if line[0] in "ab" else "")
        for line in text.splitlines()
    ]
    cohort.write_text("\n".join(lines) + "\n")
    done = tdmx(
        "fit", str(cohort), "--priors", "meropenem_tdm", "--error", "proportional 15%", *SHORT, "--out", "out",
        "-r", "1000 mg q8h inf 3h", "-t", "fT>MIC >= 50%", "--fu", "0.98",
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "fu = 1" not in done.stderr
    assert "1 failed" in done.stdout
    assert "b: " in done.stdout
    assert [row["patient"] for row in rows(tmp_path / "out" / "patients.csv")] == ["a"]
    assert [row["patient"] for row in rows(tmp_path / "out" / "failures.csv")] == ["b"]
    assert {row["scenario"] for row in rows(tmp_path / "out" / "pta.csv")} == {"a"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("value: 30 mg/L", "value: 30 mg/h", "the unit of a level is a mass per volume"),
        ("value: 30 mg/L", "value: .nan", "levels[0]"),
        ("value: 30 mg/L", "value: -3", "levels[0]"),
        ("time: 41h", "time: 0", "a level must be later than the first dose"),
        ("levels:", "level:", "Did you mean levels?"),
        ("{median: 10, cv: 30%}", "{median: -10, cv: 30%}", "median"),
        ("priors: {CL: {median: 10, cv: 30%}, V: {median: 20, cv: 30%}}", "", "priors"),
    ],
)  # fmt: skip
def test_fit__patient_refused(inside, patient, tmp_path, old, new, expected):
    assert old in PATIENT
    patient.write_text(PATIENT.replace(old, new))
    refused(inside("fit", str(patient), *SHORT), expected, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere.yaml",), "nowhere.yaml: there is no such file"),
        (("nowhere.csv",), "nowhere.csv: there is no such file"),
        (("meropenem_tdm", "--error", "proportional"), "a proportional error has its figures: proportional"),
        (("meropenem_tdm", "--error", "combind 1 2"), "Did you mean combined"),
        (("meropenem_tdm", "--adapt-delta", "1.5"), "adapt_delta=1.5"),
        (("meropenem_tdm", "--chains", "0"), "0 is not in the range x>=1"),
        (("meropenem_tdm", "-t", "fT>MIC >= 150%"), "fT>MIC=150%"),
        (("meropenem_tdm", "--priors", "nowhere.yaml"), "nowhere.yaml"),
        (("meropenem_tdm", "--model", "3C"), "the priors are of a 2C model"),
        (("meropenem_tdm", "--executable", "nowhere"), "executable=nowhere: there is no such file"),
        (("meropenem_tdm", "--memory", "1e9"), "1000000000"),
    ],
)
def test_fit__option_refused(inside, tmp_path, arguments, expected):
    code = 4 if "--memory" in arguments else 2
    refused(inside("fit", *arguments), expected, tmp_path, code=code)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "ward.csv"),
        ("ID,TIME\n", "ward.csv"),
        (COHORT.replace(",30,", ",nan,"), "line 3"),
        (COHORT.replace("a,0,", "a,x,"), "line 2"),
    ],
)
def test_fit__cohort_refused(inside, cohort, tmp_path, content, expected):
    cohort.write_text(content)
    refused(inside("fit", str(cohort), "--priors", "meropenem_tdm"), expected, tmp_path)


def refused(done: subprocess.CompletedProcess[str], expected: str, folder: Path, code: int = 2) -> None:
    """One line, the code, and nothing written."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert expected in lines[0]
    assert not (folder / "results").exists()


@pytest.mark.parametrize("cohort_too", [False, True])
def test_fit__interrupted(tmp_path, patient, cohort, cohort_too):
    """Ctrl-C: 130 within 3 s, no process left, no traceback, no store."""
    given = (
        [str(cohort), "--priors", str(patient), "--error", "proportional 15%"]
        if cohort_too
        else [str(patient)]
    )
    command = [TDMX, "fit", *given, "--warmup", "500000", "--draws", "500000", "--engine", "stanli"]
    command += ["--library", "library", "--out", "out"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(4)
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    os.killpg(process.pid, signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - sent < 3
    assert process.returncode == 130, err
    assert (tmp_path / "out").exists() == cohort_too  # a cohort keeps the fits that were done
    assert not list(tmp_path.rglob("*.zarr*"))
    assert "interrupted" in err
    assert "Traceback" not in err + out
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(process.pid):
        time.sleep(0.1)
    assert not _alive(process.pid)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_fit__a_failed_fit_is_code_5(tdmx, patient):
    """A treedepth of 1 is no failure; a broken executable is."""
    broken = patient.with_name("broken")
    broken.write_text("#!/bin/sh\necho no; exit 3\n")
    broken.chmod(0o755)
    done = tdmx("fit", str(patient), "--engine", "cmdstan", "--executable", str(broken))
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_calibrate__prints_a_table_and_draws_it(tdmx, tmp_path):
    done = tdmx(
        "calibrate",
        "1C",
        "-n",
        "20",
        "--chains",
        "1",
        "--warmup",
        "200",
        "--draws",
        "200",
        "--plot",
        "ranks.png",
        "--engine",
        "stanli",
    )
    assert done.returncode == 0, done.stderr
    for text in (
        "Calibration of 1C, proportional error",
        "20 fits",
        "log_likelihood",
        "consistent with uniform",
        "Research use only",
    ):
        assert text in done.stdout
    assert (tmp_path / "ranks.png").stat().st_size > 10_000
    assert (tmp_path / "ranks.svg").exists()


def test_calibrate__refused(inside, tmp_path):
    refused(inside("calibrate", "1C", "--error", "additve"), "Did you mean additive", tmp_path)
    refused(inside("calibrate", "nothing.yaml"), "nothing.yaml", tmp_path)
