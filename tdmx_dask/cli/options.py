"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["HELP", "ON", "QUIET", "examples", "running", "work_options"]

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _where(context: click.Context, _option: click.Parameter, on: str | None) -> Any:
    """Keep Dask's own log off the terminal; take this task's part where all tasks of an allocation run the same command.

    When a scheduler dies, Dask prints tracebacks, and we print what it means. Of the tasks only the client's goes on, before anything is
    looked at: the others would stumble over what it has written by then.
    """
    if on is None:
        return None
    import dask.config

    loggers = "distributed", "distributed.client", "tornado.application", "asyncio"
    quiet = dict.fromkeys(loggers, "critical")
    dask.config.set({"logging": quiet})  # read when distributed is imported
    from tdmx_dask.api.clusters import cluster, is_allocation

    if not is_allocation(on):
        return on
    joined = cluster(on)
    context.call_on_close(joined.close)
    return joined


ON = click.option(
    "--on",
    callback=_where,
    metavar="CLUSTER",
    help="A cluster: a profile (local, slurm, …), a started one's name, a YAML file, or an address.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """The end of a help text: commands to try, one a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def work_options(command: _Command) -> _Command:
    """Where the work runs: --workers, --chunk-size, --run, --on."""
    for option in (
        ON,
        click.option(
            "--run",
            type=click.Choice(["auto", "direct", "threads", "processes", "distributed"]),
            default="auto",
            show_default=True,
            help="Where to run; auto chooses by measured work.",
        ),
        click.option(
            "--chunk-size",
            type=click.IntRange(min=1),
            metavar="N",
            help="Draws a task; never changes a result.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Threads, processes, or workers of a cluster.",
        ),
    ):
        command = option(command)
    return command


def running(options: dict[str, Any]) -> dict[str, Any]:
    """The same as keyword arguments of a verb."""
    return {
        "n_workers": options["workers"],
        "chunk_size": options["chunk_size"],
        "run": options["run"],
        "on": options["on"],
    }
