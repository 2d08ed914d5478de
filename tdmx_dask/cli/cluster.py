"""``tdmx cluster``: clusters that run on, which later commands and notebooks join by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tdmx_dask.cli.cluster_options import (
    RANGE,
    name_argument,
    option_option,
    options_of,
    profile_argument,
    read_range,
    read_time,
)
from tdmx_dask.cli.cluster_status import list_, record_plain, status
from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import json_option, print_json
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.api.pools import Pool

__all__ = ["cluster"]


@click.group(
    context_settings=HELP,
    epilog=examples(
        "tdmx cluster script slurm -o queue=long -o cores=16",
        "tdmx cluster start slurm --adapt 0..10 -o queue=long -o cores=16",
        "tdmx cluster status slurm",
        "tdmx run meropenem_sepsis --on slurm",
        "tdmx cluster stop slurm",
    ),
)
def cluster() -> None:
    """Start a cluster that runs on, and use it by its name; see how it is, scale it, stop it.

    A started cluster is a process on this host with a Dask scheduler, and workers as its profile says: processes of this machine, batch
    jobs, pods. Every command and notebook of yours that sees your home folder joins it with `--on NAME` or `on="NAME"`.
    """


@cluster.command(
    context_settings=HELP,
    short_help="Start a cluster that runs on.",
    epilog=examples(
        "tdmx cluster start local",
        "tdmx cluster start slurm --jobs 4 -o queue=long -o walltime=08:00:00",
        "tdmx cluster start slurm --name big --adapt 0..20 --idle-after 2h -o memory='64 GiB'",
        "tdmx cluster start site.yaml",
    ),
)
@profile_argument
@click.option("--name", metavar="NAME", help="By which it is joined.  [default: the profile's]")
@click.option("--jobs", type=click.IntRange(min=0), metavar="N", help="Workers (jobs, pods) from the start.")
@click.option("--adapt", metavar=RANGE, help="Let the number of workers follow the work.")
@click.option(
    "--idle-after",
    metavar="TIME",
    help="End it once nobody was connected, and nothing ran, for so long: 30min, 2h.",
)
@option_option
@json_option
def start(
    profile: str, name: str | None, jobs: int | None, adapt: str | None, idle_after: str | None, said: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Start a cluster by PROFILE: local, slurm, pbs, …, one of your configuration, or a YAML file.

    Returns as soon as its scheduler is up; workers come when they come. It ends with `tdmx cluster stop`, or when this host restarts.
    It outlives your shell; where a site ends whatever a session has started, start it inside tmux.
    """
    from tdmx_dask.api import pool_start

    begun = pool_start.start(
        profile,
        options_of(profile, said),
        name=name,
        jobs=jobs,
        adapt=None if adapt is None else read_range("--adapt", adapt),
        idle_after=read_time("--idle-after", idle_after),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if as_json:
        print_json(record_plain(begun))
    else:
        _print_started(begun)


def _print_started(pool: Pool) -> None:
    from rich.table import Table
    from rich.text import Text

    from tdmx_dask.cli.cluster_status import tunnel
    from tdmx_dask.cli.screen import open_screen
    from tdmx_dask.clusters.page_names import page_of

    record = pool.record
    screen = open_screen()
    kind = "" if record.kind == record.name else f" ({record.kind})"
    screen.print(Text(f"cluster {record.name}{kind} runs on {record.host}, pid {record.pid}", "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for what, text in (
        ("use it", f"tdmx run STUDY --on {record.name}"),
        ("in Python", f'tdmx.pta(draws, …, on="{record.name}")'),
        ("how it is", f"tdmx cluster status {record.name}"),
        ("end it", f"tdmx cluster stop {record.name}"),
        ("page", page_of(record.dashboard)),
        ("dashboard", record.dashboard),
        ("from afar", tunnel(record)),
        ("log", str(pool.folder / "log")),
    ):
        table.add_row(what, Text(text))
    screen.print(table)


@cluster.command(
    context_settings=HELP,
    short_help="Change the number of its workers.",
    epilog=examples("tdmx cluster scale slurm 8", "tdmx cluster scale slurm 0..20"),
)
@name_argument
@click.argument("workers", metavar=f"N|{RANGE}")
def scale(name: str, workers: str) -> None:
    """Have N workers from now on, or let their number follow the work between MIN and MAX."""
    from tdmx_dask.api.pool_status import enter

    span = read_range("workers", workers) if ".." in workers else None
    if span is None and not workers.isdecimal():
        rule = "a number of workers is a whole number >= 0, or a range"
        raise InputError("workers", workers, rule, "For example 8, or 0..20.")
    joined, _ = enter(name)
    with joined:
        if span is None:
            joined.scale(int(workers))
        else:
            joined.adapt(*span)
    said = f"{workers} workers" if span is None else f"{span[0]} to {span[1]} workers, as the work needs"
    click.echo(
        f"cluster {name} was asked for {said.replace('1 workers', '1 worker') if workers == '1' else said}"
    )


@cluster.command(
    context_settings=HELP,
    short_help="End a cluster.",
    epilog=examples("tdmx cluster stop slurm", "tdmx cluster stop slurm --force"),
)
@name_argument
@click.option(
    "--force", is_flag=True, help="Kill it where it does not end, forget it where it cannot be reached."
)
def stop(name: str, force: bool) -> None:
    """End a cluster: its workers, jobs, scheduler and process. One that is gone is cleared, and is no error."""
    from tdmx_dask.api import pool_stop

    click.echo(pool_stop.stop(name, force=force))


@cluster.command(
    context_settings=HELP,
    short_help="Print the job script of a profile.",
    epilog=examples(
        "tdmx cluster script slurm", "tdmx cluster script pbs -o queue=long -o cores=16 > worker.pbs"
    ),
)
@profile_argument
@option_option
def script(profile: str, said: tuple[str, ...]) -> None:
    """Print what would be submitted for a worker of PROFILE: a job script, or the manifests of Kubernetes. Nothing is submitted."""
    from tdmx_dask.api import pool_start

    click.echo(pool_start.script(profile, options_of(profile, said)).rstrip("\n"))


for _command in (status, list_):
    cluster.add_command(_command)
