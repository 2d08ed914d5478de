"""Who gets the next slot; how long a job waits before it runs again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.jobs.dispatcher import LONGEST_DELAY, delay_of
from tdmx_dask.jobs.slots import Slots


def waiter(priority: int, service: float) -> Any:
    return SimpleNamespace(priority=priority, service=service)


def test_slots__the_urgent_then_the_least_served_then_the_first() -> None:
    places = {"a": waiter(5, 3.0), "b": waiter(5, 1.0), "c": waiter(9, 100.0), "d": waiter(5, 1.0)}
    order: list[str] = []

    async def use(slots: Slots, name: str) -> None:
        await slots.acquire(places[name])
        order.append(name)
        await asyncio.sleep(0)
        slots.release()

    async def main() -> None:
        slots = Slots(lambda: 1)
        await slots.acquire(waiter(0, 0.0))
        tasks = [asyncio.create_task(use(slots, name)) for name in places]
        await asyncio.sleep(0)
        slots.release()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == ["c", "b", "d", "a"]


@given(st.lists(st.sampled_from(["take", "give", "drop"]), max_size=60), st.integers(1, 4))
def test_slots__never_more_than_there_are_and_none_is_lost(steps: list[str], limit: int) -> None:
    """Also where those who wait are cancelled, just before or just after they were let in."""

    async def main() -> None:
        slots, held, waiting = Slots(lambda: limit), 0, []
        for step in steps:
            if step == "take":
                waiting.append(asyncio.ensure_future(slots.acquire(waiter(0, 0.0))))
            elif step == "give" and held:
                slots.release()
                held -= 1
            elif step == "drop" and waiting:
                waiting.pop(0).cancel()
            if step != "drop":
                await asyncio.sleep(0)
            for each in [each for each in waiting if each.done()]:
                waiting.remove(each)
                held += 1
            assert held <= limit
        for each in waiting:
            each.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(held):
            slots.release()
        free = [asyncio.ensure_future(slots.acquire(waiter(0, 0.0))) for _ in range(limit)]
        await asyncio.wait_for(asyncio.gather(*free), 1)

    asyncio.run(main())


def test_delay_of__grows_with_jitter_to_a_limit() -> None:
    for job in (1, 2, 77):
        for attempt in range(1, 12):
            middle = min(LONGEST_DELAY, 1.0 * 2 ** (attempt - 1))
            assert 0.5 * middle <= delay_of(job, attempt, 1.0) <= 1.5 * middle
    assert len({round(delay_of(job, 1, 1.0), 6) for job in range(100)}) == 100, (
        "jobs that failed together do not come together"
    )
    assert delay_of(3, 2, 1.0) == delay_of(3, 2, 1.0)
    assert delay_of(3, 1, 0.05) == pytest.approx(0.05, rel=0.51)
