"""How many workers the work is worth: laws, cases, and a real cluster that grows and shrinks by it."""

from __future__ import annotations

import time

import pytest
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.clusters.demand import Announcer, install_demand
from tdmx_dask.clusters.scaling import Demand, Room, assumed_seconds, workers_wanted
from tdmx_dask.clusters.shape import Shape, publish

DEMANDS = st.lists(
    st.builds(
        Demand,
        tasks=st.integers(0, 10_000),
        seconds=st.floats(0.001, 1e5),
        memory_mb=st.sampled_from([0.0, 100.0, 900.0, 5000.0]),
        cores=st.sampled_from([0.0, 1.0, 4.0]),
    ),
    max_size=5,
)
ROOMS = st.builds(
    Room, threads=st.integers(1, 64), memory_mb=st.sampled_from([None, 1000.0, 4000.0, 64000.0])
)


@pytest.mark.parametrize(
    ("demands", "room", "wanted"),
    [
        ([], Room(1), 0),
        ([Demand(0, 10)], Room(1), 0),
        ([Demand(1, 0.01)], Room(4), 1),
        ([Demand(40, 0.5)], Room(1), 1),  # 20 s of work: one worker ends it within the minute
        ([Demand(1200, 0.5)], Room(1), 10),  # 600 s
        ([Demand(1200, 0.5)], Room(4), 3),
        ([Demand(100, 600)], Room(1), 100),  # each needs its place all the while, and no more
        ([Demand(100, 600)], Room(16), 7),
        ([Demand(3, 1e6)], Room(1), 3),
        ([Demand(8, 600, 1000)], Room(8, 2000), 4),  # two at a time by memory, not eight
        ([Demand(8, 600, 3000)], Room(8, 2000), 0),  # no worker can ever hold one
        ([Demand(8, 600, 3000), Demand(2, 600)], Room(1, 2000), 2),
        ([Demand(8, 600, 100)], Room(8, None), 0),  # workers that declare no memory
        ([Demand(8, 600, 0, 4)], Room(8), 4),  # four threads each
    ],
)
def test_workers_wanted__cases(demands: list[Demand], room: Room, wanted: int) -> None:
    assert workers_wanted(demands, room, 60.0) == wanted


@given(DEMANDS, ROOMS, st.floats(1, 1e4))
def test_workers_wanted__never_more_than_the_tasks_can_occupy_and_enough_for_one(
    demands: list[Demand], room: Room, target: float
) -> None:
    wanted = workers_wanted(demands, room, target)
    can = [demand for demand in demands if demand.tasks and room.at_once(demand)]
    assert wanted <= sum(demand.tasks for demand in can)
    assert (wanted >= 1) is bool(can)
    work = sum(demand.tasks * demand.seconds / room.at_once(demand) for demand in can)
    assert wanted <= max(1, work / target + 1)


@given(DEMANDS, DEMANDS, ROOMS)
def test_workers_wanted__more_work_never_asks_for_fewer(
    some: list[Demand], more: list[Demand], room: Room
) -> None:
    assert workers_wanted(some, room, 60) <= workers_wanted([*some, *more], room, 60)


@given(DEMANDS, ROOMS)
def test_workers_wanted__a_shorter_target_never_asks_for_fewer(demands: list[Demand], room: Room) -> None:
    assert workers_wanted(demands, room, 600) <= workers_wanted(demands, room, 60)


def test_assumed_seconds__by_kind() -> None:
    assert [assumed_seconds(prefix) for prefix in ("tdmx-fit", "tdmx-job-pta", "tdmx-pta")] == [600, 60, 1]


def test_target__counts_tasks_and_what_is_held_back_and_spares_the_busy() -> None:
    def target() -> int:
        return int(client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.adaptive_target()))

    def until(wanted: int) -> None:
        end = time.monotonic() + 5
        while target() != wanted:
            assert time.monotonic() < end, (target(), wanted)
            time.sleep(0.05)

    with (
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=False,
            resources={"MEM": 500},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        install_demand(client)
        publish(client, Shape("slurm", 2, 2000, 10))
        assert target() == 0
        fits = client.map(
            time.sleep, [0.3 + i / 1e6 for i in range(8)], key="tdmx-fit", resources={"MEM": 100}
        )
        until(4)  # ten minutes each, as far as anybody knows, two at once
        huge = client.submit(sum, [1], key="tdmx-fit-huge", resources={"MEM": 9000})
        time.sleep(0.2)
        assert target() == 4
        held = Announcer(client, "pta", 1.0)
        held.say(1200)
        until(14)
        with Client(cluster, set_as_default=False) as other:
            Announcer(other, "pta", 1.0).say(120)
            until(15)
        until(14)  # it left, and took its work along
        held.end()
        until(4)
        cluster.scale(2)
        client.gather(fits)
        closing = client.run_on_scheduler(
            lambda dask_scheduler: len(dask_scheduler.workers_to_close(target=0))
        )
        assert closing == 2
        busy = client.submit(time.sleep, 5, key="tdmx-job-1")
        end = time.monotonic() + 5
        while not any(
            client.processing().values()
        ):  # one worker is wanted for the fits' results before it has come, too
            assert time.monotonic() < end
            time.sleep(0.02)
        assert target() == 1
        assert (
            client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.workers_to_close(target=0)))
            == 1
        )
        del huge, busy, fits


def test_adapt__grows_and_shrinks_without_thrashing() -> None:
    starts: list[str] = []
    with (
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=False,
            resources={"MEM": 500},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        install_demand(client)
        publish(client, Shape("local", 1, 500, 3))
        cluster.adapt(minimum=0, maximum=3, interval="100ms", wait_count=20, target_duration="1s")
        for _ in range(2):  # a pause that is shorter than the patience costs no worker
            tasks = client.map(
                time.sleep, [0.1 + i / 1e6 for i in range(30)], pure=False, resources={"MEM": 300}
            )
            client.gather(tasks)
            starts.append(str(len(cluster.workers)))
            del tasks
            time.sleep(0.2)
        assert starts == ["3", "3"]
        assert cluster._i <= 3, "workers were started more than once"
        end = time.monotonic() + 10
        while cluster.workers:
            assert time.monotonic() < end
            time.sleep(0.1)
