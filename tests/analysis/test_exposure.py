"""Every index over every window, through the public verbs, against numerical integration."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import tdmx_dask as tdmx
from tests.analysis.integration import Segment, Window, integrate

TOLERANCE = 1e-6
WEIGHT = 80.0
MODELS = {
    "1C": {"CL": 6.0, "Vc": 25.0},
    "2C": {"CL": 9.0, "Vc": 18.0, "Q1": 6.0, "Vp1": 14.0},
    "3C": {"CL": 12.0, "Vc": 10.0, "Q1": 20.0, "Vp1": 15.0, "Q2": 3.0, "Vp2": 12.0},
}
LONG = 264.0
"""h: the slowest exponential of these models has fallen to 1e-13 by then."""

REGIMENS = {
    "infusion": tdmx.Regimen.parse("1000 mg q8h inf 1h"),
    "bolus": tdmx.Regimen.parse("500 mg q12h"),
    "continuous": tdmx.Regimen.parse("3000 mg q24h ci"),
    "longer than a day": tdmx.Regimen.parse("2 g q36h inf 90min"),
    "started late": tdmx.Regimen(750, 6, 2, start_time=2.5),
    "by weight": tdmx.Regimen.parse("15 mg/kg q12h inf 2h"),
    "loaded": tdmx.Regimen.parse("2 g load inf 30min, then 1000 mg q8h inf 3h"),
    "loaded by weight": tdmx.Regimen.parse("25 mg/kg load inf 1h, then 2 g q24h ci"),
    "two unequal doses a day": tdmx.Regimen.from_events([(0, 1000, 0.5), (8, 400, 2)], every=24),
    "bolus and infusion": tdmx.Regimen.from_events([(0, 300, 0), (0, 1200, 10), (11, 200, 0)], every=24),
    "stepped down": tdmx.Regimen.parse("400 mg q12h x3 inf 40min, then from 48h 200 mg q24h x2 inf 40min"),
    "irregular": tdmx.Regimen.from_events([(0, 1000, 6), (4, 500, 4), (13, 800), (26.5, 700, 2), (48, 600)]),
}
WINDOWS = ("ss", "first_dose", "day1", "interval 2", "interval 20", "24..48h", "3.5..60.25h")
INDICES = (
    "T>MIC >= 40%",
    "T>MIC >= 100%",
    "AUC/MIC >= 1",
    "AUC24/MIC >= 1",
    "Cmax/MIC >= 1",
    "Cmin/MIC >= 1",
)
NAMES = list(REGIMENS)


def draws(model: str) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in MODELS[model].items()}


def critical(model: str, regimen: tdmx.Regimen, targets: list[str], **options: float) -> list[float]:
    found = tdmx.critical_mic(draws(model), regimen, targets, weight=WEIGHT, **options)
    values: list[float] = found.values.ravel().tolist()
    return values


@functools.cache
def profile(model: str, name: str) -> list[Segment]:
    doses = [
        (dose.time, dose.amount * (WEIGHT if dose.per_kg else 1), dose.tinf)
        for dose in REGIMENS[name].events(LONG)
    ]
    return integrate(MODELS[model], doses, LONG)


def span(name: str, window: str) -> tuple[float, float] | None:
    """Start and end, worked out apart from the package; None where the regimen has no such window."""
    regimen = REGIMENS[name]
    times = sorted({dose.time for dose in regimen.events(2 * LONG)})
    if window == "ss":
        if regimen.cycle is None or regimen.cycle.n is not None:
            return None
        cycles = (LONG - regimen.cycle.start) // regimen.cycle.tau - 1
        start = regimen.cycle.start + cycles * regimen.cycle.tau
        return start, start + regimen.cycle.tau
    if window == "day1":
        return times[0], times[0] + 24
    if window.endswith("h"):
        low, high = window.removesuffix("h").split("..")
        return float(low), float(high)
    number = 1 if window == "first_dose" else int(window.split()[1])
    if number >= len(times) or times[number] > LONG:
        return None
    return times[number - 1], times[number]


def targets(name: str, window: str) -> list[str]:
    """The indices that the window has: AUC24 needs a day, or steady state."""
    found = span(name, window)
    assert found is not None
    daily = window == "ss" or abs(found[1] - found[0] - 24) < 1e-9
    return [f"{index} in {window}" for index in INDICES if daily or not index.startswith("AUC24")]


def check(target: str, found: float, window: Window) -> None:
    head = target.split(" in ")[0]
    if head.startswith("T>MIC"):
        fraction = float(head.split(">= ")[1].removesuffix("%")) / 100
        assert found == 0 or window.time_above(found * (1 - TOLERANCE)) >= fraction - 1e-12
        assert window.time_above(max(found * (1 + TOLERANCE), 1e-6)) < fraction
        return
    expected = {
        "AUC/": window.auc,
        "AUC24/": lambda: window.auc() * 24 / window.length,
        "Cmax/": window.cmax,
        "Cmin/": window.cmin,
    }[head.split("MIC")[0]]()
    assert found == pytest.approx(expected, rel=TOLERANCE), target


CASES = [
    (model, name, window)
    for name, window in itertools.product(NAMES, WINDOWS)
    for model in MODELS
    if span(name, window) is not None
    # the models in turn for the windows of less common regimens
    if name in ("infusion", "two unequal doses a day", "irregular")
    or list(MODELS)[(NAMES.index(name) + WINDOWS.index(window)) % 3] == model
]


@pytest.mark.parametrize(("model", "name", "window"), CASES, ids=[" ".join(case) for case in CASES])
def test_critical_mic__is_that_of_the_integrated_profile(model: str, name: str, window: str) -> None:
    expected = span(name, window)
    assert expected is not None
    assert (
        REGIMENS[name].cycle is None
        or window == "ss"
        or tdmx.Window.of(window).span(REGIMENS[name]) == expected
    )
    asked = targets(name, window)
    profiled = Window.of(profile(model, name), *expected)
    for target, found in zip(asked, critical(model, REGIMENS[name], asked), strict=True):
        check(target, found, profiled)


@pytest.mark.parametrize("name", NAMES)
def test_critical_mic__at_a_time_is_that_just_before_a_dose_due_then(name: str) -> None:
    for hour in (0.25, 7.75, 24, 48, 100):
        if hour <= REGIMENS[name].first_time:
            continue
        segment = next(each for each in profile("2C", name) if each.start < hour <= each.end)
        (found,) = critical("2C", REGIMENS[name], [f"C@{hour}h/MIC >= 1"])
        assert found == pytest.approx(float(segment.concentration(hour)), rel=TOLERANCE), hour


def test_critical_mic__at_48h_leaves_out_the_bolus_then() -> None:
    before, after = critical("1C", REGIMENS["irregular"], ["C@48h/MIC >= 1", "C@48.000001h/MIC >= 1"])
    assert after - before == pytest.approx(600 / MODELS["1C"]["Vc"], rel=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if span(name, "ss")])
def test_critical_mic__of_a_day_at_steady_state_is_the_mean_daily_one(name: str) -> None:
    regimen = REGIMENS[name]
    assert regimen.cycle is not None
    daily, once = critical("3C", regimen, ["AUC24/MIC >= 1", "AUC/MIC >= 1"])
    assert daily == pytest.approx(24 / regimen.cycle.tau * once, rel=1e-13)
    amount = sum(dose.amount * (WEIGHT if dose.per_kg else 1) for dose in regimen.cycle.events)
    assert once == pytest.approx(amount / MODELS["3C"]["CL"], rel=1e-12)


@pytest.mark.parametrize("index", ["AUC", "AUC24", "Cmax", "Cmin", "C@30h"])
@pytest.mark.parametrize("window", ["ss", "day1"])
def test_critical_mic__without_mic_tells_both_sides_of_a_limit(index: str, window: str) -> None:
    suffix = "" if index.startswith("C@") else f" in {window}"
    name = "two unequal doses a day"
    (value,) = critical("2C", REGIMENS[name], [f"{index}/MIC >= 1{suffix}"])
    low, high = value * (1 - TOLERANCE), value * (1 + TOLERANCE)
    limits = [f">= {low!r}", f">= {high!r}", f"<= {high!r}", f"<= {low!r}", f"{low!r}..{high!r}"]
    asked = [f"{index} {limit}" for limit in limits] + [f"f{index} {limits[-1]}"]
    found = critical("2C", REGIMENS[name], [each + suffix for each in asked], fu=0.9)
    assert found == [np.inf, 0, np.inf, 0, np.inf, 0]


def test_critical_mic__multiplies_fu_and_penetration_and_divides_by_the_multiple() -> None:
    plain, free = critical(
        "2C", REGIMENS["loaded"], ["T>MIC >= 70% in day1", "fT>4xMIC >= 70% in day1 at ELF 0.3"], fu=0.9
    )
    assert free == pytest.approx(plain * 0.9 * 0.3 / 4, rel=1e-14)
    assert Window.of(profile("2C", "loaded"), 0, 24).time_above(plain) == pytest.approx(0.7, abs=1e-7)
