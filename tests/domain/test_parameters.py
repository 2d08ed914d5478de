"""Names of parameters: the seed's, NONMEM's, and what is refused between them."""

from itertools import permutations

import pytest

from tdmx_dask.domain.parameters import (
    CANONICAL_ORDER,
    MODELS,
    PARAMETERS,
    canonical_names,
    check_value,
    infer_model,
    parameters_of,
    require_parameters,
)
from tdmx_dask.errors import InputError


def test_models_are_prefixes_of_the_canonical_order():
    assert CANONICAL_ORDER == ("CL", "Vc", "Q1", "Vp1", "Q2", "Vp2")
    for model, names in MODELS.items():
        assert parameters_of(model) == names == CANONICAL_ORDER[: 2 * int(model[0])]


def test_units_and_zero_flows():
    assert {name: each.unit for name, each in PARAMETERS.items() if name[0] == "V"} == dict.fromkeys(
        ("Vc", "Vp1", "Vp2"), "L"
    )
    assert [name for name, each in PARAMETERS.items() if each.may_be_zero] == ["Q1", "Q2"]


@pytest.mark.parametrize(("name", "value"), [("CL", 5), ("Q1", 0), ("Q2", 0.0), ("Vp2", 1e-9), ("CL", None)])
def test_possible_values(name, value):
    check_value(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CL", 0, r"CL=0: clearance must be above 0 L/h and finite \(1e-30 to 1e\+30\)\. Give it in L/h"),
        (
            "Vc",
            -20,
            r"Vc=-20: central volume must be above 0 L and finite \(1e-30 to 1e\+30\)\. Give it in L",
        ),
        ("Q1", -1, r"Q1=-1: flow to the first peripheral compartment must be at least 0 L/h"),
        ("Vp1", float("nan"), r"Vp1=nan: .* and finite"),
        ("Q2", float("inf"), r"Q2=inf: .* and finite"),
    ],
)
def test_impossible_values_are_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        check_value(name, value)


@pytest.mark.parametrize(
    ("given", "canonical", "model"),
    [
        ("CL V", "CL Vc", "1C"),
        ("CL V1", "CL Vc", "1C"),
        ("CL Vc", "CL Vc", "1C"),
        ("CL V1 Q V2", "CL Vc Q1 Vp1", "2C"),
        ("CL V Q V2", "CL Vc Q1 Vp1", "2C"),
        ("CL Vc Q Vp", "CL Vc Q1 Vp1", "2C"),
        ("CL Vc Q1 Vp1", "CL Vc Q1 Vp1", "2C"),
        ("CL V1 Q2 V2", "CL Vc Q1 Vp1", "2C"),
        ("CL V1 Q2 V2 Q3 V3", "CL Vc Q1 Vp1 Q2 Vp2", "3C"),  # NONMEM ADVAN11 TRANS4
        ("CL V Q V2 Q2 V3", "CL Vc Q1 Vp1 Q2 Vp2", "3C"),  # PKPDsim
        ("CL V1 Q1 V2 Q2 V3", "CL Vc Q1 Vp1 Q2 Vp2", "3C"),
        ("CL Vc Q1 Vp1 Q2 Vp2", "CL Vc Q1 Vp1 Q2 Vp2", "3C"),
    ],
)
def test_aliases(given, canonical, model):
    expected = dict(zip(given.split(), canonical.split(), strict=True))
    for names in list(permutations(expected))[::7]:
        assert canonical_names(names) == expected
        assert infer_model([*names, "WT"]) == model
    assert list(require_parameters(reversed(given.split()), model).values()) == canonical.split()


def test_names_that_are_no_parameter_are_left_out():
    assert canonical_names(["WT", "CL", "lp__", "fu"]) == {"CL": "CL"}


def test_a_name_given_twice_is_one_name():
    assert canonical_names(["CL", "CL", "V"]) == {"CL": "CL", "V": "Vc"}


@pytest.mark.parametrize(
    ("given", "both", "canonical"),
    [
        ("CL V Vc", "V, Vc", "Vc"),
        ("Q CL Q1", "Q, Q1", "Q1"),
        ("V2 Vp1", "V2, Vp1", "Vp1"),
        ("Q1 Q2 Q3", "Q2, Q3", "Q2"),
        ("V3 Vp2", "V3, Vp2", "Vp2"),
    ],
)
def test_two_names_of_one_parameter_are_refused(given, both, canonical):
    with pytest.raises(InputError, match=f"parameters={both}: both stand for {canonical}"):
        canonical_names(given.split())


@pytest.mark.parametrize("given", ["CL V1 Q2 V2 Vp2", "CL Vc Q2 Vp1 Q3 Vp2", "Q2 Vp1 V3", "Q2 Vp V3"])
def test_a_q2_that_could_be_either_flow_is_refused(given):
    with pytest.raises(
        InputError, match=r"Q2 is the first peripheral flow beside NONMEM's .* Use one family"
    ):
        canonical_names(given.split())


def test_a_parameter_that_the_model_lacks_is_refused():
    with pytest.raises(InputError, match=r"parameters=V3 \(Vp2\): a 2C model has CL Vc Q1 Vp1\. Remove it"):
        canonical_names(["CL", "V1", "V3"], "2C")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("CL", "a 1C model needs CL Vc; missing: Vc"),
        ("Vc", "a 1C model needs CL Vc; missing: CL"),
        ("", "parameters=none: a 1C model needs CL Vc; missing: CL Vc"),
        ("CL Vc Q1", "a 2C model needs CL Vc Q1 Vp1; missing: Vp1"),
        ("CL Vc Q2 Vp2", "a 3C model needs .* missing: Q1 Vp1"),
        ("CL V2 Q V3", "a 3C model needs .* missing: Vc Q2"),  # NONMEM ADVAN4: V2 is its central volume
    ],
)
def test_a_missing_parameter_is_named(given, message):
    with pytest.raises(InputError, match=message):
        infer_model(given.split())


def test_many_names_make_a_short_complaint():
    with pytest.raises(InputError, match="missing: CL Vc") as caught:
        infer_model([f"column_{i}" for i in range(10_000)])
    assert len(str(caught.value)) < 300


def test_the_nearest_name_is_offered():
    with pytest.raises(
        InputError, match=r"missing: Vc\. Is vc meant\? Call it Vc, on import with --column Vc=vc\."
    ):
        require_parameters(["CL", "vc"], "1C")


@pytest.mark.parametrize("model", ["4C", "2c", "", None])
def test_an_unknown_model_is_refused(model):
    with pytest.raises(InputError, match=r"one, two or three compartments.* Write 1C, 2C or 3C"):
        parameters_of(model)
