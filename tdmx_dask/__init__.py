"""tdmx_dask."""
