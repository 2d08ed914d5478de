"""A fit that is done: its draws in their store, what they say, and where they came from."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.errors import SchemaError, StoreError
from tdmx_dask.fitting.task import APPROXIMATIONS
from tdmx_dask.store.container import container_at
from tdmx_dask.store.layout import DAMAGED, read_mark
from tdmx_dask.store.schema import DRAWS_SCHEMA

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from tdmx_dask.fitting.diagnostics import Diagnosis

__all__ = ["TEXTS", "Fit", "encode"]

TEXTS = ("settings", "parameters", "warm_start", "log", "notes", "problems")
"""Attributes of a posterior that hold JSON: attributes are numbers and texts, which any format takes."""


def encode(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as a store keeps them."""
    return {key: json.dumps(value) if key in TEXTS else value for key, value in attrs.items()}


class Fit:
    """A fit in its store; nothing is read until it is asked for.

    Parameters
    ----------
    path : folder of the store

    Attributes
    ----------
    path : absolute
    name : of the fit, the patient's id
    attrs : where it came from: program and data digests, engine and version, method, seed, settings, warm start, rounds and why they
        ended, seconds (in all, and of the engine), peak memory (MB), healthy, problems, notes, log

    Raises
    ------
    SchemaError
        The store was not made by a fit.
    StoreError
        It is missing or damaged.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path).resolve()
        read_mark(self.path, DRAWS_SCHEMA)
        file = self.path / "posterior" / "zarr.json"
        try:
            attrs = dict(json.loads(container_at(self.path).read("posterior/zarr.json"))["attributes"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError("store", file, f"this file cannot be read ({error})", DAMAGED) from error
        if "request" not in attrs:
            rule = "these draws were not made by a fit of tdmx"
            raise SchemaError("store", self.path, rule, "Open them with open_draws.")
        self.attrs: dict[str, Any] = {
            key: json.loads(value) if key in TEXTS else value for key, value in attrs.items()
        }
        self.name = str(self.attrs["name"])

    @property
    def draws(self) -> xr.Dataset:
        """The posterior, lazy, dims (chain, draw): parameters in L/h and L, ``fu`` where the patient has one; `pta` takes it."""
        return self._draws

    @cached_property
    def _draws(self) -> xr.Dataset:
        from tdmx_dask.store.draws import open_draws

        return open_draws(self.path)

    @cached_property
    def tree(self) -> xr.DataTree:
        """All groups, lazy: posterior, sample_stats, log_likelihood, posterior_predictive, constant_data; ArviZ takes it."""
        from tdmx_dask.store.draws import open_tree

        return open_tree(self.path)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Quantities that were estimated, by which the fit is judged."""
        return tuple(self.attrs["parameters"])

    @property
    def method(self) -> str:
        """``nuts``, or the approximation."""
        return str(self.attrs["method"])

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return str(self.attrs["engine"])

    @property
    def seconds(self) -> float:
        """From asking to the published store, as it was made."""
        return float(self.attrs["seconds"])

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against the draws, and the goal was met."""
        return bool(self.attrs["healthy"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against the draws, and what was assumed."""
        return (*self.attrs["problems"], *self.attrs["notes"])

    @property
    def log(self) -> tuple[str, ...]:
        """What happened, line by line."""
        return tuple(self.attrs["log"])

    def summary(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """Mean, SD, quantiles, Monte-Carlo error, ESS and R-hat of each parameter.

        Parameters
        ----------
        names : variables; None: those that were estimated
        """
        from tdmx_dask.fitting.diagnostics import summary

        return summary(self.draws, self._judged(names))

    def diagnose(self, names: Sequence[str] | None = None) -> Diagnosis:
        """Judge the draws: R-hat, ESS, divergences, tree depth, energy; what is wrong and what to do.

        Parameters
        ----------
        names : variables; None: those that were estimated
        """
        from dataclasses import replace

        from tdmx_dask.fitting.diagnostics import diagnose

        stats = self.tree.children.get("sample_stats") if self.method not in APPROXIMATIONS else None
        found = diagnose(
            self.draws,
            None if stats is None else stats.to_dataset(),
            names=self._judged(names),
            max_treedepth=int(self.attrs["settings"]["max_treedepth"]),
        )
        if self.method in APPROXIMATIONS:
            return replace(found, healthy=False, problems=tuple(self.attrs["problems"]))
        return found

    def _judged(self, names: Sequence[str] | None) -> Sequence[str] | None:
        if names is not None:
            return names
        there = [name for name in self.parameters if name in self.draws.data_vars]
        return there or None

    def __repr__(self) -> str:
        n_chains, n_draws = self.attrs["chains"], self.attrs["draws"]
        state = "healthy" if self.healthy else "not healthy: " + "; ".join(self.attrs["problems"])
        return f"<Fit {self.name!r}: {self.method}, {n_chains} chains of {n_draws} draws by {self.engine} in {self.seconds:.2f} s, {state}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.summary().to_html()}"
