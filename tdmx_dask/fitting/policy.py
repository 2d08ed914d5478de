"""What a fit does next, from the figures of its draws: run, extend, add chains, retune, reparameterise, stop. Pure.

A rule that looks at the draws and stops when it likes them can bias them. What holds it here:

- it sees figures that no shift or scaling of a parameter changes (R-hat, ESS, divergences, energy), never a parameter's value;
- no chain stops before `min_draws`, and rounds grow by half or more, so that a fit is looked at a few times, not after every draw;
- better figures never lead to more draws, and worse ones never to a stop that calls itself healthy;
- rounds that disagree are not combined: all but the last become warm-up, and the chains run on from where they stand.

Simulation-based calibration runs with the rule on. Free slots say how many chains run at once, never how many there are or how
long: the same request gives the same draws on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.task import Sampling

__all__ = [
    "THRESHOLDS",
    "Evidence",
    "Goal",
    "Step",
    "Threshold",
    "first_step",
    "keep_warm_start",
    "least_ess",
    "most_steps",
    "next_step",
    "problems",
]


@dataclass(frozen=True, slots=True)
class Threshold:
    """One figure that decides, what it decides, and where it is from."""

    value: float
    means: str
    source: str


_VEHTARI = "Vehtari et al. 2021, Bayesian Analysis 16:667"
_BETANCOURT = "Betancourt 2016, arXiv:1604.00695, and 2017, arXiv:1701.02434"
_STAN = "Stan Reference Manual, adaptation and diagnostics"
_HERE = "chosen here; simulation-based calibration runs with it"

THRESHOLDS: Mapping[str, Threshold] = MappingProxyType(
    {
        "rhat": Threshold(1.01, "chains agree below it", _VEHTARI),
        "ess_per_chain": Threshold(100, "least ESS a chain, bulk and tail, of up to 4 chains", _VEHTARI),
        "ess_chains": Threshold(4, "chains above which the least ESS grows no more: 400", _VEHTARI),
        "ebfmi": Threshold(0.3, "below it the momentum cannot explore the energies", _BETANCOURT),
        "divergences": Threshold(0, "more than these: a region that is not explored", _BETANCOURT),
        "treedepth_fraction": Threshold(0.01, "share of transitions cut off at the largest depth: slow, not wrong", _STAN),
        "agreement": Threshold(1.05, "R-hat of rounds taken as chains; from it on rounds are not combined", _HERE),
        "warm_rhat": Threshold(1.05, "R-hat of a warm start while its ESS is below the least", _HERE),
        "warm_ess_fraction": Threshold(0.1, "least ESS of a warm start per draw, up to the least ESS", _HERE),
        "min_draws": Threshold(250, "draws of a chain before it may stop on its figures", _HERE),
        "growth": Threshold(2.0, "at most so many times the draws after a round", _HERE),
        "least_growth": Threshold(1.5, "at least so many times: few looks", _HERE),
        "margin": Threshold(1.1, "over the draws that the ESS so far asks for", _HERE),
        "longest": Threshold(4.0, "times iter_sampling: the most draws of a chain with a target", _HERE),
    }
)  # fmt: skip

_ADAPT_DELTA = (0.8, 0.95, 0.99)
"""What divergences raise `adapt_delta` to, in turn (Stan's default, then as its warning advises)."""

_QUANTUM = 50


def _value(name: str) -> float:
    return THRESHOLDS[name].value


@dataclass(frozen=True, slots=True)
class Goal:
    """What a fit is asked for.

    Parameters
    ----------
    chains : to begin with, >= 1
    max_chains : with `target_ess`, >= chains
    sampling : as asked; with `target_ess`, `draws` is what a chain gives before chains are added
    target_ess : least bulk and tail ESS of the named parameters; None: exactly one round of `sampling.draws`
    auto_tune : raise `adapt_delta`, then reparameterise, on divergences
    max_attempts : runs with one parameterisation, >= 1
    max_rounds : steps of one run, >= 1
    can_reparameterise : whether the question has another form

    Raises
    ------
    InputError
        A number is out of its range.
    """

    chains: int = 4
    max_chains: int = 8
    sampling: Sampling = field(default_factory=Sampling)
    target_ess: float | None = None
    auto_tune: bool = False
    max_attempts: int = 3
    max_rounds: int = 10
    can_reparameterise: bool = False

    def __post_init__(self) -> None:
        for name, value in (
            ("chains", self.chains),
            ("max_attempts", self.max_attempts),
            ("max_rounds", self.max_rounds),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**4:
                raise InputError(name, value, "a whole number, 1 to 10,000", "For example 4.")
        if self.target_ess is None:
            return
        ess = self.target_ess
        if isinstance(ess, bool) or not isinstance(ess, int | float) or not 1 <= ess <= 10**9:
            rule = "an effective sample size, 1 to 10^9 draws"
            raise InputError("target_ess", ess, rule, "For example 1000; None for exactly one round.")
        most = self.max_chains
        if isinstance(most, bool) or not isinstance(most, int) or not self.chains <= most <= 10**4:
            rule = f"a whole number from chains={self.chains} to 10,000"
            raise InputError("max_chains", most, rule, "Raise it, or start with fewer chains.")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Figures of the draws so far, the worst of the named parameters (and chains) each; order of none matters.

    Parameters
    ----------
    chains, draws : of the draws that are kept; draws a chain
    rounds : steps of this run so far, also those whose draws were given up
    rhat : largest; inf where draws are not finite
    ess_bulk, ess_tail : smallest, in draws
    divergences, treedepth_hits : transitions after warm-up, of the draws kept
    ebfmi : smallest of the chains
    agreement : largest R-hat of rounds taken as chains; 1 for a single round
    adapt_delta : of this run
    attempt : times that the fit was retuned or reparameterised
    reparameterised : whether it was already put in its other form
    warm : whether this run was warm-started
    """

    chains: int
    rounds: int
    draws: int
    rhat: float
    ess_bulk: float
    ess_tail: float
    divergences: int = 0
    treedepth_hits: int = 0
    ebfmi: float = 1.0
    agreement: float = 1.0
    adapt_delta: float = 0.8
    attempt: int = 0
    reparameterised: bool = False
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    Parameters
    ----------
    kind : run (all chains from their start), extend (all chains, without warm-up, from where they stand), add_chains (new ones only,
        with warm-up), retune (run again at `adapt_delta`), reparameterise (run again in the other form), stop
    chains : that there are after the step
    draws : that each chain run in this step gives; 0 for stop
    adapt_delta : of the step
    keep : which of the draws so far stay: all, those of the last round (the rest becomes warm-up), none (a run from the start,
        cold, with full warm-up)
    parallel : chains that run at once; changes no draw
    reason : one sentence for the log
    healthy : for stop: the goal is met and no figure speaks against the draws
    """

    kind: Literal["run", "extend", "add_chains", "retune", "reparameterise", "stop"]
    chains: int
    draws: int
    adapt_delta: float
    keep: Literal["all", "last", "none"]
    parallel: int
    reason: str
    healthy: bool = False


def first_step(goal: Goal, slots: int) -> Step:
    """Begin: without a target what was asked; with one a first round that the target might need, at least `min_draws`."""
    draws = _first_draws(goal)
    reason = f"{goal.chains} chains of {draws} draws"
    return Step(
        "run", goal.chains, draws, goal.sampling.adapt_delta, "none", _parallel(goal.chains, slots), reason
    )


def next_step(goal: Goal, evidence: Evidence, slots: int) -> Step:
    """Decide after a step; `slots` chains can run at once.

    A fit takes at most `most_steps` steps.
    """
    if evidence.warm and not keep_warm_start(evidence):
        reason = f"the warm start does not hold ({_figures(evidence)}): from the start, cold"
        return _again("run", goal, evidence.adapt_delta, slots, reason)
    return _tuned(goal, evidence, slots) or _grown(goal, evidence, slots) or _stopped(goal, evidence)


def most_steps(goal: Goal) -> int:
    """Steps, stop not counted, that no fit exceeds: one warm run, the attempts, one reparameterised run."""
    return (1 + goal.max_attempts + 1) * goal.max_rounds


def keep_warm_start(evidence: Evidence) -> bool:
    """Say whether a warm-started run may stand; if not, it is done again cold.

    It must be as good as a cold run, but for an R-hat that so few draws cannot bring below its threshold.
    """
    ess = min(evidence.ess_bulk, evidence.ess_tail)
    total = evidence.chains * evidence.draws
    least = least_ess(evidence.chains)
    rhat = _value("rhat") if ess >= least else _value("warm_rhat")
    return (
        evidence.rhat < rhat
        and ess >= min(least, _value("warm_ess_fraction") * total)
        and evidence.divergences <= _value("divergences")
        and evidence.treedepth_hits <= _value("treedepth_fraction") * total
        and evidence.ebfmi >= _value("ebfmi")
        and evidence.agreement < _value("agreement")
    )


def problems(goal: Goal, evidence: Evidence) -> tuple[str, ...]:
    """What speaks against stopping, worst first; empty: the goal is met and the figures are sound."""
    need = _needed_ess(goal, evidence.chains)
    found = []
    if not evidence.rhat < _value("rhat"):
        found.append(f"R-hat {evidence.rhat:.3f} is not below {_value('rhat'):g}")
    if evidence.divergences > _value("divergences"):
        found.append(f"{evidence.divergences} divergent transitions")
    if not evidence.ebfmi >= _value("ebfmi"):
        found.append(f"E-BFMI {evidence.ebfmi:.2f} is below {_value('ebfmi'):g}")
    if not evidence.agreement < _value("agreement"):
        found.append(f"rounds disagree (R-hat of rounds {evidence.agreement:.3f})")
    for name, ess in (("bulk", evidence.ess_bulk), ("tail", evidence.ess_tail)):
        if not ess >= need:
            found.append(f"{name} ESS {ess:.0f} is below {need:.0f}")
    if goal.target_ess is not None and evidence.draws < _value("min_draws"):
        found.append(f"{evidence.draws} draws a chain are too few to judge")
    return tuple(found)


def _tuned(goal: Goal, evidence: Evidence, slots: int) -> Step | None:
    """Another run that cures divergences or low energies, where one is allowed."""
    if not goal.auto_tune or evidence.reparameterised:
        return None
    divergent = evidence.divergences > _value("divergences")
    higher = next((delta for delta in _ADAPT_DELTA if delta > evidence.adapt_delta), None)
    if divergent and higher is not None and evidence.attempt + 1 < goal.max_attempts:
        reason = f"{evidence.divergences} divergent transitions: adapt_delta {evidence.adapt_delta:g} to {higher:g}"
        return _again("retune", goal, higher, slots, reason)
    narrow = evidence.ebfmi < _value("ebfmi")  # a higher adapt_delta does not help there
    if (divergent or narrow) and goal.can_reparameterise:
        reason = f"{_figures(evidence)} at adapt_delta {evidence.adapt_delta:g}: the other parameterisation"
        return _again("reparameterise", goal, evidence.adapt_delta, slots, reason)
    return None


def _grown(goal: Goal, evidence: Evidence, slots: int) -> Step | None:
    """More draws, or more chains, where the target asks for them and the budget has them."""
    if goal.target_ess is None or evidence.rounds >= goal.max_rounds or not math.isfinite(evidence.rhat):
        return None
    ess, need = min(evidence.ess_bulk, evidence.ess_tail), _needed_ess(goal, evidence.chains)
    mixed, enough = evidence.rhat < _value("rhat"), ess >= need and evidence.draws >= _value("min_draws")
    figures = f"R-hat {evidence.rhat:.3f}, ESS {evidence.ess_bulk:.0f} bulk, {evidence.ess_tail:.0f} tail of {need:.0f}"
    delta = evidence.adapt_delta
    if not evidence.agreement < _value("agreement"):
        reason = (
            f"rounds disagree (R-hat of rounds {evidence.agreement:.3f}): all but the last become warm-up"
        )
        draws, parallel = min(evidence.draws, _planned(goal)), _parallel(evidence.chains, slots)
        return Step("extend", evidence.chains, draws, delta, "last", parallel, reason)
    if mixed and enough:
        return None
    factor = _growth(ess, need) if mixed else _value("growth")
    planned, longest = _planned(goal), int(_value("longest") * _planned(goal))
    full = evidence.draws >= planned
    if mixed and full and evidence.chains < goal.max_chains:
        chains = min(goal.max_chains, math.ceil(evidence.chains * factor))
        parallel = _parallel(chains - evidence.chains, slots)
        return Step("add_chains", chains, evidence.draws, delta, "all", parallel, f"{figures}: more chains")
    limit = longest if full or not mixed else planned
    draws = min(_rounded(factor * evidence.draws), limit) - evidence.draws
    if draws <= 0:
        return None
    parallel = _parallel(evidence.chains, slots)
    return Step("extend", evidence.chains, draws, delta, "all", parallel, f"{figures}: more draws")


def _stopped(goal: Goal, evidence: Evidence) -> Step:
    found = problems(goal, evidence)
    keep: Literal["all", "last"] = "all" if evidence.agreement < _value("agreement") else "last"
    reason = "; ".join(found) if found else _figures(evidence)
    return Step("stop", evidence.chains, 0, evidence.adapt_delta, keep, 0, reason, healthy=not found)


def _again(
    kind: Literal["run", "retune", "reparameterise"], goal: Goal, adapt_delta: float, slots: int, reason: str
) -> Step:
    """All chains from their start."""
    draws, parallel = _first_draws(goal), _parallel(goal.chains, slots)
    return Step(kind, goal.chains, draws, adapt_delta, "none", parallel, reason)


def _growth(ess: float, need: float) -> float:
    """How many times the draws so far are wanted."""
    wanted = _value("margin") * need / ess if ess > 0 else math.inf  # NaN takes the else, too
    return min(max(wanted, _value("least_growth")), _value("growth"))


def _first_draws(goal: Goal) -> int:
    if goal.target_ess is None:
        return goal.sampling.draws
    hoped = _rounded(goal.target_ess / goal.chains)  # independent draws would do
    return int(max(_value("min_draws"), min(hoped, _planned(goal))))


def _planned(goal: Goal) -> int:
    """Draws of a chain before chains are added."""
    return int(max(goal.sampling.draws, _value("min_draws")))


def least_ess(chains: int) -> float:
    """The bulk and tail ESS below which R-hat and the ESS themselves are not to be trusted."""
    return _value("ess_per_chain") * min(chains, _value("ess_chains"))


def _needed_ess(goal: Goal, chains: int) -> float:
    """The target, and never less than R-hat and ESS themselves need to be trusted."""
    return max(goal.target_ess or 0.0, least_ess(chains))


def _rounded(draws: float) -> int:
    return math.ceil(draws / _QUANTUM) * _QUANTUM


def _parallel(chains: int, slots: int) -> int:
    return max(1, min(chains, slots))


def _figures(evidence: Evidence) -> str:
    """One line of figures."""
    parts = [f"R-hat {evidence.rhat:.3f}", f"ESS {evidence.ess_bulk:.0f} bulk, {evidence.ess_tail:.0f} tail"]
    if evidence.divergences:
        parts.append(f"{evidence.divergences} divergent transitions")
    if not evidence.ebfmi >= _value("ebfmi"):
        parts.append(f"E-BFMI {evidence.ebfmi:.2f}")
    return ", ".join(parts)
