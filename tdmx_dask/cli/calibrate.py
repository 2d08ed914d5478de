"""``tdmx calibrate``: are posteriors of simulated levels what they claim to be?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.exits import FIT
from tdmx_dask.cli.options import HELP, ON, QUIET, examples
from tdmx_dask.cli.screen import NOTICE, open_screen

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

__all__ = ["calibrate"]


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx calibrate 2C --error combined",
        "tdmx calibrate 1C -n 500 --error proportional --error student_additive --plot ranks",
        "tdmx calibrate meropenem_tdm --target-ess 400 --on local",
    ),
)
@click.argument("patient", metavar="PATIENT|MODEL", default="2C")
@click.option(
    "--error",
    "errors",
    multiple=True,
    metavar="KIND",
    help="Error model, or all; repeatable.  [default: the patient's, or proportional]",
)
@click.option("-n", type=click.IntRange(min=10), default=200, show_default=True, help="Fits of each.")
@click.option(
    "--lloq",
    type=float,
    metavar="MG/L",
    help="Limit of quantification.  [default: a twentieth of the levels is below]",
)
@click.option(
    "--ranked",
    type=click.IntRange(min=9),
    default=99,
    show_default=True,
    help="Draws that a truth is ranked among, at most.",
)
@click.option("--chains", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=500, show_default=True)
@click.option("--draws", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--target-ess", type=float, metavar="ESS", help="Calibrate with the rule that stops chains on.")
@click.option("--warm-start", is_flag=True, help="Let fits start from each other's metric and step size.")
@click.option("--engine", type=click.Choice(["auto", "stanli", "cmdstan"]), default="auto", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of parameters, levels and fits.")
@ON
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw ranks and ECDF as PNG and SVG; with several errors, one each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@QUIET
def calibrate(
    patient: str, errors: tuple[str, ...], plot: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Simulation-based calibration of PATIENT, a YAML file or a shipped name, or of a typical patient of MODEL (1C, 2C, 3C).

    Parameters are drawn from the prior, levels simulated from them, and fitted; the rank of each true value among its posterior's
    draws must be uniform. Ends with code 5 where it is not.
    """
    from tdmx_dask.api.calibrate import calibrate as run
    from tdmx_dask.domain.error_model import ERROR_KINDS

    wanted: tuple[str | None, ...] = ERROR_KINDS if "all" in errors else errors or (None,)
    names = {"warmup": "iter_warmup", "draws": "iter_sampling"}
    asked = {names.get(key, key): value for key, value in options.items()}
    screen, found = open_screen(quiet=as_json), []
    for error in wanted:
        result = run(patient, error=error, progress=not (as_json or quiet), **asked)
        found.append(result)
        _print(screen, result)
        if plot is not None:
            for file in _draw(result, plot, several=len(wanted) > 1):
                screen.print(f"wrote {file}")
            screen.print()
    screen.print(NOTICE, style="bold")
    if as_json:
        text = json.dumps(
            {"notice": NOTICE, "calibrations": [_plain(each) for each in found]}, allow_nan=False
        )
        click.echo(text)
    if not all(each.attrs["uniform"] for each in found):
        raise click.exceptions.Exit(FIT)


def _draw(result: xr.Dataset, path: Path, *, several: bool) -> tuple[Path, Path]:
    from tdmx_dask import plot
    from tdmx_dask.plot.calibration import calibration

    stem = path.with_suffix("") if path.suffix.lower() in (".png", ".svg") else path
    stem = stem.with_name(f"{stem.name}_{result.attrs['error']}") if several else stem
    stem.parent.mkdir(parents=True, exist_ok=True)
    return plot.save(calibration(result), stem)


def _print(screen: Console, result: xr.Dataset) -> None:
    from rich import box
    from rich.table import Table

    attrs, wrong_below = result.attrs, float(result.attrs["wrong_below"])
    failures = json.loads(attrs["failures"])
    screen.print(f"Calibration of {attrs['model']}, {attrs['error']} error", style="bold")
    screen.print(
        f"{result.sizes['fit']} fits ({attrs['engine']}, seed {attrs['seed']}, {attrs['seconds']:.3g} s); "
        f"{100 * attrs['share_below']:.0f} % of the levels are below {attrs['lloq']:g} mg/L"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("quantity")
    for head in ("mean rank", "chi-square p", "ECDF p", ""):
        table.add_column(head, justify="left" if not head else "right")
    for name in result["quantity"].values:
        row = result.sel(quantity=name)
        wrong = float(row["ecdf_p"]) < wrong_below
        cells = (
            f"{float(row['mean_rank']):.3f}",
            *(f"{float(row[key]):.2g}" for key in ("chi_square_p", "ecdf_p")),
        )
        table.add_row(str(name), *cells, "not uniform" if wrong else "", style="bold red" if wrong else "")
    screen.print(table)
    thinned = result["n_independent"].values
    screen.print(
        f"Each truth is ranked among {thinned.min()} to {thinned.max()} independent draws. {attrs['verdict']}"
    )
    for name, problem in list(failures.items())[:3]:
        screen.print(f"Fit {name} failed: {problem}")
    if failures:
        screen.print(f"{len(failures)} of {attrs['n_asked']} fits failed and are left out.", style="bold")
    screen.print()


def _plain(result: xr.Dataset) -> dict[str, Any]:
    """Attributes and tests of one calibration."""
    columns = ("mean_rank", "chi_square", "chi_square_p", "ecdf_p")
    quantities = {
        str(name): {key: float(result[key].sel(quantity=name)) for key in columns}
        for name in result["quantity"].values
    }
    attrs = {key: value.item() if hasattr(value, "item") else value for key, value in result.attrs.items()}
    attrs |= {key: json.loads(attrs[key]) for key in ("failures", "settings")}
    return {**attrs, "n_fits": result.sizes["fit"], "quantities": quantities}
