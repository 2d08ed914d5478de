"""A result in, a self-contained HTML page out: no script, no external resource, printable, readable on a phone.

==================  ====================================================================
`write_report`      ``report.html`` of a PTA result, a CFR result and their figures
`Comparison`        a published table beside the computed one
==================  ====================================================================
"""

from tdmx_dask.report.comparison import Compared, Comparison
from tdmx_dask.report.html import write_report

__all__ = ["Compared", "Comparison", "write_report"]
