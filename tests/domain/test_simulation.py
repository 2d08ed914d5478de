"""Virtual patients: their bits, their laws, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest

from tdmx_dask.domain.population import Population
from tdmx_dask.domain.variability import cholesky
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.random import PURPOSE_ETA, normal_block
from tests.domain.populations import CEFATHIAMIDINE, LI, MEROPENEM, patients, population

ADDRESS = {"seed": 5, "chain": 2}


def pieces(source, n_draws, n_subjects, draw_cuts, subject_cuts, **arguments):
    """The same patients, asked for in pieces and put together."""
    thetas, omega = arguments.pop("thetas", {}), arguments.pop("omega", None)
    rows = []
    for s0, s1 in pairwise((0, *subject_cuts, n_subjects)):
        cells = []
        for d0, d1 in pairwise((0, *draw_cuts, n_draws)):
            cells.append(
                source.simulate(
                    **ADDRESS, draw_start=d0, n_draws=d1 - d0, subject_start=s0, n_subjects=s1 - s0,
                    thetas={name: values[d0:d1] for name, values in thetas.items()},
                    omega=None if omega is None else omega[d0:d1], **arguments,
                )
            )  # fmt: skip
        rows.append({name: np.concatenate([cell[name] for cell in cells], axis=1) for name in cells[0]})
    return {name: np.concatenate([row[name] for row in rows], axis=0) for name in rows[0]}


def posterior(n_draws, n_etas):
    generator = np.random.default_rng(3)
    root = generator.normal(size=(n_draws, n_etas, n_etas)) * 0.1
    omega = np.einsum("dik,djk->dij", root, root) + 0.01 * np.eye(n_etas)
    thetas = {"Q": generator.lognormal(2, 0.1, n_draws), "V2": generator.lognormal(2, 0.1, n_draws)}
    return {"omega": omega, "thetas": thetas}


N_DRAWS, N_SUBJECTS = 2500, 5
CASES = {
    "fixed covariate": (MEROPENEM, {}),
    "drawn covariates": (CEFATHIAMIDINE, {}),
    "derived covariates, correlations": (LI, {}),
    "scenario": (LI, {"scenario": {"WT": 55, "SEX": "male"}}),
    "posterior": (LI, posterior(N_DRAWS, 4)),
}


@pytest.mark.parametrize("case", CASES)
class TestBits:
    def test_no_split_changes_a_bit(self, case):
        mapping, arguments = CASES[case]
        source = Population.from_mapping(mapping)
        whole = pieces(source, N_DRAWS, N_SUBJECTS, (), (), **arguments)
        for draw_cuts, subject_cuts in (
            ((1024,), ()),
            ((1024, 2048), (2,)),
            ((2048,), (1, 2, 3, 4)),
            ((), (3,)),
        ):
            parts = pieces(source, N_DRAWS, N_SUBJECTS, draw_cuts, subject_cuts, **arguments)
            assert list(parts) == list(whole)
            for name, values in whole.items():
                assert values.shape == (N_SUBJECTS, N_DRAWS)
                np.testing.assert_array_equal(parts[name], values, err_msg=name)

    @pytest.mark.parametrize("n_draws", [1, 2, 3, 7, 1000, 1024, 1025, 2049])
    def test_a_shorter_run_is_a_prefix(self, case, n_draws):
        mapping, arguments = CASES[case]
        source = Population.from_mapping(mapping)
        whole = pieces(source, N_DRAWS, 2, (), (), **arguments)
        cut = dict(arguments)
        if "thetas" in cut:
            cut = {
                "thetas": {k: v[:n_draws] for k, v in cut["thetas"].items()},
                "omega": cut["omega"][:n_draws],
            }
        shorter = pieces(source, n_draws, 2, (), (), **cut)
        for name, values in shorter.items():
            np.testing.assert_array_equal(values, whole[name][:, :n_draws], err_msg=name)


class TestPatients:
    def test_they_are_typical_values_times_exp_of_eta(self):
        source = Population.from_mapping(
            LI | {"covariates": {**LI["covariates"], "AGE": {"unit": "years", "value": 35}}}
        )
        found = source.simulate(seed=9, chain=1, draw_start=1024, n_draws=600, subject_start=4, n_subjects=2)
        factor = np.linalg.cholesky(source.omega)
        for s in range(2):
            eta = normal_block(9, PURPOSE_ETA, 1, 1, 4 + s, 600, 4) @ factor.T
            crcl = (
                (140 - 35)
                * found["WT"][s]
                / (72 * found["SCR"][s] / 88.4)
                * np.where(found["SEX"][s] == 1, 0.85, 1)
            )
            np.testing.assert_allclose(found["CLcr"][s], crcl, rtol=1e-13)
            typical = [15 * (crcl / 83) ** 0.62, 12.7 * (found["WT"][s] / 70) ** 0.82, 15.2, 12.4]
            for i, name in enumerate(("CL", "Vc", "Q1", "Vp1")):
                np.testing.assert_allclose(found[name][s], typical[i] * np.exp(eta[:, i]), rtol=1e-12)

    def test_moments_of_the_etas(self):
        source = Population.from_mapping(LI)
        found = source.simulate(
            seed=2,
            chain=0,
            draw_start=0,
            n_draws=8192,
            n_subjects=4,
            scenario={"WT": 70, "CLcr": 83, "AGE": 35},
        )
        logs = np.log(np.stack([found[name].ravel() for name in ("CL", "Vc", "Q1", "Vp1")]))
        np.testing.assert_allclose(logs.mean(axis=1), np.log([15, 12.7, 15.2, 12.4]), atol=0.008)
        np.testing.assert_allclose(np.cov(logs), source.omega, atol=0.003)

    def test_arrays_are_contiguous_and_in_order(self):
        found = patients(Population.from_mapping(CEFATHIAMIDINE), n_subjects=3)
        assert list(found) == ["CL", "Vc", "WT", "AGE", "fu"]
        for values in found.values():
            assert values.shape == (3, 5)
            assert values.dtype == np.float64
            assert values.flags.c_contiguous
        assert (found["fu"] == 0.77).all()

    def test_scenarios_share_their_random_numbers(self):
        source = Population.from_mapping(MEROPENEM)
        low, high = (patients(source, scenario={"CCr": crcl}, n_draws=100) for crcl in (40, 160))
        np.testing.assert_allclose(high["CL"] / low["CL"], 4**0.66, rtol=1e-14)
        np.testing.assert_array_equal(high["Vc"], low["Vc"])
        assert (low["CCr"] == 40).all()

    def test_a_scenario_leaves_the_other_covariates_alone(self):
        source = Population.from_mapping(LI)
        own, given = patients(source), patients(source, scenario={"AGE": 50})
        for name in ("WT", "SEX", "SCR", "Vc", "Q1"):
            np.testing.assert_array_equal(own[name], given[name])
        assert (given["AGE"] == 50).all()
        assert not np.array_equal(own["CLcr"], given["CLcr"])

    def test_what_nothing_uses_is_not_drawn(self):
        source = Population.from_mapping(LI)
        assert "HT" not in patients(source)
        assert "SCR" not in patients(source, scenario={"CLcr": 80})
        asked = patients(source, covariates=("HT",))
        assert asked["HT"].std() > 1
        for name, values in patients(source).items():
            np.testing.assert_array_equal(asked[name], values)

    def test_an_unrelated_covariate_moves_no_number(self):
        more = {"A": {"unit": "1", "uniform": {"low": 0, "high": 1}}, **CEFATHIAMIDINE["covariates"]}
        one, other = (
            Population.from_mapping(CEFATHIAMIDINE | {"covariates": c})
            for c in (more, CEFATHIAMIDINE["covariates"])
        )
        for name, values in patients(one).items():
            np.testing.assert_array_equal(patients(other)[name], values)

    def test_a_sex_may_be_given_by_its_name(self):
        source = Population.from_mapping(LI)
        assert (patients(source, scenario={"SEX": "male"})["SEX"] == 0).all()
        assert (patients(source, scenario={"SEX": "Female"})["SEX"] == 1).all()

    def test_no_variability_gives_typical_values(self):
        found = patients(population(bsv=None), n_subjects=2)
        assert (found["CL"] == 5).all()
        assert found["Vc"].shape == (2, 5)

    def test_a_closed_compartment_is_a_patient(self):
        found = patients(population(parameters={"CL": 5, "Vc": 20, "Q1": 0, "Vp1": 1}))
        assert (found["Q1"] == 0).all()

    def test_a_formula_of_fu(self):
        source = population(
            fu="1 - ALB / 100", covariates={"ALB": {"unit": "g/L", "uniform": {"low": 20, "high": 40}}}
        )
        found = patients(source)
        np.testing.assert_array_equal(found["fu"], 1 - found["ALB"] / 100)


class TestPosterior:
    def test_thetas_replace_their_defaults(self):
        source = population(thetas={"TVCL": 5, "power": 0.75}, parameters={"CL": "TVCL * (WT/70)**power", "Vc": 20},
                            covariates={"WT": {"unit": "kg", "value": 70}}, bsv=None)  # fmt: skip
        draws = np.array([1.0, 2, 3, 4, 5])
        np.testing.assert_array_equal(patients(source, thetas={"TVCL": draws})["CL"], [draws])
        assert (patients(source, thetas={"TVCL": 3.0}, n_subjects=2)["CL"] == 3).all()

    def test_typical_values_that_are_numbers_are_replaced(self):
        draws = np.arange(1.0, 6)
        found = patients(
            population(bsv=None), thetas={"CL": draws, "V": draws + 10, "lp__": draws, "fu": draws / 10}
        )
        np.testing.assert_array_equal(found["CL"], [draws])
        np.testing.assert_array_equal(found["Vc"], [draws + 10])
        np.testing.assert_array_equal(found["fu"], [draws / 10])
        assert "lp__" not in found

    def test_covariates_of_a_draw_are_its_own_but_a_scenario_prevails(self):
        source = Population.from_mapping(MEROPENEM)
        draws = np.arange(50.0, 55)
        np.testing.assert_array_equal(patients(source, thetas={"CCr": draws})["CCr"], [draws])
        both = patients(source, thetas={"CCr": draws}, scenario={"CCr": 90})
        assert (both["CCr"] == 90).all()

    def test_a_theta_may_have_the_parameters_name(self):
        source = population(thetas={"CL": 5}, parameters={"CL": "CL * (WT/70)**0.75", "Vc": 20},
                            covariates={"WT": {"unit": "kg", "value": 140}}, bsv=None)  # fmt: skip
        draws = np.arange(1.0, 6)
        np.testing.assert_allclose(
            patients(source, thetas={"CL": draws})["CL"][0], draws * 2**0.75, rtol=1e-14
        )

    def test_a_constant_omega_a_draw_changes_no_bit(self):
        source = Population.from_mapping(LI)
        same = np.tile(source.omega, (5, 1, 1))
        for name, values in patients(source, omega=same).items():
            np.testing.assert_array_equal(values, patients(source)[name])

    def test_each_draw_has_its_own_omega(self):
        source = population()
        omega = np.zeros((1024, 2, 2))
        omega[:, 0, 0], omega[:, 1, 1] = np.linspace(0, 1, 1024), 0.04
        found = source.simulate(**ADDRESS, draw_start=0, n_draws=1024, n_subjects=400, omega=omega)
        spread = np.log(found["CL"]).std(axis=0)
        assert spread[0] < 1e-14
        np.testing.assert_allclose(spread[64:], np.sqrt(omega[64:, 0, 0]), rtol=0.2)

    def test_a_formula_with_covariates_does_not_take_a_replaced_parameter(self):
        with pytest.raises(InputError, match=r"thetas=CL: the draws have CL .* Declare CL under thetas"):
            patients(Population.from_mapping(MEROPENEM), thetas={"CL": np.ones(5)})

    def test_a_parameter_of_another_model_is_refused(self):
        with pytest.raises(InputError, match=r"the draws have Vp1, which the 1C model of population lacks"):
            patients(population(), thetas={"Vp1": np.ones(5)})

    @pytest.mark.parametrize("shape", [(4,), (5, 1), (1, 5)])
    def test_thetas_of_another_shape_are_refused(self, shape):
        with pytest.raises(InputError, match=r"thetas\.CL=\(.*\): one value or \(5,\)"):
            patients(population(), thetas={"CL": np.ones(shape)})

    @pytest.mark.parametrize("shape", [(2, 2), (4, 2, 2), (5, 3, 3)])
    def test_omegas_of_another_shape_are_refused(self, shape):
        with pytest.raises(
            InputError, match=r"omega=\(.*\): it must be \(5, 2, 2\): draws, and the etas CL, Vc twice"
        ):
            patients(population(), omega=np.ones(shape))

    @pytest.mark.parametrize(
        ("matrix", "rule"),
        [
            ([[0.1, 0.2], [0.2, 0.1]], "positive semidefinite"),
            ([[0.0, 0.1], [0.1, 0.1]], "positive semidefinite"),
            ([[-0.1, 0.0], [0.0, 0.1]], "positive semidefinite"),
            ([[0.1, 0.01], [0.02, 0.1]], "symmetric"),
            ([[0.1, np.nan], [np.nan, 0.1]], "finite"),
            ([[np.inf, 0.0], [0.0, 0.1]], "finite"),
        ],
    )
    def test_the_draw_with_a_wrong_omega_is_named(self, matrix, rule):
        omega = np.tile(np.diag([0.1, 0.1]), (5, 1, 1))
        omega[3] = matrix
        with pytest.raises(InputError, match=rf"omega of draw 3=.*: a covariance must be {rule}"):
            patients(population(), omega=omega)


class TestRefusals:
    def test_a_parameter_that_is_not_positive_names_the_patient(self):
        source = population(parameters={"CL": "5 - WT", "Vc": 20}, bsv=None,
                            covariates={"WT": {"unit": "kg", "uniform": {"low": 4, "high": 6}}})  # fmt: skip
        message = r"CL=-0\.\d+: clearance must be above 0 L/h and finite \(1e-30 to 1e\+30\)\. It is of draw \d+, subject 0, WT=5\.\d+\."
        with pytest.raises(InputError, match=message):
            patients(source, n_draws=100)

    @pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
    def test_the_draw_with_a_wrong_theta_is_named(self, value):
        draws = np.ones(3000)
        draws[2222] = value
        with pytest.raises(
            InputError,
            match=r"Vc=.*: central volume must be above 0 L and finite \(1e-30 to 1e\+30\)\. It is of draw 2222",
        ):
            patients(population(), n_draws=3000, thetas={"Vc": draws})

    def test_the_draw_is_counted_from_the_chains_first(self):
        draws = np.array([1.0, np.nan])
        with pytest.raises(InputError, match="draw 1025, subject 7"):
            patients(population(), draw_start=1024, subject_start=7, n_draws=2, thetas={"CL": draws})

    def test_a_negative_flow_is_refused(self):
        source = population(thetas={"flow": -1}, parameters={"CL": 5, "Vc": 20, "Q1": "flow", "Vp1": 1})
        with pytest.raises(
            InputError, match="Q1=-1: flow to the first peripheral compartment must be at least 0 L/h"
        ):
            patients(source)

    @pytest.mark.parametrize("fu", [0.0, 1.1, np.nan])
    def test_an_impossible_fu_is_refused(self, fu):
        with pytest.raises(InputError, match=r"fu=.*: the unbound fraction must be above 0 and at most 1"):
            patients(population(), thetas={"fu": np.array([1, 1, fu, 1, 1])})

    def test_a_covariate_without_a_value_must_be_given(self):
        source = population(parameters={"CL": "CCr", "Vc": 20}, covariates={"CCr": {"unit": "mL/min"}})
        with pytest.raises(
            InputError, match=r"covariates\.CCr=None: it has no value of its own.* name it in every scenario"
        ):
            patients(source)
        assert (patients(source, scenario={"CCr": 90})["CCr"] == 90).all()

    @pytest.mark.parametrize("where", ["scenario", "covariates"])
    def test_an_unknown_covariate_names_the_nearest(self, where):
        given = {"ccr": 50} if where == "scenario" else ("ccr",)
        with pytest.raises(
            InputError, match=r"covariate=ccr: .* has no covariate of this name\. Did you mean CCr\?"
        ):
            patients(Population.from_mapping(MEROPENEM), **{where: given})

    def test_a_weight_that_is_not_declared_names_the_fix(self):
        with pytest.raises(InputError, match=r"covariate=WT: .*\. Declare WT under covariates\."):
            patients(population(), covariates=("WT",))

    @pytest.mark.parametrize("value", [np.nan, np.inf, "big", None, True])
    def test_a_scenarios_value_must_be_a_number(self, value):
        with pytest.raises(InputError, match=r"CCr=.*: (a number is wanted|the number must be finite)"):
            patients(Population.from_mapping(MEROPENEM), scenario={"CCr": value})

    @pytest.mark.parametrize("start", [1, 1023, -1024])
    def test_draws_start_at_a_block(self, start):
        with pytest.raises(
            InputError, match=r"draw_start=.*: draws start at a multiple of 1024\. Start at 0\."
        ):
            patients(population(), draw_start=start)

    @pytest.mark.parametrize("name", ["n_draws", "n_subjects"])
    def test_nobody_cannot_be_simulated(self, name):
        with pytest.raises(InputError, match=f"{name}=0: at least one is simulated"):
            patients(population(), **{name: 0})


def test_cholesky_agrees_with_numpy_and_takes_singular_matrices():
    source = posterior(200, 4)["omega"]
    factor = cholesky(source, "abcd")
    dense = np.zeros_like(source)
    for i, row in enumerate(factor):
        for j, values in enumerate(row):
            dense[:, i, j] = values
    np.testing.assert_allclose(dense, np.linalg.cholesky(source), rtol=1e-9, atol=1e-12)
    singular = np.array([[0.09, 0.06, 0.0], [0.06, 0.04, 0.0], [0.0, 0.0, 0.0]])
    found = np.array(
        [[float(x) for x in row] + [0.0] * (2 - i) for i, row in enumerate(cholesky(singular, "abc"))]
    )
    np.testing.assert_allclose(found @ found.T, singular, atol=1e-15)
