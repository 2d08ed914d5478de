"""Each notebook runs from top to bottom in a clean kernel, says nothing on stderr, leaves nothing behind, and shows what the API gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

import tdmx_dask as tdmx
from tests.notebooks.conftest import ROOT, Ran

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = ["1_pta_and_cfr", "2_levels_to_dose", "3_on_a_cluster", "4_from_r", "5_uncertainty"]
IMPORTED = {
    *("math", "os", "pathlib", "statistics", "sys", "tempfile", "time", "warnings"),
    *("IPython", "matplotlib", "numpy", "pandas", "tdmx_dask"),
}


def test_notebooks__are_all_there():
    assert [path.stem for path in FILES] == NAMES
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in FILES if f"]({path.name})" not in index] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_notebook__is_committed_plain(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert nbformat.writes(notebook) + "\n" == text
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert all(cell.metadata == {} for cell in notebook.cells)
    head = notebook.cells[0].source
    for part in ("# ", "**What you learn.**", "**Units.**", "**Research use only. Not a medical device.**"):
        assert part in head


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_notebook__uses_the_public_interface_alone(path):
    sources = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(line for source in sources for line in source.splitlines() if line[:1] != "!"),
                     mode="exec", type_comments=False)  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {each.name.partition(".")[0] for each in node.names} <= IMPORTED
            assert all(each.asname == "tdmx" for each in node.names if each.name.startswith("tdmx_dask"))
        elif isinstance(node, ast.ImportFrom):
            assert str(node.module).partition(".")[0] in IMPORTED - {"tdmx_dask"}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tdmx":
            assert node.attr in tdmx.__all__
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tdmx.plot":
            assert node.attr in tdmx.plot.__all__


@pytest.fixture(scope="module")
def ran(run: Callable[[Path], Ran]) -> dict[str, Ran]:
    """All notebooks, two at a time, the longest first."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(run, sorted(FILES, key=lambda path: path.stem != "3_on_a_cluster"))
        return {each.name: each for each in found}


@pytest.mark.parametrize("name", NAMES)
def test_notebook__runs_and_leaves_nothing(ran, name):
    found = ran[name]
    code = found.code
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    said = [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    empty = [
        output
        for cell in code
        for output in cell.outputs
        if output.output_type == "display_data" and not output.data
    ]
    assert empty == []
    figures = [cell.source for cell in code for output in cell.outputs if "<Figure" in str(output.get("data", ""))
               and "image/png" not in output.data]  # fmt: skip
    assert figures == []
    assert list((found.folder / "here").iterdir()) == []
    assert [path.name for path in (found.folder / "temporary").iterdir() if "tdmx" in path.name] == []


def test_1__shows_what_the_api_gives(ran):
    found = ran["1_pta_and_cfr"]
    population = tdmx.read_study("meropenem_sepsis").population  # the same, from its file
    pta = tdmx.pta(
        population, ["1000 mg q8h inf 30min", "1000 mg q8h inf 3h"], "fT>MIC >= 50%", fu=0.98, n=10_000, seed=1,
        mic=[4], scenarios={"CCr 120": {"CCr": 120}},
    )  # fmt: skip
    rows = found.text("pta = tdmx.pta(").splitlines()[-2:]
    assert [row.split()[-2] for row in rows] == [f"{value:.3f}" for value in pta.pta.values.ravel()]
    assert "at least 4: True" in found.text("critical = ")
    assert re.search(
        r"1000 mg q8h inf 3h has the smallest daily dose.* PTA of 0\.9 at a MIC of 4", found.text("optimise")
    )
    assert "monte_carlo interval, 95%" in found.text('attrs["interval"]')
    assert all("image/png" in found.outputs(each)[0].data for each in ("tdmx.plot.pta(", "tdmx.plot.cfr("))


def test_2__shows_what_the_api_gives(ran, tmp_path):
    found = ran["2_levels_to_dose"]
    fit = tdmx.fit("meropenem_tdm", seed=1, library=tmp_path)
    medians = fit.summary()["q50"]
    lines = found.text("tdmx.fit(patient").splitlines()
    for name in ("CL", "Vc"):
        row = next(line.split() for line in lines if line.startswith(f"{name} "))
        assert row[4] == f"{medians[name]:.3f}"
    assert "healthy: True" in found.text("fit.diagnose().healthy")
    assert re.search(r"41\.0 +12\.3 .*False", found.text("tdmx.ppc("))
    assert "levels[0].value=22.0 mg/h: the unit of a level is a mass per volume." in found.text(
        "except ValueError"
    )
    assert found.text("await future").startswith("done")
    pta = tdmx.pta(fit.draws, "1000 mg q8h inf 3h", "fT>MIC >= 100%", mic=[4])
    row = next(
        line for line in found.text("candidates, ").splitlines() if line.startswith("1000 mg q8h inf 3h")
    )
    assert row.split()[-2] == f"{pta.pta.item():.3f}"


def test_3__shows_what_the_api_gives(ran):
    found = ran["3_on_a_cluster"]
    assert "2 workers" in found.text("tdmx.cluster(")
    link = found.outputs("Markdown(")[0].data["text/markdown"]
    assert re.search(r"\[http://127\.0\.0\.1:\d+/tdmx\]", link)
    assert "the same counts: True" in found.text('run="direct"')
    assert "the same counts: True" in found.text("compute=False")
    assert "dask.array<" in found.text("compute=False")
    script = found.text("cluster script slurm")
    for line in ("#SBATCH -p normal", "#SBATCH --cpus-per-task=16", "-m tdmx_dask.clusters.worker"):
        assert line in script


def test_4__shows_what_the_api_gives(ran):
    found = ran["4_from_r"]
    direct, threads = re.findall(r"\d\.\d{3}", found.text("chunk_size=1024"))
    assert direct == threads
    assert f"job 1: PTA {direct}" in found.text("queue.result(job, wait=True)")
    assert "4 completed, 1 cached" in found.text("callback was given")
    assert re.search(r"given, here: \[0\.\d+\]", found.text("callback was given"))
    mean = float(re.search(r"\np +(\S+)", found.text("binomial.stan"))[1])
    assert mean == pytest.approx(18 / 22, abs=0.01)
    table = [line.split() for line in found.text("benchmark").splitlines()[2:]]
    assert [row[-3:-1] for row in table] == [
        ["12.5", "3.2"],
        ["75.0", "19.5"],
        ["62.5", "16.8"],
        ["8.0", "2.1"],
    ]
    assert all(float(row[-1]) < 1000 * float(row[-2]) for row in table), (
        "each is faster here than there on four cores"
    )


def test_5__shows_what_the_api_gives(ran):
    found = ran["5_uncertainty"]
    assert found.text("two_level = ").startswith("credible interval, 95%")
    rows = [line for line in found.text("intervals[").splitlines() if line.startswith(("monte", "credible"))]
    widths = [float(line.split()[-1]) for line in rows]
    assert widths[0] > widths[1] > widths[2]
    assert widths[3] > 10 * widths[2], "what is not known of a population does not shrink with patients"
    assert "Set subjects= for a population." in found.text("caught")
