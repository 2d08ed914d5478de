"""Functions by import path."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdmx_dask.errors import InputError
from tdmx_dask.jobs.function import Function, import_path, plain, source_of
from tests.jobs import functions


def test_import_path__of_functions_and_texts() -> None:
    assert (
        import_path(functions.double)
        == import_path("tests.jobs.functions:double")
        == "tests.jobs.functions:double"
    )
    assert import_path(functions.Group.triple) == "tests.jobs.functions:Group.triple"
    assert import_path("math:sqrt") == "math:sqrt"


def local() -> Any:
    def inner() -> None:
        return None

    return inner


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x, "no name by which another process could import it"),
        (local(), "no name by which another process could import it"),
        (functools.partial(functions.double, 1), "no name by which another process could import it"),
        ([].append, "no name by which|cannot be imported|leads to something else"),
        (3, "a function or its path"),
        ("double", "the path of a function is module:name"),
        (":double", "the path of a function is module:name"),
        ("tests.jobs.functions:", "the path of a function is module:name"),
        ("__main__:main", "no other process can import"),
        ("tests.jobs.functions:nothing", "the module has no nothing"),
        ("tests.jobs.functions:constant", "it is not a function"),
        ("no.such.module:f", r"the module cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_import_path__refuses(function: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_path(function)


def test_import_path__refuses_one_that_is_hidden_behind_another(monkeypatch: pytest.MonkeyPatch) -> None:
    before = functions.double
    monkeypatch.setattr(functions, "double", lambda x: x)
    with pytest.raises(InputError, match="its path leads to something else"):
        import_path(before)


def test_source_of__changes_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "somework.py"
    file.write_text("def f(): return 1\n", encoding="utf-8")
    first = source_of("somework:f")
    assert source_of("somework:f") == first
    file.write_text("def f(): return 2\n", encoding="utf-8")
    assert source_of("somework:f") != first
    assert source_of("math:sqrt")


def test_plain__numbers_of_numpy_and_refusals() -> None:
    assert plain({"a": np.float64(0.5), "b": [np.int32(3), (np.bool_(True), "x")]}, "spec") == {
        "a": 0.5,
        "b": [3, [True, "x"]],
    }
    with pytest.raises(InputError, match=r"spec\.a"):
        plain({"a": object()}, "spec")
    with pytest.raises(InputError, match="spec"):
        plain({1: "a"}, "spec")


def test_function__checks_with_the_users_own() -> None:
    def check(spec: Any) -> Any:
        if spec.get("x", 0) < 0:
            raise InputError("spec.x", spec["x"], "x is >= 0", "Give another.")
        return {**spec, "x": spec["x"] + 1}

    kind = Function("mine", functions.double, check=check)
    known: Any = None
    checked = kind.check({"x": 1}, known)
    assert checked.spec == {"function": "tests.jobs.functions:double", "arguments": {"x": 2}}
    assert checked.content is not None
    assert Function("mine", functions.double, cache=False).check({"x": 1}, known).content is None
    with pytest.raises(InputError, match=r"spec.x=-1: x is >= 0"):
        kind.check({"x": -1}, known)
