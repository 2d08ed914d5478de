"""From what a user gives as a spec to plain JSON: keys, nouns, and data that are kept under their digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tdmx_dask.analysis.inputs import Inputs
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.units import nearest
from tdmx_dask.errors import InputError, SchemaError, StoreError, TdmxError
from tdmx_dask.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.jobs.kind import Known

__all__ = [
    "exactly",
    "keep_draws",
    "keep_value",
    "named",
    "naming",
    "opened_draws",
    "opened_value",
    "population_of",
    "population_text",
    "stated",
    "versions",
]

T = TypeVar("T")
_CHANGED = ("it is not what it was when the job was submitted", "Submit the job again.")


def named(spec: object, known: tuple[str, ...], aliases: Mapping[str, str]) -> dict[str, Any]:
    """A spec with the known names of its keys; keys whose value is None are left out.

    Parameters
    ----------
    spec : as a user gave it
    known : keys
    aliases : other name -> known key

    Raises
    ------
    InputError
        It is no mapping, a key is unknown (with the nearest known one), or a key is given under two names.
    """
    if not isinstance(spec, Mapping):
        raise InputError("spec", type(spec).__name__, "a spec is a mapping", "Give {'targets': ..., ...}.")
    given: dict[str, Any] = {}
    for key, value in spec.items():
        name = key if key in known else aliases.get(key) if isinstance(key, str) else None
        if name is None:
            fix = f"{nearest(str(key), (*known, *aliases))}Known keys: {', '.join(known)}."
            raise InputError(f"spec.{key}", _short(value), "this key is not known", fix)
        if value is None:
            continue
        if name in given:
            raise InputError(f"spec.{key}", _short(value), f"{name} is given twice", "Give one of the two.")
        given[name] = value
    return given


@contextmanager
def naming(*keys: str) -> Iterator[None]:
    """Say of what goes wrong inside which key of the spec it belongs to.

    Parameters
    ----------
    keys : the key that is read, or all among which the error says its own
    """
    try:
        yield
    except InputError as error:
        if error.name == "spec" or error.name.startswith("spec."):
            raise
        where = _where(error, keys)
        raise type(error)(where, error.value, error.rule, error.fix) from error
    except TdmxError as error:  # of a store, an engine, a program: here it is the spec that is wrong
        name = keys[0] if len(keys) == 1 else error.name
        if isinstance(error, StoreError) and "draws" in keys:
            name = "draws"
        raise InputError(f"spec.{name}", error.value, error.rule, error.fix) from error
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        name = f"spec.{keys[0]}" if len(keys) == 1 else "spec"
        text = " ".join(str(error).split())[:120]
        rule = f"it cannot be read ({type(error).__name__}: {text})"
        raise InputError(name, "given", rule, "See the arguments of the verb.") from error


def _where(error: InputError, keys: tuple[str, ...]) -> str:
    name = error.name
    if name in keys or (len(keys) > 1 and name.partition(".")[0].partition("[")[0] in keys):
        return f"spec.{name}"
    if len(keys) == 1:
        return f"spec.{keys[0]}" if name == keys[0].removesuffix("s") else f"spec.{keys[0]}.{name}"
    return f"spec.draws.{name}" if isinstance(error, SchemaError) and "draws" in keys else f"spec.{name}"


def exactly(key: str, noun: T, plain: Any, read: Callable[[Any], T]) -> Any:
    """The plain form of a noun, once it has been read back as the same.

    Parameters
    ----------
    key : of the spec
    noun : as given
    plain : its mapping or text
    read : what makes the noun of it

    Raises
    ------
    InputError
        It reads back as another: nothing is run that was not asked for.
    """
    plain = json.loads(json.dumps(plain, allow_nan=False))
    if read(plain) != noun:
        rule = "it cannot be written down exactly"
        raise InputError(f"spec.{key}", noun, rule, "Give it as text, with fewer digits.")
    return plain


def stated(mapping: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer depends on: the spec with other words for its data, and the versions."""
    return {**mapping, **rest, "versions": versions()}


def versions() -> dict[str, str]:
    """Versions on which the bits of an answer depend."""
    import numpy as np

    return {"tdmx_dask": __version__, "numpy": np.__version__}


# --- populations: the order of their keys is that of their random numbers ------------------------------------


def population_text(key: str, population: Population) -> str:
    """A population as JSON text: a text keeps the order of keys wherever it is stored."""
    plain = exactly(key, population, population.to_mapping(), Population.from_mapping)
    return json.dumps(plain, ensure_ascii=False)


def population_of(given: object) -> Population:
    """A population from one, its mapping, its JSON text, or a YAML file.

    Raises
    ------
    InputError
        None of these.
    """
    if isinstance(given, Population):
        return given
    if isinstance(given, Mapping):
        return Population.from_mapping(given)
    if isinstance(given, str) and given.lstrip().startswith("{"):
        return Population.from_mapping(json.loads(given))
    if isinstance(given, str | PathLike):
        from tdmx_dask.domain.document import read_yaml

        return Population.from_mapping(read_yaml(Path(given)))
    rule = "a population is a Population, a mapping or a YAML file"
    raise InputError(
        "population", type(given).__name__, rule, "For example {'parameters': {'CL': 5, 'V': 20}}."
    )


# --- draws --------------------------------------------------------------------------------------------------


def keep_draws(draws: object, inputs: Inputs, known: Known) -> dict[str, str]:
    """Say where draws are: in their own store, or in a copy that is kept under its digest.

    Parameters
    ----------
    draws : as given, checked
    inputs : what the question needs of them
    known : of the queue

    Returns
    -------
    ``store``, an absolute path, and ``digest``

    Raises
    ------
    InputError
        A value is not finite or out of range.
    StoreError
        The copy cannot be written.
    """
    if inputs.store is not None:
        return {"store": inputs.store.path, "digest": inputs.store.digest}
    from tdmx_dask.store.draws import draws_digest, write_draws

    labelled = _labelled(draws, inputs)
    digest = draws_digest(labelled)
    path = Path(os.path.realpath(known.data)) / f"{digest}.zarr"
    _once(path, lambda: write_draws(labelled, path))
    return {"store": str(path), "digest": digest}


def opened_draws(kept: Mapping[str, str]) -> xr.Dataset:
    """Open draws where `keep_draws` said that they are.

    Raises
    ------
    InputError
        Another store is there now.
    StoreError
        The store is gone or damaged.
    """
    from tdmx_dask.store.draws import open_draws

    draws = open_draws(kept["store"])
    if draws.attrs["digest"] != kept["digest"]:
        raise InputError("draws", kept["store"], *_CHANGED)
    return draws


def _labelled(draws: object, inputs: Inputs) -> xr.Dataset:
    """The variables that a question needs, with their names and how they were sampled, as a store has them."""
    import xarray as xr

    from tdmx_dask.store.schema import standardise

    if isinstance(draws, xr.DataTree):
        draws = draws["posterior"].to_dataset()
    given = standardise(draws) if isinstance(draws, xr.Dataset) else xr.Dataset()
    variables: dict[str, xr.Variable] = {}
    for name, values in inputs.variables.items():
        if isinstance(values, xr.DataArray):  # lazy
            variables[name] = values.variable
        elif name in given and given[name].ndim == values.ndim:
            variables[name] = xr.Variable(given[name].dims, values, given[name].attrs)
        else:
            more = ("eta", "eta2") if name == "omega" else [f"{name}_dim_{i}" for i in range(values.ndim - 2)]
            variables[name] = xr.Variable(("chain", "draw", *more), values)
    sampling = {"sampling": "mcmc" if inputs.dependent else "independent"}
    result = standardise(xr.Dataset(variables, attrs=sampling))
    if inputs.etas and "omega" in result:
        result = result.assign_coords({name: list(inputs.etas) for name in result["omega"].dims[2:]})
    if inputs.scenarios:
        result = result.assign_coords(scenario=list(inputs.scenarios))
    return result


# --- other values -------------------------------------------------------------------------------------------


def keep_value(value: bytes, known: Known) -> dict[str, str]:
    """Keep an encoded value in a file that has its digest for a name.

    Returns
    -------
    ``value``, an absolute path, and ``digest``
    """
    from tdmx_dask.store.publish import staging

    digest = hashlib.sha256(value).hexdigest()
    path = Path(os.path.realpath(known.data)) / f"{digest}.value"

    def write() -> None:
        with staging(path) as partial:
            partial.write_bytes(value)

    _once(path, write)
    return {"value": str(path), "digest": digest}


def opened_value(kept: Mapping[str, str]) -> Any:
    """Read what `keep_value` kept.

    Raises
    ------
    StoreError
        It is gone, or damaged.
    """
    from tdmx_dask.store.value import decode

    path = Path(kept["value"])
    try:
        data = path.read_bytes()
    except OSError as error:
        rule = f"data of the job cannot be read ({error.strerror})"
        raise StoreError("value", path, rule, "Submit the job again.") from error
    if hashlib.sha256(data).hexdigest() != kept["digest"]:
        raise StoreError("value", path, *_CHANGED)
    return decode(data)


def _once(path: Path, write: Callable[[], object]) -> None:
    """Write a file or folder that has the name of its content, unless it is there; another process may be faster.

    One that is there is marked as used now, so that it is not swept before the job is in the queue.
    """
    if path.exists():
        with suppress(OSError):
            os.utime(path)
            return
    try:
        write()
    except (InputError, OSError):
        if not path.exists():
            raise


def _short(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
