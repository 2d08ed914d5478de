"""The policy of chains: its laws on any evidence, then the ways that it goes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.policy import (
    THRESHOLDS,
    Evidence,
    Goal,
    Step,
    first_step,
    keep_warm_start,
    least_ess,
    most_steps,
    next_step,
    problems,
)
from tdmx_dask.fitting.task import Sampling

figures = st.floats(0.9, 1.0099) | st.floats(0.9, 1.2) | st.sampled_from([math.inf, math.nan])
sizes = st.floats(0, 20_000) | st.just(math.nan)


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    chains = draw(st.integers(1, 6))
    return Goal(
        chains=chains,
        max_chains=chains + draw(st.integers(0, 6)),
        sampling=Sampling(
            draws=draw(st.integers(1, 3000)), adapt_delta=draw(st.sampled_from([0.6, 0.8, 0.9, 0.99]))
        ),
        target_ess=draw(st.none() | st.floats(1, 20_000)),
        auto_tune=draw(st.booleans()),
        max_attempts=draw(st.integers(1, 4)),
        max_rounds=draw(st.integers(1, 12)),
        can_reparameterise=draw(st.booleans()),
    )


@st.composite
def pieces(draw: st.DrawFn) -> Evidence:
    return Evidence(
        chains=draw(st.integers(1, 12)),
        rounds=draw(st.integers(1, 12)),
        draws=draw(st.integers(1, 9000)),
        rhat=draw(figures),
        ess_bulk=draw(sizes),
        ess_tail=draw(sizes),
        divergences=draw(st.integers(0, 3)),
        treedepth_hits=draw(st.integers(0, 200)),
        ebfmi=draw(st.floats(0, 2) | st.just(math.nan)),
        agreement=draw(figures),
        adapt_delta=draw(st.sampled_from([0.6, 0.8, 0.95, 0.99])),
        attempt=draw(st.integers(0, 5)),
        reparameterised=draw(st.booleans()),
        warm=draw(st.sampled_from([False, False, False, True])),
    )


def sound(**changes: object) -> Evidence:
    """Evidence of a good run of 4 chains of 1,000 draws."""
    given_ = Evidence(4, 1, 1000, 1.002, 1800.0, 1500.0)
    return dataclasses.replace(given_, **changes)  # type: ignore[arg-type]


Nature = Callable[[Step, int], dict[str, object]]


def followed(goal: Goal, nature: Nature, *, warm: bool = False, slots: int = 4) -> list[Step]:
    """Run a fit whose figures `nature` makes up, as the conductor keeps its books, to its stop."""
    step = first_step(goal, slots)
    steps, chains, draws, rounds, last = [step], 0, 0, 0, 0
    attempt, reparameterised = 0, False
    while step.kind != "stop":
        if step.keep == "none":
            if step.kind in ("retune", "reparameterise"):
                attempt, reparameterised = attempt + 1, reparameterised or step.kind == "reparameterise"
            warm = warm and len(steps) == 1
            chains, draws, rounds = step.chains, step.draws, 1
        elif step.kind == "extend":
            draws = (last if step.keep == "last" else draws) + step.draws
            rounds += 1
        else:
            assert step.kind == "add_chains"
            assert step.draws == draws  # chains are equally long
            chains, rounds = step.chains, rounds + 1
        last = step.draws
        evidence = Evidence(
            chains, rounds, draws, adapt_delta=step.adapt_delta, attempt=attempt,
            reparameterised=reparameterised, warm=warm, **nature(step, chains * draws),
        )  # type: ignore[arg-type]  # fmt: skip
        step = next_step(goal, evidence, slots)
        steps.append(step)
        assert len(steps) <= most_steps(goal) + 1
    return steps


def mixing(efficiency: float, rhat: float = 1.001, **more: object) -> Nature:
    """A posterior whose ESS is a share of the draws."""
    return lambda step, total: {
        "rhat": rhat,
        "ess_bulk": efficiency * total,
        "ess_tail": 0.9 * efficiency * total,
        **more,
    }


# --- laws


@given(goals(), pieces(), st.integers(1, 64))
def test_next_step__never_healthy_where_a_figure_speaks_against_it(
    goal: Goal, evidence: Evidence, slots: int
) -> None:
    step = next_step(goal, evidence, slots)
    if not step.healthy:
        return
    assert step.kind == "stop"
    assert evidence.rhat < 1.01
    assert evidence.agreement < 1.05
    assert evidence.divergences == 0
    assert evidence.ebfmi >= 0.3
    assert min(evidence.ess_bulk, evidence.ess_tail) >= max(goal.target_ess or 0, least_ess(evidence.chains))
    assert goal.target_ess is None or evidence.draws >= 250


@given(goals(), pieces(), st.integers(1, 64), st.integers(1, 64))
def test_next_step__slots_change_no_draw(goal: Goal, evidence: Evidence, few: int, many: int) -> None:
    here, there = next_step(goal, evidence, few), next_step(goal, evidence, many)
    assert dataclasses.replace(here, parallel=0) == dataclasses.replace(there, parallel=0)
    assert here.kind == "stop" or 1 <= here.parallel <= few
    first = [dataclasses.replace(first_step(goal, slots), parallel=0) for slots in (few, many)]
    assert first[0] == first[1]


@given(goals(), pieces(), st.integers(1, 8))
def test_next_step__stays_within_the_goal(goal: Goal, evidence: Evidence, slots: int) -> None:
    step = next_step(goal, evidence, slots)
    assert step.chains <= max(goal.max_chains, evidence.chains)
    assert step.reason
    assert step.parallel <= step.chains
    assert (step.draws > 0) == (step.kind != "stop")
    if step.kind == "add_chains":
        assert step.parallel <= step.chains - evidence.chains
        assert evidence.chains < step.chains <= goal.max_chains
        assert step.draws == evidence.draws
    if goal.target_ess is None:
        assert step.kind in ("stop", "run", "retune", "reparameterise")
        assert step.kind == "stop" or step.draws == goal.sampling.draws
    if not goal.auto_tune:
        assert step.kind not in ("retune", "reparameterise")
    if step.kind == "retune":
        assert step.adapt_delta > evidence.adapt_delta


@given(goals(), pieces(), st.floats(0, 1), st.floats(1, 5), st.integers(1, 8))
def test_next_step__better_figures_never_go_on_where_worse_ones_stop(
    goal: Goal, evidence: Evidence, nearer: float, more: float, slots: int
) -> None:
    step = next_step(goal, evidence, slots)
    better = dataclasses.replace(
        evidence,
        rhat=1 + (evidence.rhat - 1) * nearer if math.isfinite(evidence.rhat) else 1.0,
        ess_bulk=evidence.ess_bulk * more,
        ess_tail=evidence.ess_tail * more,
        divergences=0,
    )
    if step.healthy:
        assert next_step(goal, better, slots).healthy
    assert len(problems(goal, better)) <= len(problems(goal, evidence))


@given(goals(), pieces(), st.floats(1, 5))
def test_next_step__asks_no_more_of_a_fit_that_mixes_better(
    goal: Goal, evidence: Evidence, more: float
) -> None:
    better = dataclasses.replace(
        evidence, ess_bulk=evidence.ess_bulk * more, ess_tail=evidence.ess_tail * more
    )

    def cost(each: Evidence) -> float:
        step = next_step(goal, each, 4)
        kept = {"all": each.draws, "last": 0, "none": 0}[step.keep]
        return (
            step.chains * (step.draws + (kept if step.kind == "extend" else 0)) if step.kind != "stop" else 0
        )

    if not (evidence.warm and keep_warm_start(better) != keep_warm_start(evidence)):
        assert cost(better) <= cost(evidence)


@given(goals(), st.integers(0, 2**32 - 1), st.booleans())
def test_policy__ends_whatever_happens(goal: Goal, seed: int, warm: bool) -> None:
    rng = np.random.default_rng(seed)

    def chance(step: Step, total: int) -> dict[str, object]:
        return {
            "rhat": float(rng.choice([1.0, 1.02, 1.5, np.inf, np.nan])),
            "ess_bulk": float(rng.uniform(0, total)),
            "ess_tail": float(rng.uniform(0, total)),
            "divergences": int(rng.integers(0, 2)),
            "ebfmi": float(rng.choice([0.1, 1.0])),
            "agreement": float(rng.choice([1.0, 1.2, np.nan])),
        }

    steps = followed(goal, chance, warm=warm)
    assert len(steps) - 1 <= most_steps(goal)
    assert max(step.chains for step in steps) <= max(goal.max_chains, goal.chains)


@given(goals(), st.floats(0.01, 1.5))
def test_policy__draws_of_a_chain_are_bounded(goal: Goal, efficiency: float) -> None:
    steps = followed(dataclasses.replace(goal, auto_tune=False), mixing(efficiency))
    per_chain = sum(step.draws for step in steps if step.kind in ("run", "extend"))
    planned = max(goal.sampling.draws, 250)
    assert per_chain <= (4 * planned if goal.target_ess is not None else goal.sampling.draws)


def test_policy__looks_at_a_fit_a_few_times() -> None:
    # A rule that looks often stops by luck: at most 6 looks up to 4,000 draws a chain.
    goal = Goal(sampling=Sampling(draws=1000), target_ess=1e9, max_chains=4)
    steps = followed(goal, mixing(0.3))
    assert len(steps) - 1 <= 6
    assert sum(step.draws for step in steps) == 4000


def test_policy__stopping_early_does_not_shift_the_mean() -> None:
    # Autocorrelated chains around 0, stopped by their own figures: the mean of means stays within 4 standard errors of 0, its spread
    # is what the ESS says, and 90 % intervals hold the truth.
    from tdmx_dask.fitting.diagnostics import evidence

    goal, rng = (
        Goal(chains=4, max_chains=4, sampling=Sampling(draws=1000), target_ess=450),
        np.random.default_rng(3),
    )
    means, scores = [], []
    for _ in range(150):
        chain = np.empty((4, 0))
        state, step, ends = rng.standard_normal(4), first_step(goal, 4), []
        while step.kind != "stop":
            new = np.empty((4, step.draws))
            for at in range(step.draws):
                state = 0.5 * state + math.sqrt(0.75) * rng.standard_normal(4)
                new[:, at] = state
            chain = np.concatenate(
                (chain if step.keep == "all" else chain[:, ends[-2] :] if len(ends) > 1 else chain, new),
                axis=1,
            )
            ends.append(chain.shape[1])
            found = evidence(chain[:, :, None], None, rounds=len(ends), ends=ends)
            step = next_step(goal, found, 4)
        assert step.healthy, step.reason
        means.append(chain.mean())
        scores.append(chain.mean() / math.sqrt(3 / chain.size))  # integrated time of AR(1) with 0.5 is 3
    assert abs(np.mean(means)) < 4 * np.std(means) / math.sqrt(150)
    assert np.std(scores) == pytest.approx(1.0, abs=0.25)
    assert abs(np.mean(np.abs(scores) < 1.645) - 0.9) < 0.1


# --- the ways it goes


def test_first_step__without_a_target_is_what_was_asked() -> None:
    step = first_step(Goal(chains=3, sampling=Sampling(draws=123)), slots=2)
    assert (step.kind, step.chains, step.draws, step.parallel) == ("run", 3, 123, 2)


def test_next_step__without_a_target_is_one_round() -> None:
    goal = Goal()
    assert next_step(goal, sound(), 4).healthy
    step = next_step(goal, sound(rhat=1.2, divergences=9), 4)
    assert (step.kind, step.healthy) == ("stop", False)
    assert "R-hat 1.200 is not below 1.01; 9 divergent transitions" in step.reason


def test_policy__target_met_at_once() -> None:
    steps = followed(Goal(target_ess=400), mixing(0.6))
    assert [(step.kind, step.draws) for step in steps] == [("run", 250), ("stop", 0)]
    assert steps[-1].healthy


def test_policy__target_asks_for_draws_then_chains_then_draws() -> None:
    steps = followed(Goal(target_ess=4000), mixing(0.3))
    assert [step.kind for step in steps] == ["run", "add_chains", "extend", "stop"]
    assert steps[1].chains == 8
    assert steps[-1].healthy


def test_policy__chains_that_disagree_run_longer_and_are_reported() -> None:
    steps = followed(Goal(target_ess=400), mixing(0.6, rhat=1.3))
    assert {step.kind for step in steps} == {"run", "extend", "stop"}
    assert sum(step.draws for step in steps) == 4000
    assert not steps[-1].healthy


def test_policy__rounds_that_disagree_are_not_combined() -> None:
    goal = Goal(target_ess=400)
    step = next_step(goal, sound(rounds=2, agreement=1.2), 4)
    assert (step.kind, step.keep) == ("extend", "last")
    assert next_step(goal, sound(rounds=2, agreement=1.2), 1).draws == step.draws
    ended = next_step(dataclasses.replace(goal, max_rounds=2), sound(rounds=2, agreement=1.2), 4)
    assert (ended.kind, ended.keep, ended.healthy) == ("stop", "last", False)


def test_policy__divergences_climb_then_reparameterise_then_are_reported() -> None:
    goal = Goal(auto_tune=True, can_reparameterise=True)
    steps = followed(goal, mixing(0.5, divergences=3))
    assert [(step.kind, step.adapt_delta) for step in steps] == [
        ("run", 0.8), ("retune", 0.95), ("retune", 0.99), ("reparameterise", 0.99), ("stop", 0.99)
    ]  # fmt: skip
    assert not steps[-1].healthy
    assert "3 divergent transitions" in steps[-1].reason


def test_policy__attempts_are_counted() -> None:
    goal = Goal(auto_tune=True, max_attempts=2, can_reparameterise=True)
    kinds = [step.kind for step in followed(goal, mixing(0.5, divergences=3))]
    assert kinds == ["run", "retune", "reparameterise", "stop"]
    once = followed(
        dataclasses.replace(goal, max_attempts=1, can_reparameterise=False), mixing(0.5, divergences=3)
    )
    assert [step.kind for step in once] == ["run", "stop"]


def test_next_step__too_few_draws_are_never_healthy() -> None:
    goal = Goal(target_ess=400, max_rounds=1)
    step = next_step(goal, sound(draws=249), 4)
    assert (step.kind, step.healthy) == ("stop", False)
    assert "249 draws a chain are too few" in step.reason
    assert next_step(goal, sound(draws=250), 4).healthy


def test_policy__low_energies_are_reparameterised_at_once() -> None:
    step = next_step(Goal(auto_tune=True, can_reparameterise=True), sound(ebfmi=0.2), 4)
    assert (step.kind, step.keep) == ("reparameterise", "none")


def test_policy__cured_by_a_higher_adapt_delta() -> None:
    def nature(step: Step, total: int) -> dict[str, object]:
        return {**mixing(0.5)(step, total), "divergences": int(step.adapt_delta < 0.9)}

    steps = followed(Goal(auto_tune=True), nature)
    assert [step.kind for step in steps] == ["run", "retune", "stop"]
    assert steps[-1].healthy


def test_keep_warm_start__as_good_as_a_cold_one() -> None:
    assert keep_warm_start(sound(warm=True))
    assert keep_warm_start(sound(warm=True, draws=250, rhat=1.02, ess_bulk=300, ess_tail=260))
    for worse in (
        {"rhat": 1.02},
        {"rhat": math.nan},
        {"divergences": 1},
        {"ebfmi": 0.2},
        {"ess_bulk": 200.0},
        {"treedepth_hits": 50},
        {"agreement": 1.1},
    ):
        assert not keep_warm_start(sound(warm=True, **worse))
        step = next_step(Goal(), sound(warm=True, **worse), 4)
        assert (step.kind, step.keep) == ("run", "none")
        assert "the warm start does not hold" in step.reason


def test_thresholds__each_has_a_source() -> None:
    assert THRESHOLDS["rhat"].value == 1.01
    assert THRESHOLDS["ebfmi"].value == 0.3
    assert least_ess(4) == least_ess(8) == 400
    assert all(each.source and each.means for each in THRESHOLDS.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chains", 0),
        ("max_attempts", 0),
        ("max_rounds", True),
        ("target_ess", 0),
        ("target_ess", math.nan),
        ("max_chains", 3),
    ],
)
def test_goal__refuses_numbers_out_of_range(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}={value}: "):
        Goal(**{"target_ess": 400, name: value})  # type: ignore[arg-type]
