"""``tdmx studies`` and ``tdmx study``: what is shipped, and whether a study of one's own is right."""

from __future__ import annotations

from pathlib import Path

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.screen import NOTICE, open_screen

__all__ = ["studies", "study"]


@click.command(context_settings=HELP, epilog=examples("tdmx studies"))
def studies() -> None:
    """List the studies that are shipped."""
    from rich import box
    from rich.table import Table

    from tdmx_dask.domain.study import read_study, shipped_studies

    screen = open_screen()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in ("name", "title"):
        table.add_column(head, overflow="fold", no_wrap=head == "name")
    for name in shipped_studies():
        table.add_row(name, read_study(name).title)
    screen.print(table)
    screen.print("\nRun one with `tdmx run NAME`; start your own from one with `tdmx study copy NAME`.")
    screen.print(NOTICE, style="bold")


@click.group(
    context_settings=HELP,
    epilog=examples("tdmx study check my_study.yaml", "tdmx study copy meropenem_sepsis my_study.yaml"),
)
def study() -> None:
    """Check a study, or copy a shipped one to start from."""


@study.command(context_settings=HELP, epilog=examples("tdmx study check my_study.yaml"))
@click.argument("file")
def check(file: str) -> None:
    """Read FILE, a study, and say what it asks for; nothing is run."""
    from tdmx_dask.domain.study import read_study

    found = read_study(file)
    screen = open_screen()
    screen.print(f"{found.name}: nothing is wrong with this study", style="bold")
    who = "draws of " + str(found.draws) if found.draws else f"{found.n:,} virtual patients"
    lines = {
        "patients": who + (f", {found.subjects:,} a draw" if found.subjects > 1 else ""),
        "population": found.population.name if found.population else "",
        "scenarios": ", ".join(scenario.name for scenario in found.scenarios),
        "regimens": "; ".join(regimen.label for regimen in found.regimens),
        "pairs": str(len(found.design)),
        "targets": "; ".join(target.label for target in found.targets),
        "MIC, mg/L": ", ".join(f"{mic:g}" for mic in found.mic),
        "isolates": ", ".join(each.organism for each in found.distributions),
        "published": f"{len(found.published.cells)} cells" if found.published else "",
        "seed": str(found.seed),
    }
    for name, text in lines.items():
        if text:
            screen.print(f"{name:>10}  {text}")


@study.command(context_settings=HELP, epilog=examples("tdmx study copy meropenem_sepsis my_study.yaml"))
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def copy(name: str, file: Path | None) -> None:
    """Copy the shipped study NAME to FILE, to be changed."""
    from tdmx_dask.domain.section import nearest
    from tdmx_dask.domain.study import shipped_studies
    from tdmx_dask.errors import InputError
    from tdmx_dask.store.publish import staging

    shipped = shipped_studies()
    if name not in shipped:
        raise InputError("study", name, "no study of this name is shipped", nearest(name, tuple(shipped)))
    target = file or Path(f"{name}.yaml")
    with staging(target) as partial:
        partial.write_bytes(shipped[name].read_bytes())
    open_screen().print(f"wrote {target}; run it with `tdmx run {target}`")
