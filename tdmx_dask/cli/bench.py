"""``tdmx bench``: hands its arguments to the benchmarks."""

from __future__ import annotations

import click

from tdmx_dask.cli.options import HELP, examples

__all__ = ["bench"]


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx bench",
        "tdmx bench kernel verbs",
        "tdmx bench cluster",
        "tdmx bench fit",
        "tdmx bench queue",
        "tdmx bench long",
    ),
)
@click.argument("groups", nargs=-1, metavar="[kernel|verbs|where|two-level|start|cluster|fit|queue|long]...")
def bench(groups: tuple[str, ...]) -> None:
    """Measure this machine, each figure beside a reference; all groups but cluster, fit, queue and long, unless some are named."""
    from tdmx_dask.bench import main

    code = main(list(groups))
    if code:
        raise click.exceptions.Exit(code)
