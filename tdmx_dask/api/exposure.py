"""The verb `exposures`: what each profile has had of the drug."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from tdmx_dask.analysis.values import exposure_values
from tdmx_dask.api.question import ask, frame
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.target import STEADY_STATE, Target
from tdmx_dask.domain.target_grammar import read_index
from tdmx_dask.errors import InputError

__all__ = ["exposures"]

DIMS = ("scenario", "regimen", "chain", "draw", "subject")


def exposures(
    draws: object,
    regimens: object,
    indices: object = ("AUC24", "Cmax", "Cmin"),
    *,
    population: Population | None = None,
    scenarios: object = None,
    subjects: int = 1,
    n: int | None = None,
    fu: object = None,
    weight: float | None = None,
    seed: int | None = None,
    window: object = None,
) -> xr.Dataset:
    """Exposure of every profile, one variable an index.

    Parameters
    ----------
    draws, regimens, population, scenarios, subjects, n, fu, weight, seed, window : as for `pta`
    indices : texts such as ``"AUC24"``, ``"fCmax in day1"``, ``"C@48h"``, ``"Cmin at ELF 0.3"`` or ``"fT>MIC at 2"`` (fraction of the
        window above a MIC of 2 mg/L), one or several

    Returns
    -------
    Dataset with dims (scenario, regimen, chain, draw, subject): a variable by the name of each index, in mg/L, mg·h/L or as a fraction;
    its attribute ``window`` says over which time. AUC24 at steady state is the mean daily AUC. Cmin is the lowest concentration of the
    window once treatment has begun; a trough just before a dose that is due at its start belongs to the interval before. A level of
    exactly the MIC counts as time above it.

    Raises
    ------
    InputError
        As `pta`; an index cannot be read, is there twice, or the numbers do not fit into memory.
    StoreError
        The store of draws is missing or damaged.

    Examples
    --------
    A bolus of 100 mg into 10 L with a half-life of 8 h is above 2.5 mg/L for 16 h of the first 24:

    >>> import numpy as np, tdmx_dask as tdmx
    >>> draws = {"CL": np.array([10 * np.log(2) / 8]), "Vc": np.array([10.0])}
    >>> found = tdmx.exposures(draws, "100 mg q24h", ["Cmax", "T>MIC at 2.5"], window="first_dose")
    >>> found["Cmax"].item(), round(24 * found["T>MIC at 2.5"].item(), 9)
    (10.0, 16.0)
    """
    asked = _read(indices, window)
    targets = list(dict.fromkeys(target for target, _ in asked))
    question = ask(
        draws, regimens, tuple(targets), mic=1.0, population=population, scenarios=scenarios, design=None,
        subjects=subjects, n=n, fu=fu, weight=weight, seed=seed, window=None, per_draw=False,
    )  # fmt: skip
    plan = question.plan
    values = exposure_values(plan, question.inputs, [(targets.index(target), mic) for target, mic in asked])
    labels, about = frame(question)
    shape = (len(plan.scenarios), len(plan.regimens))
    return xr.Dataset(
        {
            name: (DIMS, values[:, i].reshape(*shape, *values.shape[2:]), _about(target, mic))
            for i, ((target, mic), name) in enumerate(asked.items())
        },
        coords=labels,
        attrs=about,
    )


def _read(indices: object, window: object) -> dict[tuple[Target, float | None], str]:
    """What is asked: (target, MIC) -> its name, as it was written."""
    names = [indices] if isinstance(indices, str) else indices
    if not isinstance(names, Iterable) or not (names := list(names)):
        raise InputError("indices", indices, "there is at least one index", "Write 'AUC24'.")
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise InputError("indices", strange, "an index is a text", "Write 'AUC24'.")
    asked: dict[tuple[Target, float | None], str] = {}
    for name in names:
        text, mic = read_index(name)
        target = Target.parse(text, window=window)
        if (target, mic) in asked:
            raise InputError("indices", name, "an index is given twice", "Leave one out.")
        asked[target, mic] = name
    return asked


def _about(target: Target, mic: float | None) -> dict[str, str]:
    """What a variable says of itself: the index in words, its unit, its window."""
    parts = [target.head if mic is None else f"{target.head} at {mic:g} mg/L"]
    if target.site != "plasma":
        parts.append(f"{target.site} × {target.penetration:g}")
    if target.fu is not None:
        parts.append(f"fu {target.fu:g}")
    if target.index == "AUC24" and target.window == STEADY_STATE:
        parts.append("mean daily")
    elif target.index != "C" and target.window != STEADY_STATE:
        parts.append(target.window.words)
    unit = "1" if target.index == "T>MIC" else target.unit
    return {"long_name": ", ".join(parts), "units": unit, "window": target.window_words}
