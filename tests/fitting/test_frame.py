import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.frame import HEADER_LIMIT, FrameBuffer, pack


@given(st.integers(1, 400), st.lists(st.integers(0, 5), max_size=3))
def test_frames__same_however_they_are_cut(size, shape):
    array = np.random.default_rng(1).normal(size=shape)
    messages = [
        {"a": array, "b": [1, {"c": array + 1}]},
        {"text": "µ\n", "x": None},
        {"z": np.float64(np.nan)},
    ]
    stream = b"".join(pack(message) for message in messages)
    buffer, found = FrameBuffer(), []
    for start in range(0, len(stream), size):
        found += buffer.feed(stream[start : start + size])
    assert buffer.empty
    assert found[0]["a"].shape == array.shape
    assert np.array_equal(found[0]["a"], array)
    assert np.array_equal(found[0]["b"][1]["c"], array + 1)
    assert found[1] == messages[1]
    assert np.isnan(found[2]["z"])


def test_frames__bits_are_kept():
    array = np.array([0.1, -0.0, np.inf, np.nan, 5e-324])
    (found,) = FrameBuffer().feed(pack({"x": array, "y": 0.1 + 0.2}))
    assert found["x"].tobytes() == array.tobytes()
    assert found["y"] == 0.1 + 0.2


def _frame(header, raw=b"", n_raw=None):
    return struct.pack("!4sQQ", b"tdmx", len(header), len(raw) if n_raw is None else n_raw) + header + raw


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"HTTP/1.1 200 OK and more", "begins with b'HTTP'"),
        (_frame(b"{nonsense"), "Expecting property name"),
        (_frame(b"[1]"), "no object"),
        (_frame(b"\xff\xfe"), "Expecting value"),
        (_frame(b"{}", b"12345678"), "need 0 bytes and it has 8"),
        (_frame(json.dumps({"a": {"#array": 0, "shape": [2]}}).encode(), b"12345678"), "buffer"),
        (_frame(json.dumps({"a": {"#array": 0, "shape": ["x"]}}).encode(), b"12345678"), "cannot be read"),
        (_frame(json.dumps({"a": {"#array": 0, "shape": [-1]}}).encode(), b"12345678"), "cannot be read"),
    ],
)
def test_frames__damaged(stream, why):
    with pytest.raises(FitError, match=why):
        list(FrameBuffer().feed(stream))


def test_frames__too_large():
    with pytest.raises(FitError, match="at most 1073741824 bytes of JSON"):
        list(FrameBuffer().feed(struct.pack("!4sQQ", b"tdmx", HEADER_LIMIT + 1, 0)))


def test_frames__other_things_are_refused():
    with pytest.raises(TypeError, match="cannot hold a set"):
        pack({"x": {1}})
