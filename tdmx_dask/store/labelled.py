"""xarray's and pandas's objects as the nested values that `value` encodes, and back.

Neither package is imported before a value of theirs is there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.store.nesting import Refusal, inside

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["BUILDERS", "labelled_node"]

Node = dict[str, Any]
Plain = Callable[[Any], Any]


def labelled_node(value: Any, plain: Plain) -> Node | None:
    """A Dataset, DataArray or DataFrame as a tagged mapping; None for anything else.

    Parameters
    ----------
    value : any
    plain : encodes a part

    Raises
    ------
    Refusal
        It is one of these, and a part of it cannot be kept.
    """
    kind = type(value)
    if kind is _type_of("xarray", "Dataset"):
        return _dataset_node(value, plain)
    if kind is _type_of("xarray", "DataArray"):
        whole = value.compute()
        return {
            "~": "dataarray",
            "name": _label(value.name, "name"),
            "array": _variable_node("", whole.variable, plain)[1:],
            **_coordinate_nodes(whole, plain),
        }
    if kind is _type_of("pandas", "DataFrame"):
        return _frame_node(value, plain)
    return None


def _type_of(module: str, name: str) -> type | None:
    """A class of a package; one that was not imported has made no value."""
    found: type | None = getattr(sys.modules.get(module), name, None)
    return found


def _label(name: Any, where: str) -> str | None:
    if name is None or type(name) is str:
        return name
    refusal = Refusal(name, f"a name here is text, or None; this is {name!r:.60}", "Rename it.")
    refusal.path.append(f".{where}")
    raise refusal


def _name(name: Hashable, where: str) -> str:
    if type(name) is not str:
        refusal = Refusal(name, f"a name here is text; this is {name!r:.60}", "Rename it.")
        refusal.path.append(f".{where}")
        raise refusal
    return name


def _dataset_node(value: xr.Dataset, plain: Plain) -> Node:
    whole = value.compute()
    return {
        "~": "dataset",
        "variables": [_variable_node(name, array.variable, plain) for name, array in whole.data_vars.items()],
        **_coordinate_nodes(whole, plain),
        "attrs": inside(".attrs", plain, dict(whole.attrs)),
    }


def _coordinate_nodes(whole: xr.Dataset | xr.DataArray, plain: Plain) -> Node:
    from xarray.indexes import PandasIndex

    for name, index in whole.xindexes.items():
        if type(index) is not PandasIndex:
            refusal = Refusal(
                index, "an index of several levels or of a special kind cannot be kept", "reset_index() it."
            )
            refusal.path.append(f"[{name!r:.60}]")
            raise refusal
    return {
        "coords": [_variable_node(name, array.variable, plain) for name, array in whole.coords.items()],
        "indexes": [_name(name, "coords") for name in whole.xindexes],
    }


def _variable_node(name: Hashable, variable: xr.Variable, plain: Plain) -> list[Any]:
    where = f"[{name!r:.60}]" if name else ""
    if not isinstance(variable.dtype, np.dtype):
        refusal = Refusal(
            variable, f"an array of dtype {variable.dtype} cannot be kept", "Make it a plain one."
        )
        refusal.path.append(where)
        raise refusal
    dims = [_name(dim, "dims") for dim in variable.dims]
    data = inside(where, plain, np.asarray(variable.values))
    attrs = inside(where + ".attrs", plain, dict(variable.attrs))
    return [_name(name, "variables"), dims, data, attrs]


def _build_dataset(node: Node) -> xr.Dataset:
    import xarray as xr

    variables = {name: _build_variable(*rest) for name, *rest in node["variables"]}
    return xr.Dataset(variables, _build_coordinates(node), node["attrs"])


def _build_array(node: Node) -> xr.DataArray:
    import xarray as xr

    return xr.DataArray(_build_variable(*node["array"]), _build_coordinates(node), name=node["name"])


def _build_variable(dims: list[str], data: NDArray[Any], attrs: dict[str, Any]) -> xr.Variable:
    import xarray as xr

    if type(data) is not np.ndarray:
        raise TypeError("an array is missing")
    return xr.Variable(dims, data, attrs)


def _build_coordinates(node: Node) -> xr.Coordinates:
    import xarray as xr
    from xarray.indexes import PandasIndex

    variables: dict[str, xr.Variable] = {name: _build_variable(*rest) for name, *rest in node["coords"]}
    indexes = {}
    for name in node["indexes"]:
        own: Mapping[Any, xr.Variable] = {name: variables[name]}
        indexes[name] = PandasIndex.from_variables(own, options={})
    return xr.Coordinates(variables, indexes)


def _frame_node(value: pd.DataFrame, plain: Plain) -> Node:
    # Parts are encoded in the order in which the mapping names them: so are the bytes of their arrays.
    return {
        "~": "frame",
        "columns": inside(".columns", _axis_node, value.columns, plain),
        "index": inside(".index", _axis_node, value.index, plain),
        "values": [
            inside(f"[{name!r:.60}]", _values_node, value.iloc[:, place], plain)
            for place, name in enumerate(value.columns)
        ],
        "attrs": inside(".attrs", plain, dict(value.attrs)),
    }


def _axis_node(index: pd.Index[Any], plain: Plain) -> Node:
    import pandas as pd

    name = _label(index.name, "name")
    if type(index) is pd.RangeIndex:
        return {"range": [index.start, index.stop, index.step], "name": name}
    if type(index) not in (pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex):
        raise Refusal(
            index, "an index of several levels or of a special kind cannot be kept", "reset_index() it."
        )
    return {"values": _values_node(index, plain), "name": name}


def _values_node(values: pd.Series[Any] | pd.Index[Any], plain: Plain) -> Any:
    """Of a column or index: an array; a list where the dtype is pandas's own text, in which None marks what is missing."""
    if isinstance(values.dtype, np.dtype):
        return plain(values.to_numpy())
    if str(values.dtype) == "str":
        return [plain(each) if isinstance(each, str) else None for each in values.tolist()]
    rule = f"a column of dtype {values.dtype} cannot be kept"
    raise Refusal(values, rule, "Make it numbers, booleans, times or text.")


def _build_frame(node: Node) -> pd.DataFrame:
    import pandas as pd

    index, columns = _build_axis(node["index"]), _build_axis(node["columns"])
    values: Iterable[Any] = node["values"]
    series = {}
    for place, each in enumerate(values):
        data = _checked_values(each)
        if len(data) != len(index):
            raise ValueError("a column is longer or shorter than the index")
        series[place] = pd.Series(data, index=index, dtype=_dtype(data))
    if len(series) != len(columns):
        raise ValueError("a column is missing")
    frame = pd.DataFrame(series, index=index)
    frame.columns = columns
    frame.attrs = node["attrs"]
    return frame


def _build_axis(node: Node) -> pd.Index[Any]:
    import pandas as pd

    if "range" in node:
        start, stop, step = node["range"]
        return pd.RangeIndex(start, stop, step, name=node["name"])
    data = _checked_values(node["values"])
    index: pd.Index[Any] = pd.Index(data, dtype=_dtype(data), name=node["name"])
    return index


def _checked_values(values: Any) -> Any:
    if type(values) is not np.ndarray and type(values) is not list:
        raise TypeError("a column is missing")
    return values


def _dtype(values: Any) -> Any:
    return values.dtype if isinstance(values, np.ndarray) else "str"


BUILDERS: dict[str, Callable[[Node], Any]] = {
    "dataset": _build_dataset,
    "dataarray": _build_array,
    "frame": _build_frame,
}
