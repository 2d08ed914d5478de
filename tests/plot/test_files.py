"""Figures as files."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tdmx_dask import plot
from tests.plot.synthetic import pta_result

CODE = (
    "import sys, hashlib\n"
    "from tests.plot.synthetic import pta_result\n"
    "from tdmx_dask import plot\n"
    "for path in plot.save(plot.pta(pta_result()), sys.argv[1]):\n"
    "    print(hashlib.sha256(path.read_bytes()).hexdigest())"
)


def test_save__same_bytes_in_any_process(tmp_path: Path) -> None:
    seen = set()
    for number in range(2):
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "SOURCE_DATE_EPOCH": str(10**9 * number)}
        run = subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path / f"{number}")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        seen.add(run.stdout)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["pta", "pta.png", "pta.SVG", "pta.v1"])
def test_save__writes_both(tmp_path: Path, name: str) -> None:
    png, svg = plot.save(plot.pta(pta_result()), tmp_path / name)
    stem = "pta.v1" if name == "pta.v1" else "pta"
    assert (png.name, svg.name) == (f"{stem}.png", f"{stem}.svg")
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert svg.read_text(encoding="utf-8") == plot.svg_text(plot.pta(pta_result()))


def test_svg_text__is_self_contained() -> None:
    text = plot.svg_text(plot.pta(pta_result()))
    root = ET.fromstring(text)  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "date" not in text.lower().split("<defs>")[0]
    links = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    assert all(link.startswith("#") for link in links)
