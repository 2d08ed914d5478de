"""``tdmx bench``: hands its arguments to the benchmarks."""

from __future__ import annotations

import click

from tdmx_dask.cli.options import HELP

__all__ = ["bench"]


@click.command(context_settings={**HELP, "ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure this machine against the reference figures; `tdmx bench --help` shows the options."""
    from tdmx_dask.bench import main

    code = main(list(arguments))
    if code:
        raise click.exceptions.Exit(code)
