"""A result in, a matplotlib figure out.

Laws of this floor: no global state of pyplot is read or changed (figures are made by the object-oriented
interface, so they render without a display); matplotlib is imported inside the functions; colours tell
apart for the colour-blind and are never the only sign.

==============  ==========================================================================
`pta`           probability of target attainment against MIC, one line per regimen
`cfr`           cumulative fraction of response by regimen and organism, with intervals
`save`          a figure as PNG and SVG files, the same bytes for the same figure
`svg_text`      a figure as SVG text, for a report
==============  ==========================================================================
"""

from tdmx_dask.plot.attainment import pta
from tdmx_dask.plot.files import save, svg_text
from tdmx_dask.plot.response import cfr

__all__ = ["cfr", "pta", "save", "svg_text"]
