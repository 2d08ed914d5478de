"""``tdmx queue show``: all that a queue knows of a job, and its result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import folder_option, job_plain, json_option, print_json, reading
from tdmx_dask.cli.screen import open_screen
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.jobs.ledger import Ledger
    from tdmx_dask.jobs.records import Job, LogLine

__all__ = ["show"]

_SHORT = 100
_ID = click.IntRange(min=1, max=2**63 - 1)


@click.command(
    context_settings=HELP,
    epilog=examples("tdmx queue show 12", "tdmx queue show 12 --result", "tdmx queue show 12 --csv pta.csv"),
)
@click.argument("job", metavar="ID", type=_ID)
@folder_option
@json_option
@click.option("--result", "wants_result", is_flag=True, help="Print its result, and nothing else.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write its result, where that is a table, to a CSV file.",
)
def show(job: int, folder: Path | None, as_json: bool, wants_result: bool, csv_file: Path | None) -> None:
    """Show a job: what was asked, every attempt, what went wrong, what came out."""
    if csv_file is not None and csv_file.exists():
        raise InputError("--csv", csv_file, "this file exists", "Choose another name, or remove it.")
    with reading(folder) as ledger:
        found, log, spec = ledger.job(job), ledger.log(job), json.loads(ledger.spec(job))
        has_result = found.state in ("completed", "cached")
        if (wants_result or csv_file is not None) and not has_result:
            _refuse(found)
        result = _result(ledger, job) if has_result else None
    from tdmx_dask.cli.queue_result import plain, print_result, summary, write_result

    if csv_file is not None:
        write_result(result, csv_file)
        if not wants_result:
            return
    if wants_result:
        if as_json:
            print_json(plain(result))
        else:
            print_result(open_screen(), result)
    elif as_json:
        lines = [{"at": each.at, "attempt": each.attempt, "text": each.text} for each in log]
        print_json({**job_plain(found), "spec": spec, "log": lines, "result": plain(result)})
    else:
        _print(open_screen(), found, spec, log, summary(result) if has_result else "")


def _refuse(job: Job) -> None:
    fix = {
        "failed": f"`tdmx queue retry {job.id}` tries again.",
        "cancelled": f"`tdmx queue retry {job.id}` queues it again.",
    }
    rule = f"this job is {job.state}, and has no result" + (f": {job.error}".rstrip(".") if job.error else "")
    raise InputError("ID", job.id, rule, fix.get(job.state, "It has one when it is completed."))


def _result(ledger: Ledger, job: int) -> Any:
    from tdmx_dask.api.kinds import opened
    from tdmx_dask.store.value import decode

    return opened(decode(ledger.result(job)))


def _print(screen: Console, job: Job, spec: Mapping[str, Any], log: list[LogLine], result: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from tdmx_dask.cli.queue_tables import STYLES
    from tdmx_dask.jobs.display import seconds

    head = Text(f"job {job.id}, {job.kind}: ", style="bold")
    screen.print(head.append(job.state, STYLES[job.state]))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    attempts = f"{job.attempts} of at most {job.retries + 1}"
    facts: dict[str, str] = {
        "what": job.title,
        "priority": f"{job.priority}, group {job.group}",
        "after": ", ".join(map(str, job.after)),
        "submitted": _time(job.submitted),
        "started": _time(job.started) + (f", after {seconds(job.wait_s)}" if job.wait_s is not None else ""),
        "ended": _time(job.ended),
        "ran": seconds(job.run_s) + f" (expected {seconds(job.cost)})" * (job.run_s is not None),
        "attempts": attempts + (f", each at most {job.timeout:g} s" if job.timeout is not None else ""),
        "runs on": job.worker or "",
        "progress": "{}/{}".format(*job.progress) if job.progress is not None else "",
        "error": job.error or "",
        "result": result,
    }
    for name, text in facts.items():
        if text:
            table.add_row(name, Text(text, "red" if name == "error" else ""))
    screen.print(table)
    screen.print("\nspec", style="bold")
    specs = Table.grid(padding=(0, 2))
    specs.add_column(no_wrap=True, style="dim")
    specs.add_column(overflow="fold")
    for name, value in spec.items():
        if value is not None:
            specs.add_row(name, Text(_short(value)))
    screen.print(specs)
    screen.print("\nlog", style="bold")
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column(overflow="fold")
    for each in log:
        lines.add_row(f"{each.at.astimezone():%H:%M:%S}", Text(each.text))
    screen.print(lines)


def _time(at: Any) -> str:
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
