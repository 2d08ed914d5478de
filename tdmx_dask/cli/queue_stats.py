"""``tdmx queue stats``: figures over all jobs that a queue has had."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import STATES, folder_option, json_option, print_json, reading
from tdmx_dask.cli.screen import open_screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

__all__ = ["stats"]


@click.command(context_settings=HELP, epilog=examples("tdmx queue stats", "tdmx queue stats --json"))
@folder_option
@json_option
def stats(folder: Path | None, as_json: bool) -> None:
    """Count jobs, answers from the cache, seconds of waiting and running; who works; what jobs are expected to cost."""
    with reading(folder) as ledger:
        place, found, now, costs = ledger.folder, ledger.stats(), ledger.overview(), ledger.estimates()
    if as_json:
        figures = {name: _finite(value) for name, value in asdict(found).items() if name != "clients"}
        print_json(
            {
                "folder": str(place),
                **figures,
                "total": found.total,
                "hit_rate": _finite(found.hit_rate),
                "workers": [asdict(each) for each in now.workers],
                "estimates": [_estimate(each) for each in costs],
            }
        )
        return
    from tdmx_dask.cli.queue_tables import workers_text
    from tdmx_dask.jobs.display import seconds

    screen = open_screen()
    screen.print(f"folder: {place}", soft_wrap=True)
    counts = ", ".join(f"{getattr(found, state):,} {state}" for state in STATES if getattr(found, state))
    screen.print(f"jobs: {found.total:,}{': ' + counts if counts else ''}")
    if not math.isnan(found.hit_rate):
        screen.print(f"answered from the cache: {100 * found.hit_rate:.1f} %")
    if not math.isnan(found.mean_run_s):
        screen.print(
            f"attempts: {found.attempts:,}; a job waited {seconds(found.mean_wait_s)} and ran {seconds(found.mean_run_s)} on average"
        )
    screen.print(f"workers: {workers_text(now.workers)}")
    _print_costs(screen, costs)


def _print_costs(screen: Console, costs: Sequence[tuple[str, float, float, float]]) -> None:
    if not costs:
        return
    from rich import box
    from rich.table import Table

    screen.print("\nWhat jobs cost, learned from earlier runs", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("family", overflow="fold")
    for head in ("runs", "seconds a unit", "two in three within"):
        table.add_column(head, justify="right", no_wrap=True)
    for family, runs, cost, factor in costs:
        within = f"× or ÷ {factor:.3g}" if math.isfinite(factor) else "not known yet"
        table.add_row(family, f"{runs:.0f}", f"{cost:.3g}", within)
    screen.print(table)
    screen.print("A unit is what the type counts: profiles, items, iterations. The last 50 runs count most.")


def _estimate(each: tuple[str, float, float, float]) -> dict[str, Any]:
    family, runs, cost, factor = each
    return {"family": family, "runs": runs, "seconds_a_unit": cost, "factor": _finite(factor)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
