"""``tdmx draws``: draws in and out of Zarr, and what a store holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.screen import open_screen

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["draws"]

_FORMATS = click.Choice(["csv", "parquet", "netcdf", "cmdstan", "zarr"])
_QUANTILES = (0.05, 0.5, 0.95)


@click.group(
    context_settings=HELP,
    epilog=examples(
        "tdmx draws import posterior.csv draws.zarr --unit CL=mL/min",
        "tdmx draws info draws.zarr",
        "tdmx draws export draws.zarr draws.parquet",
    ),
)
def draws() -> None:
    """Import, describe and export draws."""


@draws.command(
    "import",
    context_settings=HELP,
    epilog=examples(
        "tdmx draws import posterior.csv draws.zarr",
        "tdmx draws import posterior.csv draws.zarr --column CL=theta[1] --unit CL=mL/min",
        "tdmx draws import output_1.csv output_2.csv draws.zarr --format cmdstan --model 2C",
    ),
)
@click.argument("source", nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", type=_FORMATS, help="Of the source; left out, told by its content and suffix."
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="CL=NAME",
    help="Which column holds a parameter; repeatable.",
)
@click.option("--unit", "units", multiple=True, metavar="CL=mL/min", help="Unit in the source; repeatable.")
@click.option("--sampling", type=click.Choice(["mcmc", "independent"]), help="How the draws were made.")
@click.option("--model", type=click.Choice(["1C", "2C", "3C"]), help="Which parameters must be there.")
@click.option("--eta", "etas", multiple=True, metavar="CL", help="Rows of omega, in their order; repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
def import_(
    source: tuple[str, ...],
    out: Path,
    kind: str | None,
    columns: tuple[str, ...],
    units: tuple[str, ...],
    sampling: str | None,
    model: str | None,
    etas: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Read SOURCE (CSV, Parquet, NetCDF, CmdStan CSV files) and write the Zarr store OUT.

    Columns are CL, Vc, Q1, Vp1, Q2, Vp2 (or NONMEM's names), chain and draw if there are any, and covariates.
    """
    from tdmx_dask.store.draws import write_draws
    from tdmx_dask.store.importing import import_draws

    found = import_draws(
        source[0] if len(source) == 1 else list(source),
        format=kind,
        columns=_pairs("column", columns) or None,
        units=_pairs("unit", units) or None,
        sampling=sampling,
        model=model,
        etas=list(etas) or None,
    )
    digest = write_draws(found, out, overwrite=overwrite)
    screen = open_screen()
    screen.print(f"wrote {out}  (digest {digest[:12]})")
    _describe(screen, found)


@draws.command(
    context_settings=HELP,
    epilog=examples("tdmx draws info draws.zarr", "tdmx draws info draws.zarr --verify"),
)
@click.argument("store")
@click.option("--verify", is_flag=True, help="Read every value and compare it with the digest.")
def info(store: str, verify: bool) -> None:
    """Say what STORE holds: parameters, units, chains, draws, and their spread."""
    from tdmx_dask.store.draws import open_draws, verify_draws

    found = open_draws(store)
    screen = open_screen()
    if verify:
        screen.print(f"every value agrees with the digest {verify_draws(store)[:12]}")
    _describe(screen, found)


@draws.command(
    context_settings=HELP,
    epilog=examples("tdmx draws export draws.zarr draws.csv", "tdmx draws export draws.zarr draws.nc"),
)
@click.argument("store")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", "kind", type=_FORMATS, help="Left out, told by the suffix of OUT.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
def export(store: str, out: Path, kind: str | None, overwrite: bool) -> None:
    """Write the draws of STORE as CSV, Parquet, NetCDF (ArviZ) or CmdStan CSV."""
    from tdmx_dask.store.draws import open_tree
    from tdmx_dask.store.exporting import export_draws

    for file in export_draws(open_tree(store), out, format=kind, overwrite=overwrite):
        click.echo(f"wrote {file}")


def _pairs(name: str, given: Sequence[str]) -> dict[str, str]:
    """Options such as CL=mL/min as a mapping."""
    from tdmx_dask.errors import InputError

    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"--{name}", each, "it reads PARAMETER=VALUE", f"Write --{name} CL=…")
        found[key.strip()] = value.strip()
    return found


def _describe(screen: object, found: xr.Dataset) -> None:
    """A table of the variables, their units and quantiles."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    assert isinstance(screen, Console)  # noqa: S101  for the type checker
    sizes = dict(found.sizes)
    screen.print(
        f"{sizes.get('chain', 1)} chain(s) of {sizes.get('draw', 0):,} draws, sampling {found.attrs.get('sampling')}"
    )
    for key in ("source", "created_by", "digest"):
        if found.attrs.get(key):
            screen.print(f"{key}: {found.attrs[key]}", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("variable")
    table.add_column("unit")
    for quantile in _QUANTILES:
        table.add_column("median" if quantile == 0.5 else f"{100 * quantile:g} %", justify="right")
    table.add_column("dimensions")
    for name, variable in found.data_vars.items():
        dims = ", ".join(str(dim) for dim in variable.dims)
        table.add_row(str(name), str(variable.attrs.get("units", "")), *_spread(variable), dims)
    screen.print(table)


def _spread(variable: xr.DataArray) -> list[str]:
    """Quantiles over at most 100,000 draws, taken evenly; none for a matrix."""
    import numpy as np

    if set(variable.dims) - {"chain", "draw"}:
        return ["", "", ""]
    step = max(1, variable.size // 100_000)
    values = np.asarray(variable.isel(draw=slice(None, None, step)).values)
    return [f"{each:.4g}" for each in np.quantile(values, _QUANTILES)]
