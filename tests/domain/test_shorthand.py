"""The shorthand of regimens reads back what it prints, and says what it cannot read."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.domain.regimen import Cycle, DoseEvent, Regimen
from tdmx_dask.errors import InputError

amounts = st.one_of(st.integers(1, 5000).map(float), st.floats(1e-300, 1e6))
times = st.one_of(
    st.integers(0, 96).map(float),
    st.integers(0, 6000).map(lambda minutes: minutes / 60),
    st.floats(0, 1e6, allow_subnormal=False),
)


@st.composite
def events(draw, latest=None):
    time = draw(times if latest is None else st.sampled_from([0.0, latest / 3, latest / 2, latest * 0.99]))
    return DoseEvent(
        time, draw(amounts), draw(times if latest is None else st.just(0.0)), draw(st.booleans())
    )


@st.composite
def cycles(draw, start):
    tau = draw(st.one_of(st.sampled_from([4.0, 8.0, 24.0, 40 / 60]), st.floats(1e-3, 1e4)))
    share = draw(st.sampled_from([0.0, 1 / 3, 0.5, 1.0]))
    doses = draw(st.lists(events(latest=tau), min_size=1, max_size=3))
    if len(doses) == 1:
        doses = [replace(doses[0], time=0.0, tinf=tau * share)]
    return Cycle(tau, tuple(doses), start, draw(st.one_of(st.none(), st.integers(1, 40))))


@st.composite
def regimens(draw):
    """Any regimen: runs of equal doses, single ones, ties, a cycle with or without an end, or none."""
    history = []
    for event in draw(st.lists(events(), max_size=4)):
        gap, number = draw(st.sampled_from([0.0, 1.0, 12.0, 0.1, 40 / 60])), draw(st.integers(1, 4))
        history += [replace(event, time=event.time + k * gap) for k in range(number)]
    latest = max((event.time for event in history), default=0.0)
    start = latest + draw(st.sampled_from([0.0, 1.0, 12.0, 24.0, 1 / 3]))
    cycle = draw(cycles(start)) if not history or draw(st.booleans()) else None
    kinds = [*history, *(cycle.events if cycle else ())]
    weight = draw(st.sampled_from(["WT", "IBW", "load"])) if any(e.per_kg for e in kinds) else "WT"
    return Regimen.build(history, cycle, weight=weight)


@settings(max_examples=300)
@given(regimens())
def test_str__parses_back_to_the_same_regimen(regimen):
    assert Regimen.parse(str(regimen)) == regimen
    assert str(Regimen.parse(str(regimen))) == str(regimen)


@pytest.mark.parametrize(
    "text",
    [
        "1000 mg q8h inf 3h",
        "500 mg q8h",
        "2000 mg q24h ci",
        "15 mg/kg of IBW q12h inf 1h x6",
        "25 mg/kg load inf 1h, then 2000 mg q24h ci",
        "400 mg q12h inf 40min x3, then from 48h 200 mg q24h inf 40min x2",
        "from 6h 1000 mg load bolus, then 500 mg q6h inf 0.5h",
        "1000 mg at 0h, 8h, 20h inf 1h, then 500 mg at 30h",
        "every 24h (1000 mg at 0h inf 1h; 500 mg at 12h) x5",
    ],
)
def test_str__canonical_text_is_kept(text):
    assert str(Regimen.parse(text)) == text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1 g tid over 30 min", "1000 mg q8h inf 0.5h"),
        ("0.57 g q 8 h", "570 mg q8h"),
        ("inf 1 h 500 mg every 6 hours ×4", "500 mg q6h inf 1h x4"),
        ("2 g q24h inf 24h", "2000 mg q24h ci"),
        ("400 mg q12h x3 inf 40min, then from 48h 200 mg q24h x2 inf 40min",
         "400 mg q12h inf 40min x3, then from 48h 200 mg q24h inf 40min x2"),
        ("1 g once", "1000 mg at 0h"),
    ],
)  # fmt: skip
def test_parse__other_ways_to_write(written, canonical):
    assert str(Regimen.parse(written)) == canonical


@pytest.mark.parametrize(
    ("text", "loads", "start"),
    [
        (
            "25 mg/kg load, then 15 mg/kg q12h inf 1h",
            [(0, 1)],
            12,
        ),  # the maintenance's infusion, one tau later
        ("25 mg/kg load, then 2 g q24h ci", [(0, 0)], 0),  # a bolus, and the infusion at once
        ("25 mg/kg load inf 90min, then 2 g q24h ci", [(0, 1.5)], 1.5),  # at the end of the load
        ("25 mg/kg load bolus, then 1 g q8h inf 3h", [(0, 0)], 8),
        (
            "1 g q12h x2 inf 1h, then 1 g q24h inf 1h",
            [(0, 1), (12, 1)],
            24,
        ),  # one interval after the last dose
        ("1 g at 0h, 6h, then 1 g q24h inf 1h", [(0, 0), (6, 0)], 30),
        ("from 3h 1 g load, then 1 g q8h", [(3, 0)], 11),
    ],
)
def test_parse__where_parts_start(text, loads, start):
    regimen = Regimen.parse(text)
    assert [(event.time, event.tinf) for event in regimen.history] == loads
    assert regimen.cycle.start == start


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1000 mg q8h inff 3h", "'inff' is not a word of the shorthand. Did you mean 'inf'?"),
        ("1000 mg laod, then 1 g q8h", "'laod' is not a word of the shorthand. Did you mean 'load'?"),
        ("1000 q8h", "dose=1000: a dose needs its unit"),
        ("1000 mq q8h", "'mq' is not a unit of a dose. Did you mean 'mg'?"),
        ("1000 mg q8", "tau=8: a time needs its unit, h or min. Write 8h or 8min."),
        ("1000 mg q8h inf 30", "tinf=30: a time needs its unit"),
        ("1000 mg q8h inf 3 bours", "'bours' is not a word of the shorthand. Did you mean 'hours'?"),
        ("1,000 mg q8h", "a comma inside a number can mean two things. Write 1000 mg or 0.5 mg."),
        ("1000 mg", "'1000 mg' must say how often, or that it is a load. One dose alone is 1000 mg at 0h."),
        ("q8h", "'q8h' names no dose. For example 1000 mg q8h inf 3h"),
        ("", "a part is empty"),
        ("1000 mg q8h inf 9h", "tinf=9: an infusion must last 0 <= tinf <= tau=8 h. Shorten it"),
        ("-5 mg q8h", "amount=-5: a dose must be a finite number > 0 and <= 1000000 mg"),
        ("1e999 mg q8h", "amount=inf: a dose must be a finite number > 0 and <= 1000000 mg"),
        ("1 g q0h", "tau=0: a dosing interval must be a finite number > 0 h"),
        ("1 g q8h x0", "n_doses=0: the number of doses must be a whole number >= 1"),
        ("1 g q8h x2.5", "n_doses=2.5: the number of doses"),
        ("1 g q8h q12h", "says twice: q12h"),
        ("1 g q8h, 2 g q24h", "does not follow from what is before it. Join parts with ', then'."),
        ("1 g q8h ci inf 3h", "says both inf and ci. Keep one of them."),
        ("1 g load x2, then 1 g q8h", "'count' cannot stand in '1 g load x2'"),
        ("1 g q8h, then 2 g q24h", "part 1 has no end, so nothing can follow it. Say how many doses"),
        ("1 g q8h x3, then from 8h 1 g q24h", "part 2 starts before the last dose"),
        ("1 g load bolus, then 1 g load bolus, then 1 g q8h", "part 2 must say when it starts"),
        ("1 g load, then every 24h (1 g at 0h inf 1h; 1 g at 8h)", "the load must say how it is given"),
        ("25 mg/kg load, then 15 mg/kg of IBW q12h", "must all be by one weight"),
        ("1 g of IBW q12h", "weight=IBW: a weight goes with a dose in mg/kg"),
        ("1 g q8h inf", "'inf' needs a number after 'inf'"),
        ("1 g q8h x1000000, then 1 g q24h", "part 1 has more than 100000 doses"),
        ("every 24h (1 g at 25h)", "0 <= time < tau=24 h of that cycle"),
    ],
)  # fmt: skip
def test_parse__refuses_and_says_what_to_write(text, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Regimen.parse(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", [" " * 10**5 + "x", "1" * 10**5, "1 g at " + "0h, " * 10**5, "x" * 10**6])
def test_parse__long_nonsense_is_refused_at_once_and_shortly(text):
    with pytest.raises(InputError, match=r"(regimen|dose|at)=") as caught:
        Regimen.parse(text)
    assert len(str(caught.value)) < 700
