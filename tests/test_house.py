"""The house itself: what is tracked, what is shipped, what importing costs, and whether what is documented is true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tdmx_dask as tdmx
from tdmx_dask.domain.study import shipped_studies

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
HEAVY = (
    "distributed",
    "bokeh",
    "matplotlib",
    "cmdstanpy",
    "xarray",
    "pandas",
    "scipy",
    "dask",
    "zarr",
    "rich",
)
# Spelled apart, so that this file holds none of them itself.
PLACES = tuple("/" + place + "/" for place in ("work", "root", "home", "Users", "tmp"))
MODULES = ["tdmx_dask", *sorted(each.name for each in pkgutil.walk_packages(tdmx.__path__, "tdmx_dask."))]


def tracked() -> list[Path]:
    """Files under version control, those that are about to be added too."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: there is no .git")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_house__no_path_of_a_machine() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [
            f"{path.relative_to(ROOT)}: {place}"
            for place in PLACES
            if re.search(rf"(?<![\w.~-]){place}\w", text)
        ]
    assert found == []


def test_house__no_large_file() -> None:
    assert [path.name for path in tracked() if path.stat().st_size > MEGABYTE] == []


def test_house__files_of_the_package_are_short() -> None:
    long = {}
    for path in sorted((ROOT / "tdmx_dask").rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines >= 400:
            long[str(path.relative_to(ROOT))] = lines
    assert long == {}


def test_house__one_version() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(tdmx.__version__)}\b", changes, re.MULTILINE)


def test_house__shipped_files_are_in_the_wheel() -> None:
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    shipped = build["targets"]["wheel"]["force-include"]
    assert shipped == {folder: f"tdmx_dask/_shipped/{folder}" for folder in ("config", "stan")}
    assert all((ROOT / folder).is_dir() for folder in shipped)


@pytest.mark.parametrize("module", ["tdmx_dask", "tdmx_dask.cli.main"])
def test_house__importing_stays_light(module: str) -> None:
    code = f"import {module}, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", tdmx.__all__)
def test_house__public_name(name: str) -> None:
    value = getattr(tdmx, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+", value)
        return
    text = inspect.getdoc(value)
    assert text
    assert not text.startswith(f"{name}(")  # the line that dataclasses write where nobody wrote one
    if inspect.isfunction(value):
        missing = [
            each for each in inspect.signature(value).parameters if not re.search(rf"\b{each}\b", text)
        ]
        assert missing == [] or "Parameters are those of" in text


def test_house__unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pat'"):
        tdmx.pat  # noqa: B018
    assert dir(tdmx) == tdmx.__all__


@pytest.mark.parametrize("module", MODULES)
def test_house__examples_of_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_house__shipped_study_runs(name: str, tmp_path: Path) -> None:
    import dataclasses

    study = dataclasses.replace(tdmx.read_study(name), n=200)
    result = tdmx.run_study(study, tmp_path / name)
    assert result.pta.sizes["regimen"] == len(study.regimens)
    pta = result.pta.pta.values
    asked = result.pta.n_simulated.values > 0
    assert asked.sum() == len(study.design) * len(study.targets)
    assert ((pta[asked] >= 0) & (pta[asked] <= 1)).all()
    assert {"pta.csv", "report.html", "run.json"} <= {path.name for path in (tmp_path / name).iterdir()}


@pytest.mark.parametrize(
    ("body", "status"), [("sleep 0 & wait $!", 0), ("sleep 9 & true", 0), ("(exit 3)", 3)]
)
def test_house__the_checks_end_with_the_status_of_what_they_checked(body: str, status: int) -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith(("set -", "scratch=", "trap "))]
    assert len(head) == 3
    done = subprocess.run(["bash", "-c", "\n".join([*head, body])], capture_output=True, timeout=5)
    assert done.returncode == status
