"""Functions as the queue knows them: by import path, for a process that is started tomorrow must find them too."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tdmx_dask.errors import InputError
from tdmx_dask.jobs.kind import Known, Place
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.address import canonical
from tdmx_dask.version import __version__

__all__ = ["Function", "import_path", "plain", "source_of"]

_FIX = "Put it into a file of its own, such as mywork.py beside your script, and import it from there."


def import_path(function: Callable[..., Any] | str, *, name: str = "function") -> str:
    """The path ``module:name`` by which any process can import a function.

    Parameters
    ----------
    function : itself, or its path
    name : for messages

    Raises
    ------
    InputError
        It cannot be imported by a path: a lambda, a local function, one of a script or notebook; or there is no such function.
    """
    if isinstance(function, str):
        module, colon, rest = function.partition(":")
        if not (colon and module and rest):
            raise InputError(
                name, function, "the path of a function is module:name", "For example mywork:score."
            )
    elif callable(function):
        module, rest = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")
        if not module or not rest or "<" in rest:
            rule = "it has no name by which another process could import it"
            raise InputError(name, function, rule, _FIX)
    else:
        raise InputError(name, function, "a function or its path, module:name, is needed", "")
    if module == "__main__":
        rule = "it is of the script or notebook that runs now, which no other process can import"
        raise InputError(name, f"{module}:{rest}", rule, _FIX)
    found = _imported(module, rest, name)
    if callable(function) and found is not function:
        rule = "its path leads to something else (is it decorated, or bound to an object?)"
        raise InputError(name, f"{module}:{rest}", rule, _FIX)
    return f"{module}:{rest}"


def _imported(module: str, rest: str, name: str) -> Any:
    path = f"{module}:{rest}"
    try:
        found: Any = importlib.import_module(module)
        for part in rest.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise InputError(name, path, f"the module has no {rest}", "Check its spelling.") from error
    except Exception as error:
        rule = f"the module cannot be imported ({type(error).__name__}: {error})"
        raise InputError(name, path, rule, "Check its spelling, and that it is on Python's path.") from error
    if not callable(found):
        raise InputError(name, path, "it is not a function", "")
    return found


def source_of(path: str) -> str:
    """A digest that changes with the file in which a function is written; what that imports is not looked at."""
    module = path.partition(":")[0]
    spec = sys.modules[module].__spec__ if module in sys.modules else importlib.util.find_spec(module)
    origin = None if spec is None else spec.origin
    try:
        return hashlib.sha256(Path(str(origin)).read_bytes()).hexdigest()
    except OSError:
        return f"python {sys.version_info.major}.{sys.version_info.minor}"


def plain(value: Any, name: str) -> Any:
    """A value as its JSON reads it; NumPy's numbers become Python's.

    Raises
    ------
    InputError
        It holds something that JSON does not, such as an array: names where.
    """
    return json.loads(canonical(_unboxed(value), name=name))


def _unboxed(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_unboxed(each) for each in value]
    if isinstance(value, dict):
        return {key: _unboxed(each) for key, each in value.items()}
    return value


class Function:
    """A kind whose jobs call one function with the spec as keyword arguments; what it returns is the result.

    Parameters
    ----------
    name : by which it is submitted
    function : itself, or its import path; None: each job names its own (kinds that another process registered)
    check : called with the spec when a job is submitted; raises what is wrong with it, and may return a spec to use instead
    cache : whether equal specs have equal answers
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | str | None,
        *,
        check: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None,
        cache: bool = True,
    ) -> None:
        self._name = name
        self._path = None if function is None else import_path(function)
        self._check, self._cache = check, cache

    @property
    def name(self) -> str:
        """By which it is submitted."""
        return self._name

    @property
    def path(self) -> str | None:
        """Import path of its function."""
        return self._path

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Check a spec; see `kind.Kind.check`."""
        del known
        if self._path is None:
            raise InputError("type", self._name, "it is not registered in this process", "Register it first.")
        if self._check is not None:
            spec = self._check(spec) or spec
        arguments = plain(dict(spec), "spec")
        path = self._path
        content = {"arguments": arguments, "function": path, "source": source_of(path), "tdmx": __version__}
        title = ", ".join(f"{key}={value}" for key, value in arguments.items())
        whole = {"function": path, "arguments": arguments}
        return Checked(whole, content if self._cache else None, title[:80] or path, f"{self._name} {path}")

    async def run(self, work: Work, place: Place) -> bytes:
        """Call it; see `kind.Kind.run`."""
        return await place.call(work.spec["function"], work.spec["arguments"], name="call")
