"""Results made up by a formula, in the shape that `tdmx_dask.pta` and `tdmx_dask.cfr` return."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

import tdmx_dask as tdmx

MIC = tuple(2.0**power for power in range(-5, 7))
DIMS = ("scenario", "regimen", "target")


def pta_result(
    *,
    regimens: Sequence[str] = ("1000 mg q8h inf 30min", "1000 mg q8h inf 3h"),
    scenarios: Sequence[str] = ("adult",),
    targets: Sequence[str] = ("fT>MIC ≥ 50 %",),
    mic: Sequence[float] = MIC,
    asked: NDArray[np.bool_] | None = None,
    interval: str = "credible",
    fu_note: str = "",
) -> xr.Dataset:
    """PTA = ndtr((centre - log2 MIC) / spread), better from regimen to regimen, worse from scenario to scenario."""
    shape = (len(scenarios), len(regimens), len(targets), len(mic))
    i, j, k, m = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    needs_mic = np.array(["MIC" in target for target in targets])[k]
    z = 1.5 + 0.9 * j - 0.4 * i - 0.7 * k - np.where(needs_mic, np.log2(np.asarray(mic))[m], 0.5)
    value, lower, upper = (ndtr(1.3 * (z + shift)) for shift in (0.0, -0.3, 0.3))
    n = np.full(shape[:3], 10_000)
    if asked is not None:
        n[~asked] = 0
        for array in (value, lower, upper):
            array[~asked] = np.nan
    reached = value >= 0.9
    breakpoint_ = np.where(reached.any(-1), np.where(reached, np.asarray(mic), 0.0).max(-1), np.nan)
    share = np.nan_to_num(value)
    return xr.Dataset(
        {
            "pta": ((*DIMS, "mic"), value),
            "lower": ((*DIMS, "mic"), lower),
            "upper": ((*DIMS, "mic"), upper),
            "mcse": ((*DIMS, "mic"), np.sqrt(share * (1 - share) / 1e4)),
            "n_attained": ((*DIMS, "mic"), np.round(share * 1e4).astype(np.int64)),
            "n_simulated": (DIMS, n),
            "breakpoint": (DIMS, breakpoint_, {"level": 0.9, "units": "mg/L"}),
        },
        coords={
            "scenario": list(scenarios),
            "regimen": list(regimens),
            "target": list(targets),
            "mic": ("mic", list(mic), {"units": "mg/L"}),
        },
        attrs={
            "interval": interval,
            "interval_level": 0.95,
            "seed": 1,
            "tdmx_version": "0.1.0",
            "run_mode": "direct",
            "n_workers": 1,
            "seconds": 0.123,
            "draws_digest": "0f3c",
            "fu_note": fu_note,
            "regimens": json.dumps([{"regimen": name} for name in regimens]),
            "targets": json.dumps(list(targets)),
            "population": "meropenem",
        },
    )


def two_levels(**options: Any) -> xr.Dataset:
    """A small PTA of two levels, computed."""
    population = tdmx.Population.from_mapping(
        {"name": "made up", "parameters": {"CL": 5, "Vc": 20}, "bsv": {"CL": {"cv": 0.3}}}
    )
    draws = {"CL": np.random.default_rng(3).lognormal(1.6, 0.2, 200)}
    regimens = ["1000 mg q8h inf 1h", "2000 mg q8h inf 1h"]
    asked: dict[str, Any] = {"mic": [1, 2, 4, 8, 16], "population": population, "subjects": 20, "seed": 1}
    return tdmx.pta(draws, regimens, "T>MIC >= 50%", **{**asked, **options})


def cfr_result(pta: xr.Dataset, organisms: Sequence[str] = ("E. coli", "P. aeruginosa")) -> xr.Dataset:
    """CFR near the mean PTA over the MICs, lower from organism to organism."""
    base = pta["pta"].mean("mic").values[..., None]
    value = np.clip(base + 0.3 - 0.2 * np.arange(len(organisms)), 0, 1)
    dims = (*DIMS, "organism")
    return xr.Dataset(
        {
            "cfr": (dims, value),
            "lower": (dims, np.clip(value - 0.03, 0, 1)),
            "upper": (dims, np.clip(value + 0.03, 0, 1)),
            "mcse": (dims, np.where(np.isnan(value), np.nan, 0.004)),
        },
        coords={**{dim: pta[dim].values for dim in DIMS}, "organism": list(organisms)},
        attrs={
            **pta.attrs,
            "organisms": json.dumps(
                [
                    {
                        "organism": name,
                        "source": "made up",
                        "n": 100,
                        "illustrative": number == 0,
                        "censored": [">32"] if number else [],
                        "above": 0.02 * number,
                    }
                    for number, name in enumerate(organisms)
                ]
            ),
        },
    )
