"""Was it for want of memory?"""

from __future__ import annotations

from pathlib import Path

from tdmx_dask.jobs.shortage import memory_is_short, times_memory_ran_out


def test_shortage__is_seen_when_the_kernel_has_killed(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 5\noom_kill 2\nzone 1\n")
    before = times_memory_ran_out(counters)
    assert before == 2
    assert not memory_is_short(before, counters)
    counters.write_text("oom_kill 3\n")
    assert memory_is_short(before, counters)


def test_shortage__nothing_is_known_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert times_memory_ran_out(tmp_path / "none") == 0
    assert not memory_is_short(0, tmp_path / "none")
