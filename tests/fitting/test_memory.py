"""The estimate of a batch's memory: the formula against real children, the learned model against simulated laws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.memory import FEWEST, LEAST_MB, MemoryRecord, estimate_memory
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import Batch, ChainTask, Sampling

NORMAL = Program(
    "wide",
    "data {int n; int k; vector[n] y;} parameters {real mu; real<lower=0> s;} "
    "model {mu ~ normal(0, 10); s ~ normal(0, 5); y ~ normal(mu, s);} "
    "generated quantities {vector[k] z; for (i in 1:k) z[i] = mu;}",
)


def simulated(n: int, rng: np.random.Generator, *, noise: float = 0.05) -> list[MemoryRecord]:
    """Peaks of another law than the formula's: 70 MB + 25 a MB of data + 4 a MB of draws held."""
    records = []
    for _ in range(n):
        one = MemoryRecord(
            "p", "stanli", int(10 ** rng.uniform(3, 7)), int(rng.integers(1, 5)), int(10 ** rng.uniform(2, 4)), int(rng.integers(2, 300))
        )  # fmt: skip
        records.append(replace(one, peak_mb=truth(one) * float(np.exp(rng.normal(0, noise)))))
    return records


def truth(one: MemoryRecord) -> float:
    return float(np.dot((70, 25, 4), one.law))


def test_estimate__recovers_a_law_and_says_its_error() -> None:
    rng = np.random.default_rng(1)
    records = simulated(200, rng)
    for one in simulated(50, rng):
        found = estimate_memory(one, records)
        assert truth(one) < found.mb < 1.25 * truth(one)
        assert found.n_records == 200
        assert found.basis == "200 records of this program"
        assert found.error == pytest.approx(0.05 * 0.674, rel=0.35)  # median of |N(0, 0.05)|


def test_estimate__quantile_covers() -> None:
    """Over many histories of 40 fits, 95 % of the next fits stay within their estimate (nominal; 2,000 trials)."""
    rng = np.random.default_rng(2)
    within = []
    for _ in range(100):
        records = simulated(40, rng, noise=0.15)
        within += [one.peak_mb <= estimate_memory(one, records).mb for one in simulated(20, rng, noise=0.15)]
    assert 0.93 < np.mean(within) < 0.985


def test_estimate__few_records_give_the_formula() -> None:
    rng = np.random.default_rng(3)
    records = simulated(FEWEST, rng)
    asked = MemoryRecord("p", "stanli", 1000, 4, 1000, 20)
    without = estimate_memory(asked)
    assert estimate_memory(asked, records[: FEWEST - 1]) == without
    assert without.basis == "formula"
    assert estimate_memory(asked, records).n_records == FEWEST
    assert estimate_memory(replace(asked, engine="cmdstan"), records).basis == "formula"


def test_estimate__other_programs_of_the_engine_stand_in() -> None:
    records = simulated(20, np.random.default_rng(4))
    found = estimate_memory(MemoryRecord("another", "stanli", 1000, 4, 1000, 20), records)
    assert found.basis == "20 records of stanli"


def test_estimate__like_records_say_nothing_about_size() -> None:
    """All alike and small: what a hundred times the draws need still comes from the formula."""
    one = MemoryRecord("p", "stanli", 1000, 4, 1000, 20, 45.0)
    large = estimate_memory(replace(one, draws=100_000, peak_mb=0.0), 30 * [one])
    assert large.mb >= estimate_memory(replace(one, draws=100_000, peak_mb=0.0)).mb > 140


def test_estimate__grows_with_all_it_is_given() -> None:
    asked = MemoryRecord("p", "stanli", 10**6, 1, 10_000, 100)
    for records in ((), simulated(30, np.random.default_rng(5))):
        base = estimate_memory(asked, records).mb
        for name, value in (("data_bytes", 10**7), ("chains", 2), ("draws", 20_000), ("columns", 200)):
            assert estimate_memory(replace(asked, **{name: value}), records).mb > base
        assert estimate_memory(asked, records, parallel=3).mb == pytest.approx(3 * base)
    tiny = MemoryRecord("p", "stanli", 0, 1, 1, 1, 2.0)
    assert estimate_memory(tiny, 20 * [tiny]).mb == LEAST_MB


@pytest.mark.parametrize(
    ("n", "columns", "draws", "chains"), [(5, 1, 1000, 4), (100_000, 1, 100, 1), (5, 500, 5000, 2)]
)
def test_estimate__formula_holds_real_children(n: int, columns: int, draws: int, chains: int) -> None:
    data = json.dumps({"n": n, "k": columns, "y": np.random.default_rng(6).normal(size=n).round(6).tolist()})
    batch = Batch(
        tuple(ChainTask(NORMAL, data, 1, c, sampling=Sampling(200, draws), fit="size") for c in range(chains))
    )
    results = run_batch(batch, lambda _event: None)
    peak = max(result.peak_mb for result in results)
    found = estimate_memory(
        MemoryRecord(NORMAL.digest, "stanli", len(data), chains, draws, len(results[0].names))
    )
    assert peak <= found.mb <= 2 * peak


@pytest.mark.parametrize(
    ("change", "message"), [({"engine": "jags"}, "engine=jags"), ({"chains": 0}, "chains=0"), ({"draws": -1}, "draws=-1")]
)  # fmt: skip
def test_estimate__refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate_memory(replace(MemoryRecord("p", "stanli", 1, 1, 1, 1), **change))
