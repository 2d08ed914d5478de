from __future__ import annotations

import itertools

import pytest

from tdmx_dask.errors import JobError
from tdmx_dask.jobs.state import ENDED, EVENTS, STATES, SUCCEEDED, TABLE, Event, State, following

# Written down from what the words mean, state by state, not from the table.
EXPECTED: dict[State, dict[Event, State]] = {
    "waiting": {"release": "queued", "hit": "cached", "fail": "failed", "cancel": "cancelled"},
    "queued": {"follow": "waiting", "hit": "cached", "claim": "running", "cancel": "cancelled"},
    "running": {
        "complete": "completed",
        "hit": "cached",
        "fail": "failed",
        "retry": "queued",
        "lose": "queued",
        "cancel": "cancelled",
    },
    "completed": {},
    "cached": {},
    "failed": {"revive": "queued"},
    "cancelled": {"revive": "queued"},
}
ALLOWED = [(state, event, after) for state, row in EXPECTED.items() for event, after in row.items()]
REFUSED = [
    (state, event) for state, event in itertools.product(STATES, EVENTS) if event not in EXPECTED[state]
]


@pytest.mark.parametrize(("state", "event", "after"), ALLOWED)
def test_following__allowed(state: State, event: Event, after: State) -> None:
    assert following(state, event) == after


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_following__refused(state: State, event: Event) -> None:
    with pytest.raises(
        JobError, match=f"event={event}: a job that is {state} cannot {event}. Allowed: "
    ) as caught:
        following(state, event)
    for each in EXPECTED[state]:
        assert each in caught.value.fix
    if not EXPECTED[state]:
        assert caught.value.fix == "Allowed: nothing."


def test_table__has_nothing_else() -> None:
    assert len(ALLOWED) + len(REFUSED) == 7 * 10
    assert {(state, event): after for state, event, after in ALLOWED} == TABLE


def test_ended__is_where_only_a_revival_leads_out() -> None:
    assert {"completed", "cached", "failed", "cancelled"} == ENDED
    assert {"completed", "cached"} == SUCCEEDED
    for state in STATES:
        assert (state in ENDED) == (set(EXPECTED[state]) <= {"revive"})
    for state in SUCCEEDED:  # an answer is never taken back
        assert not EXPECTED[state]


def test_running__is_reached_by_a_claim_alone() -> None:
    assert [(state, event) for state, event, after in ALLOWED if after == "running"] == [("queued", "claim")]
