"""Configuration: Dask's files and environment win over the defaults; what is wrong is said."""

from __future__ import annotations

import dask.config
import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.config import settings
from tdmx_dask.errors import ConfigError

DRAWS = {"CL": np.array([5.0]), "Vc": np.array([30.0])}


def test_settings__defaults() -> None:
    found = settings()
    assert (found.seed, found.interval_level, found.breakpoint_level) == (0, 0.95, 0.9)
    assert set(found.clusters) >= {"local", "notebook"}


def test_settings__dask_configuration_wins_and_reaches_the_verbs() -> None:
    with dask.config.set({"tdmx.seed": 7, "tdmx.breakpoint-level": 0.5, "tdmx.clusters.local.n-workers": 1}):
        assert settings().seed == 7
        assert settings().clusters["local"]["n_workers"] == 1
        result = tdmx.pta(DRAWS, "1 g q8h", "T>MIC >= 50%", mic=1)
    assert result.attrs["seed"] == "7"
    assert result["breakpoint"].attrs["level"] == 0.5
    assert settings().seed == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tdmx.sed": 1}, r"tdmx\.sed=1: there is no such setting\. Did you mean seed\?"),
        ({"tdmx.seed": -1}, r"tdmx\.seed=-1"),
        ({"tdmx.seed": True}, r"tdmx\.seed=True"),
        ({"tdmx.interval-level": 95}, r"tdmx\.interval-level=95: a level is a fraction"),
        ({"tdmx.clusters.local.workers": 2}, r"tdmx\.clusters\.local\.workers=2: there is no such setting"),
        ({"tdmx.clusters.local": 2}, r"tdmx\.clusters\.local=2: a mapping"),
    ],
)
def test_settings__refuses(change: dict[str, object], message: str) -> None:
    with dask.config.set(change), pytest.raises(ConfigError, match=message):
        settings()
