"""The cache of compiled programs and its lock, with real processes.

CmdStan's sources are not here, so the step that compiles C++ cannot run; in its place a builder copies the real executable of prophet's
wheel, slowly. stanc, the step before it, is real.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tdmx_dask.errors import FitError, InputError
from tdmx_dask.fitting import toolchain
from tdmx_dask.fitting.choice import choose_engine
from tdmx_dask.fitting.cmdstan_build import make_with, translate
from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine
from tdmx_dask.fitting.declaration import parameter_names
from tdmx_dask.fitting.executable import known_executable
from tdmx_dask.fitting.program import Program, read_program, shipped_programs
from tdmx_dask.fitting.task import Sampling
from tests.fitting.prophet_case import CMDSTAN, EXECUTABLE, prophet_program, prophet_task

PROGRAM = Program("small", "parameters { real x; } model { x ~ normal(0, 1); }")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own, and a machine without CmdStan."""
    monkeypatch.setenv("TDMX_STAN_CACHE", os.fspath(tmp_path / "cache"))
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.delenv("CMDSTAN", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    return tmp_path / "cache"


class Copy:
    """A builder that counts: a process copies an executable, slowly."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.times = 0
        self.seconds = seconds

    def __call__(self, program, flags, folder):
        self.times += 1
        target = folder / "made"
        subprocess.run(["bash", "-c", f'sleep {self.seconds}; cp "{EXECUTABLE}" "{target}"'], check=True)
        return target


# the cache


def test_compile_program__once_for_each_content(cache):
    build = Copy()

    def made(program=PROGRAM, **options):
        return toolchain.compile_program(program, build=build, **({"version": "2.37.0"} | options))

    path = made()
    assert path.name == "small"
    assert path.parent.parent == cache
    assert os.access(path, os.X_OK)
    assert made() == path
    assert build.times == 1
    others = [made(threads=True), made(version="2.36.0"), made(Program("small", PROGRAM.code + " "))]
    assert len({path, *others}) == 4
    assert build.times == 4
    assert toolchain.executable_for(PROGRAM, version="2.37.0") == path
    assert toolchain.executable_for(PROGRAM, version="2.35.0") is None
    assert toolchain.executable_for(PROGRAM) is None  # no CmdStan here whose version it could have
    assert len(toolchain.status().programs) == 4
    assert not list(cache.glob(".build-*"))


def test_compile_program__threads_where_the_program_uses_them():
    build = Copy()
    summed = Program("summed", "// reduce_sum\n" + PROGRAM.code)
    assert toolchain.compile_program(summed, version="1", build=build) == toolchain.compile_program(
        summed, version="1", build=build, threads=True
    )
    assert build.times == 1


def test_compile_program__two_threads_build_once():
    build, said, found = Copy(0.5), [], []

    def work():
        found.append(toolchain.compile_program(PROGRAM, version="1", build=build, say=said.append))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.times == 1
    assert len(set(found)) == 1


_WORKER = """
import os, subprocess, sys, time
from pathlib import Path
from tdmx_dask.fitting import toolchain
from tdmx_dask.fitting.program import Program
def build(program, flags, folder):
    Path(sys.argv[1], f"built-{os.getpid()}").touch()
    subprocess.run(["bash", "-c", f"sleep {sys.argv[2]}; cp {sys.argv[3]} {folder}/made"], check=True)
    return folder / "made"
program = Program("small", "parameters { real x; } model { x ~ normal(0, 1); }")
print(toolchain.compile_program(program, version="1", build=build, say=lambda text: print(text, file=sys.stderr)))
"""


def _worker(marks: Path, seconds: float) -> subprocess.Popen[str]:
    marks.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, marks, str(seconds), EXECUTABLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_compile_program__two_processes_build_once(tmp_path):
    workers = [_worker(tmp_path / "marks", 1) for _ in range(2)]
    answers = [worker.communicate(timeout=60) for worker in workers]
    assert len({out for out, _ in answers}) == 1
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert sum("another process compiles small; waiting" in err for _, err in answers) == 1


def test_compile_program__after_a_builder_was_killed(tmp_path, cache):
    """Its lock is gone with it, and half a program is not taken for a whole one."""
    first = _worker(tmp_path / "marks", 60)
    until = time.monotonic() + 20
    while not list((tmp_path / "marks").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert list(cache.glob(".*.lock"))
    build = Copy()
    began = time.monotonic()
    toolchain.compile_program(PROGRAM, version="1", build=build)
    assert time.monotonic() - began < 2
    assert build.times == 1
    os.killpg(first.pid, signal.SIGKILL)  # what it had started
    first.communicate()


def test_compile_program__a_failure_leaves_nothing(cache):
    def fails(program, flags, folder):
        (folder / "half").touch()
        raise FitError("program", program.name, "it does not compile", "Correct it.")

    with pytest.raises(FitError, match="it does not compile"):
        toolchain.compile_program(PROGRAM, version="1", build=fails)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert toolchain.compile_program(PROGRAM, version="1", build=Copy()).is_file()


def test_compile_program__cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TDMX_STAN_CACHE", os.fspath(tmp_path / "file" / "cache"))
    with pytest.raises(FitError, match=r"cache=.*: it cannot be written .*set TDMX_STAN_CACHE"):
        toolchain.compile_program(PROGRAM, version="1", build=Copy())


def test_compiled__runs():
    path = toolchain.compile_program(prophet_program(), version="2.37.0", build=_with_libraries)
    task = prophet_task(sampling=Sampling(50, 10))
    (result,) = CmdStanEngine().run([task], lambda _: None)
    moved = prophet_task(sampling=Sampling(50, 10), executable=os.fspath(path))
    (there,) = CmdStanEngine().run([moved], lambda _: None)
    assert (there.draws == result.draws).all()


def _with_libraries(program, flags, folder):
    from tdmx_dask.fitting.parcel import unpack

    return unpack(toolchain.packed(EXECUTABLE), folder)


# an executable on another machine


def test_materialise__what_was_packed_runs_elsewhere(cache):
    """prophet's executable finds its TBB by a path from where it lies; elsewhere it needs the one that was sent along."""
    content = toolchain.packed(EXECUTABLE)
    path = toolchain.materialise("abc123", content)
    assert path.parent.parent == cache
    assert [file.name[:6] for file in sorted(path.parent.iterdir())] == ["libtbb", "progra"]
    assert known_executable(path).release == (2, 37, 0)
    assert toolchain.materialise("abc123", content) == path


def test_materialise__bare_bytes():
    path = toolchain.materialise("def456", b"#!/bin/bash\necho stan_version_major = 2\n")
    assert known_executable(path).version == "cmdstan 2.0.0"


def test_materialise__what_it_refuses():
    import io
    import tarfile

    with pytest.raises(FitError, match="it is known by a digest"):
        toolchain.materialise("../x", b"")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("../../evil"))
    with pytest.raises(FitError, match="it is no part of a compiled program"):
        toolchain.materialise("aaa", buffer.getvalue())
    with pytest.raises(FitError, match="it is damaged"):
        toolchain.materialise("bbb", toolchain.packed(EXECUTABLE)[:2000])


# CmdStan itself


def test_installed__where_cmdstanpy_looks(tmp_path, monkeypatch):
    assert toolchain.installed() is None
    for version in ("2.9.0", "2.37.0-rc1", "2.36.0"):
        folder = tmp_path / ".cmdstan" / f"cmdstan-{version}"
        folder.mkdir(parents=True)
        (folder / "makefile").touch()
    found = toolchain.installed()
    assert found is not None
    assert found.version == "2.37.0-rc1"
    assert len(found.lacks) == 3
    monkeypatch.setenv("CMDSTAN", os.fspath(CMDSTAN))
    found = toolchain.installed()
    assert found is not None
    assert (found.path, found.version) == (CMDSTAN.resolve(), "2.37.0")
    assert "its sources (src)" in found.lacks


def test_compile_program__without_cmdstan(monkeypatch):
    with pytest.raises(
        FitError, match=r"CmdStan is not installed. .*engine='stanli'.*tdmx stan install.*network"
    ):
        toolchain.compile_program(PROGRAM)
    monkeypatch.setenv("CMDSTAN", os.fspath(CMDSTAN))
    with pytest.raises(FitError, match=r"lacks its sources \(src\)"):
        toolchain.compile_program(PROGRAM)


def test_translate__by_the_real_stanc(tmp_path, monkeypatch):
    monkeypatch.setenv("CMDSTAN", os.fspath(CMDSTAN))
    cmdstan = toolchain.installed()
    assert cmdstan is not None
    source = tmp_path / "program.stan"
    source.write_text(PROGRAM.code)
    assert "small" not in translate(cmdstan, PROGRAM, source).read_text()[:20]
    wrong = Program("wrong", "parameters { real x; } model { x ~ normal(0, y); }")
    with pytest.raises(
        FitError, match=r"program=wrong: it does not compile; (.|\n)*'wrong.stan', line 1(.|\n)*'y'"
    ):
        make_with(cmdstan)(wrong, toolchain.Flags(), tmp_path)


@pytest.mark.parametrize("name", sorted(shipped_programs()))
def test_shipped_programs__pass_the_real_stanc(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CMDSTAN", os.fspath(CMDSTAN))
    cmdstan = toolchain.installed()
    assert cmdstan is not None
    program = read_program(name)
    source = tmp_path / "program.stan"
    source.write_text(program.code)
    assert translate(cmdstan, program, source).stat().st_size > 10_000
    said = subprocess.run(
        [CMDSTAN / "bin" / "stanc", "--info", source], capture_output=True, text=True, check=True
    )
    import json

    assert parameter_names(program.code) == tuple(json.loads(said.stdout)["parameters"])


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("data { int n; } model { }", ()),
        ("parameters{real<lower=0, upper=max({1, 2})> a; // b;\n array[2, 3] vector[n > 2 ? 3 : 4] c, d; }", ("a", "c", "d")),
        ("transformed parameters { real t; }", ()),
        ("parameters { /* real q; */ tuple(real, vector[2]) p; simplex[3] s; } transformed parameters { real t; }", ("p", "s")),
    ],
)  # fmt: skip
def test_parameter_names(code, names):
    assert parameter_names(code) == names


def test_install__needs_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(FitError, match=r"(make|a C\+\+ compiler) is not installed"):
        toolchain.install()


def test_install__offline(tmp_path, monkeypatch):
    """The installer's own process, through a proxy that nobody answers: refused before anything is built."""
    if toolchain.status().compiler is None or shutil.which("make") is None:
        pytest.skip("no compiler")
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    said = []
    with pytest.raises(
        FitError, match=r"cmdstan=2.37.0: it cannot be downloaded .*needs a network.*engine='stanli'"
    ):
        toolchain.install("2.37.0", folder=tmp_path / "new", say=said.append)
    assert said
    assert not any("Traceback" in line for line in said)


# the choice of an engine


def test_choose_engine__auto():
    assert choose_engine("auto", PROGRAM).name == "stanli"
    assert choose_engine("auto", PROGRAM).why == "CmdStan is not installed"
    given = choose_engine("auto", PROGRAM, EXECUTABLE)
    assert (given.name, given.version, given.executable) == (
        "cmdstan",
        "cmdstan 2.37.0",
        os.fspath(EXECUTABLE),
    )
    assert given.ready(PROGRAM) is given
    assert choose_engine("stanli", PROGRAM).ready(PROGRAM).executable is None


def test_choose_engine__where_cmdstan_is_whole(tmp_path, monkeypatch):
    """A folder with all parts that are asked for; nothing in it is run."""
    for part in ("makefile", "bin/stanc", "src/cmdstan/main.cpp", "stan/lib/stan_math/stan/math.hpp"):
        file = tmp_path / "cmdstan-2.37.0" / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setenv("CMDSTAN", os.fspath(tmp_path / "cmdstan-2.37.0"))
    choice = choose_engine("auto", PROGRAM)
    assert (choice.name, choice.version, choice.executable) == ("cmdstan", "cmdstan 2.37.0", None)
    path = toolchain.compile_program(PROGRAM, version="2.37.0", build=Copy())
    assert choose_engine("cmdstan", PROGRAM).executable == os.fspath(path)
    assert choice.ready(PROGRAM).executable == os.fspath(path)
    assert CmdStanEngine().version() == "cmdstan 2.37.0"


def test_choose_engine__refusals():
    with pytest.raises(InputError, match="engine=jags: it is one of auto, stanli, cmdstan"):
        choose_engine("jags", PROGRAM)
    with pytest.raises(InputError, match="stanli runs no compiled programs"):
        choose_engine("stanli", PROGRAM, EXECUTABLE)
    with pytest.raises(FitError, match="CmdStan is not installed"):
        choose_engine("cmdstan", PROGRAM)
    with pytest.raises(InputError, match="executable=/nowhere/program: there is no such file"):
        choose_engine("auto", PROGRAM, "/nowhere/program")
    for engine in ("auto", "stanli"):
        with pytest.raises(FitError, match="method=advi: stanli has not got it; CmdStan has"):
            choose_engine(engine, PROGRAM, method="advi")
    assert choose_engine("auto", PROGRAM, EXECUTABLE, method="advi").name == "cmdstan"
