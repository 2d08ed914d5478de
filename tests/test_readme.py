"""The README is true: its blocks run in order, its tables parse, its figures are those that the studies give."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import tdmx_dask as tdmx
from tdmx_dask.cli.exits import CODES

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks() -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> Iterator[list[str]]:
    """Cells of the tables below a heading, without their heads."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not re.match(r"\| (target|behind|shorthand|study|code)", line):
            yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def shell(text: str, folder: Path) -> None:
    """Run commands as a user would, with `tdmx` on the path."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_readme__tour_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as in a notebook, or for a script that lies there
    names: dict[str, object] = {"__name__": "__main__"}
    languages = []
    for language, text in blocks():
        languages.append(language)
        if language == "python":
            exec(compile(text, "README.md", "exec"), names)  # noqa: S102  the README's own text
        elif language == "sh":
            shell(text, tmp_path)
        elif language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", text)
            assert name
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        else:
            assert language == "text"
    assert {"python", "sh", "yaml"} <= set(languages)
    assert (tmp_path / "results/my_study/report.html").is_file()
    assert (tmp_path / "mypta.png").is_file()


def test_readme__a_level_below_quantification() -> None:
    (text,) = re.findall(r"below quantification: (\{.*\})$", README, re.MULTILINE)
    level = tdmx.Level.read(yaml.safe_load(text))
    assert (level.time, level.value, level.below) == (47.5, 0.5, True)


def test_readme__two_commands_are_in_the_makefile() -> None:
    (text,) = [text for language, text in blocks() if language == "text"]
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^make (\w+)", text, re.MULTILINE)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named)


def test_readme__types_of_jobs(tmp_path: Path) -> None:
    section = README.split("\n### A queue of jobs\n")[1].split("\n## ")[0]
    with tdmx.JobQueue(0, False, folder=tmp_path) as queue:
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(queue.types)


@pytest.mark.parametrize("text", [row[0] for row in rows("Targets")])
def test_readme__target_parses(text: str) -> None:
    target = tdmx.parse_target(text)
    assert tdmx.parse_target(str(target)) == target


@pytest.mark.parametrize("text", [row[0] for row in rows("Regimens")])
def test_readme__regimen_parses(text: str) -> None:
    regimen = tdmx.Regimen.parse(text)
    assert tdmx.Regimen.parse(str(regimen)) == regimen


def test_readme__exit_codes() -> None:
    assert [int(row[0]) for row in rows("Exit codes of `tdmx`")] == list(CODES)


@pytest.mark.parametrize("row", list(rows("How right it is")), ids=lambda row: row[0])
def test_readme__deviation_from_published(row: list[str], tmp_path: Path) -> None:
    name, _, cells, mean, largest = row
    result = tdmx.run_study(name, tmp_path / name)
    kept = [each for each in result.comparison if each.judged]
    deviation = 100 * np.array([each.difference for each in kept])
    assert all(each.within for each in kept)
    assert len(kept) == int(cells)
    assert f"{np.abs(deviation).mean():.1f}" == mean
    assert f"{deviation[np.abs(deviation).argmax()]:+.1f}" == largest
    if left_out := [each for each in result.comparison if not each.judged]:
        worst = max(abs(each.difference) for each in left_out)
        assert f"{len(result.comparison)} cells, {len(left_out)} are left out" in README
        assert f"up to {100 * worst:.0f} points" in README


def test_readme__links_and_pictures_exist() -> None:
    folder = Path(__file__).resolve().parents[1]
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if not link.startswith("https://doi.org/"):
            assert (folder / link).is_file(), link
            assert (folder / link).stat().st_size < 200_000


def test_readme__version_to_cite() -> None:
    assert f"version {tdmx.__version__}:" in README
