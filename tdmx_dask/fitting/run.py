"""One fit on its way from a request to its draws: a small state machine that is told what happened and says what to do next.

Everything here happens in the conductor's thread and nothing blocks, but for the arithmetic of diagnostics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.errors import ClusterError, FitCancelled, FitError, TdmxError
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.future import FitFuture
from tdmx_dask.fitting.memory import MemoryRecord
from tdmx_dask.fitting.needs import memory_mb, needs_of
from tdmx_dask.fitting.policy import Evidence, Step, first_step, next_step
from tdmx_dask.fitting.posterior import Chains, select
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.runner import Runner
from tdmx_dask.fitting.task import Batch, ChainResult, ChainTask, Start
from tdmx_dask.fitting.warm_start import WARMUP, WarmStart, find_start

if TYPE_CHECKING:
    from tdmx_dask.fitting.mailbox import Call

__all__ = ["Run"]

_ATTEMPTS = 16
"""Attempts of a chain that are kept for other inits; a run that is tuned begins with the next."""

Outcome = list[ChainResult] | BaseException


class Run:
    """A fit that was asked for.

    Parameters
    ----------
    request : what
    runner : where
    future : whom to tell
    post : calls something in the conductor's thread
    share : chains that may run at once, as other fits leave room
    finish : called once with this run, when its chains are done or it failed
    """

    def __init__(
        self,
        request: Request,
        runner: Runner,
        future: FitFuture,
        post: Callable[[Call], None],
        share: Callable[[Run], int],
        finish: Callable[[Run], None],
    ) -> None:
        self.request, self.runner, self.future = request, runner, future
        self._post, self._share, self._finish = post, share, finish
        self.began = time.perf_counter()
        self.question = request.question
        self.executable = request.choice.executable
        self.warm: WarmStart | None = None
        self.chains: list[list[ChainResult]] = []
        self.ends: list[int] = []
        self.skip = 0
        self.steps = self.rounds = 0
        self.attempt = 0  # times that it was tuned
        self.stream = 0  # runs from the start, each with random numbers of its own
        self.adapt_delta = request.sampling.adapt_delta
        self.evidence: Evidence | None = None
        self.stop: Step | None = None
        self.error: BaseException | None = None
        self.answer: Fit | None = None
        self.over = False
        self.log: list[str] = []
        self.seconds_warmup = self.seconds_sampling = self.peak_mb = 0.0
        self.used: list[MemoryRecord] = []
        self.warm_source: WarmStart | None = None
        self._tickets: list[str] = []
        self._missing: dict[int, ChainTask] = {}
        self._generation = 0
        self._columns: int | None = None

    @property
    def needs_compiling(self) -> bool:
        """Whether its program is still to be compiled."""
        return self.request.choice.name == "cmdstan" and self.executable is None

    # what happens

    def look(self) -> None:
        """Open the answer of an earlier fit, or find a start in the library, as it is now."""
        request = self.request
        if request.reuse:
            found = request.library.find(request.address, request.question.program.digest)
            if found is not None:
                self.answer = Fit(found)
                if request.out is not None:
                    from tdmx_dask.fitting.publish import copied

                    self.answer = copied(self.answer, request.out)
                self._end()
                return
        request.library.check()
        if request.warm_start and request.approximate is None:
            self.warm = self.warm_source = find_start(
                request.library, request.question, request.sampling, without=request.address
            )

    def begin(self) -> None:
        """Start the first chains."""
        if self.over:
            return
        request = self.request
        self.log.append(f"engine: {request.choice.version} ({request.choice.why})")
        if request.approximate is not None:
            self._approximate()
            return
        if self.warm is not None:
            whose = "the same patient" if self.warm.same else f"distance {self.warm.distance:.2f}"
            self.log.append(f"warm start from fit {self.warm.address[:12]} ({whose})")
        self._take(first_step(request.goal, self._share(self)))

    def cancel(self) -> None:
        """End it."""
        self.fail(FitCancelled("fit", self.request.question.name, "it was cancelled"))

    def fail(self, error: BaseException) -> None:
        """End it by an error."""
        if self.over:
            return
        self._drop()
        self.error = error
        self._end()

    def _end(self) -> None:
        self.over = True
        self._finish(self)

    def _drop(self) -> None:
        """Forget the batches that run."""
        self._generation += 1
        tickets, self._tickets = self._tickets, []
        if tickets:
            self.runner.cancel(tickets)

    # steps

    def _take(self, step: Step) -> None:
        """Do what the policy says."""
        self.log.append(f"{step.kind}: {step.reason}")
        if step.kind == "stop":
            self.stop = step
            self._keep(step.keep)
            self._end()
            return
        self.steps += 1
        if step.kind in ("run", "retune", "reparameterise"):
            if self.chains:  # not the first time
                self.warm = None
                self.stream += 1
                self.attempt += step.kind != "run"
            if step.kind == "reparameterise":
                self.question = self.question.reparameterised() or self.question
            self.chains, self.ends, self.skip, self.rounds = [], [], 0, 0
            self.adapt_delta = step.adapt_delta
            tasks = [self._fresh(chain, step.draws) for chain in range(step.chains)]
        elif step.kind == "add_chains":
            tasks = [self._fresh(chain, self.ends[-1]) for chain in range(len(self.chains), step.chains)]
        else:
            self._keep(step.keep)
            tasks = [self._longer(rounds[-1], step.draws) for rounds in self.chains]
        self.rounds += 1
        self._submit(tasks, step.parallel)

    def _keep(self, keep: str) -> None:
        """Give up the draws before the last round."""
        if keep == "last" and len(self.ends) > 1:
            self.skip = self.ends[-2]

    def _fresh(self, chain: int, draws: int) -> ChainTask:
        """A chain from its beginning."""
        sampling = replace(self.request.sampling, draws=draws, adapt_delta=self.adapt_delta)
        start = Start()
        if self.warm is not None:
            sampling = replace(sampling, warmup=min(sampling.warmup, WARMUP))
            start = self.warm.start(chain)
        return self._task(chain, 0, _ATTEMPTS * self.stream, sampling, start, adapt=sampling.warmup > 0)

    def _longer(self, last: ChainResult, draws: int) -> ChainTask:
        """More of a chain, from where it stands."""
        sampling = replace(self.request.sampling, warmup=0, draws=draws, adapt_delta=self.adapt_delta)
        return self._task(
            last.task_chain, last.task_round + 1, _ATTEMPTS * self.stream, sampling, last.end, adapt=False
        )

    def _task(
        self, chain: int, round_: int, attempt: int, sampling: Any, start: Start, *, adapt: bool
    ) -> ChainTask:
        return ChainTask(
            program=self.question.program,
            data=self.question.json,
            seed=self.request.stream,
            chain=chain,
            round=round_,
            attempt=attempt,
            sampling=sampling,
            start=start,
            adapt=adapt,
            executable=self.executable,
            approximate=self.request.approximate,
            fit=self.request.question.name,
        )

    def _approximate(self) -> None:
        request = self.request
        draws = 1 if request.approximate == "mode" else request.sampling.draws * request.chains
        self._submit([self._task(0, 0, 0, replace(request.sampling, draws=draws), Start(), adapt=True)], 1)

    def _submit(self, tasks: Sequence[ChainTask], parallel: int) -> None:
        """Send tasks to the runner, in as many batches as may run at once."""
        request = self.request
        self._missing = {task.chain: task for task in tasks}
        chains = 1 + max(task.chain for task in tasks)
        parts = max(1, min(parallel, len(tasks), request.parallel or len(tasks)))
        for at in range(parts):
            batch = Batch(tuple(tasks[at::parts]), engine=request.choice.name, chains=chains)
            needs = needs_of(request, batch, self._columns)
            memory = request.memory_mb or memory_mb(request, needs)
            try:
                ticket = self.runner.submit(
                    batch,
                    name=request.question.name,
                    memory_mb=memory,
                    priority=request.priority,
                    retries=request.retries,
                    emit=self.future.hear,
                    done=partial(self._done, self._generation, needs),
                )
            except TdmxError as error:
                self.fail(error)
                return
            self._tickets.append(ticket)

    # answers

    def _done(self, generation: int, needs: MemoryRecord, outcome: Outcome) -> None:
        """From any thread."""
        self._post(partial(self._hear, generation, needs, outcome))

    def _hear(self, generation: int, needs: MemoryRecord, outcome: Outcome) -> None:
        if self.over or generation != self._generation:
            return
        try:
            if isinstance(outcome, BaseException):
                self._failed(outcome)
            else:
                self._note_use(needs, outcome)
                self._arrived(outcome)
        except Exception as error:
            self.fail(error)

    def _failed(self, error: BaseException) -> None:
        """A warm start may be to blame, a cold one is not."""
        blameless = isinstance(error, FitCancelled | ClusterError) or not isinstance(error, FitError)
        if self.warm is None or self.chains or blameless:
            self.fail(error)
            return
        self._drop()
        self.log.append(f"the warm start failed ({error}): from the start, cold")
        self.warm = None
        self.stream += 1
        self._take(first_step(self.request.goal, self._share(self)))

    def _note_use(self, needs: MemoryRecord, results: list[ChainResult]) -> None:
        self._columns = len(results[0].names)
        peak = max(result.peak_mb for result in results)
        self.used.append(replace(needs, columns=self._columns, peak_mb=peak))

    def _arrived(self, results: list[ChainResult]) -> None:
        for result in results:
            self.log += [f"chain {result.task_chain}: {line}" for line in result.log if line not in self.log]
            self.seconds_warmup += result.seconds_warmup
            self.seconds_sampling += result.seconds_sampling
            self.peak_mb = max(self.peak_mb, result.peak_mb)
            while len(self.chains) <= result.task_chain:
                self.chains.append([])
            self.chains[result.task_chain].append(result)
            del self._missing[result.task_chain]
        if self._missing:
            return
        self._tickets = []
        rows = sum(len(each.draws) for each in self.chains[0])
        if not self.ends or self.ends[-1] != rows:
            self.ends.append(rows)
        if self.request.approximate is not None:
            self._end()
            return
        self._take(next_step(self.request.goal, self._judged(), self._share(self)))

    def kept(self) -> Chains:
        """Draws as they are kept."""
        return Chains.join(self.chains, self.ends, self.skip)

    def _judged(self) -> Evidence:
        """Figures of what is kept."""
        from tdmx_dask.fitting.diagnostics import evidence

        chains = self.kept()
        names = select(chains.names, self.question.parameters)
        at = [chains.names.index(name) for name in names]
        self.evidence = evidence(
            np.ascontiguousarray(chains.draws[..., at]),
            chains.stats,
            rounds=self.rounds,
            ends=chains.ends,
            max_treedepth=self.request.sampling.max_treedepth,
            adapt_delta=self.adapt_delta,
            attempt=self.attempt,
            reparameterised=self.question is not self.request.question,
            warm=self.warm is not None,
        )
        return self.evidence
