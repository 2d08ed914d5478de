"""What the page keeps of what it hears, and makes of it: plain values, bounded, whatever is said."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tdmx_dask.clusters.diagnosis import Group, Report, Snapshot, Worker
from tdmx_dask.clusters.page_names import CURVE, QUEUE
from tdmx_dask.dashboard.attainment import columns, legend_html
from tdmx_dask.dashboard.page import board as board_module
from tdmx_dask.dashboard.page.board import Board
from tdmx_dask.dashboard.page.curve import head_html
from tdmx_dask.dashboard.page.fits_section import FITS, ROWS, fits_html
from tdmx_dask.dashboard.page.queue_section import ROWS as JOBS
from tdmx_dask.dashboard.page.queue_section import queues_html
from tdmx_dask.dashboard.page.scene import Scene
from tdmx_dask.dashboard.page.workers_section import head_html as top_html
from tdmx_dask.dashboard.page.workers_section import stuck_html, totals, workers_html
from tdmx_dask.kernels.convergence import rhat
from tdmx_dask.kernels.ess import ess_mean
from tdmx_dask.kernels.running import combined, packed, summary
from tests.dashboard.said import HOSTILE, curve, event, events, job, queue

TOPIC = "tdmx-fit:t"


@pytest.fixture
def board() -> Board:
    now = iter(range(1000, 10**7))
    return Board(clock=lambda: float(next(now)))


def begin(board: Board, ticket: str, name: str, *, running: bool = True) -> None:
    board.hear(TOPIC, {"ticket": ticket, "try": 1, "running": running, "key": f"key-{ticket}", "name": name})


def test_fits__chains_from_first_to_last(board: Board) -> None:
    begin(board, "1", "bed 4")
    board.hear(
        TOPIC,
        events(
            event("bed 4", 0, phase="warmup", iteration=100), event("bed 4", 1, iteration=1500, divergences=2)
        ),
    )
    (fit,) = board.fits.values()
    assert (fit.phase, fit.ended) == ("warmup", None)
    assert fit.chains[1].seconds_left is None
    for seconds in range(5, 8):
        said = event("bed 4", 1, iteration=1420 + 20 * seconds, divergences=2, seconds=seconds)
        board.hear(TOPIC, events(said))
    assert fit.chains[1].seconds_left == pytest.approx(22)
    board.hear(TOPIC, events(event("bed 4", 1, iteration=1500, divergences=2)))  # on its way it was overtaken
    assert fit.chains[1].iteration == 1560
    shown = fits_html([fit], board.clock())
    assert "1,660 / 4,000" in shown
    assert shown.count('class="chain"') == 2
    assert '<span class="warn">2</span>' in shown
    begin(board, "1", "bed 4", running=False)
    assert fit.ended is not None
    assert 'class="chain"' not in fits_html([fit], board.clock())


def test_fits__a_second_round_goes_on(board: Board) -> None:
    begin(board, "1", "bed 4")
    begin(board, "1", "bed 4", running=False)
    begin(board, "2", "bed 4")
    (fit,) = board.fits.values()
    assert fit.ended is None


def test_fits__two_of_one_name_at_once_are_two(board: Board) -> None:
    for ticket in ("1", "2", "3", "4"):
        begin(board, ticket, "bed 4")
    for ticket, chain, iteration in (("1", 0, 10), ("2", 1, 20), ("3", 0, 30), ("4", 1, 40), ("1", 0, 50)):
        board.hear(TOPIC, events(event("bed 4", chain, iteration=iteration), ticket=ticket))
    first, second = board.fits.values()
    assert [(fit.name, [fit.chains[at].iteration for at in (0, 1)]) for fit in (first, second)] == [
        ("bed 4", [50, 20]),
        ("bed 4 (2)", [30, 40]),
    ]
    for ticket in ("1", "2"):
        begin(board, ticket, "bed 4", running=False)
    assert first.ended is not None
    assert second.ended is None
    assert sorted(second.batches) == ["3", "4"]


def test_fits__a_later_one_of_the_same_name_begins_anew(board: Board) -> None:
    one = summary(np.random.default_rng(1).normal(size=(100, 2)))
    text = packed(one)
    for ticket in ("1", "2"):
        begin(board, ticket, "bed 4")
        board.hear(
            TOPIC, events(event("bed 4", 0, text=text), event("bed 4", 1, round_=0, text=text), ticket=ticket)
        )
        begin(board, ticket, "bed 4", running=False)
    (fit,) = board.fits.values()
    assert fit.figures().ess == pytest.approx(combined([one, one]).ess.min(), rel=1e-4)
    begin(board, "3", "bed 4")
    board.hear(TOPIC, events(event("bed 4", 0, iteration=5), ticket="3"))
    (fit,) = board.fits.values()
    assert list(fit.chains) == [0]
    assert fit.figures().ess is None
    begin(board, "3", "bed 4", running=False)
    begin(board, "4", "bed 4")
    board.hear(TOPIC, events(event("bed 4", 0, round_=1, iteration=7), ticket="4"))
    (fit,) = board.fits.values()
    assert fit.chains[0].round == 1


def test_fits__a_worker_that_died_could_not_say_so(board: Board) -> None:
    begin(board, "1", "bed 4")
    board.hear(TOPIC, events(event("bed 4", 0)))
    (fit,) = board.fits.values()
    for places, waits in (("a", False), ("a", False), ("b", True), ("b", True)):
        board.look({"key-1": places}.get)
        assert ("waits for a worker" in fits_html([fit], board.clock())) is waits
    begin(board, "1", "bed 4")
    assert "waits for a worker" not in fits_html([fit], board.clock())
    board.look({"key-1": ""}.get)
    assert "waits for a worker" in fits_html([fit], board.clock())
    board.look({}.get)
    assert fit.ended is not None


def test_fits__without_a_task_they_end_once_they_are_silent(board: Board) -> None:
    board.hear(TOPIC, events(event("bed 4", 0)))
    (fit,) = board.fits.values()
    board.look({}.get)
    assert fit.ended is None
    for _ in range(20):
        board.look({}.get)
    assert fit.ended is not None


def test_figures__are_those_of_all_draws(board: Board) -> None:
    draws = np.random.default_rng(3).normal(size=(4, 500, 6)).cumsum(axis=1)[:, ::50] + np.random.default_rng(
        4
    ).normal(size=(4, 10, 6))
    draws = np.concatenate([draws, np.random.default_rng(5).normal(size=(4, 390, 6))], axis=1)
    for number, chain in enumerate(draws):
        board.hear(TOPIC, events(event("bed 4", number, text=packed(summary(chain)))))
    (fit,) = board.fits.values()
    found = fit.figures()
    assert found.ess == pytest.approx(ess_mean(draws).min(), rel=1e-3)
    assert found.rhat == pytest.approx(rhat(draws).max(), abs=0.05)
    assert f"{found.ess:,.0f}</td>" in fits_html([fit], board.clock())


def test_figures__draws_of_earlier_rounds_count(board: Board) -> None:
    draws = np.random.default_rng(1).normal(size=(2, 900, 3))
    for round_, part in enumerate((slice(400), slice(400, None))):
        begin(board, str(round_), "bed 4")
        for number, chain in enumerate(draws):
            said = event("bed 4", number, round_=round_, text=packed(summary(chain[part])))
            board.hear(TOPIC, events(said, ticket=str(round_)))
        begin(board, str(round_), "bed 4", running=False)
    (fit,) = board.fits.values()
    assert fit.figures().ess == pytest.approx(ess_mean(draws).min(), rel=0.1)
    assert fit.figures().rhat == pytest.approx(1.0, abs=0.02)


def test_figures__a_first_chain_of_a_second_round_does_not_make_the_others_alike(board: Board) -> None:
    draws = np.random.default_rng(1).normal(size=(4, 400, 3)) + 10 * np.arange(4)[:, None, None]
    for number, chain in enumerate(draws):
        board.hear(TOPIC, events(event("bed 4", number, text=packed(summary(chain)))))
    board.hear(TOPIC, events(event("bed 4", 0, round_=1, text=packed(summary(draws[0][:20])))))
    (fit,) = board.fits.values()
    rhat_ = fit.figures().rhat
    assert rhat_ is not None
    assert rhat_ > 3


def test_figures__stuck_chains_are_seen(board: Board) -> None:
    draws = np.random.default_rng(1).normal(size=(4, 400, 3))
    draws[..., 1] = np.arange(4)[:, None]
    for number, chain in enumerate(draws):
        board.hear(TOPIC, events(event("bed 4", number, text=packed(summary(chain)))))
    (fit,) = board.fits.values()
    assert fit.figures().rhat == np.inf
    assert '<span class="bad">∞</span>' in fits_html([fit], board.clock())


def test_figures__a_chain_that_begins_anew_leaves_its_draws(board: Board) -> None:
    draws = np.random.default_rng(1).normal(size=(4, 400, 3))
    draws[3] += 100
    for number, chain in enumerate(draws):
        board.hear(TOPIC, events(event("bed 4", number, text=packed(summary(chain)))))
    board.hear(TOPIC, events(event("bed 4", 3, phase="starting", iteration=0)))
    (fit,) = board.fits.values()
    assert fit.figures().rhat == pytest.approx(1.0, abs=0.02)


def test_figures__are_worked_out_now_and_then_and_at_the_end(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdmx_dask.dashboard.page.chains.SHARE", 1e-9)
    draws = np.random.default_rng(1).normal(size=(400, 3))
    begin(board, "1", "bed 4")
    found = []
    for n in (100, 200, 400):
        board.hear(TOPIC, events(event("bed 4", 0, text=packed(summary(draws[:n])))))
        (fit,) = board.fits.values()
        found.append(fit.figures().ess)
    begin(board, "1", "bed 4", running=False)
    assert found[0] == found[1] == found[2]
    assert fit.figures().ess == pytest.approx(ess_mean(draws[None]).min(), rel=1e-3)


def test_fits__chains_that_have_not_begun_are_still_to_come(board: Board) -> None:
    board.hear(TOPIC, {"ticket": "1", "try": 1, "running": True, "key": "k", "name": "bed 4", "chains": 4})
    for seconds in range(5):
        board.clock()
        board.hear(TOPIC, events(event("bed 4", 0, iteration=1000 + 200 * seconds, seconds=seconds)))
    (fit,) = board.fits.values()
    shown = fits_html([fit], board.clock())
    assert "1,800 / 8,000" in shown
    assert "width:22.5%" in shown
    left = fit.left(board.clock())
    assert left is not None
    assert 50 < left < 70  # 6,200 at 100 in a second


def test_figures__nothing_known_is_a_dash(board: Board) -> None:
    board.hear(TOPIC, events(event("bed 4", 0, text="no summary")))
    (fit,) = board.fits.values()
    assert fit.figures().ess is None
    assert '<td class="n ess">–</td>' in fits_html([fit], board.clock())


@pytest.mark.parametrize(
    "message",
    [None, 3, "text", [], {}, {"ticket": 1}, {"ticket": "1", "events": [[]]}, {"ticket": "1", "events": [["a"] * 11]},
     {"ticket": "1", "events": 5}, {"ticket": "9", "running": False}, {"client": "c", "name": "n"}, {"client": "c", "queue": "q"},
     {**curve(), "mic": [0.0]}, {**curve(), "mic": []}, {**curve(), "curves": [[[1.0]]]}, {**curve(), "curves": [[[0.5], [0.4], [0.6]]]},
     {**curve(), "done": float("inf")}, {**queue(), "rows": [{"id": 1}]}, {**queue(), "counts": 4},
     {**queue(), "rows": [job(1, state="x")]}, {**queue(), "counts": {"queued": 10**400}}, {**queue(), "rows": [job(10**400)]},
     {**queue(), "rows": [job(1, submitted=1e300, wait=1e300)]}, {**curve(), "total": 10**400}, {**curve(), "more": 10**400},
     events(event("bed 4", 0, iteration=10**400)), events(event("bed 4", 1, divergences=10**400))],
)  # fmt: skip
@pytest.mark.parametrize("topic", [TOPIC, CURVE, QUEUE, "other", 7])
def test_hear__a_strange_message_changes_nothing(board: Board, topic: Any, message: Any) -> None:
    begin(board, "1", "bed 4")
    board.hear(TOPIC, events(event("bed 4", 0)))
    board.hear(topic, message)
    shown = fits_html(board.fits.values(), board.clock()) + queues_html(board.queues.values(), board.clock())
    assert shown.count('class="fit"') >= 1
    for found in board.curves.values():
        columns(found.mic, found.lines)
        head_html(found, 0)


def test_hear__is_bounded(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "FITS", 30)
    for number in range(60):
        board.hear(TOPIC, events(event(f"fit {number}", 0)))
        board.hear(CURVE, curve(name=str(number)))
        board.hear(QUEUE, queue(folder=str(number)))
    assert list(board.fits) == [(TOPIC, f"fit {number}") for number in range(30, 60)]
    assert len(board.curves) == board_module.CURVES
    assert len(board.queues) == board_module.QUEUES
    for number in range(60):
        begin(board, f"t{number}", f"fit {number}")
        begin(board, f"t{number}", f"fit {number}", running=False)
    assert sum(fit.ended is not None for fit in board.fits.values()) == board_module.ENDED
    board.hear(TOPIC, events(*(event(f"of many {number}", 0) for number in range(100))))
    assert list(board.fits) == [(TOPIC, f"of many {number}") for number in range(70, 100)]


def test_shown__many_of_all_are_cut_and_counted(board: Board) -> None:
    for number in range(50):
        board.hear(TOPIC, events(*(event(f"fit {number}", chain) for chain in range(4))))
    fits = fits_html(board.fits.values(), board.clock())
    assert fits.count('class="fit"') == FITS
    assert fits.count('class="fit"') + fits.count('class="chain"') == ROWS
    assert f"{50 - FITS} more fits, {200 - (ROWS - FITS)} chains" in fits
    board.hear(
        QUEUE, {**queue(), "counts": {"queued": 900, "running": 100}, "rows": [job(at) for at in range(1000)]}
    )
    jobs = queues_html(board.queues.values(), board.clock())
    assert jobs.count("<tr>") == JOBS + 1
    assert f"{1000 - JOBS} more jobs" in jobs
    assert len(fits) + len(jobs) < 60_000


@pytest.mark.parametrize("name", HOSTILE)
def test_shown__names_are_text(board: Board, name: str) -> None:
    begin(board, "1", name)
    board.hear(TOPIC, events(event(name, 0, said=name)))
    board.hear(QUEUE, {**queue(folder=name), "rows": [job(1, title=name, error=name, state="failed")]})
    board.hear(CURVE, {**curve(), "labels": [name], "title": name})
    (shown,) = board.curves.values()
    worker = Worker(name, name, 1, {"MEM": 10.0}, {"MEM": 1.0})
    labels = [line.label for line in shown.lines]
    parts = [
        fits_html(board.fits.values(), board.clock()), queues_html(board.queues.values(), board.clock()), head_html(shown, 0),
        legend_html(labels), workers_html(Snapshot((worker,), ()), {name: 5}), stuck_html(Report((name,), (name,))),
    ]  # fmt: skip
    for part in parts:
        assert "<script" not in part
        assert "<img" not in part
        assert "<b>x" not in part
        assert '"x=' not in part
        assert "&lt;" in part or "&quot;" in part


def test_curve__grows_and_is_complete(board: Board) -> None:
    board.hear(CURVE, curve(done=300))
    (shown,) = board.curves.values()
    lines, bands, points = columns(shown.mic, shown.lines)
    assert lines["x"] == [[-1.0, 0.0, 1.0]]
    assert bands["y"] == [[1.0, 0.6, 0.2, 0.0, 0.4, 0.8]]
    assert points["pta"] == ["90.00 %", "50.00 %", "10.00 %"]
    assert "30 % of 1,000 profiles; 95 % credible interval" in head_html(shown, 2)
    board.hear(CURVE, curve(done=1000, over=True))
    (shown,) = board.curves.values()
    assert "complete" in head_html(shown, 0)
    board.forget("c")
    assert len(board.curves) == 1
    board.hear(CURVE, curve(name="other"))
    board.forget("c")
    assert len(board.curves) == 1


def test_curve__without_an_interval_yet(board: Board) -> None:
    board.hear(CURVE, {**curve(), "kind": "none", "curves": [[[0.9, 0.5, 0.1], [None] * 3, [None] * 3]]})
    (shown,) = board.curves.values()
    assert columns(shown.mic, shown.lines)[1]["x"] == []
    assert "no interval yet" in head_html(shown, 0)


def test_curve__one_that_failed_goes(board: Board) -> None:
    board.hear(CURVE, curve())
    board.hear(CURVE, {"client": "c", "name": "a", "dropped": True})
    assert board.curves == {}


def test_queue__waiting_and_running_times_go_on(board: Board) -> None:
    rows = [
        job(1, state="running", started=900.0, done=1, total=4),
        job(2, state="queued", submitted=950.0),
        job(3, state="cached", run=None),
    ]
    board.hear(
        QUEUE, {**queue(), "rows": rows, "counts": {"running": 1, "queued": 1, "cached": 1, "completed": 3}}
    )
    shown = queues_html(board.queues.values(), 1005.0)
    assert "105 s" in shown or "2 min" in shown
    assert "55 s" in shown
    assert "25 % of the answers from the cache" in shown
    assert "width:25.0%" in shown
    assert "silent" not in shown
    assert "silent for 100 s" in queues_html(board.queues.values(), 1100.0)
    board.hear(QUEUE, {**queue(), "closed": True})
    assert "opens one" in queues_html(board.queues.values(), 1005.0)


def test_workers__asked_used_and_measured() -> None:
    big = Worker("0", "running", 2, {"MEM": 2000.0}, {"MEM": 500.0}, running=1, memory=10**9, limit=4 * 10**9)
    seen = Snapshot((big, Worker("1", "paused", 2)), (Group("tdmx-fit", 3, {"MEM": 700.0}),))
    shown = workers_html(seen, {"0": 2_100_000_000})
    assert "500 MB of 2 GB for fits is taken, 2.1 GB more is asked for by tasks that wait" in shown
    assert '<span class="bad">2.1 GB</span>' in shown
    assert "1 GB of 4 GB" in shown
    assert '<span class="warn">paused</span>' in shown
    assert "<b>3</b> wait" in top_html(totals(seen))
    assert "No worker" in workers_html(Snapshot((), ()), {})


def test_scene__costs_little_with_a_thousand_jobs_and_two_hundred_chains() -> None:
    board = Board()
    text = packed(summary(np.random.default_rng(0).normal(size=(1000, 8))))
    for number in range(50):
        board.hear(TOPIC, events(*(event(f"fit {number}", chain, text=text) for chain in range(4))))
    board.hear(QUEUE, {**queue(), "rows": [job(at) for at in range(1000)], "counts": {"queued": 1000}})
    scheduler = SimpleNamespace(tasks={}, workers={}, get_metadata=lambda _key, default: default)
    scene = Scene(scheduler, board)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        sections = [make() for make in scene.sections.values()]
        seconds.append(time.perf_counter() - began)
    assert all(sections)
    print(f"an update of all sections takes {1e3 * min(seconds):.1f} ms")
    assert min(seconds) < 0.05
    assert scene.html("fits") is scene.html("fits")  # made once for all pages
