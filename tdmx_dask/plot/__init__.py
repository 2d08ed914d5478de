"""A result in, a matplotlib figure out.

Laws of this floor: no global state of pyplot is read or changed (figures are made by the object-oriented
interface, so they render without a display, in any thread); matplotlib is imported inside the functions; colours
tell apart for the colour-blind and are never the only sign; names are text, never markup.

================  ==========================================================================
`pta`             probability of target attainment against MIC, one line per regimen
`cfr`             cumulative fraction of response by regimen and organism, with intervals
`uncertainty`     PTA of single draws, their mean and its credible interval
`target_map`      PTA or CFR over a grid of regimens: dose by interval or infusion
`concentration`   percentile bands over time, with measured levels and MICs
`exposure`        distributions of exposures, with the limits of a target
`levels`          measured levels on the course that a fit predicts
`ppc`             measured levels beside levels that the fitted model makes
`posterior`       densities of a fit's parameters beside their priors
`trace`           the chains of a fit, divergences marked
`calibration`     ranks of a simulation-based calibration
`save`            a figure as PNG and SVG files, the same bytes for the same figure
`svg_text`        a figure as SVG text, for a report
================  ==========================================================================
"""

from tdmx_dask.plot.attainment import pta
from tdmx_dask.plot.calibration import calibration
from tdmx_dask.plot.chains import posterior, trace
from tdmx_dask.plot.course import concentration
from tdmx_dask.plot.distributions import exposure
from tdmx_dask.plot.files import save, svg_text
from tdmx_dask.plot.levels import levels
from tdmx_dask.plot.replicates import ppc
from tdmx_dask.plot.response import cfr
from tdmx_dask.plot.target_grid import target_map
from tdmx_dask.plot.two_levels import uncertainty

__all__ = [
    "calibration",
    "cfr",
    "concentration",
    "exposure",
    "levels",
    "posterior",
    "ppc",
    "pta",
    "save",
    "svg_text",
    "target_map",
    "trace",
    "uncertainty",
]
