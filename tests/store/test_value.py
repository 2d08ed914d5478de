"""Values as bytes: the same comes back, what is damaged is found, what cannot be kept is refused with its place."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import math
import struct
from typing import Any

import dask.array
import google_crc32c
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.value import Reference, address, canonical, decode, encode

TEXT = st.text(st.characters(), max_size=8)  # lone surrogates too
DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
SCALARS = ARRAYS.filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    st.binary(max_size=9),
    SCALARS,
    ARRAYS,
    st.builds(Reference, TEXT, TEXT),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXT | st.just("~"), inner, max_size=4),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    """The same types and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return bool(one == other)


def forged(plain: object, blocks: bytes = b"") -> bytes:
    """What carries a right checksum and says what it likes."""
    text = json.dumps(plain).encode()
    rest = b" %d\n" % len(text) + text
    if blocks:
        rest += bytes(-(14 + len(rest)) % 64) + blocks
    return b"tdmx1 %08x" % google_crc32c.value(rest) + rest


@given(VALUES)
def test_decode__gives_what_was_encoded(value):
    data = encode(value)
    assert same(decode(data), value)
    assert encode(decode(data)) == data


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**64), 10**4000, b"y" * 10_000, {"~": 1}, {"~": {"~": "tuple"}}, "\ud83d\ude00", [[]] * 3],
)
def test_decode__corners(value):
    assert same(decode(encode(value)), value)


def test_decode__bits_of_nan():
    odd = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert same(
        decode(encode([odd, math.nan, math.inf, -math.inf, -0.0])), [odd, math.nan, math.inf, -math.inf, -0.0]
    )


def test_encode__is_readable():
    assert encode({"pta": 0.9, "regimen": "1 g q8h", "mic": [1, None], "sign": "≥"}).decode().partition("\n")[
        2
    ] == ('{"pta":0.9,"regimen":"1 g q8h","mic":[1,null],"sign":"≥"}')
    assert encode(None).startswith(b"tdmx1 ")


def test_encode__arrays_are_aligned():
    values = np.arange(1.0, 4.0)
    data = encode([values, b"odd" * 3000, values])
    first, last = data.find(values.tobytes()), data.rfind(values.tobytes())
    assert 0 < first < last
    assert first % 64 == last % 64 == 0


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "pta": (("regimen", "mic"), np.linspace(0, 1, 6).reshape(2, 3), {"units": "", "range": (0, 1)}),
            "n": ((), 5),
            "text": ("regimen", np.array(["a", "bc"], dtype=object)),
            "empty": (("none", "mic"), np.empty((0, 3), dtype=np.float32)),
        },
        coords={
            "mic": ("mic", [0.5, 1, 2], {"units": "mg/L"}),
            "regimen": ["1 g q8h", "2 g q8h"],
            "time": ("mic", pd.to_datetime(["2026-01-01", "2026-01-02", None])),
            "scenario": "all",
        },
        attrs={"seed": "0", "target": "fT>MIC ≥ 50%", "matrix": np.eye(2), "~": None},
    )


def same_labelled(one: Any, other: Any) -> None:
    xr.testing.assert_identical(one, other)
    assert list(one.coords) == list(other.coords)
    for name in other.coords:
        assert one[name].dims == other[name].dims
        assert one[name].dtype == other[name].dtype
    assert set(one.xindexes) == set(other.xindexes)
    for name, index in other.indexes.items():
        assert one.indexes[name].dtype == index.dtype
        assert one.indexes[name].name == index.name


def test_dataset__round_trip():
    result = decode(encode(dataset()))
    same_labelled(result, dataset())
    assert list(result.data_vars) == list(dataset().data_vars)
    result["pta"][0, 0] = 7
    result.attrs["matrix"][0, 0] = 7
    assert float(result["pta"][0, 0]) == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["pta"],
        lambda data: data["pta"].rename(None),
        lambda data: data["mic"],
        lambda data: data["n"],
        lambda data: data.drop_indexes("mic"),
        lambda data: data.set_xindex("time"),
        lambda data: data.drop_vars(list(data.coords)),
        lambda data: xr.Dataset(attrs={"only": 1}),
        lambda data: data.assign_coords(regimen=np.array(["p", "q"], dtype=object)),
        lambda data: data.transpose("mic", "regimen", "none"),
    ],
)
def test_labelled__round_trip(change):
    value = change(dataset())
    (result,) = decode(encode([value]))
    same_labelled(result, value)
    if isinstance(value, xr.DataArray):
        assert result.name == value.name
        assert result.dims == value.dims


def test_labelled__computes_what_is_lazy_in_one_go():
    blocks = []
    lazy = dask.array.arange(100, chunks=10).map_blocks(lambda block: blocks.append(1) or block, dtype=int)
    blocks.clear()  # those of Dask's own look at the function
    whole = dataset().assign(big=("x", lazy), twice=("x", 2 * lazy))
    for value in ({"lazy": whole}, {"lazy": whole["big"]}):
        result = decode(encode(value))["lazy"]
        result = result if isinstance(result, xr.DataArray) else result["big"]
        assert isinstance(result.data, np.ndarray)
        assert result.sum() == 4950
        assert len(blocks) == 10
        blocks.clear()


FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": [1.5, math.nan], "c": [True, False]}),
    "text": pd.DataFrame({"a": ["x", None], "b": pd.array(["1", "2"], dtype=object)}, index=["r", "s"]),
    "times": pd.DataFrame(
        {"t": pd.to_datetime(["2026-01-01", None])}, index=pd.to_datetime(["2026", "2027"])
    ),
    "numbers": pd.DataFrame([[1, 2.0], [3, 4.0]], columns=[10, 20], index=pd.Index([1.5, 2.5], name="x")),
    "same names": pd.DataFrame([[1, "a"]], columns=["a", "a"]),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": np.array([], dtype=np.int8)}),
    "no columns": pd.DataFrame(index=pd.RangeIndex(2, 8, 3, name="n")),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frame__round_trip(name):
    frame = FRAMES[name].copy()
    frame.attrs = {"source": "made up", "n": 3}
    result = decode(encode(frame))
    pd.testing.assert_frame_equal(result, frame, check_column_type="exact", check_index_type="exact")
    assert result.attrs == frame.attrs


def test_decode__arrays_are_new_and_writable():
    data = encode([np.zeros(3), np.zeros(3), np.array(["a"], dtype=object)])
    first, second, text = decode(data)
    first += 1
    text[0] = "b"
    assert first.base is None or first.base.flags.owndata
    assert second.sum() == 0
    assert same(decode(data), [np.zeros(3), np.zeros(3), np.array(["a"], dtype=object)])


EXAMPLE = {"a": [1, (2.5, "x")], "b": np.arange(5.0), "c": np.array(["p", "qr"]), "d": np.int8(3)}


def test_decode__finds_every_damaged_byte():
    data = encode(EXAMPLE)
    assert same(decode(memoryview(data)), EXAMPLE)
    for place in range(len(data)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= flip
            with pytest.raises(StoreError, match=r"value=<\d+ bytes>: it (is|does) .*damaged"):
                decode(damaged)


def test_decode__finds_every_cut():
    data = encode(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(StoreError, match=r"damaged|cut off"):
            decode(data[:length])
    with pytest.raises(StoreError, match="damaged"):
        decode(data + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        forged({"~": "array", "dtype": "<f8", "shape": [10**12]}, b"12345678"),
        forged({"~": "array", "dtype": "<f8", "shape": [2**62, 4]}, b"12345678"),
        forged({"~": "array", "dtype": "<f8", "shape": [-1]}, b"12345678"),
        forged({"~": "array", "dtype": "<f8", "shape": [1.0]}, b"12345678"),
        forged({"~": "array", "dtype": "|O", "shape": [1]}, b"12345678"),
        forged({"~": "array", "dtype": "<f8,<f8", "shape": [0]}),
        forged({"~": "array", "dtype": "<U0", "shape": [10**12]}),
        forged({"~": "array", "dtype": "<U1", "shape": [1]}, b"\xff\xff\xff\xff"),
        forged({"~": "array", "dtype": "<f8", "shape": [0, 2**63]}),
        forged({"~": "array", "shape": [1]}, b"12345678"),
        forged([], b"12345678"),
        forged({"~": "block", "length": 10**12}, b"1"),
        forged({"~": "texts", "shape": [10**12], "values": []}),
        forged({"~": "texts", "shape": [1], "values": [None]}),
        forged({"~": "scalar", "dtype": "|i1", "value": 300}),
        forged({"~": "scalar", "dtype": "|O", "bits": "00"}),
        forged({"~": "scalar", "dtype": "<f8", "value": "1"}),
        forged({"~": "os.system", "items": []}),
        forged({"~": ["tuple"]}),
        forged({"~": "tuple"}),
        forged({"~": "dict", "items": [[[], 1]]}),
        forged({"~": "bytes", "base64": "!"}),
        forged({"~": "nan", "bits": "00"}),
        forged(
            {"~": "dataset", "variables": [["a", ["x"], 3, {}]], "coords": [], "indexes": [], "attrs": {}}
        ),
        forged({"~": "frame", "columns": {}, "index": {}, "values": [], "attrs": {}}),
        forged(
            {
                "~": "frame",
                "columns": {"values": ["a"], "name": None},
                "index": {"range": [0, 10**12, 1], "name": None},
                "values": [1],
                "attrs": {},
            }
        ),
        forged(math.nan),
        forged(eval("[" * 100 + "]" * 100))[:-1],  # noqa: S307
        b"",
        b"tdmx2 00000000 4\nnull",
        b"\x80\x04K\x01.",
    ],
)
def test_decode__refuses_what_it_did_not_write(data):
    with pytest.raises(StoreError, match=r"value=<\d+ bytes>: it .*\. Compute it again\."):
        decode(data)


def test_decode__refuses_depth():
    text = b"[" * 100_000 + b"]" * 100_000
    rest = b" %d\n" % len(text) + text
    with pytest.raises(StoreError, match="recursion"):
        decode(b"tdmx1 %08x" % google_crc32c.value(rest) + rest)


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


class Odd(int):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), r"^result=<object>: a value of this type cannot be kept\. Return numbers"),
        ({"a": [0, 1, 2, {3}]}, r"^result\.a\[3\]=<set>"),
        ({"a b": (1, dt.date(2026, 1, 1))}, r"^result\['a b'\]\[1\]=<datetime\.date>"),
        ({"a": {1: 2}}, r"^result\.a=<int>: a key of a mapping is text; this is 1"),
        (Odd(3), r"^result=<tests\.store\.test_value\.Odd>"),
        (
            np.array([1, None]),
            r"^result=<numpy\.ndarray>: an array of objects holds texts alone; here is <int>",
        ),
        (np.zeros(2, dtype="f8,i4"), r"^result=<numpy\.ndarray>: an array of dtype .* cannot be kept"),
        (np.array([b"a"]), r"an array of dtype \|S1 cannot be kept"),
        (np.zeros(1, dtype=np.longdouble), r"an array of dtype float128 cannot be kept"),
        (np.ma.array([1.0]), r"^result=<numpy\.ma\.MaskedArray>"),
        (np.bytes_(b"a"), r"^result=<numpy\.bytes_>"),
        (
            [xr.Dataset({"a": ("x", [object()])})],
            r"^result\[0\]\['a'\]=<numpy\.ndarray>: an array of objects",
        ),
        (xr.Dataset(attrs={"a": [{1}]}), r"^result\.attrs\.a\[0\]=<set>"),
        (xr.DataArray([1], dims="x", attrs={"f": print}), r"^result\.attrs\.f=<builtin_function_or_method>"),
        (xr.DataArray([1], dims=[3]), r"^result\.dims=<int>: a name here is text; this is 3"),
        (xr.DataArray([1], name=3), r"^result\.name=<int>"),
        (
            dataset()[["pta"]].stack(z=("regimen", "mic")),
            r"^result\['z'\]=<xarray.*Multi.*>: an index of several levels",
        ),
        (
            pd.DataFrame({"a": pd.Categorical(["x"])}),
            r"^result\['a'\]=<pandas.*>: a column of dtype category",
        ),
        (pd.DataFrame({"a": [{1}]}), r"^result\['a'\]=<numpy\.ndarray>: an array of objects"),
        (pd.DataFrame({"a": [1]}, index=[["x"], ["y"]]), r"^result\.index=<pandas.*MultiIndex>"),
        (pd.Series([1]), r"^result=<pandas\.Series>"),
        (looped(), r"^result(\[0\])+=<list>: it is nested deeper than 100"),
    ],
)
def test_encode__refuses_with_the_place(value, message):
    with pytest.raises(InputError, match=message):
        encode(value)


def test_encode__names_the_whole():
    with pytest.raises(InputError, match=r"^arguments\.x=<set>"):
        encode({"x": {1}}, name="arguments")


def test_reference__is_a_noun():
    assert decode(encode({"fit": Reference("fit", "fits/ab.zarr.zip")}))["fit"].location == "fits/ab.zarr.zip"
    with pytest.raises(dataclasses.FrozenInstanceError, match="kind"):
        Reference("a", "b").kind = "c"
    with pytest.raises(InputError, match="location=3: it is text"):
        Reference("fit", 3)


def test_canonical__one_text_for_equal_values():
    one = {"b": [1, 2.5, True, None, "≥"], "a": {"y": 1e300, "x": -0.0}}
    other = {"a": {"x": -0.0, "y": 1e300}, "b": (1, 2.5, True, None, "≥")}
    assert canonical(one) == canonical(other) == '{"a":{"x":-0.0,"y":1e+300},"b":[1,2.5,true,null,"≥"]}'
    assert json.loads(canonical(one)) == one
    assert canonical(1) != canonical(1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [math.nan]}, r"^spec\.a\[0\]=<float>: nan is no plain value"),
        ({"a": -math.inf}, r"^spec\.a=<float>: -inf is no plain value"),
        ({"a": np.float64(1)}, r"^spec\.a=<numpy\.float64>: it is no plain value"),
        ({"a": b""}, r"^spec\.a=<bytes>: it is no plain value"),
        ({1: 2}, r"^spec=<int>: a key of a mapping is text"),
        (["\udc80"], r"^spec\[0\]=<str>: text with half a character"),
        ({"\udc80": 1}, r"half a character"),
        (10**4000, r"^spec=<int>: an integer of a plain value has at most 1024 bits"),
        (looped(), "nested deeper than 100"),
    ],
)
def test_canonical__refuses(value, message):
    with pytest.raises(InputError, match=message):
        canonical(value)


def test_address():
    assert address("pta", {"mic": 1}) == hashlib.sha256(b'["pta",{"mic":1}]').hexdigest()
    assert len({address("a", "b"), address(["a", "b"]), address("ab"), address("b", "a"), address()}) == 5
