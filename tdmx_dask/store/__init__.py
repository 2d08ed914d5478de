"""Draws and results on disk: Zarr v3, immutable, published whole; values and answers of jobs as bytes.

This floor imports ``domain``, ``kernels`` and ``errors`` only, and no Dask of its own. Modules:

- ``schema``, ``units``: names, dimensions, dtypes and units of every store, and the checks that hold them
- ``draws``, ``slices``: open, write and verify a store of draws; read a slice of one
- ``importing``, ``exporting``: draws from and to CSV, Parquet, NetCDF (ArviZ), CmdStan CSV
- ``results``: PTA, CFR and critical-MIC datasets
- ``layout``, ``digest``: how arrays lie in a store, and the digest of their content
- ``publish``: write beside, then rename
- ``checkpoint``: the counts of a streamed run, so that it can go on after a stop
- ``value``, ``labelled``, ``nesting``, ``address``: what jobs take and return as bytes, without pickle; addresses of plain values
- ``cache``, ``cache_entry``: answers kept by their address, in memory and in a folder
- ``scratch``: folders of one process, which the next removes where this one was killed

The functions below are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdmx_dask.store.draws import draws_digest, open_draws, open_tree, verify_draws, write_draws
    from tdmx_dask.store.exporting import export_draws
    from tdmx_dask.store.importing import draws_from_columns, import_draws, import_tree
    from tdmx_dask.store.publish import staging
    from tdmx_dask.store.results import open_result, verify_result, write_result
    from tdmx_dask.store.schema import check_draws, check_values, standardise
    from tdmx_dask.store.slices import read_slice, stored_at

__all__ = [
    "check_draws",
    "check_values",
    "draws_digest",
    "draws_from_columns",
    "export_draws",
    "import_draws",
    "import_tree",
    "open_draws",
    "open_result",
    "open_tree",
    "read_slice",
    "staging",
    "standardise",
    "stored_at",
    "verify_draws",
    "verify_result",
    "write_draws",
    "write_result",
]

_HOME = {
    "draws": ("draws_digest", "open_draws", "open_tree", "verify_draws", "write_draws"),
    "exporting": ("export_draws",),
    "importing": ("draws_from_columns", "import_draws", "import_tree"),
    "publish": ("staging",),
    "results": ("open_result", "verify_result", "write_result"),
    "schema": ("check_draws", "check_values", "standardise"),
    "slices": ("read_slice", "stored_at"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
