"""The blocks of a plan, run here and now, on threads, or as delayed tasks for whatever scheduler.

How: work is measured, not guessed. A pass of some thousand profiles is timed; below a fifth of a second in all, the kernel is simply
called. More goes to Dask's threaded scheduler; some seconds are worth a child process for each thread, for threads of one interpreter get
in each other's way. A cluster is used where one is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Literal

from tdmx_dask.analysis.evaluate import count_block, critical_block
from tdmx_dask.analysis.inputs import Inputs, LazySlice
from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.analysis.tally import Tally
from tdmx_dask.kernels.counts import ROWS, THREAD_ROWS
from tdmx_dask.kernels.random import BLOCK

__all__ = [
    "DIRECT_DRAWS",
    "TASKS",
    "TASK_NAMES",
    "cut",
    "delayed_blocks",
    "load",
    "measure",
    "n_tasks",
    "run_direct",
    "run_threads",
]

Mode = Literal["direct", "threads", "processes", "distributed"]
Kind = Literal["count", "critical"]

SMALL_WORK = 0.2
"""s; less is not worth a scheduler."""

LARGE_WORK = 5.0
"""s; less is not worth processes, which take half a second to start."""

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Where a task runs once it does: a task in, one to be given to a scheduler out."""


def _here(task: Callable[..., Any]) -> Callable[..., Any]:
    return task


TASK_SECONDS = (0.05, 1.0, 5.0)
"""Length of a task: at least, aimed at, and at most: a task costs Dask 1–3 ms on a cluster."""

TASKS_A_SECOND = 200
"""Aim for a cluster: what one scheduler passes on with ease. Above so many threads tasks are longer."""

MOST_SECONDS = 2e-6
"""More than a critical MIC costs on one core, virtual patient included: below, nothing is measured."""

SAMPLE = 2048
"""Profiles of a timed pass."""

CHECKPOINT_SECONDS = 5.0
"""Aim between two savings of the counts of a streamed run."""

DIRECT_DRAWS = 1 << 18
"""Draws that a direct run holds at once when it reads them from a store."""

DIRECT_PROFILES = 1 << 22
"""Profiles after which a direct run says how far it is, and keeps its counts: half a second or so."""


def count_task(plan: Plan, block: Block, values: Any = None, rows: int = ROWS) -> Any:
    """What a scheduler runs: the counts of one block."""
    return count_block(plan, block, values.load() if isinstance(values, LazySlice) else values, rows=rows)


def critical_task(plan: Plan, block: Block, values: Any = None, rows: int = ROWS) -> Any:
    """What a scheduler runs: the critical MICs of one block."""
    return critical_block(plan, block, values.load() if isinstance(values, LazySlice) else values, rows=rows)


TASKS: dict[Kind, Callable[..., Any]] = {"count": count_task, "critical": critical_task}
TASK_NAMES: dict[Kind, str] = {"count": "tdmx-pta", "critical": "tdmx-mic"}


def measure(plan: Plan, inputs: Inputs) -> float:
    """Seconds that all the work would take on one core: from a small timed pass, or 0 where it is little in any case."""
    most = MOST_SECONDS * plan.n_profiles * len(plan.pairs) * len(plan.targets)
    if most < SMALL_WORK:
        return 0.0
    draws = min(plan.n_draws, SAMPLE if plan.n_subjects == 1 else BLOCK)
    block = Block(0, 0, draws, 0, min(plan.n_subjects, max(1, SAMPLE // draws)))
    values = load(inputs.values(block))
    if values is None and plan.store is not None:
        from tdmx_dask.store.slices import read_slice  # Zarr is imported where a store is read

        # reading is not timed: a small slice costs as much as a whole chunk
        values = read_slice(plan.store.path, plan.names, 0, 0, draws, digest=plan.store.digest)
    seconds = []
    for _ in range(2):  # the first call pays for caches and memory
        start = time.perf_counter()
        count_task(plan, block, values)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * plan.n_profiles / block.n_profiles


def cut(plan: Plan, seconds: float, n_workers: int, chunk_size: int | None) -> tuple[Block, ...]:
    """Cut a plan into tasks (see `n_tasks`); `chunk_size` sets the draws of a task."""
    if not n_workers:
        draws = min(plan.n_draws, chunk_size or DIRECT_DRAWS)
        return plan.blocks(draws, max(1, min(plan.n_subjects, DIRECT_PROFILES // draws)))
    profiles = max(BLOCK, plan.n_profiles // n_tasks(seconds, n_workers))
    if chunk_size is not None:
        draws = chunk_size
    elif plan.n_subjects == 1:
        draws = profiles
    else:
        draws = BLOCK * max(1, min(profiles // (BLOCK * 8), -(-plan.n_draws // BLOCK)))
    return plan.blocks(draws, max(1, min(plan.n_subjects, profiles // min(draws, plan.n_draws))))


def n_tasks(seconds: float, n_workers: int) -> int:
    """Tasks for some work of one core, s, on some threads: about a second each, longer for very many threads, shorter where that gives a
    thread fewer than sixteen, for a thread waits half a task for the others at the end; four a thread, if that is not too short.
    """
    least, aim, most = TASK_SECONDS
    pace = n_workers / TASKS_A_SECOND
    long, short = min(most, max(aim, pace)), max(aim / 4, pace)
    wanted = max(4 * n_workers, round(seconds / long), min(16 * n_workers, round(seconds / short)))
    return max(n_workers, min(wanted, round(seconds / least))) if seconds else 4 * n_workers


def run_direct(
    kind: Kind,
    plan: Plan,
    inputs: Inputs,
    tally: Tally,
    take: Callable[[int, Any], None],
    done: Callable[[], None],
) -> None:
    """Call the kernel block after block; hand each result to `take`, then call `done`."""
    for index, block in list(tally.open_blocks()):
        take(index, TASKS[kind](plan, block, load(inputs.values(block))))
        done()


def run_threads(
    kind: Kind,
    plan: Plan,
    inputs: Inputs,
    tally: Tally,
    take: Callable[[int, Any], None],
    done: Callable[[], None],
    n_workers: int,
    *,
    wrap: Wrap = _here,
    rows: int = THREAD_ROWS,
) -> None:
    """Run the blocks on Dask's threaded scheduler, some tasks a thread at a time; each part is taken as its task ends."""
    from dask.base import compute

    todo = iter(list(tally.open_blocks()))
    for wave in _waves(todo, 8 * n_workers):
        tasks = delayed_blocks(kind, plan, inputs, [block for _, block in wave], wrap, rows)
        index_of = {task.key: index for task, (index, _) in zip(tasks, wave, strict=True)}

        def take_part(key: Any, part: Any, *_: Any, index_of: dict[Any, int] = index_of) -> None:
            if key in index_of:
                take(index_of[key], part)
                done()

        # given to this call alone: a callback that is registered goes to whichever thread of the process computes next
        compute(
            *tasks,
            scheduler="threads",
            num_workers=n_workers,
            callbacks=[(None, None, None, take_part, None)],
        )


def delayed_blocks(
    kind: Kind,
    plan: Plan,
    inputs: Inputs,
    blocks: Iterable[Block],
    wrap: Wrap = _here,
    rows: int = THREAD_ROWS,
) -> list[Any]:
    """One delayed task a block, named ``tdmx-pta`` or ``tdmx-mic`` in the dashboard.

    Draws in a store are read by the task; draws that are lazy stay so until the task runs. `wrap` says where a task runs once it does.
    """
    import uuid

    from dask.delayed import delayed

    token = uuid.uuid4().hex
    shared = delayed(plan, name=f"tdmx-plan-0-{token}", traverse=False)
    run = delayed(wrap(TASKS[kind]), pure=False)
    return [
        run(shared, block, inputs.values(block), rows, dask_key_name=f"{TASK_NAMES[kind]}-{i}-{token}")
        for i, block in enumerate(blocks)
    ]


def load(values: Any) -> Any:
    """Values for a direct call: what is dask-backed is computed now."""
    return values.compute(scheduler="threads") if hasattr(values, "dask") else values


def _waves(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while wave := list(islice(items, size)):
        yield wave
