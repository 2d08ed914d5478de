"""``tdmx queue``: the jobs of a queue; listing, cancelling and removing them. Other commands of it have files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import (
    STATES,
    folder_option,
    ids_argument,
    job_plain,
    json_option,
    print_json,
    reading,
)
from tdmx_dask.cli.queue_show import show
from tdmx_dask.cli.queue_stats import stats
from tdmx_dask.cli.queue_submit import submit
from tdmx_dask.cli.queue_watch import watch
from tdmx_dask.cli.screen import open_screen
from tdmx_dask.cli.worker import resume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdmx_dask.jobs.ledger import Ledger
    from tdmx_dask.jobs.records import Job
    from tdmx_dask.jobs.state import State

__all__ = ["queue"]

_UNASKED = "nothing was removed: it was not confirmed. Add --yes to remove without being asked"


@click.group(
    context_settings=HELP,
    epilog=examples(
        "id=$(tdmx queue submit pta_calculation question.yaml --priority 10)",
        "tdmx queue resume",
        "tdmx queue watch",
        'tdmx queue show "$id" --result',
    ),
)
def queue() -> None:
    """Submit jobs, watch them, and work on them.

    Jobs live in a folder, and survive whoever submits or runs them. `tdmx worker` runs them as they come, `tdmx queue resume` until
    none is left.
    """


@queue.command(
    "list", context_settings=HELP, epilog=examples("tdmx queue list", "tdmx queue list --state failed")
)
@folder_option
@json_option
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these; repeat it.")
@click.option("--type", "kind", metavar="TYPE", help="Only this type.")
@click.option("--group", metavar="NAME", help="Only this group.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The latest, at most so many."
)
def list_(
    folder: Path | None,
    as_json: bool,
    states: tuple[State, ...],
    kind: str | None,
    group: str | None,
    limit: int,
) -> None:
    """List jobs, the latest first."""
    with reading(folder) as ledger:
        found = ledger.jobs(states=states or None, kind=kind, group=group, limit=limit)
        total = sum(ledger.count().values())
    if as_json:
        print_json([job_plain(job) for job in found])
        return
    _print_list(found, total, filtered=bool(states or kind or group))


_WIDE = 110
"""Columns from which groups and waits are listed, too."""


def _print_list(found: Sequence[Job], total: int, *, filtered: bool) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from tdmx_dask.cli.queue_tables import STYLES
    from tdmx_dask.jobs.display import seconds

    screen = open_screen()
    if not found:
        screen.print(f"none of {total:,} jobs is of that kind" if filtered and total else "there are no jobs")
        return
    wide = screen.width >= _WIDE
    rows: list[list[str | Text]] = []
    for job in found:
        state = Text(job.state, STYLES[job.state])
        more = ([job.group], [seconds(job.wait_s)]) if wide else ([], [])
        first: list[str | Text] = [str(job.id), job.kind, job.title, *more[0]]
        last = [*more[1], seconds(job.run_s)]
        rows.append([*first, state, str(job.priority), str(job.attempts or ""), *last])
    group, waited = (["group"], ["waited"]) if wide else ([], [])
    heads = ["id", "type", "what", *group, "state", "prio", "tries", *waited, "ran"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, head in enumerate(heads):
        least = None if head == "what" else max(len(str(row[number])) for row in rows)
        right = head in ("id", "prio", "tries", "waited", "ran")
        table.add_column(
            head, justify="right" if right else "left", no_wrap=True, overflow="ellipsis",
            min_width=None if least is None else max(least, len(head)),
        )  # fmt: skip
    for row in rows:
        table.add_row(*row)
    screen.print(table)
    if not filtered and len(found) < total:
        screen.print(f"\nthe latest {len(found):,} of {total:,} jobs; --limit shows more")


@queue.command(context_settings=HELP, epilog=examples("tdmx queue cancel 12", "tdmx queue cancel 12 13 14"))
@ids_argument
@folder_option
@json_option
def cancel(ids: tuple[int, ...], folder: Path | None, as_json: bool) -> None:
    """Cancel jobs; the processes of those that run end within a second or two, wherever they run."""
    with reading(folder) as ledger:
        _say_changed(ledger, ids, ledger.cancel(ids), "cancelled", as_json=as_json)


@queue.command(context_settings=HELP, epilog=examples("tdmx queue retry 12"))
@ids_argument
@folder_option
@json_option
def retry(ids: tuple[int, ...], folder: Path | None, as_json: bool) -> None:
    """Queue jobs again that failed or were cancelled."""
    with reading(folder) as ledger:
        _say_changed(ledger, ids, ledger.revive(ids), "queued again", as_json=as_json)


def _say_changed(
    ledger: Ledger, ids: Sequence[int], changed: Sequence[int], what: str, *, as_json: bool
) -> None:
    """What became of each job that was named."""
    left = {job: ledger.job(job).state for job in dict.fromkeys(ids) if job not in changed}
    if as_json:
        print_json({"changed": list(changed), "left": {str(job): state for job, state in left.items()}})
        return
    screen = open_screen()
    for job in changed:
        screen.print(f"job {job}: {what}")
    for job, state in left.items():
        screen.print(f"job {job}: left as it is, {state}")


@queue.command(
    context_settings=HELP, epilog=examples("tdmx queue clear", "tdmx queue clear --state failed --yes")
)
@folder_option
@json_option
@click.option(
    "--state",
    "states",
    type=click.Choice([state for state in STATES if state != "running"]),
    multiple=True,
    help="Only these; repeat it.  [default: all that have ended]",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(folder: Path | None, as_json: bool, states: tuple[State, ...], yes: bool) -> None:
    """Remove jobs with their results and logs; their figures stay in the statistics. Answers in the cache stay."""
    from tdmx_dask.jobs.state import ENDED

    with reading(folder) as ledger:
        chosen = states or tuple(ENDED)
        n = sum(ledger.count()[state] for state in chosen)
        if n and not yes:
            try:
                sure = click.confirm(
                    f"Remove {n:,} job{'s' * (n > 1)} of {ledger.folder}, with results and logs?", err=True
                )
            except click.Abort:
                sure = False
            if not sure:
                raise click.Abort(_UNASKED)
        removed = ledger.clear(chosen)
        if as_json:
            print_json({"folder": str(ledger.folder), "removed": removed})
        else:
            open_screen().print(f"removed {removed:,} jobs of {ledger.folder}", soft_wrap=True)


for _command in (submit, show, watch, resume, stats):
    queue.add_command(_command)
