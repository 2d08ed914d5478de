"""Regimens: what they refuse, when they give a dose, what they cost in a day."""

import math
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.regimen import Cycle, DoseEvent, Regimen
from tdmx_dask.errors import InputError
from tests.domain.test_shorthand import regimens


@given(regimens())
def test_regimen__mapping_repr_pickle_and_hash_keep_it(regimen):
    assert Regimen.from_mapping(regimen.to_mapping()) == regimen
    assert eval(repr(regimen), {"Regimen": Regimen}) == regimen  # noqa: S307
    assert pickle.loads(pickle.dumps(regimen)) == regimen  # noqa: S301
    assert len({regimen, Regimen.parse(str(regimen))}) == 1


@given(regimens(), st.integers(1, 30))
def test_interval__follows_the_dosing_times(regimen, n):
    """Intervals are the gaps between the distinct times of the doses, in order, without a hole."""
    try:
        start, end = regimen.interval(n)
    except InputError:
        assert regimen.cycle is None or regimen.cycle.n is not None
        return
    times = sorted({event.time for event in regimen.events(math.nextafter(end, math.inf))})
    assert times[n - 1] == start
    assert times[n:] in ([end], [])  # empty after the last dose
    assert times[0] == regimen.first_time


@given(regimens())
def test_daily_dose__is_what_is_given_in_a_day(regimen):
    """A cycle's daily dose is the doses of 24 cycles, over their time."""
    cycle = regimen.cycle
    if cycle is None or len({event.per_kg for event in cycle.events}) == 2:
        return
    alone = Regimen.build((), Cycle(cycle.tau, cycle.events))
    doses = alone.events(24 * cycle.tau * (1 - 1e-9))
    assert regimen.daily_dose == pytest.approx(math.fsum(e.amount for e in doses) / cycle.tau, rel=1e-9)
    assert regimen.interventions_per_day == pytest.approx(len(doses) / cycle.tau, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "dose", "infusion", "interventions", "unit"),
    [
        ("1000 mg q8h inf 3h", 3000, 9, 3, "mg"),
        ("2 g q24h ci", 2000, 24, 1, "mg"),
        ("2 g q12h ci", 4000, 24, 2, "mg"),
        ("25 mg/kg load inf 2h, then 500 mg q6h", 2000, 0, 4, "mg"),
        ("15 mg/kg q12h inf 1h x6", 30, 2, 2, "mg/kg"),
        ("every 24h (1000 mg at 0h inf 1h; 500 mg at 12h)", 1500, 1, 2, "mg"),
        ("600 mg at 0h, 12h inf 1h", 1200, 2, 2, "mg"),  # over 24 h: the last interval is as the one before
        ("600 mg at 0h, 12h, 36h", 600 * 3 / 60 * 24, 0, 3 / 60 * 24, "mg"),
    ],
)
def test_regimen__cost_of_a_day(text, dose, infusion, interventions, unit):
    regimen = Regimen.parse(text)
    assert regimen.daily_dose == pytest.approx(dose, rel=1e-12)
    assert regimen.infusion_hours_per_day == pytest.approx(infusion, rel=1e-12)
    assert regimen.interventions_per_day == pytest.approx(interventions, rel=1e-12)
    assert regimen.unit == unit


def test_daily_dose__refused_where_units_mix_or_nothing_repeats():
    mixed = Regimen.from_events([(0, 1000), (12, 15, 0, True)], every=24)
    with pytest.raises(InputError, match=r"mixes mg and mg/kg, so it has no one daily dose"):
        _ = mixed.daily_dose
    with pytest.raises(InputError, match=r"one dosing time alone \(1000 mg at 0h\) has no dosing interval"):
        _ = Regimen.parse("1000 mg at 0h").daily_dose


@pytest.mark.parametrize(
    ("loading", "tinf", "loads", "start"),
    [
        (2000, 3, [(2.0, 2000.0, 3.0)], 10),  # one tau later, with the maintenance's infusion
        (2000, 8, [(2.0, 2000.0, 0.0)], 2),  # a bolus, then at once the continuous infusion
        ("2 g", 3, [(2.0, 2000.0, 3.0)], 10),
        ({"dose": "2 g", "tinf": "90min"}, 8, [(2.0, 2000.0, 1.5)], 3.5),
        (DoseEvent(1, 2000, 0.5), 3, [(3.0, 2000.0, 0.5)], 11),
        ([DoseEvent(0, 400), {"dose": 400, "time": 12}], 0, [(2.0, 400.0, 0.0), (14.0, 400.0, 0.0)], 22),
        ((), 3, [], 2),
        (None, 3, [], 2),
    ],
)
def test_loading__where_it_goes_and_where_the_maintenance_starts(loading, tinf, loads, start):
    regimen = Regimen(dose=1000, tau=8, tinf=tinf, start_time=2, loading=loading)
    assert [(event.time, event.amount, event.tinf) for event in regimen.history] == loads
    assert regimen.cycle == Cycle(8, (DoseEvent(0, 1000, tinf),), start)


def test_loading__same_as_the_shorthand():
    assert Regimen(15, 12, 1, loading="25 mg/kg", per_kg=True) == Regimen.parse(
        "25 mg/kg load, then 15 mg/kg q12h inf 1h"
    )


def test_interval__counts_loads_and_ends_with_the_next_dose_due():
    loaded = Regimen.parse("2 g load, then 3 g q24h ci")  # both at 0 h: one interval
    assert loaded.interval(1) == (0, 24)
    ends = Regimen.parse("2 g load inf 1h, then 3 g q24h ci x2")
    assert [ends.interval(n) for n in (1, 2, 3)] == [(0, 1), (1, 25), (25, 49)]
    with pytest.raises(InputError, match=r"interval=4: .* has 3 dosing intervals. Name one from 1 to 3."):
        ends.interval(4)
    assert Regimen.parse("500 mg at 0h, 6h, 18h").interval(3) == (18, 30)
    with pytest.raises(
        InputError, match="interval=0: the number of a dosing interval must be a whole number"
    ):
        ends.interval(0)


def test_events__until_is_exclusive_and_finite():
    regimen = Regimen.parse("2 g load inf 30min, then 3 g q24h ci")
    assert [event.time for event in regimen.events(24.5)] == [0, 0.5]
    assert Regimen(1000, 8, n_doses=3).events(math.inf)[-1].time == 16
    with pytest.raises(InputError, match=r"until=inf: .* finite for a regimen without end"):
        regimen.events(math.inf)


def test_from_events__order_does_not_matter_and_overlaps_are_kept():
    doses = [(6, 500, 10), (0, 500, 12), (0, 250)]
    regimen = Regimen.from_events(doses)
    assert regimen == Regimen.from_events(reversed(doses))
    assert [event.end for event in regimen.history] == [0, 12, 16]
    assert Regimen.from_events([(2, 5), (10, 5)], every=24).cycle.start == 2


def test_regimen__name_is_a_label_only():
    named = Regimen(1000, 8, name="standard")
    assert named == Regimen(1000, 8)
    assert (named.label, str(named)) == ("standard", "1000 mg q8h")
    assert repr(named) == "Regimen(dose=1000, tau=8, name='standard')"
    assert Regimen.from_mapping(named.to_mapping()).label == "standard"


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"dose": "2 g", "tau": "12h", "tinf": "30min", "n_doses": 4}, "2000 mg q12h inf 0.5h x4"),
        ({"dose": "15 mg/kg", "tau": 12, "weight": "IBW"}, "15 mg/kg of IBW q12h"),
        ({"regimen": "1 g tid", "name": "x"}, "1000 mg q8h"),
        ("1 g tid", "1000 mg q8h"),
        ({"events": [{"dose": "1 g", "time": "30min"}, [6, 500, 1]], "every": "24h"},
         "from 0.5h every 24h (1000 mg at 0h; 500 mg at 5.5h inf 1h)"),
    ],
)  # fmt: skip
def test_from_mapping__forms(mapping, text):
    assert str(Regimen.from_mapping(mapping)) == text


GOOD = {"dose": 1000, "tau": 8, "tinf": 3}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tinf": 9}, "tinf=9: an infusion must last 0 <= tinf <= tau=8 h. "
                      "Shorten it, or set tinf=tau for a continuous infusion."),
        ({"tinf": -1}, "tinf=-1: an infusion must last 0 <= tinf <= tau=8 h."),
        ({"tinf": math.nan}, "tinf=nan: the length of an infusion must be a finite number h"),
        *[({"dose": bad}, f"dose={bad}: a dose must be a finite number > 0 and <= 1000000 mg. Give the amount in mg")
          for bad in (0, -5, math.nan, math.inf, True, None, 10**400)],
        ({"tau": 0}, "tau=0: a dosing interval must be a finite number > 0 h"),
        ({"tau": True}, "tau=True: a dosing interval"),
        ({"n_doses": 0}, "n_doses=0: the number of doses must be a whole number >= 1"),
        ({"n_doses": 2.0}, "n_doses=2.0: the number of doses must be a whole number"),
        ({"start_time": -1}, "start_time=-1: the start of a regimen must be a finite number >= 0 h"),
        ({"loading": -2}, "loading=-2: a load must be a finite number > 0 mg"),
        ({"loading": [{"dose": 1}, {"dose": 1}]}, "each of several loads must say its time"),
        ({"loading": [2000]}, "dose event=2000: this is not a dose"),
        ({"loading": {"dos": 1}}, "dose event=dos: this key is not known. Did you mean 'dose'?"),
        ({"loading": {"dose": "1 g", "per_kg": True}}, "per_kg=True: dose says 1 g"),
        ({"loading": 25, "per_kg": True}, "a load must say its unit. Write it as a text, '25 mg/kg'"),
        ({"per_kg": 1}, "per_kg=1: per_kg must be True or False"),
        ({"weight": "IBW"}, "weight=IBW: weight names what mg/kg doses are multiplied by"),
        ({"weight": "a b", "per_kg": True}, "weight=a b: weight must name a covariate"),
        ({"name": ""}, "name=: the name of a regimen must be a text"),
        ({"does": 1}, "regimen=does: this key is not known. Did you mean 'dose'?"),
        ({"dose": "2 gg"}, "'gg' is not a unit of a dose. Did you mean 'g'?"),
        ({"tau": "8"}, "tau=8: a time needs its unit, h or min. Write 8h or 8min."),
    ],
)  # fmt: skip
def test_regimen__refuses(change, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Regimen.from_mapping(GOOD | change)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Regimen.from_events([]), "a regimen needs at least one dose"),
        (lambda: Regimen.from_events([(0, 1), (24, 1)], every=24), "0 <= time < tau=24 h of that cycle"),
        (lambda: Regimen.from_events([(-1, 1)]), "time=-1: the time of a dose must be a finite number >= 0 h"),
        (lambda: Regimen.from_events(["1 g"]), "dose event=1 g: this is not a dose"),
        (lambda: Regimen.from_mapping({"events": "1 g"}), "events must be a list of doses"),
        (lambda: Regimen.from_mapping({"dose": 1}), "tau is missing"),
        (lambda: Regimen.from_mapping(3), "a regimen must be a text or keys"),
        (lambda: Regimen.parse(8), "regimen=8: a regimen must be a text"),
        (lambda: Cycle(8, ()), "a cycle needs at least one dose"),
        (lambda: Regimen.build([DoseEvent(9, 1)], Cycle(8, (DoseEvent(0, 1),), 8)),
         "time=9: a one-off dose must not be later than the first dose of the maintenance, at 8 h"),
    ],
)  # fmt: skip
def test_regimen__refuses_other_forms(make, says):
    with pytest.raises(InputError, match=re.escape(says)):
        make()


def test_dose_event__keeps_its_own_rules():
    with pytest.raises(InputError, match="tinf=-1: the length of an infusion must be a finite number >= 0 h"):
        DoseEvent(0, 1, -1)
    assert pickle.loads(pickle.dumps(DoseEvent(0, 1, 2))) == DoseEvent(0.0, 1.0, 2.0)  # noqa: S301
