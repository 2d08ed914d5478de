"""Dask-backed results: the tasks of a run as a graph behind labelled variables, of which nothing is computed yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from tdmx_dask.analysis.execute import Wrap, cut, delayed_blocks
from tdmx_dask.analysis.inputs import Inputs
from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.analysis.tally import new_tally

__all__ = ["as_dataset", "lazy_counts", "lazy_critical", "sketch"]

TOGETHER = 16
"""Partial counts that one task adds up."""

NOMINAL_SECONDS = 1e-7
"""Of one core, for a critical MIC; a lazy graph is cut before anything can be measured."""

WORKERS = 8
"""Workers that a lazy graph is cut for, which it does not know yet."""


def lazy_counts(
    plan: Plan, inputs: Inputs, chunk_size: int | None, finish: Callable[[Any], xr.Dataset], wrap: Wrap
) -> xr.Dataset:
    """A PTA whose variables are dask arrays; ``finish(counts)`` makes the Dataset when computed; see `delayed_blocks` for `wrap`."""
    from dask.delayed import delayed

    blocks = _blocks(plan, chunk_size)
    parts = delayed_blocks("count", plan, inputs, blocks, wrap)
    token = uuid.uuid4().hex
    groups: list[Any] = []
    add = delayed(_add, pure=False)
    for first in range(0, len(parts), TOGETHER):
        together = slice(first, first + TOGETHER)
        groups.append(add(plan, blocks[together], parts[together], dask_key_name=f"tdmx-add-{first}-{token}"))
    counts = delayed(_sum, pure=False)(groups, dask_key_name=f"tdmx-add-all-{token}")
    empty = new_tally(plan, ()).n_attained
    return as_dataset(finish(empty), finish, counts, name="tdmx-summary")


def lazy_critical(plan: Plan, inputs: Inputs, chunk_size: int | None, wrap: Wrap) -> Any:
    """Critical MICs as one dask array (pair, target, chain, draw, subject), a task a chunk."""
    import dask.array as da

    blocks = _blocks(plan, chunk_size)
    rows: dict[int, dict[int, list[Any]]] = {}
    for block, part in zip(blocks, delayed_blocks("critical", plan, inputs, blocks, wrap), strict=True):
        shape = (
            len(plan.pairs),
            len(plan.targets),
            block.stop - block.start,
            block.subject_stop - block.subject_start,
        )
        array = da.from_delayed(part, shape, dtype=np.float64)[:, :, None]
        rows.setdefault(block.chain, {}).setdefault(block.start, []).append(array)
    chains = [
        da.concatenate([da.concatenate(subjects, axis=4) for subjects in draws.values()], axis=3)
        for draws in rows.values()
    ]
    return da.concatenate(chains, axis=2)


def as_dataset(
    shape_of: xr.Dataset, make: Callable[[Any], xr.Dataset], argument: Any, *, name: str
) -> xr.Dataset:
    """A Dataset like `shape_of`, whose variables are computed by ``make(argument)``."""
    import dask.array as da
    from dask.delayed import delayed

    token = uuid.uuid4().hex
    whole = delayed(make, pure=False)(argument, dask_key_name=f"{name}-0-{token}")
    take = delayed(_variable, pure=False)
    variables = {}
    for key, variable in shape_of.data_vars.items():
        part = take(whole, key, dask_key_name=f"{name}-{key}-{token}")
        variables[key] = (
            variable.dims,
            da.from_delayed(part, variable.shape, variable.dtype),
            variable.attrs,
        )
    return xr.Dataset(variables, shape_of.coords, shape_of.attrs)


def sketch(dataset: xr.Dataset) -> xr.Dataset:
    """A Dataset with the same labels and shapes, full of ones."""
    return dataset.copy(
        data={key: np.ones(variable.shape, variable.dtype) for key, variable in dataset.data_vars.items()}
    )


def _blocks(plan: Plan, chunk_size: int | None) -> tuple[Block, ...]:
    seconds = NOMINAL_SECONDS * plan.n_profiles * len(plan.pairs) * len(plan.targets)
    return cut(plan, seconds, WORKERS, chunk_size)


def _add(plan: Plan, blocks: tuple[Block, ...], parts: list[Any]) -> Any:
    tally = new_tally(plan, blocks)
    for i, part in enumerate(parts):
        tally.add(i, part)
    return tally.n_attained


def _sum(parts: list[Any]) -> Any:
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _variable(dataset: xr.Dataset, name: str) -> Any:
    return dataset[name].values
