"""The report: a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from tdmx_dask.report.comparison import Compared

__all__ = ["write_report"]


def write_report(
    path: str | Path,
    *,
    title: str,
    pta: xr.Dataset,
    cfr: xr.Dataset | None = None,
    figures: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    comparison: Sequence[Compared] = (),
    comparison_source: str = "",
) -> Path:
    """Write a self-contained report.

    Parameters
    ----------
    path : the HTML file to write
    title : of the study
    pta : result of `pta`
    cfr : result of `cfr`
    figures : caption → SVG text
    provenance : setting → value, printed as a table
    notes : sentences printed under the summary (assumptions, warnings)
    comparison : published cells beside the computed ones (`tdmx_dask.api.deviation.deviations`)
    comparison_source : citation of the published table
    """
    raise NotImplementedError
