"""Configuration: Dask's files and environment win over the defaults; what is wrong is said."""

from __future__ import annotations

import re

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
    assert (found.queue_folder, found.cache_folder) == ("queue", "cache/job_results")
    assert (found.cache_max_bytes, found.cache_max_age) == (2**30, 30 * 86400)
    assert set(found.clusters) >= {
        "local",
        "notebook",
        "slurm",
        "pbs",
        "sge",
        "lsf",
        "htcondor",
        "batch",
        "kubernetes",
    }


def test_settings__dask_configuration_wins_and_reaches_the_verbs() -> None:
    with dask.config.set({"tdmx.seed": 7, "tdmx.breakpoint-level": 0.5, "tdmx.clusters.local.n-workers": 1}):
        assert settings().seed == 7
        assert settings().clusters["local"]["n_workers"] == 1
        result = tdmx.pta(DRAWS, "1 g q8h", "T>MIC >= 50%", mic=1)
    assert result.attrs["seed"] == "7"
    assert result["breakpoint"].attrs["level"] == 0.5
    assert settings().seed == 0


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("cache-max-bytes", 0, 0),
        ("cache-max-bytes", 12_345, 12_345),
        ("cache-max-bytes", "12 kB", 12_000),
        ("cache-max-age", 90, 90.0),
        ("cache-max-age", "1.5 h", 5400.0),
        ("cache-folder", "there", "there"),
        ("queue-folder", "jobs", "jobs"),
    ],
)
def test_settings__sizes_and_times_as_dask_reads_them(key: str, given: object, expected: object) -> None:
    with dask.config.set({f"tdmx.{key}": given}):
        assert getattr(settings(), key.replace("-", "_")) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tdmx.sed": 1}, r"tdmx\.sed=1: there is no such setting\. Did you mean seed\?"),
        ({"tdmx.seed": -1}, r"tdmx\.seed=-1"),
        ({"tdmx.seed": True}, r"tdmx\.seed=True"),
        ({"tdmx.interval-level": 95}, r"tdmx\.interval-level=95: a level is a fraction"),
        ({"tdmx.fits-library": ""}, r"tdmx\.fits-library=: it is the path of a folder\. For example fits\."),
        ({"tdmx.queue-folder": 3}, r"tdmx\.queue-folder=3: it is the path of a folder\. For example queue\."),
        ({"tdmx.cache-folder": None}, r"tdmx\.cache-folder=None: it is the path of a folder"),
        *(
            (
                {"tdmx.cache-max-bytes": given},
                rf"tdmx\.cache-max-bytes={re.escape(str(given))}: it is a number of bytes, >= 0",
            )
            for given in (-1, "-1 GiB", "much", "", True, None, float("nan"), float("inf"), [])
        ),
        *(
            ({"tdmx.cache-max-age": given}, rf"tdmx\.cache-max-age={given}: it is a length of time, > 0 s")
            for given in (0, -1, "-1 d", "long", "", False, None, float("nan"))
        ),
        ({"tdmx.clusters": [1]}, r"tdmx\.clusters=\[1\]: a mapping of profiles"),
        ({"tdmx.pools-folder": ""}, r"tdmx\.pools-folder=: it is the path of a folder"),
        ({"tdmx.clusters.local": 2}, r"tdmx\.clusters\.local=2: a mapping"),
    ],
)
def test_settings__refuses(change: dict[str, object], message: str) -> None:
    with dask.config.set(change), pytest.raises(ConfigError, match=message):
        settings()
