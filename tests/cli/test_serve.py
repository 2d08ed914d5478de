"""``tdmx serve`` from its start to its end."""

from __future__ import annotations

import re
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import TDMX


def test_serve__answers_until_ctrl_c(tmp_path: Path) -> None:
    command = [TDMX, "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", server.stdout.readline())
        assert found
        with urllib.request.urlopen(found[0]) as answer:  # noqa: S310
            page = answer.read().decode()
        assert "Not a medical device" in page
        assert "mathjax" not in page
        server.send_signal(2)
        assert server.wait(20) == 0
        assert server.stderr is not None
        assert server.stderr.read().strip() == "Research use only. Not a medical device. Ctrl-C ends it."
    assert list(tmp_path.iterdir()) == []


def test_serve__a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [TDMX, "serve", "--port", str(port)], cwd=tmp_path, capture_output=True, text=True
        )
    assert done.returncode == 2
    assert f"port={port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("origin", ["http://localhost:6007", "localhost", "localhost:x", "", "*", "*:*"])
def test_serve__an_origin_that_is_none(tmp_path: Path, origin: str) -> None:
    command = [TDMX, "serve", "--port", "0", "--origin", origin]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"origin={origin}: it is HOST:PORT" in done.stderr
