"""A result in, a self-contained HTML page out: no script, no external resource, printable.

======================  ====================================================================
`report_text`           the page as text, of any of: fit, PTA, CFR, figures
`write_report`          the same as a file
`Section`, `Sheet`      what stands between the question and PTA
`question_section`      regimens, targets, scenarios, MICs of a result
`population_section`    model, source, formulas, covariates and variability
`patient_section`       doses, covariates and error model of a patient
`fit_section`           posterior beside prior, diagnostics
`levels_section`        levels beside their prediction, those outside marked
`fit_sentences`         the same for the summary
`caveat_of`             what speaks against a fit, for where its PTA is printed
`Compared`              what it needs to know of a published cell beside the computed one
======================  ====================================================================

`tdmx_dask.api.reports.report_of` makes the page of a study, a patient or a fit in one call.
"""

from tdmx_dask.report.comparison import Compared
from tdmx_dask.report.fits import caveat_of, fit_section, fit_sentences, levels_section
from tdmx_dask.report.html import report_text, write_report
from tdmx_dask.report.question import patient_section, population_section, question_section
from tdmx_dask.report.sections import Section, Sheet

__all__ = [
    "Compared",
    "Section",
    "Sheet",
    "caveat_of",
    "fit_section",
    "fit_sentences",
    "levels_section",
    "patient_section",
    "population_section",
    "question_section",
    "report_text",
    "write_report",
]
