"""The queue as its users see it; `api.queue` gives it the kinds of this package and its configuration."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tdmx_dask.errors import ClusterError, InputError, JobError, StoreError, TdmxWarning
from tdmx_dask.jobs.asked import check_states, checked_options, job_id, job_ids, one_of_batch, problem_of
from tdmx_dask.jobs.batch import Batch
from tdmx_dask.jobs.dispatcher import Dispatcher
from tdmx_dask.jobs.executor import Executor
from tdmx_dask.jobs.function import Function
from tdmx_dask.jobs.kind import Kind
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.request import Checked, Request
from tdmx_dask.jobs.state import ENDED, STATES, SUCCEEDED, State
from tdmx_dask.jobs.telling import QueueTeller
from tdmx_dask.jobs.view import QueueView
from tdmx_dask.jobs.watch import Watch
from tdmx_dask.store.address import address, canonical
from tdmx_dask.store.cache import Cache
from tdmx_dask.store.value import decode

if TYPE_CHECKING:
    pass

__all__ = ["Queue"]

_open: weakref.WeakSet[Queue] = weakref.WeakSet()


class Queue(QueueView):
    """Jobs in a folder, and this process as one of the clients that submit them and run them.

    Parameters
    ----------
    folder : of the queue
    executor : where calls run; None: this client only submits and watches
    cache : of answers; None: every job is computed
    kinds : of jobs
    retries : attempts after the first, where a job does not say
    retry_delay : seconds before the second attempt, doubled for each more
    lease : seconds of silence after which a client has lost its jobs
    opened : what is done with each decoded result
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        executor: Executor | None,
        cache: Cache | None,
        kinds: Iterable[Kind] = (),
        retries: int = 2,
        retry_delay: float = 1.0,
        lease: float = 30.0,
        opened: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        super().__init__(Ledger(folder, lease=lease))
        self._cache, self._retries, self._opened = cache, retries, opened
        self._kinds: dict[str, Kind] = {kind.name: kind for kind in (Batch(), *kinds)}
        self._client = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._executor = executor
        self._watch = Watch(self._ledger, self._in_vain)
        self._warned = False
        self._dispatcher = Dispatcher(
            self._ledger, self._client, self._kinds, executor=executor, cache=cache, lookup=self._answer, retry_delay=retry_delay,
            told=self._watch.told,
        )  # fmt: skip
        self._ledger.sweep()
        self._dispatcher.start()
        self._teller = QueueTeller(self._ledger, None if executor is None else executor.on)
        _open.add(self)

    @property
    def slots(self) -> int:
        """Calls that this client runs at once."""
        return self._dispatcher.slots

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return self._dispatcher.alive

    @property
    def types(self) -> tuple[str, ...]:
        """Kinds of jobs that can be submitted."""
        return tuple(self._kinds)

    # submitting

    def register(
        self,
        name: str,
        function: Callable[..., Any] | str,
        *,
        check: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None,
        cache: bool = True,
    ) -> None:
        """Register a type of jobs of your own: `function` is called with the spec as keyword arguments, in a process of its own.

        Parameters
        ----------
        name : by which it is submitted
        function : importable by other processes, or its path ``module:name``. It takes and returns plain values, arrays, Datasets
        check : called with the spec when a job is submitted; raises what is wrong, and may return a spec to use instead
        cache : whether equal specs have equal answers

        Raises
        ------
        InputError
            The name is taken, or no other process could import the function.
        """
        known = self._kinds.get(name)
        kind = Function(name, function, check=check, cache=cache)
        if known is not None and not (isinstance(known, Function) and known.path == kind.path):
            raise InputError("name", name, "there is such a type already", "Choose another name.")
        self._kinds[name] = kind

    def submit(
        self,
        type: str,  # noqa: A002  (the word that users know)
        spec: Mapping[str, Any],
        priority: int = 5,
        *,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        retries: int | None = None,
        timeout: float | None = None,
        group: str | None = None,
        after: int | Iterable[int] = (),
        fresh: bool = False,
    ) -> int:
        """Submit a job; when this returns its id, the job is on the disk and will be run, whatever happens to this process.

        Parameters
        ----------
        type : one of `types`
        spec : what to compute, by name; checked now
        priority : whole number, -1000 .. 1000; higher runs first
        callback : called with the result in this process, in the thread of callbacks. It does not survive this process
        error_callback : called with what went wrong
        retries : more attempts after a lost worker, a time-out or want of memory; None: as the queue was opened
        timeout : seconds an attempt may run
        group : whose fair share it counts to; None: the user's name
        after : ids of jobs that must succeed first
        fresh : compute it even where the cache has the answer

        Returns
        -------
        id of the job

        Raises
        ------
        InputError
            What is wrong with the spec or an option.
        StoreError
            The queue cannot be written.
        """
        options = {
            "priority": priority, "callback": callback, "error_callback": error_callback, "retries": retries,
            "timeout": timeout, "group": group, "after": after, "fresh": fresh,
        }  # fmt: skip
        return self._submit([(type, spec, options)])[0]

    def submit_batch(self, jobs: Iterable[Mapping[str, Any]]) -> list[int]:
        """Submit several jobs, all or none.

        Parameters
        ----------
        jobs : mappings with ``type`` and ``spec``, and other arguments of `submit` by name

        Returns
        -------
        ids, in the same order
        """
        return self._submit([one_of_batch(number, each) for number, each in enumerate(jobs)])

    def _submit(self, wanted: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[int]:
        items = [self._item(*each) for each in wanted]
        ids = self._ledger.add(items)
        callbacks = {
            job: pair
            for job, (_, _, options) in zip(ids, wanted, strict=True)
            if any(pair := (options.get("callback"), options.get("error_callback")))
        }
        if callbacks:
            text = f"calls back in process {os.getpid()}, which a restart does not survive"
            self._ledger.turn(self._client, notes=[(job, text, None) for job in callbacks])
        for job, pair in callbacks.items():
            self._call_back(job, *pair)
        self._dispatcher.look()
        return ids

    def _item(
        self, type_: str, spec: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Request, str, bytes | None]:
        """Check one job, and look for its answer."""
        kind = self._kinds.get(type_)
        if kind is None:
            raise InputError(
                "type", type_, "there is no such type of jobs", f"Known: {', '.join(self._kinds)}."
            )
        if not isinstance(spec, Mapping):
            raise InputError("spec", spec, "a spec is a mapping of names to values", "")
        priority, retries, timeout, group, after = checked_options(options, self._retries)
        checked = kind.check(spec, self)
        digest = None if options.get("fresh") or self._cache is None else self._digest(kind, checked)
        cost = self._ledger.estimate(checked.family, checked.size).seconds
        needs = tuple(sorted({*after, *checked.after}))
        request = Request(kind.name, checked, digest, priority, group, retries, timeout, needs, cost)
        answer = None if digest is None or after else self._answer(digest)
        return request, canonical(dict(checked.spec)), answer

    def _digest(self, kind: Kind, checked: Checked) -> str | None:
        """Address of the answer: what it depends on, and the answers that it takes."""
        taken = [self.digest_of(job) for job in checked.after]
        if checked.content is None or None in taken:
            return None
        return address({"type": kind.name, "content": checked.content, "takes": taken})

    def _answer(self, digest: str) -> bytes | None:
        """The answer that the cache has, if it can still be opened: the store of a fit may be gone."""
        found = None if self._cache is None else self._cache.get(digest)
        if found is None:
            return None
        try:
            self._opened(decode(found))
        except StoreError:
            return None
        return found

    def _call_back(self, job: int, callback: Any, error_callback: Any) -> None:
        def ended(job: int) -> None:
            try:
                result = self.result(job, wait=False)
            except Exception as error:
                if error_callback is not None:
                    error_callback(error)
            else:
                if callback is not None:
                    callback(result)

        self._watch.when_ended(job, ended)

    # what a kind may ask while it checks (`kind.Known`)

    @property
    def data(self) -> Path:
        """Folder of data that specs refer to."""
        self._ledger.data.mkdir(exist_ok=True, mode=0o700)
        return self._ledger.data

    def digest_of(self, job: int) -> str | None:
        """Address of a job's answer; None where it has none."""
        return self._ledger.digest(job_id(job))

    def kind_of(self, job: int) -> str:
        """Type of a job."""
        return self._ledger.job(job_id(job)).kind

    # waiting

    def result(self, job: int, wait: bool = True, timeout: float | None = None) -> Any:
        """The result of a job.

        Parameters
        ----------
        job : id
        wait : until it has ended; False: at once
        timeout : seconds to wait; None: without end

        Raises
        ------
        JobError
            It failed, or has no result yet (with ``wait=False``). Errors of this package are raised as they were, such as `FitError`.
        JobCancelled
            It was cancelled.
        JobTimeout
            It has not ended in that time; it goes on.
        """
        job = job_id(job)
        state = self._ledger.job(job).state
        if state not in ENDED and wait:
            ((_, state),) = self._watch.as_ended([job], timeout)
        if state in SUCCEEDED:
            return self._opened(decode(self._ledger.result(job)))
        raise problem_of(self._ledger.job(job))

    def as_completed(self, jobs: Iterable[int] | None = None, timeout: float | None = None) -> Iterator[int]:
        """Ids of jobs as they end, whichever way.

        Parameters
        ----------
        jobs : ids; None: all that have not ended now
        timeout : seconds to wait for all of them

        Raises
        ------
        JobTimeout
            Not all have ended in that time.
        """
        for job, _ in self._watch.as_ended(self._chosen(jobs), timeout):
            yield job

    def wait_all(self, jobs: Iterable[int] | None = None, timeout: float | None = None) -> dict[int, State]:
        """Wait until jobs have ended, whichever way; return their states. Arguments and errors are those of `as_completed`."""
        return dict(self._watch.as_ended(self._chosen(jobs), timeout))

    def _chosen(self, jobs: Iterable[int] | None) -> list[int]:
        if jobs is None:
            pending: list[State] = [state for state in STATES if state not in ENDED]
            return [job.id for job in self._ledger.jobs(states=pending)][::-1]
        ids = job_ids(jobs)
        for job in ids:
            self._ledger.job(job)
        return ids

    def _in_vain(self) -> None:
        """While a thread waits: nobody may be there who works on the queue."""
        if not self._dispatcher.alive:
            raise JobError("queue", self.folder, "it was closed", "Its jobs are kept: open it again.")
        if self._dispatcher.broken:
            rule = "the cluster on which its jobs run is gone"
            raise ClusterError(
                "queue", self.folder, rule, "Its jobs are kept: open it again with on= another cluster."
            )
        if self.slots or self._warned or self._ledger.stats().clients:
            return
        self._warned = True
        text = f"queue={self.folder}: nobody works on it, so that waiting does not end. Start `tdmx worker --folder {self.folder}`."
        warnings.warn(text, TdmxWarning, stacklevel=2)

    # changing

    def cancel(self, jobs: int | Iterable[int]) -> list[int]:
        """Cancel jobs, running ones too: their processes end within a second, wherever they run.

        Returns
        -------
        ids of those that had not ended
        """
        found = self._ledger.cancel(job_ids(jobs))
        self._dispatcher.look(sync=True)
        return found

    def retry(self, jobs: int | Iterable[int]) -> list[int]:
        """Queue jobs again that failed or were cancelled; return their ids."""
        found = self._ledger.revive(job_ids(jobs))
        self._dispatcher.look()
        return found

    def clear(self, states: Collection[State] = tuple(ENDED)) -> int:
        """Remove jobs of some states; those that wait or are queued are cancelled first. Figures stay in the history.

        Returns
        -------
        how many were removed
        """
        check_states(states)
        return self._ledger.clear(states)

    # ending

    def close(self) -> None:
        """Stop: end the processes of what runs here and give it back; all jobs are kept, for the next who opens the queue."""
        if self not in _open:
            return
        _open.discard(self)
        self._teller.close()
        self._dispatcher.close()
        self._watch.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _close_all() -> None:
    for queue in list(_open):
        queue.close()


# Before threads are told to end, which `atexit` is too late for: closing a queue takes some.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
