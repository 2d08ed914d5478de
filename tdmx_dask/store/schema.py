"""Names, dimensions, dtypes and units of every store, in one place, and the checks that hold them.

A store of draws has the groups `POSTERIOR`, and where a fit made it `SAMPLE_STATS`, `LOG_LIKELIHOOD`, `POSTERIOR_PREDICTIVE` (ArviZ's
names) and `CONSTANT_DATA`. Each variable of the
posterior is float64 with dimensions (chain, draw), then its own; a chain and a draw are known by their
position, so they have no coordinates. A result has the dimensions of `RESULTS`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.domain.parameters import LARGEST, PARAMETERS, SMALLEST, canonical_names, require_parameters
from tdmx_dask.errors import InputError, SchemaError
from tdmx_dask.store.units import same_unit

__all__ = [
    "BY_DRAW",
    "CONSTANT_DATA",
    "DRAWS_SCHEMA",
    "LOG_LIKELIHOOD",
    "POSTERIOR",
    "POSTERIOR_PREDICTIVE",
    "QUANTITIES",
    "RESULTS",
    "RESULT_SCHEMA",
    "SAMPLE_STATS",
    "SAMPLINGS",
    "Quantity",
    "check_draws",
    "check_omega",
    "check_result",
    "check_values",
    "standardise",
]

DRAWS_SCHEMA = "draws/1"
RESULT_SCHEMA = "result/1"
POSTERIOR, SAMPLE_STATS, CONSTANT_DATA = "posterior", "sample_stats", "constant_data"
LOG_LIKELIHOOD, POSTERIOR_PREDICTIVE = "log_likelihood", "posterior_predictive"
BY_DRAW = (SAMPLE_STATS, LOG_LIKELIHOOD, POSTERIOR_PREDICTIVE)
"""Groups beside the posterior whose variables have its chains and draws."""

SAMPLINGS = ("mcmc", "independent")
OMEGA_DIMS = ("chain", "draw", "eta", "eta2")
BLOCK_VALUES = 1 << 22  # 32 MiB


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the values of one variable must be.

    Parameters
    ----------
    unit : of the values; empty where any is accepted
    noun : as a message calls it
    lowest : smallest value
    zero : whether the smallest value itself is allowed
    highest : largest value, allowed where it is finite
    """

    unit: str
    noun: str
    lowest: float = 0.0
    zero: bool = False
    highest: float = math.inf

    @property
    def rule(self) -> str:
        """The law as a sentence."""
        unit = "" if self.unit in ("", "1") else f" {self.unit}"
        if self.lowest == -math.inf:
            return f"{self.noun} must be finite"
        if self.highest == LARGEST:
            sign = ">" if self.lowest else ">="
            return f"{self.noun} must be finite and {sign} 0{unit} ({SMALLEST:g} to {LARGEST:g})"
        low = f"{self.noun} must be finite and {'>=' if self.zero else '>'} {self.lowest:g}{unit}"
        return f"{low} and <= {self.highest:g}" if self.highest < math.inf else low

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values obey the law."""
        low = values >= self.lowest if self.zero else values > self.lowest
        return np.asarray(low & (values <= self.highest) & np.isfinite(values))

    def all_hold(self, values: NDArray[np.float64]) -> bool:
        """Whether all values obey the law: two passes, no temporary; a NaN makes the minimum NaN."""
        smallest, largest = values.min(), values.max()
        low = smallest >= self.lowest if self.zero else smallest > self.lowest
        high = largest <= self.highest and largest < math.inf
        return bool(low and high and smallest > -math.inf)


QUANTITIES: dict[str, Quantity] = {
    each.name: Quantity(
        each.unit,
        {"CL": "a clearance"}.get(each.name, "a flow" if each.unit == "L/h" else "a volume"),
        lowest=0.0 if each.may_be_zero else SMALLEST,
        zero=True,
        highest=LARGEST,
    )
    for each in PARAMETERS.values()
} | {
    "ka": Quantity("1/h", "a rate of absorption"),
    "F": Quantity("1", "a bioavailability", highest=1.0),
    "tlag": Quantity("h", "a lag time", zero=True),
    "Vmax": Quantity("mg/h", "a maximal rate of elimination"),
    "Km": Quantity("mg/L", "a Michaelis constant"),
    "fu": Quantity("1", "an unbound fraction", highest=1.0),
    "WT": Quantity("kg", "a body weight"),
}
ANY = Quantity("", "a value", lowest=-math.inf)

# kind of result -> (variable that names it, its dimensions)
RESULTS: dict[str, tuple[str, ...]] = {
    "pta": ("scenario", "regimen", "target", "mic"),
    "cfr": ("scenario", "regimen", "target", "organism"),
    "critical_mic": ("scenario", "regimen", "target", "chain", "draw", "subject"),
}


def standardise(draws: xr.Dataset, *, model: str | None = None) -> xr.Dataset:
    """Bring a Dataset of draws to the schema where that loses nothing; lazy arrays stay lazy.

    NONMEM's names become ours, missing units are filled in (L/h, L, …), numbers become float64, and
    coordinates of chain and draw are dropped. Draws that do not say how they were sampled are "mcmc" where there
    are several chains, else "independent". Values are not looked at.

    Parameters
    ----------
    draws : variables (chain, draw, …)
    model : what ``V2`` and the like mean
    """
    names = [str(name) for name in draws.data_vars]
    aliases = {old: new for old, new in canonical_names(names, model).items() if old != new}
    positions = [name for name in ("chain", "draw") if name in draws.coords]
    result = draws.drop_vars(positions) if positions else draws
    if aliases:
        result = result.rename(aliases)
    changed = {}
    for name in result.data_vars:
        variable = result.variables[name]
        unit = QUANTITIES.get(str(name), ANY).unit
        fill = unit and not variable.attrs.get("units")
        if fill or (variable.dtype != np.float64 and variable.dtype.kind in "iuf"):
            changed[name] = variable.astype(np.float64, copy=False)
            changed[name].attrs = {**variable.attrs, **({"units": unit} if fill else {})}
    if changed:
        result = result.assign(changed)
    if not result.attrs.get("sampling"):
        result = result.assign_attrs(sampling=SAMPLINGS[0 if draws.sizes.get("chain", 1) > 1 else 1])
    return result


def check_draws(draws: xr.Dataset, *, model: str | None = None, values: bool = True) -> None:
    """Refuse draws that cannot be used.

    Parameters
    ----------
    draws : variables (chain, draw, …)
    model : "1C", "2C", "3C": its parameters must be there; None: any
    values : look at every value too; false for lazy stores, whose slices are checked as they are read

    Raises
    ------
    SchemaError
        No draws, a parameter of the model is missing, other dimensions, another dtype, other units.
    InputError
        A value is not finite or out of range: which draw, which chain, which parameter.
    """
    if not draws.data_vars:
        raise SchemaError("draws", "no variables", "draws have at least one variable", "Check the source.")
    for name in draws.data_vars:
        _check_variable(str(name), draws.variables[name])
    if "omega" in draws.data_vars:
        _check_omega_dims(draws["omega"])
    for dimension in ("chain", "draw"):
        if draws.sizes[dimension] == 0:
            raise SchemaError("draws", "empty", "there must be at least one draw", "Check the source.")
    sampling = draws.attrs.get("sampling", SAMPLINGS[0])
    if sampling not in SAMPLINGS:
        raise SchemaError("sampling", sampling, "it is mcmc or independent", "Set draws.attrs['sampling'].")
    _check_names(draws, model)
    if values:
        for name in draws.data_vars:
            _check_in_blocks(str(name), draws.variables[name])


def _check_in_blocks(name: str, variable: xr.Variable) -> None:
    """Check all values; of a large or lazy array, some draws at a time."""
    n_draws = variable.sizes["draw"]
    step = max(BLOCK_VALUES * n_draws // variable.size, 1)
    if step >= n_draws:
        check_values({name: np.asarray(variable.values)})
        return
    for chain in range(variable.sizes["chain"]):
        for start in range(0, n_draws, step):
            block = variable.isel(chain=chain, draw=slice(start, start + step))
            check_values({name: np.asarray(block.values)}, chain=chain, start=start)


def _check_names(draws: xr.Dataset, model: str | None) -> None:
    names = [str(name) for name in draws.data_vars]
    for old, new in canonical_names(names, model).items():
        if old != new:
            raise SchemaError("draws", old, f"the parameter is called {new} here", f"Rename {old} to {new}.")
    if model is not None:
        require_parameters(names, model)


def _check_variable(name: str, variable: xr.Variable) -> None:
    dims = tuple(str(dimension) for dimension in variable.dims)
    if dims[:2] != ("chain", "draw"):
        fix = "Add a chain with expand_dims('chain')." if "chain" not in dims else "Transpose or rename them."
        raise SchemaError(f"{name}.dims", dims, "the dimensions begin with (chain, draw)", fix)
    if name in PARAMETERS and dims[2:] not in ((), ("scenario",)):
        raise SchemaError(
            f"{name}.dims", dims, f"{name} has one value a draw (and scenario)", "Choose one of its elements."
        )
    if variable.dtype != np.float64:
        raise SchemaError(
            f"{name}.dtype", variable.dtype, "draws are float64", "Convert with astype('float64')."
        )
    unit = variable.attrs.get("units")
    expected = QUANTITIES.get(name, ANY).unit
    if unit and expected and not same_unit(str(unit), expected):
        raise SchemaError(
            f"{name}.units",
            unit,
            f"{name} is in {expected}",
            f'Convert it, or import it with units={{"{name}": "{unit}"}}.',
        )


def _check_omega_dims(omega: xr.DataArray) -> None:
    dims = tuple(str(dimension) for dimension in omega.dims)
    if dims != OMEGA_DIMS or omega.sizes["eta"] != omega.sizes["eta2"]:
        raise SchemaError(
            "omega.dims",
            tuple(f"{name}: {size}" for name, size in omega.sizes.items()),
            "omega is (chain, draw, eta, eta2), square: the covariance of the log of the parameters",
            "Give the whole matrix.",
        )
    if "eta" in omega.coords and "eta2" in omega.coords:
        rows, columns = omega["eta"].values.tolist(), omega["eta2"].values.tolist()
        if rows != columns:
            raise SchemaError(
                "omega.eta2", columns, f"the columns are those of the rows, {rows}", "Rename them."
            )


def check_values(
    params: Mapping[str, NDArray[np.float64]], *, chain: int | None = None, start: int = 0
) -> None:
    """Refuse values that no parameter can have; under 1 ns a value.

    Parameters
    ----------
    params : name -> (draw, …) of one chain, or (chain, draw, …) where `chain` is None
    chain : position of the chain, for the message
    start : position of the first draw, for the message

    Raises
    ------
    InputError
        ``CL[chain=0, draw=17]=nan: a clearance must be finite and > 0 L/h. …``
    """
    for name, values in params.items():
        quantity = QUANTITIES.get(name, ANY)
        if values.size and not quantity.all_hold(values):
            _refuse(name, values, ~quantity.holds(values), quantity.rule, chain, start)
        if name == "omega" and values.size:
            check_omega(values, chain=chain, start=start)


def check_omega(omega: NDArray[np.float64], *, chain: int | None = None, start: int = 0) -> None:
    """Refuse a matrix that is no covariance: not symmetric, or a correlation beyond 1.

    Parameters
    ----------
    omega : (…, draw, eta, eta2), finite
    chain, start : as in `check_values`
    """
    flipped = np.swapaxes(omega, -1, -2)
    variance = np.diagonal(omega, axis1=-2, axis2=-1)
    bound = np.sqrt(np.maximum(variance[..., :, None] * variance[..., None, :], 0.0))
    slack = 1e-9 * (bound + np.abs(omega))
    rules = {
        "a variance of the log must be >= 0": (omega < 0) & np.eye(omega.shape[-1], dtype=bool),
        "omega must be symmetric": np.abs(omega - flipped) > slack,
        "a covariance must not exceed the root of the product of its variances": np.abs(omega)
        > bound + slack,
    }
    for rule, bad in rules.items():
        if bad.any():
            _refuse("omega", omega, bad, rule, chain, start)


def _refuse(
    name: str,
    values: NDArray[np.float64],
    bad: NDArray[np.bool_],
    rule: str,
    chain: int | None,
    start: int,
) -> None:
    index = [int(position) for position in np.unravel_index(int(bad.argmax()), bad.shape)]
    value = values[tuple(index)]
    if chain is None and len(index) > 1:
        chain = index.pop(0)
    where = [] if chain is None else [f"chain={chain}"]
    where += [f"draw={index[0] + start}", *map(str, index[1:])]
    mend = "Remove such draws" if name in QUANTITIES or name == "omega" else "Leave the variable out"
    fix = f"So are {int(bad.sum())} of {bad.size} values. {mend}, or mend what made them."
    if 1.0 < value < math.inf and QUANTITIES.get(name, ANY).highest == 1.0:
        fix = f'If these are percents, import them with units={{"{name}": "%"}}.'
    raise InputError(f"{name}[{', '.join(where)}]", f"{value:g}", rule, fix)


def check_result(result: xr.Dataset) -> str:
    """Refuse a Dataset that is no result; return its kind, "pta", "cfr" or "critical_mic".

    Parameters
    ----------
    result : with a variable of that name; dimensions of one may have been dropped

    Raises
    ------
    SchemaError
        It has none of these variables, or another dimension.
    """
    variables: dict[Hashable, xr.DataArray] = dict(result.data_vars)
    kind = next((kind for kind in RESULTS if kind in variables), None)
    if kind is None:
        raise SchemaError(
            "result",
            ", ".join(map(str, variables)) or "no variables",
            f"a result has a variable {', '.join(RESULTS)}",
            "Pass what pta, cfr or critical_mic returned.",
        )
    strange = [str(name) for name in variables[kind].dims if name not in RESULTS[kind]]
    if strange:
        raise SchemaError(
            f"{kind}.dims", strange, f"{kind} has {', '.join(RESULTS[kind])}", "Select one of each."
        )
    return kind
