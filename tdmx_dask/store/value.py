r"""Values that jobs take and return, as bytes: checked when read, and nothing in them can run.

::

    tdmx1 <crc32c, 8 hexadecimal digits> <length of the JSON>\n
    JSON, UTF-8
    the bytes of its arrays, each from the next multiple of 64, in the order in which the JSON names them

The checksum is of all that follows it. What JSON has no word for is a mapping with the key ``~``; a mapping of the user's with that key is
written as a list of items. A value without arrays is text that a person can read.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.address import address, canonical
from tdmx_dask.store.labelled import BUILDERS, labelled_node
from tdmx_dask.store.nesting import DEPTH, LONG, Refusal, each_item, each_key, is_unicode, refused, type_name

__all__ = ["Reference", "address", "canonical", "decode", "encode"]

_HEADER = re.compile(rb"tdmx1 ([0-9a-f]{8}) (0|[1-9][0-9]{0,15})\n")
_CHECKED_FROM = 14  # the mark and the checksum are before it
_ALIGNMENT = 64
_INLINE = 4096  # bytes that JSON holds as text
_DTYPE = re.compile(
    r"[<>|]?(b1|[iu][1248]|f[248]|c8|c16|[Mm]8(\[[0-9]{0,9}[A-Za-z]{1,2}\])?|U[1-9][0-9]{0,9})"
)
_LAST_CHARACTER = 0x10FFFF
_FIX = "Return numbers, text, lists, mappings, arrays, or a Dataset, DataArray or DataFrame of them."


@dataclass(frozen=True, slots=True)
class Reference:
    """Says where something is that is kept elsewhere, such as a fit in its library.

    Parameters
    ----------
    kind : of what it points at, such as ``fit``
    location : a path or an address
    """

    kind: str
    location: str

    def __post_init__(self) -> None:
        for name, value in (("kind", self.kind), ("location", self.location)):
            if type(value) is not str:
                raise InputError(name, value, "it is text", "Give its path or address as text.")


def encode(value: Any, *, name: str = "result") -> bytes:
    """Encode a value, so that `decode` returns the same: the same types, bits, dtypes and order of dimensions.

    It may hold None, booleans, integers, floats, text, bytes, lists, tuples, mappings with texts as keys, NumPy's numbers and arrays
    (numbers, booleans, times, text), `Reference`, xarray's DataArray and Dataset (lazy ones are computed; how a file stored them, their
    ``encoding``, is left out) and pandas's DataFrame (plain columns and index).

    Parameters
    ----------
    value : any nesting of these, at most 100 deep
    name : for messages

    Raises
    ------
    InputError
        It holds something else; the message names where, as ``result.a[3]``.
    """
    encoder = _Encoder()
    try:
        plain = encoder.plain(value)
    except Refusal as refusal:
        raise refused(refusal, name) from None
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    parts = [b" %d\n" % len(text), text]
    place = _CHECKED_FROM + sum(map(len, parts))
    for block in encoder.blocks:
        parts += [bytes(_aligned(place) - place), block]
        place = _aligned(place) + len(block)
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return b"".join((b"tdmx1 %08x" % crc, *parts))


def decode(data: bytes | bytearray | memoryview) -> Any:
    """Decode what `encode` wrote; arrays are new and can be written to.

    Parameters
    ----------
    data : all bytes of it

    Raises
    ------
    StoreError
        It is damaged, cut off, or something else.
    """
    data = bytes(data)
    header = _HEADER.match(data)
    if header is None:
        _damaged(data, "it is no encoded value, or its beginning is damaged")
    if int(header[1], 16) != google_crc32c.value(data[_CHECKED_FROM:]):
        _damaged(data, "it is damaged: its checksum differs")
    start, length = header.end(), int(header[2])
    if start + length > len(data):
        _damaged(data, "it is cut off")
    decoder = _Decoder(data, start + length)
    try:
        value = json.loads(
            data[start : start + length], object_hook=decoder.build, parse_constant=_no_constant
        )
        decoder.check_end()
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        _damaged(data, f"it does not hold a value of this version ({' '.join(str(error).split())[:120]})")
    return value


class _Encoder:
    """Turns a value into what JSON holds, and collects the bytes of arrays on the way."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self._depth = 0

    def plain(self, value: Any) -> Any:
        kind = type(value)
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple(self, value)
        if isinstance(value, np.generic):
            return self._scalar(value)
        if self._depth >= DEPTH:
            raise Refusal(value, f"it is nested deeper than {DEPTH}, or holds itself", "Make it flatter.")
        self._depth += 1
        try:
            return self._nested(value, kind)
        finally:
            self._depth -= 1

    def _nested(self, value: Any, kind: type) -> Any:
        if kind is list:
            return each_item(value, self.plain)
        if kind is tuple:
            return {"~": "tuple", "items": each_item(value, self.plain)}
        if kind is dict:
            return self._mapping(value)
        if kind is np.ndarray:
            return self.array(value)
        node = labelled_node(value, self.plain)
        if node is None:
            raise Refusal(value, "a value of this type cannot be kept", _FIX)
        return node

    def _same(self, value: Any) -> Any:
        return value

    def text(self, value: str) -> Any:
        """A text; one with half a character (as a file name may have) is no UTF-8."""
        if is_unicode(value):
            return value
        return {"~": "utf8", "hex": value.encode("utf-8", "surrogatepass").hex()}

    def _integer(self, value: int) -> Any:
        return value if value.bit_length() <= LONG else {"~": "int", "hex": f"{value:x}"}

    def _float(self, value: float) -> Any:
        return value if math.isfinite(value) else {"~": str(value), "bits": struct.pack(">d", value).hex()}

    def _bytes(self, value: bytes) -> Any:
        if len(value) <= _INLINE:
            return {"~": "bytes", "base64": base64.b64encode(value).decode()}
        self.blocks.append(value)
        return {"~": "block", "length": len(value)}

    def _reference(self, value: Reference) -> Any:
        return {"~": "reference", "kind": self.text(value.kind), "location": self.text(value.location)}

    def _mapping(self, value: dict[Any, Any]) -> Any:
        changed = each_key(value, self.plain)
        if "~" not in value and all(map(is_unicode, value)):
            return changed
        return {"~": "dict", "items": [[self.text(key), each] for key, each in changed.items()]}

    def _scalar(self, value: np.generic[Any]) -> Any:
        dtype = value.dtype
        if dtype.kind == "U":
            return {"~": "scalar", "dtype": "U", "value": self.text(str(value))}
        if not _DTYPE.fullmatch(dtype.str):
            raise Refusal(value, "a value of this type cannot be kept", _FIX)
        if dtype.kind in "biu" or (dtype.kind == "f" and np.isfinite(value)):
            return {"~": "scalar", "dtype": dtype.str, "value": value.item()}
        return {"~": "scalar", "dtype": dtype.str, "bits": value.tobytes().hex()}

    def array(self, values: NDArray[Any]) -> Any:
        """An array of a plain dtype, or of texts."""
        if values.dtype.kind == "O":
            flat = values.ravel().tolist()
            for each in flat:
                if type(each) is not str:
                    rule = f"an array of objects holds texts alone; here is <{type_name(each)}>"
                    raise Refusal(values, rule, "Give it a dtype, or make it a list.")
            return {"~": "texts", "shape": list(values.shape), "values": [self.text(each) for each in flat]}
        if values.dtype.str == "<U0":
            values = values.astype("<U1")
        if not _DTYPE.fullmatch(values.dtype.str):
            rule = f"an array of dtype {values.dtype} cannot be kept"
            raise Refusal(values, rule, "Use numbers of at most 8 bytes, booleans, times or text.")
        self.blocks.append(values.tobytes())
        return {"~": "array", "dtype": values.dtype.str, "shape": list(values.shape)}


_SIMPLE: dict[type, Callable[[_Encoder, Any], Any]] = {
    type(None): _Encoder._same,
    bool: _Encoder._same,
    str: _Encoder.text,
    int: _Encoder._integer,
    float: _Encoder._float,
    bytes: _Encoder._bytes,
    Reference: _Encoder._reference,
}


class _Decoder:
    """Builds what a tagged mapping says; takes bytes of arrays in their order, and no more than there are."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def build(self, node: dict[str, Any]) -> Any:
        if "~" not in node:
            return node
        tag = node["~"]
        return BUILDERS[tag](node) if tag in BUILDERS else _TAGS[tag](self, node)

    def check_end(self) -> None:
        if self._place != len(self._data):
            raise ValueError("bytes are left over")

    def _take(self, size: int) -> int:
        """Where the next `size` bytes begin in the data."""
        start = _aligned(self._place)
        if start + size > len(self._data):
            raise ValueError("an array is longer than its bytes")
        self._place = start + size
        return start

    def _block(self, node: dict[str, Any]) -> bytes:
        start = self._take(_whole(node["length"]))
        return self._data[start : start + node["length"]]

    def _array(self, node: dict[str, Any]) -> NDArray[Any]:
        if not _DTYPE.fullmatch(node["dtype"]):
            raise ValueError("unknown dtype")
        dtype, shape = np.dtype(node["dtype"]), [_whole(each) for each in node["shape"]]
        count = math.prod(shape)
        start = self._take(count * dtype.itemsize)
        if count == 0:
            return np.empty(shape, dtype)
        values = np.frombuffer(self._data, dtype, count, start).copy()
        if dtype.kind == "U" and values.view(dtype.byteorder + "u4").max() > _LAST_CHARACTER:
            raise ValueError("a text holds what is no character")
        return values.reshape(shape)

    def _scalar(self, node: dict[str, Any]) -> Any:
        if node["dtype"] == "U":
            return np.str_(_text(node["value"]))
        if not _DTYPE.fullmatch(node["dtype"]):
            raise ValueError("unknown dtype")
        dtype = np.dtype(node["dtype"])
        if "bits" in node:
            return np.frombuffer(bytes.fromhex(node["bits"]), dtype, 1)[0]
        if not isinstance(node["value"], int | float):
            raise TypeError("a number is missing")
        return dtype.type(node["value"])

    def _texts(self, node: dict[str, Any]) -> NDArray[Any]:
        shape = [_whole(each) for each in node["shape"]]
        if math.prod(shape) != len(node["values"]):
            raise ValueError("texts are missing")
        values = np.empty(len(node["values"]), dtype=object)
        values[:] = [_text(each) for each in node["values"]]
        return values.reshape(shape)


_TAGS: dict[str, Callable[[_Decoder, dict[str, Any]], Any]] = {
    "tuple": lambda _, node: tuple(node["items"]),
    "dict": lambda _, node: {_text(key): each for key, each in node["items"]},
    "int": lambda _, node: int(node["hex"], 16),
    "utf8": lambda _, node: bytes.fromhex(node["hex"]).decode("utf-8", "surrogatepass"),
    "nan": lambda _, node: _float(node["bits"]),
    "inf": lambda _, node: _float(node["bits"]),
    "-inf": lambda _, node: _float(node["bits"]),
    "bytes": lambda _, node: base64.b64decode(node["base64"], validate=True),
    "block": _Decoder._block,
    "reference": lambda _, node: Reference(_text(node["kind"]), _text(node["location"])),
    "scalar": _Decoder._scalar,
    "array": _Decoder._array,
    "texts": _Decoder._texts,
}


def _aligned(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def _float(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a length is missing")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("a text is missing")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _damaged(data: bytes, rule: str) -> NoReturn:
    raise StoreError("value", f"<{len(data):,} bytes>", rule, "Compute it again.")
