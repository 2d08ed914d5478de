"""The compiled engine: CmdStan's executables, one process a chain.

What is promised, and what is not
---------------------------------
The same task gives the same draws, bit for bit, on every machine where the same executable runs on processors of the same kind: they
depend on program, data, seed, chain, round, attempt, start and settings alone, not on who ran it or what ran beside it. Draws are read
with 18 digits, so a round goes on from exactly where the one before ended.

Not promised: the same draws from another engine, release of CmdStan, compiler, its flags, or operating system. stanli and CmdStan are
both Stan, with the same densities and the same sampler, and agree on the posterior (within its Monte-Carlo error), never draw by draw:
they consume random numbers differently. Nor are two rounds of 500 draws the 1,000 draws of one round; both are the same chain in law.
A fit therefore stays with one engine for all of its chains and rounds, and says which.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.cmdstan_command import MODE, OUTPUT, PATHS, arguments, write_inputs
from tdmx_dask.fitting.cmdstan_result import Heard, approximate_result, chain_result
from tdmx_dask.fitting.console import Ended, run_program, signal_name
from tdmx_dask.fitting.csv_output import CutShortError, GrowingCsv, Output, read_output
from tdmx_dask.fitting.engine import ChildKilled, Emit, InitialisationFailed
from tdmx_dask.fitting.executable import Executable, environment, known_executable
from tdmx_dask.fitting.progress import Progress
from tdmx_dask.fitting.so_far import WATCHED
from tdmx_dask.fitting.task import ChainResult, ChainTask
from tdmx_dask.store.scratch import scratch_folder, sweep

__all__ = ["CmdStanEngine"]

_LINES = 12
_LOOK = 0.45
_UPDATES = 200
_METHODS = {"mode": "optimize", "laplace": "laplace", "pathfinder": "pathfinder", "advi": "variational"}
_NOT_WRITTEN = "iostream error"
_MAKE_ROOM = "Make room, or set TMPDIR to a folder with more of it."
_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
_NO_START = re.compile(r"Initialization failed|No pathfinders ran successfully|Line search failed")
_BAD_DATA = re.compile(r"processing stage=data initialization; variable name=(\w+)")


class CmdStanEngine:
    """Runs chains by compiled programs."""

    name = "cmdstan"

    def __init__(self) -> None:
        sweep()

    def version(self) -> str:
        """Name, and the version of the CmdStan that is installed; a result has that of its executable."""
        from tdmx_dask.fitting.toolchain import installed

        found = installed()
        return f"cmdstan {found.version}" if found else "cmdstan"

    def run(self, tasks: Sequence[ChainTask], emit: Emit) -> list[ChainResult]:
        """Run tasks in turn, as `Engine.run` says."""
        return [self._run(task, emit) for task in tasks]

    def _run(self, task: ChainTask, emit: Emit) -> ChainResult:
        progress = Progress(task, emit)
        progress.say("starting")
        executable = known_executable(task.executable)
        with scratch_folder() as folder:
            run = _Run(task, executable, folder, progress)
            write_inputs(task, folder)
            if task.approximate is None:
                result = chain_result(task, run.call("sample", task.sampling.draws), run.heard)
                progress.draws.clear()
                progress.draws.add(np.column_stack([result.stats[:, 0], result.draws[:, :WATCHED]]))
            else:
                result = _approximated(run)
        progress.say("done", progress.total, result.end.step_size)
        return result


class _Run:
    """Calls of one executable for one task, in one folder."""

    def __init__(self, task: ChainTask, executable: Executable, folder: Path, progress: Progress) -> None:
        self.task = task
        self.executable = executable
        self.folder = folder
        self.progress = progress
        self.heard = Heard(executable.version, folder)
        if task.threads > 1 and not executable.threaded:
            self.heard.log.append(
                f"{task.threads} threads were asked for and the program was compiled for one"
            )

    def call(self, method: str, n_rows: int | None) -> Output:
        """Run the executable once and read what it wrote."""
        task = self.task
        refresh = max(1, self.progress.total // _UPDATES) if method == "sample" else 100
        given = arguments(task, self.executable, method, refresh)
        command = [str(self.executable.path), *given]
        file = self.folder / (MODE if method == "optimize" else OUTPUT)
        watch = _Watch(self.progress, file, follows=method == "sample")
        variables = environment(self.executable.path) | {"STAN_NUM_THREADS": str(max(1, task.threads))}
        began = time.perf_counter()
        try:
            ended = run_program(
                command, folder=self.folder, variables=variables, line=watch.line, tick=watch.tick
            )
        except OSError as error:
            ended = Ended(127, 0.0, (str(error),))
            self._fail(command, ended, f"CmdStan could not be started ({error})")
        self.heard.add(ended, time.perf_counter() - began)
        if ended.code > 0 and any(_NOT_WRITTEN in line for line in ended.lines):
            watch.csv.look()
            what = f"its CSV file could not be written and was cut short after {watch.csv.draws} draws; {self._room()}"
            self._fail(command, ended, what, _MAKE_ROOM)
        if ended.code:
            self._fail(command, ended, _ending(ended, method, watch))
        try:
            return read_output(file, n_rows)
        except CutShortError as error:
            self._fail(command, ended, f"{error}; {self._room()}", _MAKE_ROOM)

    def _room(self) -> str:
        free = shutil.disk_usage(self.folder).free / 1e6
        return f"{free:,.0f} MB are free in {self.folder.parent}"

    def _fail(self, command: Sequence[str], ended: Ended, what: str, fix: str = "") -> NoReturn:
        task = self.task
        said = "\n".join(ended.lines)
        last = "".join(f"\n  | {line}" for line in _telling(ended.lines)[-_LINES:]) or " nothing"
        name = task.program.name
        shown = shlex.join([Path(command[0]).name, *command[1:]])
        facts = f"chain {task.chain} (seed {task.seed}): {what}; command: {shown}"
        console = f"The console's last lines:{last}"
        if bad := _BAD_DATA.search(said):
            raise FitError(f"data of {name}", bad[1], facts, f"Compare the data block. {console}")
        if ended.code > 0 and _NO_START.search(said):
            fix = fix or "Give priors or inits that the model can be evaluated at."
            raise InitialisationFailed("program", name, facts, f"{fix} {console}")
        if -ended.code in _OUTSIDE:
            fix = "Did its memory run out? Give it more (memory_mb), or run fewer chains at a time."
            raise ChildKilled("program", name, facts, f"{fix} {console}")
        raise FitError("program", name, facts, f"{fix} {console}".strip())


class _Watch:
    """Turns the console and the growing CSV file into progress."""

    def __init__(self, progress: Progress, file: Path, *, follows: bool) -> None:
        self.n_lines = 0
        self.csv = GrowingCsv(file)
        self._progress = progress
        self._console = progress.console(0, progress.task.sampling.warmup)
        self._follows = follows
        self._looked = time.perf_counter()

    def line(self, text: str) -> None:
        """Take note of a line of the console."""
        self.n_lines += 1
        if self._follows:
            self._console.write(text)

    def tick(self) -> None:
        """Look at the draws now and then."""
        now = time.perf_counter()
        if not self._follows or now - self._looked < _LOOK:
            return
        self._looked = now
        self.csv.look()
        if self.csv.draws:
            self._progress.divergences = self.csv.divergences
            self._progress.draws.add(self.csv.take())
            warmup = self._progress.task.sampling.warmup
            self._progress.pause("sampling", warmup + self.csv.draws, self.csv.step_size)


def _telling(lines: Sequence[str]) -> list[str]:
    """Lines of the console without the settings that it repeats, and of the progress the last alone."""
    begin = max((at for at, line in enumerate(lines) if line.startswith("num_threads = ")), default=-1)
    said = list(lines[begin + 1 :])
    progress = [line for line in said if line.startswith("Iteration:")]
    return [line for line in said if not line.startswith("Iteration:") or line is progress[-1]]


def _ending(ended: Ended, method: str, watch: _Watch) -> str:
    """How a call failed, in words."""
    if ended.code < 0:
        watch.csv.look()
        name = signal_name(-ended.code)
        hint = {"SIGXFSZ": " (a limit of file size)"}
        after = f" after {watch.csv.draws} draws" if method == "sample" else ""
        return f"CmdStan was killed by {name}{hint.get(name, '')}{after}"
    if ended.code > 128:
        return f"CmdStan ended with {ended.code} ({signal_name(ended.code - 128)})"
    if any(_NO_START.search(line) for line in ended.lines):
        return (
            "it cannot be started"
            if method != "optimize"
            else "it cannot be started, or its mode not be found"
        )
    return f"CmdStan's method {method} ended with {ended.code}"


def _approximated(run: _Run) -> ChainResult:
    """An approximation: one call, or two where draws are taken about the mode."""
    task = run.task
    kind = task.approximate
    assert kind is not None  # noqa: S101  (asked by the caller)
    run.progress.say("sampling", 0)
    mode = run.call("optimize", 1) if kind in ("mode", "laplace") else None
    if kind == "mode" and mode is not None:
        return approximate_result(task, mode, mode, run.heard)
    n_rows = {"laplace": task.sampling.draws, "advi": task.sampling.draws + 1, "pathfinder": None}.get(kind)
    output = run.call(_METHODS[kind], n_rows)
    if kind == "pathfinder" and len(output.rows) % task.sampling.draws:
        run.heard.log.append(f"of {PATHS} paths not all gave all draws: {len(output.rows)} in all")
    return approximate_result(task, output, mode, run.heard)
