"""CFR over the counts of EUCAST, against a direct computation."""

from __future__ import annotations

import json

import numpy as np

import tdmx_dask as tdmx
from tests.reference.published import Facts

EUCAST = Facts.read("eucast2024")
MEROPENEM = Facts.read("fukumoto2023_meropenem")
REGIMENS = ["1000 mg q8h inf 30min", "2000 mg q8h inf 3h"]
TARGET = "T>MIC >= 50%"


def test_counts__are_those_printed() -> None:
    for each in EUCAST["distributions"]:
        assert sum(each["count"]) == each["n"]


def test_cfr__is_the_mean_of_the_critical_mics_reached_by_each_isolate() -> None:
    """EUCAST's 0.016, 0.03 and 0.06 are the dilutions 2^-6, 2^-5 and 2^-4 of the grid; its label stays with the result."""
    counts = EUCAST["distributions"]
    isolates = [
        tdmx.MICDistribution.from_counts(
            each["mic"], each["count"], organism=each["organism"], source=EUCAST["source"]
        )
        for each in counts
    ]
    draws = tdmx.sample(MEROPENEM.population, 50_000, seed=3, scenarios={"CCr 130": {"CCr": 130}})
    exact = [2.0**k for k in range(-7, 9)]
    cfr = tdmx.cfr(tdmx.pta(draws, REGIMENS, TARGET, mic=exact), isolates)
    critical = tdmx.critical_mic(draws, REGIMENS, TARGET).values.reshape(len(REGIMENS), -1)
    for each in counts:
        for regimen, profiles in zip(REGIMENS, critical, strict=True):
            dilution = 2.0 ** np.rint(np.log2(each["mic"]))
            reached = np.searchsorted(np.sort(profiles), dilution, side="left")
            expected = np.dot(each["count"], 1 - reached / profiles.size) / each["n"]
            found = cfr["cfr"].sel(organism=each["organism"], regimen=tdmx.Regimen.parse(regimen).label)
            np.testing.assert_allclose(found.item(), expected, rtol=1e-12)
    for about in json.loads(cfr.attrs["organisms"]):
        assert "can never be used to infer rates of resistance" in about["source"]
        assert "EUCAST MIC distribution website" in about["source"]
