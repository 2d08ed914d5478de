"""Progress in a notebook: one output a call, replaced a few times a second, one line in the end; no widgets, no warning."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

# What would be displayed is also written down, for an executed notebook keeps the last of each output alone.
WATCH = """
import time
from IPython.core import displaypub
import tdmx_dask as tdmx
frames, publish = [], displaypub.DisplayPublisher.publish
pub = get_ipython().display_pub
def noted(data, *arguments, **more):
    frames.append((time.monotonic(), data, bool(more.get("update"))))
    return type(pub).publish(pub, data, *arguments, **more)
pub.publish = noted
posterior = tdmx.sample(tdmx.Population.from_mapping({"parameters": {"CL": 9, "V": 16}, "bsv": {"CL": {"omega": 0.3}}}), 4000)
tdmx.write_draws(posterior, "draws.zarr")
"""
CELLS = {
    "quick": "quick = tdmx.pta('draws.zarr', '1 g q8h inf 1h', 'T>MIC >= 50%', mic=2, progress=True)",
    "slow": """
import numpy as np
two = posterior.assign(omega=(("chain", "draw", "eta", "eta2"), np.full((1, 4000, 1, 1), 0.09))).assign_coords(eta=["CL"], eta2=["CL"])
frames.clear()
slow = tdmx.pta(two, "1 g q8h inf 1h", "T>MIC >= 50%", mic=2, subjects=6000, run="threads", chunk_size=1024, progress=True)
""",
    "frames": "[(round(at - frames[0][0], 3), data['text/html'], data['text/plain'], update) for at, data, update in frames]",
    "fit": "fit = tdmx.fit('meropenem_tdm', iter_sampling=9000, progress=True)",
    "fit_many": "cohort = tdmx.fit_many({'a': 'meropenem_tdm', 'b': 'meropenem_tdm'}, iter_sampling=9000, seed=2, progress=True)\n"
    "cohort.results(); time.sleep(0.3)",
    "asked": "future = tdmx.fit_async('meropenem_tdm', iter_sampling=9000, seed=3, progress=True)",
    "meanwhile": "done = future.result(); time.sleep(0.3)",
    "study": "found = tdmx.run_study('meropenem_sepsis')",
    "queue": """
with tdmx.JobQueue(1, cache=False) as queue:
    queue.submit("batch_processing", {"function": "time:sleep", "items": [0.5]})
    states = queue.wait_all(progress=True)
""",
    "failing": "tdmx.pta(two, '1 g q8h inf 1h', 'T>MIC >= 50%', mic=2, subjects=6000, progress=0)",
    "modules": "import sys; 'ipywidgets' in sys.modules",
}


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    cells = [nbformat.v4.new_code_cell(source) for source in (WATCH, *CELLS.values())]
    cells[1 + list(CELLS).index("failing")].metadata["tags"] = ["raises-exception"]
    path = tmp_path_factory.mktemp("progress") / "progress.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return dict(zip(CELLS, run(Path(path)).code[1:], strict=True))


def test_progress__what_is_over_at_once_shows_nothing(found):
    assert found["quick"].outputs == []


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("slow", r"simulating 24,000,000 profiles, took \d\.\d s"),
        ("fit", r"meropenem_tdm 40,000 iterations, done, took .*s"),
        ("fit_many", r"fitting 2 fits, took .*s"),
        ("queue", r"ended 1 jobs, took .*s"),
    ],
)
def test_progress__one_line_is_left(found, cell, line):
    (output,) = found[cell].outputs
    assert output.output_type == "display_data"
    assert re.fullmatch(line, output.data["text/plain"])
    assert output.data["text/html"] == output.data["text/plain"]


def test_progress__is_one_output_that_changes_a_few_times_a_second(found):
    frames = eval(found["frames"].outputs[0].data["text/plain"])  # noqa: S307  our own cell's list of texts
    assert [update for *_, update in frames] == [False] + [True] * (len(frames) - 1)
    assert len(frames) >= 3
    times = [at for at, *_ in frames[:-1]]  # the last one comes when it is over
    assert all(later - earlier > 0.2 for earlier, later in pairwise(times))
    _, html, plain, _ = frames[1]
    assert re.search(r'<progress value="\d\.\d+" style=.*></progress>', html)
    assert re.match(r"simulating [\d,]+ of 24,000,000 profiles \(\d+ %\)", plain)
    assert "<progress" not in frames[-1][1]


def test_progress__belongs_to_the_cell_that_asked(found):
    """The cell had ended when the bar was first drawn; what reads the notebook here keeps nothing of that."""
    assert found["meanwhile"].outputs == []


def test_progress__needs_no_widgets_and_warns_of_nothing(found):
    assert found["modules"].outputs[0].data["text/plain"] == "False"
    said = [output for cell in found.values() for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    (error,) = found["failing"].outputs
    assert error.evalue.startswith("progress=0: it is True, False or a function")
