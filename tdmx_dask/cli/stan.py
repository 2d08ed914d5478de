"""``tdmx stan``: the engines of this machine, CmdStan's installation, and compiled programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.screen import open_screen

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.fitting.toolchain import Status

__all__ = ["stan"]


@click.group(
    context_settings=HELP,
    epilog=examples("tdmx stan status", "tdmx stan install", "tdmx stan compile linear_2c my_program.stan"),
)
def stan() -> None:
    """Engines of Stan fits: what is here, install CmdStan, compile programs."""


@stan.command(context_settings=HELP, epilog=examples("tdmx stan status"))
def status() -> None:
    """Say which engines this machine has, and which programs are compiled."""
    from rich import box
    from rich.table import Table

    from tdmx_dask.fitting.program import shipped_programs
    from tdmx_dask.fitting.toolchain import status as look

    found = look()
    screen = open_screen()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("what", "here", "where"):
        table.add_column(head, overflow="fold", no_wrap=head != "where")
    table.add_row("stanli", found.stanli or "no", "the embedded engine; needs no compiler")
    cmdstan = found.cmdstan
    table.add_row("CmdStan", cmdstan.version if cmdstan else "no", str(cmdstan.path) if cmdstan else "")
    table.add_row("C++ compiler", "yes" if found.compiler else "no", found.compiler or "")
    table.add_row("make", "yes" if found.make else "no", found.make or "")
    table.add_row("compiled programs", str(len(found.programs)), str(found.cache))
    screen.print(table)
    for name, size in found.programs:
        screen.print(f"  {name}  {size:.1f} MB")
    screen.print(f"shipped programs: {', '.join(shipped_programs())}")
    _advise(screen, found)


def _advise(screen: Console, found: Status) -> None:
    """What engine=auto would take, and what is to be done for the other."""
    if found.cmdstan is None:
        screen.print(
            "engine=auto takes stanli. For CmdStan: tdmx stan install (a C++ compiler, make and a network)."
        )
    elif found.cmdstan.lacks:
        screen.print(f"engine=auto takes stanli: CmdStan lacks {' and '.join(found.cmdstan.lacks)}.")
        screen.print("Install it anew: tdmx stan install (and unset CMDSTAN, if that names it).")
    else:
        screen.print("engine=auto takes CmdStan; a program is compiled when it is first used.")


@stan.command(
    context_settings=HELP,
    epilog=examples("tdmx stan install", "tdmx stan install --version 2.37.0 --cores 8"),
)
@click.option("--version", metavar="X.Y.Z", help="Which release; left out, the latest.")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to; left out, ~/.cmdstan."
)
@click.option("--cores", type=click.IntRange(min=1), default=2, show_default=True, help="Of the build.")
def install(version: str | None, folder: Path | None, cores: int) -> None:
    """Download CmdStan and build it (some minutes; needs a C++ compiler, make and a network)."""
    from tdmx_dask.fitting.toolchain import install as run

    screen = open_screen()
    found = run(version, folder=folder, cores=cores, say=lambda line: screen.print(line, style="dim"))
    screen.print(f"CmdStan {found.version} is in {found.path}")
    if folder is not None:
        screen.print(f"Set CMDSTAN={found.path} so that it is found.")


@stan.command(
    "compile",
    context_settings=HELP,
    epilog=examples(
        "tdmx stan compile", "tdmx stan compile linear_2c", "tdmx stan compile my_program.stan --threads"
    ),
)
@click.argument("program", nargs=-1)
@click.option(
    "--threads/--no-threads",
    default=None,
    help="For several threads a chain; left out, where reduce_sum is used.",
)
def compile_(program: tuple[str, ...], threads: bool | None) -> None:
    """Compile PROGRAMs (shipped ones by name, others by path; all shipped ones if none is named) with CmdStan."""
    from tdmx_dask.fitting.program import read_program, shipped_programs
    from tdmx_dask.fitting.toolchain import compile_program

    screen = open_screen()
    for each in [read_program(name) for name in program or tuple(shipped_programs())]:
        path = compile_program(each, threads=threads, say=lambda text: screen.print(text, style="dim"))
        screen.print(f"{each.name}: {path}", soft_wrap=True)
