"""``tdmx stan`` through the real executable, on a machine without a whole CmdStan."""

import os

import pytest

from tests.fitting.prophet_case import CMDSTAN


@pytest.fixture
def stan(tdmx, tmp_path):
    def call(*arguments, **env):
        bare = {
            "CMDSTAN": "",
            "CONDA_PREFIX": "",
            "HOME": os.fspath(tmp_path),
            "TDMX_STAN_CACHE": os.fspath(tmp_path / "c"),
        }
        return tdmx("stan", *arguments, **(bare | env))

    return call


def test_status(stan):
    done = stan("status")
    assert done.returncode == 0, done.stderr
    assert "stanli" in done.stdout
    assert "engine=auto takes stanli. For CmdStan: tdmx stan install" in done.stdout
    assert "linear_2c" in done.stdout
    done = stan("status", CMDSTAN=os.fspath(CMDSTAN))
    assert "2.37.0" in done.stdout
    assert "CmdStan lacks its sources (src)" in done.stdout


def test_compile__without_cmdstan(stan):
    done = stan("compile", "linear_2c")
    assert done.returncode == 5
    assert "error: program=linear_2c: it cannot be compiled: CmdStan is not installed." in done.stderr
    assert "tdmx stan install, which needs a C++ compiler, make and a network" in done.stderr
    assert "Traceback" not in done.stderr


def test_compile__no_such_program(stan):
    done = stan("compile", "linear_9c")
    assert done.returncode == 2
    assert "there is no such Stan program" in done.stderr


def test_install__no_compiler(stan, tmp_path):
    done = stan("install", PATH=os.fspath(tmp_path))
    assert done.returncode == 5
    assert "is not installed, and CmdStan is built. Install them" in done.stderr


@pytest.mark.parametrize("command", ["status", "install", "compile"])
def test_help(stan, command):
    done = stan(command, "--help")
    assert done.returncode == 0
    assert f"tdmx stan {command}" in done.stdout
