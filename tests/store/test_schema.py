"""The schema: what is refused, and how it is said."""

import time

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.errors import InputError, SchemaError
from tdmx_dask.store import schema
from tdmx_dask.store.schema import check_draws, check_result, check_values, standardise
from tests.store.conftest import make_draws


def test_check_draws__accepts():
    draws = make_draws()
    check_draws(draws)
    check_draws(draws, model="2C")
    check_draws(draws.assign(Q1=draws.Q1 * 0), model="2C")  # no flow: fewer compartments
    check_draws(draws.assign(theta=-draws.CL.drop_attrs()))  # not a known name: finite is enough


def test_check_draws__refuses_empty_draws():
    with pytest.raises(SchemaError, match="draws=empty: there must be at least one draw"):
        check_draws(make_draws(n_draws=0))
    with pytest.raises(SchemaError, match="draws=no variables"):
        check_draws(xr.Dataset())


def test_check_draws__refuses_a_missing_parameter():
    with pytest.raises(InputError, match="a 3C model needs CL Vc Q1 Vp1 Q2 Vp2; missing: Q2 Vp2"):
        check_draws(make_draws(), model="3C")


def test_check_draws__refuses_dimensions():
    draws = make_draws()
    with pytest.raises(SchemaError, match=r"CL\.dims=.*begin with \(chain, draw\)\. Add a chain"):
        check_draws(draws.isel(chain=0))
    with pytest.raises(SchemaError, match=r"CL\.dims=.*begin with \(chain, draw\)\. Transpose"):
        check_draws(draws.transpose("draw", "chain"))
    with pytest.raises(SchemaError, match=r"CL\.dims=.*CL has one value a draw"):
        check_draws(draws.expand_dims(patient=2).transpose("chain", "draw", "patient"))


def test_check_draws__accepts_a_scenario():
    check_draws(make_draws().expand_dims(scenario=2).transpose("chain", "draw", "scenario"))


def test_check_draws__refuses_another_dtype():
    with pytest.raises(SchemaError, match=r"CL\.dtype=float32: draws are float64"):
        check_draws(make_draws().astype("float32"))


@pytest.mark.parametrize(("name", "unit"), [("CL", "mL/min"), ("Vc", "L/h"), ("Q1", "L/day")])
def test_check_draws__refuses_another_unit(name, unit):
    draws = make_draws()
    draws[name].attrs["units"] = unit
    with pytest.raises(
        SchemaError, match=rf'{name}\.units={unit}: {name} is in .*units={{"{name}": "{unit}"}}'
    ):
        check_draws(draws, values=False)


def test_check_draws__refuses_another_sampling():
    with pytest.raises(SchemaError, match="sampling=random: it is mcmc or independent"):
        check_draws(make_draws().assign_attrs(sampling="random"))


def test_check_draws__refuses_an_alias():
    with pytest.raises(SchemaError, match=r"draws=V1: the parameter is called Vc here\. Rename V1 to Vc"):
        check_draws(make_draws().rename(Vc="V1"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_check_draws__says_which_value(bad):
    draws = make_draws()
    draws.CL[1, 17] = bad
    text = rf"^CL\[chain=1, draw=17\]={bad:g}: a clearance must be finite and > 0 L/h \(1e-30 to 1e\+30\)\. So are 1 of 100 values"
    with pytest.raises(InputError, match=text):
        check_draws(draws)
    check_draws(draws, values=False)


def test_check_draws__says_which_value_of_a_large_array(monkeypatch):
    monkeypatch.setattr(schema, "BLOCK_VALUES", 32)
    draws = make_draws()
    check_draws(draws)
    draws.Vc[1, 43] = np.nan
    with pytest.raises(
        InputError,
        match=r"^Vc\[chain=1, draw=43\]=nan: a volume must be finite and > 0 L \(1e-30 to 1e\+30\)\.",
    ):
        check_draws(draws)


@given(
    bad=st.sampled_from([np.nan, np.inf, -np.inf, -1e-300]),
    chain=st.integers(0, 3),
    draw=st.integers(0, 99),
    start=st.sampled_from([0, 1024, 1 << 40]),
    name=st.sampled_from(["CL", "Vc", "Q1", "fu", "tlag", "WT"]),
)
@settings(max_examples=60, deadline=None)
def test_check_values__finds_the_value(bad, chain, draw, start, name):
    values = np.full((4, 100), 0.5)
    values[chain, draw] = bad
    with pytest.raises(InputError, match=rf"^{name}\[chain={chain}, draw={draw}\]={bad:g}: "):
        check_values({"Vp1": np.ones((4, 100)), name: values})
    with pytest.raises(InputError, match=rf"^{name}\[chain={chain}, draw={draw + start}\]={bad:g}: "):
        check_values({name: values[chain]}, chain=chain, start=start)
    with pytest.raises(InputError, match=rf"^{name}\[draw={draw + start}\]={bad:g}: "):
        check_values({name: values[chain]}, start=start)


def test_check_values__zero_and_the_extremes():
    tiny, huge = np.array([5e-324]), np.array([1.7e308])
    for name in ("CL", "Vc", "Vp2"):
        check_values({name: np.array([1e-30, 1e30])})
        for beyond in (tiny, huge):
            with pytest.raises(InputError, match=rf"{name}\[draw=0\]=.* > 0 .*\(1e-30 to 1e\+30\)"):
                check_values({name: beyond})
    check_values({"Km": tiny})
    check_values({"Q1": tiny})
    for name in ("CL", "Vc", "Vp2", "Km"):
        with pytest.raises(InputError, match=rf"{name}\[draw=0\]=0: .* > 0"):
            check_values({name: np.zeros(1)})
    for name in ("Q1", "Q2", "tlag"):
        check_values({name: np.zeros(1)})
        with pytest.raises(
            InputError, match=rf"{name}\[draw=0\]=-5e-324|{name}\[draw=0\]=-4.9.*e-324: .* >= 0"
        ):
            check_values({name: -tiny})
    check_values({"fu": np.ones(3)})
    check_values({"CL": np.empty(0)})
    check_values({"anything": np.array([-3.0, 0.0])})
    with pytest.raises(
        InputError,
        match=r"anything.*=inf: a value must be finite\. So are 1 of 2 values\. Leave the variable out",
    ):
        check_values({"anything": np.array([-3.0, np.inf])})


def test_check_values__percents():
    with pytest.raises(
        InputError, match=r'fu\[draw=1\]=85: .* > 0 and <= 1\. If these are percents.*"fu": "%"'
    ):
        check_values({"fu": np.array([0.5, 85.0])})


def test_check_values__under_two_ns_a_value():
    values = {name: np.ones(65536) for name in ("CL", "Vc", "Q1", "Vp1")}
    best = min(_seconds(lambda: check_values(values)) for _ in range(50))
    print(f"check_values: {best / (4 * 65536) * 1e9:.2f} ns a value")


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_omega(matrix, n_draws=3):
    values = np.broadcast_to(np.asarray(matrix, dtype=float), (1, n_draws, *np.shape(matrix))).copy()
    return xr.DataArray(values, dims=("chain", "draw", "eta", "eta2"))


def test_check_draws__omega():
    draws = make_draws(n_chains=1, n_draws=3)
    good = make_omega([[0.09, 0.03], [0.03, 0.04]])
    check_draws(draws.assign(omega=good))
    check_draws(draws.assign(omega=make_omega([[0.09, 0.06], [0.06, 0.04]])))  # correlation 1
    check_draws(draws.assign(omega=make_omega([[0.0, 0.0], [0.0, 0.04]])))  # no variability of one
    with pytest.raises(InputError, match=r"omega\[chain=0, draw=0, 0, 1\]=0.03: omega must be symmetric"):
        check_draws(draws.assign(omega=make_omega([[0.09, 0.03], [0.02, 0.04]])))
    with pytest.raises(
        InputError, match=r"omega\[chain=0, draw=0, 1, 1\]=-0.04: a variance of the log must be >= 0"
    ):
        check_draws(draws.assign(omega=make_omega([[0.09, 0.0], [0.0, -0.04]])))
    with pytest.raises(InputError, match="a covariance must not exceed"):
        check_draws(draws.assign(omega=make_omega([[0.09, 0.07], [0.07, 0.04]])))
    with pytest.raises(SchemaError, match=r"omega\.dims=.*square"):
        check_draws(draws.assign(omega=good.isel(eta2=slice(1))))
    named = good.assign_coords(eta=["CL", "Vc"], eta2=["Vc", "CL"])
    with pytest.raises(SchemaError, match=r"omega\.eta2=.*those of the rows"):
        check_draws(draws.assign(omega=named))


def test_standardise():
    raw = make_draws().rename(Vc="V1", Q1="Q", Vp1="V2").drop_attrs()
    raw = raw.assign(WT=(("chain", "draw"), np.full((2, 50), 70)), ID=raw.CL).assign_coords(draw=range(50))
    draws = standardise(raw)
    check_draws(draws, model="2C")
    assert {name: draws[name].attrs["units"] for name in ("CL", "Vc", "Q1", "Vp1", "WT")} == {
        "CL": "L/h",
        "Vc": "L",
        "Q1": "L/h",
        "Vp1": "L",
        "WT": "kg",
    }
    assert draws.WT.dtype == np.float64
    assert "draw" not in draws.coords
    assert "units" not in raw.CL.attrs
    assert draws.CL.values is raw.CL.values or np.shares_memory(draws.CL.values, raw.CL.values)


def test_standardise__does_not_hide_a_wrong_unit():
    raw = make_draws()
    raw.CL.attrs["units"] = "mL/min"
    with pytest.raises(SchemaError, match=r"CL\.units=mL/min"):
        check_draws(standardise(raw))


def test_check_result():
    pta = xr.Dataset({"pta": (("regimen", "mic"), np.ones((2, 3))), "lower": ("regimen", [0.0, 0.0])})
    assert check_result(pta) == "pta"
    assert check_result(pta.rename(pta="cfr", mic="organism")) == "cfr"
    with pytest.raises(SchemaError, match="result=a: a result has a variable pta, cfr, critical_mic"):
        check_result(xr.Dataset({"a": 1}))
    with pytest.raises(SchemaError, match=r"pta\.dims=\['x'\]: pta has scenario, regimen, target, mic"):
        check_result(pta.rename(mic="x"))
