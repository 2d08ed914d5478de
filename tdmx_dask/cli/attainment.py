"""``tdmx pta`` and ``tdmx cfr``: draws, regimens and targets from the command line, without a study."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tdmx_dask.cli.options import HELP, QUIET, examples, running, work_options
from tdmx_dask.cli.screen import NOTICE, open_screen
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.domain.mic import MICDistribution
    from tdmx_dask.domain.regimen import Regimen
    from tdmx_dask.domain.target import AllOf, Target

__all__ = ["cfr", "pta"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_QUESTION: tuple[Any, ...] = (
    click.argument("draws"),
    click.option("-r", "--regimen", "regimens", multiple=True, required=True, help='Such as "1000 mg q8h inf 3h"; repeatable.'),
    click.option("-t", "--target", "targets", multiple=True, required=True, help='Such as "fT>MIC >= 50%"; repeatable.'),
    click.option("--fu", type=float, metavar="FRACTION", help="Unbound fraction, where the draws have none."),
    click.option("--weight", type=float, metavar="KG", help="Body weight, for doses in mg/kg."),
    click.option("--window", help="Of the targets: ss, first_dose, day1, interval 20, 24..48h."),
    click.option("--subjects", type=int, default=1, metavar="N", help="Virtual patients of each draw (two levels)."),
    click.option("--population", metavar="FILE", help="YAML: covariates and variability that go with the draws."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the virtual patients."),
    click.option("--level", type=float, default=0.95, show_default=True, help="Of the intervals."),
    click.option("--breakpoint-level", type=float, default=0.9, show_default=True, help="PTA that makes a breakpoint."),
    click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="Write every number to a CSV file too."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
    QUIET,
)  # fmt: skip


def _question(*own: Any) -> Callable[[_Command], _Command]:
    """The options that make a question, with those of one command after the targets, and where it runs last."""

    def decorate(command: _Command) -> _Command:
        command = work_options(command)
        for part in reversed((*_QUESTION[:3], *own, *_QUESTION[3:])):
            command = part(command)
        return command

    return decorate


@click.command(
    context_settings=HELP,
    epilog=examples(
        'tdmx pta draws.zarr -r "1000 mg q8h inf 30min" -r "1000 mg q8h inf 3h" -t "fT>MIC >= 50%" --fu 0.98',
        'tdmx pta draws.csv -r "2 g q24h ci" -t "fT>4xMIC >= 100%" --mic 0.5..16 --fu 0.7 --json',
        'tdmx pta draws.zarr -r "15 mg/kg q12h inf 1h" -t "AUC24 400..600" --weight 80',
    ),
)
@_question(
    click.option("--mic", default="0.25..32", show_default=True, help="mg/L: doubling dilutions, or 0.5,1,2.")
)
def pta(mic: str, **options: Any) -> None:
    """Probability of target attainment of DRAWS, a Zarr store, or a CSV, Parquet or NetCDF file."""
    from tdmx_dask.domain.grid import parse_mic_grid

    result = _attained(options, parse_mic_grid(mic))
    _output(options, pta=result)


@click.command(
    context_settings=HELP,
    epilog=examples(
        'tdmx cfr draws.zarr -r "1000 mg q8h inf 3h" -t "fT>MIC >= 50%" --fu 0.98 -d "0.5:0.2, 1:0.5, 2:0.3"',
        'tdmx cfr draws.zarr -r "2 g q8h" -t "fT>MIC >= 50%" --fu 0.98 -d counts.csv',
    ),
)
@_question(
    click.option(
        "-d", "--distribution", "distributions", multiple=True, required=True, metavar="TEXT|FILE",
        help='MICs and weights, "0.25:0.1, 0.5:0.2", or a CSV of counts; repeatable.',
    )
)  # fmt: skip
def cfr(distributions: tuple[str, ...], **options: Any) -> None:
    """Cumulative fraction of response of DRAWS over one or several distributions of MICs."""
    from tdmx_dask.api.verbs import cfr as respond

    isolates = _isolates(distributions)
    attained = _attained(options, tuple(sorted({mic for each in isolates for mic in each.mic})))
    _output(options, pta=attained, cfr=respond(attained, isolates, level=options["level"]))


def _isolates(given: Sequence[str]) -> list[MICDistribution]:
    """Distributions from texts and files."""
    from tdmx_dask.domain.mic import MICDistribution

    found: list[MICDistribution] = []
    for number, each in enumerate(given, 1):
        if Path(each).suffix.lower() in (".csv", ".tsv", ".txt"):
            found += MICDistribution.read_csv(each)
        else:
            found.append(
                MICDistribution.parse(each, organism="isolates" if len(given) == 1 else f"isolates {number}")
            )
    return found


def _nouns(options: dict[str, Any]) -> tuple[list[Regimen], list[Target | AllOf]]:
    """Regimens and targets; what is wrong with one is said of the option that gave it."""
    from tdmx_dask.domain.regimen import Regimen
    from tdmx_dask.domain.section import Item
    from tdmx_dask.domain.target import parse_target

    regimens, targets = [], []
    for text in options["regimens"]:
        with Item(text, "--regimen").naming():
            regimens.append(Regimen.parse(text))
    for text in options["targets"]:
        with Item(text, "--target").naming():
            targets.append(parse_target(text, window=options["window"]))
    return regimens, targets


def _attained(options: dict[str, Any], mic: Sequence[float]) -> xr.Dataset:
    if options["csv_file"] is not None and options["csv_file"].exists():
        raise InputError(
            "--csv", options["csv_file"], "this file exists", "Choose another name, or remove it."
        )
    from tdmx_dask.api.verbs import pta as attain
    from tdmx_dask.domain.document import read_yaml
    from tdmx_dask.domain.population import Population
    from tdmx_dask.domain.section import Item

    population = None
    if options["population"]:
        population = Population.from_mapping(Item(read_yaml(options["population"]), "population"))
    source: Any = options["draws"]
    if not Path(source).is_dir() and Path(source).is_file():
        from tdmx_dask.store.importing import import_draws

        source = import_draws(source)
    regimens, targets = _nouns(options)
    return attain(
        source,
        regimens,
        targets,
        mic=mic,
        population=population,
        subjects=options["subjects"],
        fu=options["fu"],
        weight=options["weight"],
        seed=options["seed"],
        level=options["level"],
        breakpoint_level=options["breakpoint_level"],
        progress=not (options["as_json"] or options["quiet"]),
        **running(options),
    )


def _output(options: dict[str, Any], *, pta: xr.Dataset, cfr: xr.Dataset | None = None) -> None:
    """Print tables or JSON, and write the CSV."""
    from tdmx_dask.api.records import cfr_rows, pta_rows, write_csv

    rows = pta_rows(pta) if cfr is None else cfr_rows(cfr)
    if options["csv_file"] is not None:
        from tdmx_dask.store.publish import staging

        with staging(options["csv_file"]) as partial:
            write_csv(rows, partial)
    if options["as_json"]:
        attrs = pta.attrs if cfr is None else cfr.attrs
        names = (
            "interval",
            "interval_level",
            "interval_reason",
            "fu_note",
            "seed",
            "draws_digest",
            "tdmx_version",
        )
        about = {name: attrs[name] for name in names if attrs.get(name) not in (None, "")}
        kind = "pta" if cfr is None else "cfr"
        click.echo(json.dumps({"notice": NOTICE, **about, kind: rows}, ensure_ascii=False, allow_nan=False))
        return
    from tdmx_dask.cli.present import print_cfr, print_pta

    screen = open_screen()
    print_pta(screen, pta)
    if cfr is not None:
        screen.print()
        print_cfr(screen, cfr)
    screen.print()
    screen.print(NOTICE, style="bold")
