"""The states of a job and what moves it from one to another: a table, and nothing that reads or writes."""

from __future__ import annotations

from typing import Literal, get_args

from tdmx_dask.errors import JobError

__all__ = ["ENDED", "EVENTS", "STATES", "SUCCEEDED", "TABLE", "Event", "State", "following"]

State = Literal["waiting", "queued", "running", "completed", "cached", "failed", "cancelled"]
"""waiting: for another job's end; queued: may run (perhaps after a delay); cached: answered from the cache, without running."""

Event = Literal["release", "follow", "hit", "claim", "complete", "fail", "retry", "lose", "cancel", "revive"]
"""
release : all that it waits for has succeeded
follow : an equal job runs already; it waits for that one's answer
hit : the cache has its answer
claim : a client takes it to run it
complete, fail : its run ended
retry : its run ended with what may pass; it is queued again
lose : its client is gone
cancel : somebody asked for it
revive : somebody asks for it again after it failed or was cancelled
"""

STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)

TABLE: dict[tuple[State, Event], State] = {
    ("waiting", "release"): "queued",
    ("waiting", "hit"): "cached",
    ("waiting", "fail"): "failed",  # what it waits for failed
    ("waiting", "cancel"): "cancelled",
    ("queued", "follow"): "waiting",
    ("queued", "hit"): "cached",
    ("queued", "claim"): "running",
    ("queued", "cancel"): "cancelled",
    ("running", "complete"): "completed",
    ("running", "hit"): "cached",  # another had the same answer meanwhile
    ("running", "fail"): "failed",
    ("running", "retry"): "queued",
    ("running", "lose"): "queued",
    ("running", "cancel"): "cancelled",
    ("failed", "revive"): "queued",
    ("cancelled", "revive"): "queued",
}

ENDED: frozenset[State] = frozenset({"completed", "cached", "failed", "cancelled"})
"""States in which a job stays until somebody revives or clears it."""

SUCCEEDED: frozenset[State] = frozenset({"completed", "cached"})
"""States in which a job has its answer."""


def following(state: State, event: Event) -> State:
    """The state after an event.

    Raises
    ------
    JobError
        The table does not allow it.
    """
    after = TABLE.get((state, event))
    if after is None:
        allowed = ", ".join(each for from_, each in TABLE if from_ == state) or "nothing"
        raise JobError("event", event, f"a job that is {state} cannot {event}", f"Allowed: {allowed}.")
    return after
