"""What the commands of the queue share: its folder, ids of jobs, and its ledger, opened to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tdmx_dask.cli.options import ON
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.jobs.ledger import Ledger
    from tdmx_dask.jobs.records import Job

__all__ = [
    "STATES", "executor_options", "folder_of", "folder_option", "ids_argument", "job_plain", "json_option", "print_json", "reading",
]  # fmt: skip

_Command = TypeVar("_Command", bound=Callable[..., Any])
STATES = ("waiting", "queued", "running", "completed", "cached", "failed", "cancelled")
"""Those of `jobs.state`, written out so that a help text need not import it."""

_ID = click.IntRange(min=1, max=2**63 - 1)

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), help="Of the queue; left out, queue-folder of the settings."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
ids_argument = click.argument("ids", metavar="ID...", type=_ID, nargs=-1, required=True)


def executor_options(command: _Command) -> _Command:
    """Where jobs run, and where answers are kept: --max-workers, --on, --cache, --no-cache."""
    for option in (
        click.option("--no-cache", is_flag=True, help="Compute every job, and keep no answers."),
        click.option(
            "--cache",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Folder of answers; left out, cache-folder of the settings.",
        ),
        ON,
        click.option(
            "--max-workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Calls at once; left out, one a core of this machine or a thread of the cluster.",
        ),
    ):
        command = option(command)
    return command


def folder_of(given: Path | None) -> Path:
    """The folder that was given, or the configured one."""
    from tdmx_dask.config import settings

    return Path(settings().queue_folder) if given is None else given


@contextmanager
def reading(given: Path | None) -> Iterator[Ledger]:
    """Open the ledger of a queue that is there, without becoming one of its clients.

    Raises
    ------
    InputError
        There is none in that folder; none is made.
    """
    from tdmx_dask.jobs.database import FILE
    from tdmx_dask.jobs.ledger import Ledger

    folder = folder_of(given)
    file = folder / FILE
    if not (file.is_file() and file.stat().st_size):
        rule = "there is no queue in this folder" if folder.is_dir() else "there is no such folder"
        raise InputError(
            "--folder", folder, rule, "`tdmx queue submit` begins one; or say where yours is with --folder."
        )
    ledger = Ledger(folder)
    try:
        yield ledger
    finally:
        ledger.close()


def job_plain(job: Job) -> dict[str, Any]:
    """A job as JSON has it; ``type`` is the word that users know."""
    found = asdict(job)
    found.pop("failure")
    return {"id": found.pop("id"), "type": found.pop("kind"), **found}


def print_json(what: object) -> None:
    """Print JSON; times as ISO 8601, what is not finite as text."""
    from tdmx_dask.store.digest import json_safe

    click.echo(json.dumps(json_safe(what), ensure_ascii=False, allow_nan=False, indent=1))
