"""Jobs that take a patient from levels to a regimen: a fit, then PTA and CFR of its posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.individual import SATURABLE, assess
from tdmx_dask.api.kinds.data import exactly, named, naming
from tdmx_dask.api.kinds.fits import OF_ONE, SETTINGS, FitAsked, fitted, patient_of
from tdmx_dask.api.kinds.question import distribution_mapping, read_distributions, regimen_mapping
from tdmx_dask.api.nouns import read_mic, read_regimens, read_targets
from tdmx_dask.domain.assessment import ASSESSMENT_KEYS, Assessment
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.study import noting
from tdmx_dask.domain.target import parse_target
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.jobs.request import Checked, Work
from tdmx_dask.store.value import Reference

if TYPE_CHECKING:
    from tdmx_dask.jobs.kind import Known, Place

__all__ = ["PatientAnalysis", "compute_analysis"]

_OF_ASSESSMENT = {
    "regimen": "regimens",
    "target": "targets",
    "target_def": "targets",
    "MIC": "mic",
    **dict.fromkeys(("mic_distribution", "isolates", "distribution"), "distributions"),
}


class PatientAnalysis:
    """A patient from levels to a regimen: a fit, then PTA and CFR of its posterior.

    The spec is that of `StanFit` for a patient, and what is asked of the posterior: ``regimens``, ``targets``, ``mic`` and
    ``distributions``, where the patient does not say them. The result is a mapping: fit (a reference), pta, cfr (or None), summary (a
    DataFrame), healthy, problems, notes.
    """

    name = "patient_analysis"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Ask for the fit and read the assessment now; see `jobs.kind.Kind.check`."""
        keys = [key for key in OF_ONE if key not in ("program", "data")]
        given = named(spec, (*keys, *SETTINGS, *ASSESSMENT_KEYS), _OF_ASSESSMENT)
        patient = patient_of(given)
        assessment = _assessment(given, patient.assessment)
        given["patient"] = replace(patient, assessment=assessment)
        asked = FitAsked.of(
            {key: given[key] for key in given if key not in ASSESSMENT_KEYS}, assessment, known
        )
        return asked.checked(self.name, {"assessment": _plain_assessment(assessment)})

    async def run(self, work: Work, place: Place) -> bytes:
        """Fit, then compute in a process of its own."""
        fit = await fitted(work, place)
        arguments = {"path": str(fit.path), "assessment": work.spec["assessment"]}
        return await place.call(f"{__name__}:compute_analysis", arguments, name="assess")


def compute_analysis(path: str, assessment: Mapping[str, Any] | None) -> dict[str, Any]:
    """PTA, CFR and summary of a fit.

    Parameters
    ----------
    path : of its store
    assessment : in plain values; None asks for none

    Returns
    -------
    As `PatientAnalysis` says
    """
    fit = Fit(path)
    attained = response = None
    with noting() as notes:
        if assessment is not None and "Vmax" not in fit.draws:
            attained, response = assess(fit.draws, _read_assessment(assessment))
    if assessment is not None and attained is None:
        notes.append(SATURABLE)
    diagnosis = fit.diagnose()
    return {
        "fit": Reference("fit", str(fit.path)),
        "pta": attained,
        "cfr": response,
        "summary": fit.summary(),
        "healthy": bool(diagnosis.healthy),
        "problems": list(diagnosis.problems),
        "notes": list(notes),
    }


# --- what is asked of the posterior ---------------------------------------------------------------------------


def _assessment(given: Mapping[str, Any], own: Assessment | None) -> Assessment | None:
    """What the spec asks, completed by what the patient's file asks."""
    if own is None and not any(key in given for key in ASSESSMENT_KEYS):
        return None
    for key in ("regimens", "targets"):
        if key not in given and own is None:
            raise InputError(f"spec.{key}", None, "it is missing", "Regimens and targets go together.")
    with naming("regimens"):
        regimens = read_regimens(given["regimens"]) if "regimens" in given else _own(own).regimens
    with naming("targets"):
        targets = read_targets(given["targets"]) if "targets" in given else _own(own).targets
    with naming("distributions"):
        distributions: tuple[MICDistribution, ...] = () if own is None else own.distributions
        if "distributions" in given:
            distributions = read_distributions(given["distributions"])
    with naming("mic"):
        mic: Any = given.get("mic")
        if mic is None and own is not None and "distributions" not in given:
            mic = own.mic
        numbers = () if mic is None else read_mic(mic, targets)
        wanted = [*numbers, *distributions]
        return Assessment(regimens, targets, read_mic(wanted or None, targets), distributions)


def _own(assessment: Assessment | None) -> Assessment:
    assert assessment is not None  # noqa: S101  asked before
    return assessment


def _plain_assessment(assessment: Assessment | None) -> dict[str, Any] | None:
    if assessment is None:
        return None
    return {
        "regimens": [regimen_mapping(each) for each in assessment.regimens],
        "targets": [exactly("targets", each, str(each), parse_target) for each in assessment.targets],
        "mic": list(assessment.mic),
        "distributions": [distribution_mapping(each) for each in assessment.distributions],
    }


def _read_assessment(plain: Mapping[str, Any]) -> Assessment:
    return Assessment(
        tuple(Regimen.from_mapping(each) for each in plain["regimens"]),
        tuple(parse_target(each) for each in plain["targets"]),
        tuple(plain["mic"]),
        read_distributions(plain["distributions"]) if plain["distributions"] else (),
    )
