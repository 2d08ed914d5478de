"""Programs that cannot give a posterior end in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.errors import FitError, InputError
from tdmx_dask.fitting.fit import Fit

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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """One chain of one draw."""
    library = tmp_path_factory.mktemp("library")
    return tdmx.fit(
        "meropenem_tdm", engine="stanli", chains=1, iter_warmup=50, iter_sampling=1, seed=1, library=library
    )


def test_fit__summary_of_one_draw(found: Fit) -> None:
    table = found.summary()
    assert np.isfinite(table["mean"]).all()
    assert table["mcse"].isna().all()


@pytest.mark.parametrize("data", [5, "", "y", [], [1, 2]])
def test_fit__refuses_data_without_names(data: Any, tmp_path: Path) -> None:
    program = tmp_path / "rejects.stan"
    program.write_text(REJECTS)
    with pytest.raises(InputError, match=r"^data=.*: data of a program are numbers and arrays by name\. For"):
        tdmx.fit(program=program, data=data, library=tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"library": 5}, r"^library=5: it is the path of a folder\. "),
        ({"out": 5}, r"^out=5: it is the path of a folder\. "),
        ({"executable": 5}, r"^executable=5: it is the path of a program\. "),
        ({"executable": "nowhere/model"}, r"^executable=nowhere/model: there is no such file\. "),
        ({"auto_tune": "x"}, r"^auto_tune=x: it must be True or False\. "),
        ({"warm_start": "x"}, r"^warm_start=x: it must be True or False\. "),
        ({"reuse": 1}, r"^reuse=1: it must be True or False\. "),
        ({"max_chains": 0}, r"^max_chains=0: most chains must be a whole number >= 1\. "),
        ({"chaims": 2}, r"^chaims=2: there is no such option\. Did you mean 'chains'\?$"),
        ({"prior": 2}, r"^prior=2: there is no such option\. Did you mean 'priors'\?$"),
    ],
)
def test_fit__refuses_an_option(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        tdmx.fit("meropenem_tdm", **{"library": tmp_path / "library", **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["chaims", "prior"])
def test_fit_many__refuses_an_unknown_option(option: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{option}=2: there is no such option\. Did you mean '"):
        tdmx.fit_many(["meropenem_tdm"], library=tmp_path, **{option: 2})


def test_open_fit__refuses_what_is_no_path() -> None:
    with pytest.raises(InputError, match=r"^path=5: it is the path of a folder\. "):
        tdmx.open_fit(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("intervals", ["x", 0.5, (), (0.5, 1), ("0.5",), ((0.5,), (0.5, 0.9))])
def test_ppc__refuses_what_are_no_probabilities(found: Fit, intervals: Any) -> None:
    with pytest.raises(InputError, match=r"^intervals=.*: probabilities in \(0, 1\)\. For example"):
        tdmx.ppc(found, intervals=intervals)


def test_ppc__refuses_what_is_no_fit() -> None:
    with pytest.raises(InputError, match=r"^fit=5: it is the path of a folder\. "):
        tdmx.ppc(5)  # type: ignore[arg-type]


def test_compare_models__refuses_what_is_no_fit(found: Fit) -> None:
    with pytest.raises(InputError, match=r"^fits\[b\]=5: it is a fit\. "):
        tdmx.compare_models({"a": found, "b": 5})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"^fits=5: fits are a mapping by name, or a cohort\. "):
        tdmx.compare_models(5)  # type: ignore[arg-type]
