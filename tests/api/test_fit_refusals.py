"""Programs that cannot give a posterior end in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import tdmx_dask as tdmx
from tdmx_dask.errors import FitError

REJECTS = """parameters { real x; }
model { x ~ normal(0, 1); }
generated quantities { real y = 1; if (x > -99) reject("never"); }
"""


def test_fit__refuses_draws_without_a_finite_quantity(tmp_path: Path) -> None:
    program = tmp_path / "rejects.stan"
    program.write_text(REJECTS)
    with pytest.raises(FitError, match="no quantity of it has finite values"):
        tdmx.fit(
            program=program,
            engine="stanli",
            chains=1,
            iter_warmup=50,
            iter_sampling=50,
            seed=1,
            library=tmp_path,
        )
