"""Draws and results on disk: Zarr v3, immutable, published whole.

This floor imports ``domain``, ``kernels`` and ``errors`` only, and no Dask. Modules:

- ``schema``: names, dimensions, dtypes and units of every store, and the checks that hold them
- ``draws``: open, write, verify and slice a store of draws
- ``importing``, ``exporting``: draws from and to CSV, Parquet, NetCDF (ArviZ), CmdStan CSV
- ``results``: PTA, CFR and critical-MIC datasets
- ``publish``: write beside, then rename
- ``checkpoint``: the counts of a streamed run, so that it can go on after a stop
"""
