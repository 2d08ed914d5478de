"""``tdmx run``: a study from its file to its tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.options import HELP, examples, running, work_options
from tdmx_dask.cli.screen import NOTICE, open_screen

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.api.study import StudyResult
    from tdmx_dask.domain.study import Study

__all__ = ["run"]


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx run meropenem_sepsis",
        "tdmx run my_study.yaml --out results/second --overwrite",
        "tdmx run my_study.yaml --run distributed --workers 2",
        "tdmx run my_study.yaml --resume",
    ),
)
@click.argument("study")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make.  [default: results/NAME]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace that folder; the old one is kept until the new is whole."
)
@click.option("--resume", is_flag=True, help="Go on from where an interrupted run of the same study stopped.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@work_options
def run(study: str, out: Path | None, overwrite: bool, resume: bool, quiet: bool, **options: Any) -> None:
    """Run STUDY, a YAML file or the name of a shipped study (see `tdmx studies`).

    Prints PTA, CFR and, where the study holds a published table, the deviation from it. Writes a folder with the
    draws and results as Zarr, pta.csv, cfr.csv, a PTA plot as PNG and SVG, report.html and run.json.
    """
    from tdmx_dask.api.study import run_study
    from tdmx_dask.domain.study import read_study

    found = read_study(study)
    target = out if out is not None else Path("results") / found.name
    result = run_study(
        found, target, overwrite=overwrite, resume=resume, progress=not quiet, **running(options)
    )
    _print(open_screen(quiet=quiet), result)


def _introduce(screen: Console, study: Study) -> None:
    screen.print(study.title or study.name, style="bold")
    for text in (study.description, study.source and f"Source: {study.source}"):
        if text:
            screen.print(text)
    screen.print()


def _print(screen: Console, result: StudyResult) -> None:
    from tdmx_dask.cli.present import print_cfr, print_comparison, print_pta

    study = result.study
    _introduce(screen, study)
    print_pta(screen, result.pta)
    screen.print()
    if result.cfr is not None:
        print_cfr(screen, result.cfr)
        screen.print()
    if result.comparison and study.published is not None:
        print_comparison(screen, result.comparison, study.published.source, result.pta)
        screen.print()
    screen.print(_how(result))
    screen.print(f"Results: {result.out}  (open {result.out}/report.html)", soft_wrap=True)
    screen.print(NOTICE, style="bold")


def _how(result: StudyResult) -> str:
    attrs, seconds = result.pta.attrs, sum(result.seconds.values())
    n_draws, n_subjects = int(attrs.get("n_draws", 0)), int(attrs.get("n_subjects", 1))
    who = f"{n_draws:,} virtual patients" if result.study.draws is None else f"{n_draws:,} draws"
    if n_subjects > 1:
        who = f"{n_draws:,} draws of {n_subjects:,} virtual patients each"
    where = {
        "direct": "in this process",
        "threads": "on {} threads",
        "processes": "in {} processes",
        "distributed": "on {} cluster threads",
    }
    place = where.get(str(attrs.get("run_mode")), "").format(attrs.get("n_workers", 1))
    return f"{who}, seed {result.study.seed}, {place}, {seconds:.2g} s."
