"""Antibiotic dosing under uncertainty: PTA and CFR over draws of a pharmacokinetic model.

Research use only; not a medical device.

>>> import tdmx_dask as tdmx
>>> tdmx.Regimen.parse("1 g q8h inf 3h").daily_dose
3000.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tdmx_dask.version import __version__

if TYPE_CHECKING:
    from tdmx_dask import plot
    from tdmx_dask.api.calibrate import calibrate
    from tdmx_dask.api.clusters import cluster
    from tdmx_dask.api.concentration import concentrations
    from tdmx_dask.api.exposure import exposures
    from tdmx_dask.api.fit import compare_models, fit, fit_async, fit_many, open_fit, ppc
    from tdmx_dask.api.optimise import optimise
    from tdmx_dask.api.queue import JobQueue, get_job_queue
    from tdmx_dask.api.study import run_study
    from tdmx_dask.api.verbs import breakpoint, cfr, critical_mic, pta  # noqa: A004
    from tdmx_dask.api.virtual import sample
    from tdmx_dask.domain.cohort import read_cohort
    from tdmx_dask.domain.error_model import ErrorModel
    from tdmx_dask.domain.level import Level
    from tdmx_dask.domain.mic import MICDistribution
    from tdmx_dask.domain.patient import Patient, read_patient
    from tdmx_dask.domain.population import Population
    from tdmx_dask.domain.regimen import DoseEvent, Regimen
    from tdmx_dask.domain.study import Study, read_study
    from tdmx_dask.domain.target import AllOf, Target, Window, parse_target
    from tdmx_dask.store.draws import open_draws, write_draws
    from tdmx_dask.store.exporting import export_draws
    from tdmx_dask.store.importing import import_draws
    from tdmx_dask.store.results import open_result, write_result

_HOMES = {
    "tdmx_dask.api.calibrate": ("calibrate",),
    "tdmx_dask.api.concentration": ("concentrations",),
    "tdmx_dask.api.exposure": ("exposures",),
    "tdmx_dask.api.fit": ("compare_models", "fit", "fit_async", "fit_many", "open_fit", "ppc"),
    "tdmx_dask.api.optimise": ("optimise",),
    "tdmx_dask.api.queue": ("JobQueue", "get_job_queue"),
    "tdmx_dask.api.study": ("run_study",),
    "tdmx_dask.api.verbs": ("breakpoint", "cfr", "critical_mic", "pta"),
    "tdmx_dask.api.virtual": ("sample",),
    "tdmx_dask.api.clusters": ("cluster",),
    "tdmx_dask.domain.cohort": ("read_cohort",),
    "tdmx_dask.domain.error_model": ("ErrorModel",),
    "tdmx_dask.domain.level": ("Level",),
    "tdmx_dask.domain.mic": ("MICDistribution",),
    "tdmx_dask.domain.patient": ("Patient", "read_patient"),
    "tdmx_dask.domain.population": ("Population",),
    "tdmx_dask.domain.regimen": ("DoseEvent", "Regimen"),
    "tdmx_dask.domain.study": ("Study", "read_study"),
    "tdmx_dask.domain.target": ("AllOf", "Target", "Window", "parse_target"),
    "tdmx_dask.store.draws": ("open_draws", "write_draws"),
    "tdmx_dask.store.exporting": ("export_draws",),
    "tdmx_dask.store.importing": ("import_draws",),
    "tdmx_dask.store.results": ("open_result", "write_result"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllOf",
    "DoseEvent",
    "ErrorModel",
    "JobQueue",
    "Level",
    "MICDistribution",
    "Patient",
    "Population",
    "Regimen",
    "Study",
    "Target",
    "Window",
    "__version__",
    "breakpoint",
    "calibrate",
    "cfr",
    "cluster",
    "compare_models",
    "concentrations",
    "critical_mic",
    "export_draws",
    "exposures",
    "fit",
    "fit_async",
    "fit_many",
    "get_job_queue",
    "import_draws",
    "open_draws",
    "open_fit",
    "open_result",
    "optimise",
    "parse_target",
    "plot",
    "ppc",
    "pta",
    "read_cohort",
    "read_patient",
    "read_study",
    "run_study",
    "sample",
    "write_draws",
    "write_result",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "plot":
        return importlib.import_module("tdmx_dask.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'tdmx_dask' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
