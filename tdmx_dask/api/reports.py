"""The report of a study, of one patient or of a fit: what is given to the page, and the page as text."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.individual import Individual, course_of, level_rows, parameter_rows
from tdmx_dask.api.study import StudyResult
from tdmx_dask.domain.population import Population
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.fit import Fit

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["command", "fit_figures", "individual_parts", "report_of", "study_parts"]

Figures = dict[str, str]


def report_of(
    what: StudyResult | Individual | Fit | None = None,
    *,
    pta: xr.Dataset | None = None,
    cfr: xr.Dataset | None = None,
    title: str = "",
    about: Sequence[str] = (),
    notes: Sequence[str] = (),
    figures: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
) -> str:
    """The report of what was found, as HTML text: self-contained, printable, everything in it escaped.

    Parameters
    ----------
    what : result of `run_study`, of `fit_individual`, a `Fit`, or None for `pta` alone
    pta, cfr : results of `pta` and `cfr`; default: those of `what`
    title : heading; default: that of the study or the patient
    about, notes : paragraphs on what was asked; assumptions to print under the summary
    figures : caption -> SVG text (`plot.svg_text`); default: those of the results
    provenance : more settings to print, name -> value

    Returns
    -------
    the page

    Raises
    ------
    InputError
        There is nothing to report.

    Examples
    --------
    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([1.0, 4.0]), "Vc": np.array([10.0, 10.0])}
    >>> page = report_of(pta=tdmx.pta(draws, "100 mg q24h", "AUC24/MIC >= 25", mic=[1, 2, 4]), title="Example")
    >>> "<title>Example</title>" in page, "Not a medical device" in page
    (True, True)
    """
    from tdmx_dask.report import report_text

    if isinstance(what, StudyResult):
        parts = study_parts(what)
    elif isinstance(what, Individual):
        parts = individual_parts(what, {})
    elif isinstance(what, Fit):
        parts = _fit_parts(what)
    elif what is None and pta is not None:
        parts = {"title": title or "Probability of target attainment", "figures": {}, "provenance": {}}
    else:
        rule = "a report is of a study's, a patient's or a fit's result, or of pta="
        raise InputError("what", type(what).__name__, rule, "Call run_study, fit_individual or pta first.")
    own = parts.get("figures", {})
    if pta is not None:
        parts |= {"pta": pta, "cfr": cfr}
    if parts.get("pta") is not None and not own:
        own = _attainment_figures(parts["pta"], parts.get("cfr"))
    return report_text(
        **{
            **parts,
            "title": title or parts["title"],
            "figures": own if figures is None else figures,
            "about": (*parts.get("about", ()), *about),
            "notes": (*parts.get("notes", ()), *notes),
            "provenance": {
                "command": command(),
                **versions_of(),
                **parts["provenance"],
                **(provenance or {}),
            },
        }
    )


def command() -> str:
    """The command line of this process, as it can be typed again; empty in a console or a notebook, where none was typed."""
    if not sys.argv or sys.argv[0] in ("", "-", "-c"):
        return ""
    program = Path(sys.argv[0])
    if "ipykernel" in program.as_posix():
        return ""
    start = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*start, *sys.argv[1:]])


def versions_of() -> dict[str, object]:
    """Versions of what a result depends on."""
    import platform

    from tdmx_dask.api.results import versions

    return {"versions": {"python": platform.python_version(), **versions()}}


def study_parts(result: StudyResult) -> dict[str, Any]:
    """What a report is given of a study."""
    from tdmx_dask.report import population_section

    study = result.study
    sections = () if study.population is None else (population_section(study.population),)
    return {
        "title": study.title or study.name,
        "pta": result.pta,
        "cfr": result.cfr,
        "sections": sections,
        "about": _about(study),
        "notes": result.notes,
        "comparison": result.comparison,
        "comparison_source": study.published.source if study.published else "",
        "provenance": {"study": study.name, "seed": study.seed, "seconds": result.seconds},
    }


def individual_parts(found: Individual, figures: Mapping[str, str]) -> dict[str, Any]:
    """What a report is given of one patient.

    Parameters
    ----------
    found : of `fit_individual`
    figures : of the fit: ``levels``, ``posterior``, ``trace`` -> SVG text; what is missing is drawn
    """
    from tdmx_dask.report import (
        caveat_of,
        fit_section,
        fit_sentences,
        levels_section,
        patient_section,
        population_section,
    )

    patient, fit = found.patient, found.fit
    drawn = {**fit_figures(fit, found.prior, skip=figures), **figures}
    levels, verdict = level_rows(found), fit.diagnose()
    if "levels" not in drawn and (course := course_of(found)) is not None:
        drawn["levels"] = _svg("levels", course, title=patient.title or patient.id)
    shown = (
        {"Measured levels on the predicted course": drawn["levels"]}
        if "levels" in drawn
        else _replicates(fit)
    )
    sections = [patient_section(patient)]
    if isinstance(patient.priors, Population):
        sections.append(population_section(patient.priors, title="Prior: the population"))
    sections.append(
        fit_section(
            parameter_rows(fit, found.prior), verdict, about=_facts(fit),
            figures=_named(drawn, {"posterior": "Posterior and prior", "trace": "Chains"}),
        )
    )  # fmt: skip
    sections.append(levels_section(levels, shown))
    return {
        "title": patient.title or patient.id,
        "pta": found.pta,
        "cfr": found.cfr,
        "sections": [section for section in sections if not section.empty],
        "summary": fit_sentences(verdict, levels),
        "caveat": caveat_of(verdict, levels),
        "about": _about(patient),
        "notes": found.notes,
        "provenance": {"patient": patient.id, **_origin(fit), "seconds": found.seconds},
    }


def _fit_parts(fit: Fit) -> dict[str, Any]:
    from tdmx_dask.report import fit_section, fit_sentences

    verdict, drawn = fit.diagnose(), fit_figures(fit, {})
    figures = {**_named(drawn, {"posterior": "Posterior", "trace": "Chains"}), **_replicates(fit)}
    return {
        "title": fit.name,
        "sections": [fit_section(parameter_rows(fit, {}), verdict, about=_facts(fit), figures=figures)],
        "summary": fit_sentences(verdict),
        "provenance": _origin(fit),
    }


def fit_figures(
    fit: Fit, prior: Mapping[str, tuple[float, float]], *, skip: Mapping[str, str] | None = None
) -> Figures:
    """Figures of a fit as SVG: ``posterior`` and ``trace``, of the first twelve parameters that are single numbers.

    Parameters
    ----------
    fit : whose draws are drawn
    prior : name -> median, SD of the log
    skip : figures that are there already
    """
    done = skip or {}
    names = [name for name in fit.parameters if name in fit.draws and fit.draws[name].ndim == 2][:12]
    drawn: Figures = {}
    if not names:
        return drawn
    if "posterior" not in done:
        drawn["posterior"] = _svg("posterior", fit, names=names, prior=prior)
    if "trace" not in done:
        drawn["trace"] = _svg("trace", fit, names=names)
    return drawn


def _named(drawn: Figures, captions: Mapping[str, str]) -> Figures:
    return {caption: drawn[name] for name, caption in captions.items() if name in drawn}


def _replicates(fit: Fit) -> Figures:
    """Levels beside their replicates, where the kernels do not have the model's course."""
    groups = fit.tree.children
    there = "posterior_predictive" in groups and "level" in groups["posterior_predictive"]
    timed = "constant_data" in groups and "level_time" in groups["constant_data"]
    return {"Measured levels and their replicates": _svg("ppc", fit)} if there and timed else {}


def _attainment_figures(pta: xr.Dataset, cfr: xr.Dataset | None) -> Figures:
    figures = {"Probability of target attainment": _svg("pta", pta)}
    return figures if cfr is None else {**figures, "Cumulative fraction of response": _svg("cfr", cfr)}


def _svg(name: str, *given: Any, **options: Any) -> str:
    from tdmx_dask import plot

    return plot.svg_text(getattr(plot, name)(*given, **options))


def _about(noun: Any) -> tuple[str, ...]:
    return tuple(text for text in (noun.description, noun.source and f"Source: {noun.source}") if text)


def _facts(fit: Fit) -> list[tuple[str, str]]:
    """How it was fitted, for the table of its diagnostics."""
    facts = [("Method", fit.method), ("Engine", fit.engine), ("Model", str(fit.attrs.get("model", "")))]
    stopped = str(fit.attrs.get("stopped", ""))
    return [(name, text) for name, text in (*facts, ("Stopped at", stopped)) if text]


def _origin(fit: Fit) -> dict[str, object]:
    """What makes the same fit again: program, data, seed and settings."""
    names = ("engine", "seed", "program", "program_digest", "data_digest", "request", "settings")
    called = {"program_digest": "digest of the program", "data_digest": "digest of the data"}
    called["request"] = "digest of the request"
    found = {called.get(name, name): fit.attrs[name] for name in names if name in fit.attrs}
    digest = fit.draws.attrs.get("digest", "")
    return {**found, "digest of the draws": digest, "warm start": fit.attrs.get("warm_start") or ""}
