"""A result in, a self-contained HTML page out: no script, no external resource, printable.

==================  ====================================================================
`write_report`      ``report.html`` of a PTA result, a CFR result and their figures
`Compared`          what it needs to know of a published cell beside the computed one
==================  ====================================================================
"""

from tdmx_dask.report.comparison import Compared
from tdmx_dask.report.html import write_report

__all__ = ["Compared", "write_report"]
