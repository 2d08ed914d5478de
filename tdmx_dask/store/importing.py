"""Draws from the formats in which they arrive: CSV, Parquet, NetCDF (ArviZ), CmdStan CSV, Zarr."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tdmx_dask.errors import InputError, SchemaError, StoreError
from tdmx_dask.store.cmdstan import GZIP, is_cmdstan, read_chains
from tdmx_dask.store.columns import Options, Variables, build, by_chain, gather
from tdmx_dask.store.draws import open_tree
from tdmx_dask.store.extras import need_netcdf
from tdmx_dask.store.schema import BY_DRAW, CONSTANT_DATA, POSTERIOR, SAMPLINGS
from tdmx_dask.store.tables import read_csv, read_parquet

__all__ = ["FORMATS", "draws_from_columns", "import_draws", "import_tree"]

FORMATS = ("csv", "parquet", "netcdf", "cmdstan", "zarr")
Source = str | PathLike[str] | Sequence[str | PathLike[str]]


def import_draws(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    sampling: str | None = None,
    model: str | None = None,
    etas: Sequence[str] | None = None,
) -> xr.Dataset:
    """Read draws into memory: (chain, draw) by canonical names and units, every value checked.

    Columns ``chain`` and ``draw`` (or ``.chain``, ``.iteration``, …) say where a row belongs. NONMEM's names become ours.
    ``theta[1]``, ``theta[2]`` or ``theta.1``, ``theta.2`` become one variable; ``omega[i,j]`` the covariance of the log
    of the parameters.

    Parameters
    ----------
    source : a file or a Zarr store; for CmdStan also a list of CSV files, one a chain
    format : "csv", "parquet", "netcdf", "cmdstan", "zarr"; None: from the content
    columns : ``{"CL": "theta[1]"}``, our names to the file's, elements counted from 1 and other columns kept as they are;
        or a list of the columns to keep
    units : ``{"CL": "mL/min"}``: the unit in the file, converted to ours; nothing is converted unless told
    sampling : "mcmc" or "independent"; None: "mcmc" where there are chains, else "independent"
    model : "1C", "2C", "3C": which parameters must be there, and what NONMEM's ``V2`` means
    etas : names of the rows of ``omega``

    Returns
    -------
    float64 variables (chain, draw), ``omega`` (chain, draw, eta, eta2); attrs ``sampling`` and ``source``

    Raises
    ------
    StoreError
        There is no such file, or it cannot be read.
    InputError, SchemaError
        The file was cut short or is of no known format, chains are unequal, a column is missing, units are wrong, a value is
        not finite or out of range.
    """
    options = Options(columns, units, sampling, model, etas)
    return _import(source, format, options)[POSTERIOR]


def import_tree(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    sampling: str | None = None,
    model: str | None = None,
    etas: Sequence[str] | None = None,
) -> xr.DataTree:
    """As `import_draws`, with what the sampler recorded (group sample_stats) and constant_data, if there are."""
    return xr.DataTree.from_dict(_import(source, format, Options(columns, units, sampling, model, etas)))


def draws_from_columns(
    columns: Mapping[str, Any],
    *,
    units: Mapping[str, str] | None = None,
    sampling: str | None = None,
    model: str | None = None,
    etas: Sequence[str] | None = None,
) -> xr.Dataset:
    """Draws from a mapping of columns or a DataFrame, by the rules of `import_draws`.

    Parameters
    ----------
    columns : name -> (draw,) or (chain, draw) numbers, ``omega`` with two more dimensions; a single number stands for
        all draws; columns named ``chain`` and ``draw`` say where a row belongs
    units, sampling, model, etas : as in `import_draws`

    Raises
    ------
    InputError, SchemaError
        As `import_draws`.

    Examples
    --------
    >>> draws = draws_from_columns({"CL": [5.0, 6.0], "V": [30.0, 31.0]})
    >>> dict(draws.sizes), list(draws)
    ({'chain': 1, 'draw': 2}, ['CL', 'Vc'])
    """
    arrays = {str(name): _number_array(str(name), columns[name]) for name in columns}
    many = {name: values for name, values in arrays.items() if values.ndim}
    if not many:
        raise InputError(
            "draws", ", ".join(arrays) or "none", "at least one column has a value a draw", "Give arrays."
        )
    two = [name for name, values in many.items() if values.ndim > (3 if name == "omega" else 1)]
    lead = 2 if two else 1
    shape = many[(two or list(many))[0]].shape[:lead]
    for name, values in many.items():
        if values.shape[:lead] != shape:
            raise InputError(
                name, values.shape, f"it begins with {shape}, as other columns do", "Give all draws of each."
            )
    arrays = {name: values if values.ndim else np.full(shape, values) for name, values in arrays.items()}
    options = Options(None, units, sampling, model, etas)
    if two:
        variables = _variables(arrays)
        return build(variables, options, chains=shape[0] > 1, source="columns")[POSTERIOR]
    table, chains = by_chain(arrays)
    return build(_variables(table), options, chains=chains, source="columns")[POSTERIOR]


def _variables(arrays: Mapping[str, np.ndarray]) -> Variables:
    vectors = {name: values for name, values in arrays.items() if values.ndim > 2}
    variables = gather({name: values for name, values in arrays.items() if name not in vectors})
    for name, values in vectors.items():
        dims = ("chain", "draw", *(f"{name}_dim_{each}" for each in range(values.ndim - 2)))
        variables[name] = xr.DataArray(values, dims=dims)
    return variables


def _number_array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            name, type(values).__name__, f"a column holds numbers ({error})", "Leave it out."
        ) from error


def _import(source: Source, form: str | None, options: Options) -> dict[str, xr.Dataset]:
    paths = [source] if isinstance(source, str | PathLike) else list(source)
    if not paths:
        raise InputError("source", "[]", "there is at least one file", "Name a file.")
    for path in paths:
        _check_readable(path)
    form = form or _recognise(paths[0])
    if form not in FORMATS:
        raise InputError("format", form, f"it is one of {', '.join(FORMATS)}", "Choose one, or leave it out.")
    if len(paths) > 1 and form != "cmdstan":
        raise InputError(
            "source", f"{len(paths)} files", f"{form} is read from one file", "Import them one by one."
        )
    name = ", ".join(Path(path).name for path in paths)
    if form == "cmdstan":
        columns, chains = read_chains(paths)
        return build(gather(columns), options, chains=chains, source=name)
    path = paths[0]
    if form in ("netcdf", "zarr"):
        return _from_groups(_open_groups(path, form), options, name, path)
    rows, note = (read_csv(path), {}) if form == "csv" else read_parquet(path)
    table, chains = by_chain(rows)
    variables = gather(table)
    for key, unit in note.get("units", {}).items():
        if key in variables:
            variables[key].attrs["units"] = unit
    options = _with_note(options, note)
    return build(variables, options, chains=chains, source=name)


def _with_note(options: Options, note: Mapping[str, Any]) -> Options:
    """What the user says, completed by what a file of ours says."""
    sampling, etas = options.sampling or note.get("sampling"), options.etas or note.get("etas")
    return Options(
        options.columns, options.units, sampling if sampling in SAMPLINGS else None, options.model, etas
    )


def _check_readable(path: str | PathLike[str]) -> None:
    try:
        if not Path(path).is_dir():
            with Path(path).open("rb"):
                pass
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        rule = "there is no such file" if missing else f"it cannot be read ({error.strerror})"
        raise StoreError("source", os.fspath(path), rule, "Check the path.") from error


def _recognise(path: str | PathLike[str]) -> str:
    """The format of a source, from its first bytes."""
    place = Path(path)
    if place.is_dir():
        if any((place / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            return "zarr"
        raise InputError("source", os.fspath(path), "this folder is no Zarr store", "Name a file.")
    head = _first_bytes(place)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:8] == b"\x89HDF\r\n\x1a\n" or head[:3] == b"CDF":
        return "netcdf"
    if head[:2] == b"PK":
        raise InputError(
            "source", os.fspath(path), "this looks like a workbook or a zip file", "Save the table as CSV."
        )
    if b"\0" in head:
        fix = (
            "Save it as UTF-8."
            if head[:2] in (b"\xff\xfe", b"\xfe\xff")
            else f"Formats: {', '.join(FORMATS)}."
        )
        raise InputError("source", os.fspath(path), "this is no text and of no known format", fix)
    return "cmdstan" if is_cmdstan(head.decode("utf-8-sig", "replace")) else "csv"


def _first_bytes(place: Path) -> bytes:
    with place.open("rb") as file:
        head = file.read(1 << 16)
    if head[:2] != GZIP:
        return head
    try:
        with gzip.open(place, "rb") as unpacked:
            return unpacked.read(1 << 16)
    except (OSError, EOFError) as error:
        raise InputError(
            "source", os.fspath(place), f"this is no whole gzip file ({error})", "Pack it again."
        ) from error


def _open_groups(path: str | PathLike[str], form: str) -> Mapping[str, xr.Dataset]:
    """Groups of a NetCDF file or a Zarr store; a file without groups is a posterior."""
    if form == "zarr":
        try:
            return {name: group.to_dataset() for name, group in open_tree(path).children.items()}
        except SchemaError:
            engine = "zarr"  # not one of ours
    else:
        engine = _netcdf_engine(path)
    try:
        if engine == "scipy":  # the classic format has no groups
            return {POSTERIOR: xr.load_dataset(path, engine=engine)}
        with xr.open_datatree(path, engine=engine, chunks=None) as tree:
            groups = {
                name: group.to_dataset().load() for name, group in tree.children.items() if name in _GROUPS
            }
            return groups or {POSTERIOR: tree.to_dataset().load()}
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        rule = f"it cannot be read as {form} ({' '.join(str(error).split())[:120]})"
        raise InputError("source", os.fspath(path), rule, "Write it again.") from error


_GROUPS = (POSTERIOR, *BY_DRAW, CONSTANT_DATA)


def _netcdf_engine(path: str | PathLike[str]) -> str:
    with Path(path).open("rb") as file:
        if file.read(3) == b"CDF":
            return "scipy"
    need_netcdf()
    return "h5netcdf"


def _from_groups(
    groups: Mapping[str, xr.Dataset], options: Options, name: str, path: str | PathLike[str]
) -> dict[str, xr.Dataset]:
    """Draws from groups that ArviZ, or this package, wrote."""
    if POSTERIOR not in groups:
        raise SchemaError(
            "source", os.fspath(path), "there is no group posterior", f"Its groups: {', '.join(groups)}."
        )
    posterior = groups[POSTERIOR]
    if "draw" not in posterior.dims:
        raise SchemaError(
            "source", os.fspath(path), "the posterior has no dimension draw", "Rename its dimension."
        )
    if "chain" not in posterior.dims:
        posterior = posterior.expand_dims("chain")
    variables = {
        str(key): variable.transpose("chain", "draw", ...)
        for key, variable in posterior.data_vars.items()
        if variable.dtype.kind in "biuf" and "draw" in variable.dims
    }
    own = posterior.attrs.get("sampling")
    options = _with_note(options, {"sampling": own})
    result = build(variables, options, chains=True, source=str(posterior.attrs.get("source") or name))
    for key in _GROUPS[1:]:
        if key in groups:
            numbers = [
                each for each, variable in groups[key].data_vars.items() if variable.dtype.kind in "biuf"
            ]
            result[key] = groups[key][numbers].load().drop_encoding().drop_attrs(deep=False)
    return result
