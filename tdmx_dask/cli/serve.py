"""``tdmx serve``: the workbench in a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tdmx_dask.cli.options import HELP, ON, examples

__all__ = ["serve"]

_LIBRARY = "Where fits are kept.  [default: the setting tdmx.fits-library]"
_ORIGIN = "Where browsers see it, if elsewhere: the near end of a tunnel."


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx serve",
        "tdmx serve --show",
        "ssh -L 5007:127.0.0.1:5007 login.example.org   # then tdmx serve there",
    ),
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=5007,
    show_default=True,
    help="On the loopback; 0 takes a free one.",
)
@click.option("--show", is_flag=True, help="Open it in the browser.")
@click.option("--library", type=click.Path(path_type=Path), metavar="DIR", help=_LIBRARY)
@click.option("--origin", "origins", multiple=True, metavar="HOST:PORT", help=_ORIGIN)
@ON
def serve(port: int, show: bool, library: Path | None, origins: tuple[str, ...], on: str | None) -> None:
    """Serve the workbench: fits, PTA and CFR in a web page, for this machine's browser.

    It listens on the loopback alone and lets in who has the token of the printed address. Reach it from another machine through an SSH
    tunnel. Ctrl-C ends it; fits that run then are cancelled, those that are done are in the library.
    """
    from tdmx_dask.dashboard.workbench.run import run

    def ready(url: str) -> None:
        click.echo(f"tdmx workbench: {url}")
        click.echo("Research use only. Not a medical device. Ctrl-C ends it.", err=True)
        sys.stdout.flush()
        if show:
            click.launch(url)

    run(ready, port=port, library=library, on=on, origins=origins)
