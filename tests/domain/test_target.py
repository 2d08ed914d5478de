"""Targets and windows: they read back what they print, and refuse what cannot be meant."""

import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.target import STEADY_STATE, AllOf, Target, Window, parse_target
from tdmx_dask.errors import InputError

positive = st.one_of(st.integers(1, 1000).map(float), st.floats(1e-300, 1e300))
fractions = st.one_of(st.integers(1, 100).map(lambda percent: percent / 100), st.floats(5e-324, 1))
hours = st.one_of(
    st.integers(0, 999).map(float), st.floats(0, 1e9), st.integers(0, 999).map(lambda minutes: minutes / 60)
)


@st.composite
def windows(draw):
    kind = draw(st.sampled_from(["ss", "first_dose", "day1", "interval", "span"]))
    if kind == "interval":
        return Window(kind, n=draw(st.integers(1, 1000)))
    if kind == "span":
        start = draw(hours)
        return Window(kind, start=start, end=start + draw(st.sampled_from([24.0, 1 / 3, 1e-6, 1e9])))
    return Window(kind)


@st.composite
def targets(draw):
    index = draw(st.sampled_from(["T>MIC", "AUC", "AUC24", "Cmax", "Cmin", "C"]))
    free, per_mic = draw(st.booleans()), draw(st.booleans()) or index == "T>MIC"
    limits = sorted(draw(st.lists(positive, min_size=2, max_size=2, unique=True)))
    kept = 1 if per_mic else draw(st.integers(1, 3))
    site = draw(st.sampled_from(["plasma", "ELF", "bone", "CSF", "site"]))
    window = STEADY_STATE if index == "C" else draw(windows())
    if index == "AUC24" and window.kind == "span":
        window = Window("span", start=window.start, end=window.start + 24.0)
    return Target(
        index,
        free,
        per_mic,
        lower=(draw(fractions) if index == "T>MIC" else limits[0]) if kept & 1 else None,
        upper=limits[1] if kept & 2 else None,
        mic_multiple=draw(positive) if index == "T>MIC" else 1.0,
        time=draw(hours) if index == "C" else None,
        window=window,
        fu=draw(st.one_of(st.none(), fractions)) if free else None,
        **({} if site == "plasma" else {"site": site, "penetration": draw(positive)}),
    )


@settings(max_examples=300)
@given(targets())
def test_str__parses_back_to_the_same_target(target):
    assert Target.parse(str(target)) == target
    assert str(target).isascii()
    assert pickle.loads(pickle.dumps(target)) == target  # noqa: S301


@given(st.lists(targets(), min_size=2, max_size=3))
def test_str__parses_back_to_the_same_targets_together(several):
    together = AllOf(tuple(several))
    assert parse_target(str(together)) == together
    assert AllOf((several[0], AllOf(tuple(several)))).targets == (several[0], *several)


@given(windows())
def test_window__str_reads_back(window):
    assert Window.of(str(window)) == window
    assert Window.of(str(window).replace("_", " ").upper()) == window


@pytest.mark.parametrize(
    ("text", "canonical", "label"),
    [
        ("fT>MIC >= 50%", "fT>MIC >= 50%", "fT>MIC ≥ 50%"),
        ("T > MIC ≥ 0.5", "T>MIC >= 50%", "T>MIC ≥ 50%"),
        ("100% fT>4×MIC", "fT>4xMIC >= 100%", "fT>4×MIC ≥ 100%"),
        ("ft>4mic >= 100 %", "fT>4xMIC >= 100%", "fT>4×MIC ≥ 100%"),
        ("fAUC24/MIC >= 400", "fAUC24/MIC >= 400", "fAUC24/MIC ≥ 400"),
        ("AUC / MIC >= 100 h", "AUC/MIC >= 100", "AUC/MIC ≥ 100"),
        ("fCmax/MIC>=10", "fCmax/MIC >= 10", "fCmax/MIC ≥ 10"),
        ("Cmin 10-20 mg/L", "Cmin 10..20", "Cmin 10–20 mg/L"),
        ("AUC24 400 to 600 mg*h/L", "AUC24 400..600", "AUC24 400–600 mg·h/L"),
        ("Cmax <= 60", "Cmax <= 60", "Cmax ≤ 60 mg/L"),
        ("fC@48h >= 0.75", "fC@48h >= 0.75", "fC@48h ≥ 0.75 mg/L"),
        ("C@2d/MIC >= 1", "C@48h/MIC >= 1", "C@48h/MIC ≥ 1"),
        ("T>MIC >= 50% at elf 0.3 in first dose", "T>MIC >= 50% in first_dose at ELF 0.3",
         "T>MIC ≥ 50% (first dose, ELF × 0.3)"),
        ("fAUC24 >= 200 in 144-168 h with fu 90%", "fAUC24 >= 200 in 144..168h with fu 0.9",
         "fAUC24 ≥ 200 mg·h/L (144–168h, fu 0.9)"),
        ("fT>MIC >= 50% in day 1 and Cmin <= 20", "all of (fT>MIC >= 50% in day1; Cmin <= 20)",
         "fT>MIC ≥ 50% (day1) and Cmin ≤ 20 mg/L"),
        ("all of (fT>MIC >= 50%; C@24h <= 20) in day1", "all of (fT>MIC >= 50% in day1; C@24h <= 20)",
         "fT>MIC ≥ 50% (day1) and C@24h ≤ 20 mg/L"),
    ],
)  # fmt: skip
def test_parse__reads_what_people_write(text, canonical, label):
    target = parse_target(text)
    assert (str(target), target.label) == (canonical, label)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fT>MIC >= 150%", "fT>MIC=150%: a percentage must be > 0% and <= 100%. Write 50% or 0.5."),
        ("fT>MIC >= 50", "fT>MIC=50: a fraction must be a finite number > 0 and <= 1. Write 50% or 0.5."),
        ("fT>MIC >= 0", "fT>MIC=0: a fraction must be a finite number > 0 and <= 1"),
        ("fT>MIC", "'fT>MIC' needs a limit. Write fT>MIC >= 50%."),
        ("fT>MIC > 50%", "a limit counts as attained itself. Write fT>MIC >= 50%."),
        ("50% fT>MIC >= 50%", "is read for T>MIC alone, and only once"),
        ("AUC/MIC <= 700", "target=AUC/MIC <= 700: an upper limit by MIC is not monotone in the MIC. "
                           "State the limit without MIC"),
        ("AUC24/MIC 400..600", "target=AUC24/MIC 400..600: an upper limit by MIC is not monotone"),
        ("T>MIC <= 50%", "not monotone in the MIC. Ask for T>MIC >= 50%, or state the limit without MIC"),
        ("Cmin 20..10", "Cmin=20..10: the lower limit must be below the upper one"),
        ("Cmin >= 0", "Cmin=0: a limit must be a finite number > 0"),
        ("Cmin >= 50%", "Cmin is not a fraction, so its limit is no percentage"),
        ("Cmin >= 10 mg/dL", "'mg/dL' is not the unit of Cmin. It is mg/L."),
        ("AUC24 >= 400 mg/L", "'mg/L' is not the unit of AUC24. It is mg*h/L."),
        ("fT>0xMIC >= 50%", "mic_multiple=0: the multiple of the MIC must be a finite number > 0"),
        ("fCmx/MIC >= 10", "'fCmx/MIC' is not an index. Did you mean 'Cmax/MIC'?"),
        ("AUC0-24/MIC >= 400", "'AUC0-24/MIC' is not an index. Did you mean 'AUC24/MIC'?"),
        ("C >= 1", "'C' is not an index"),
        ("C@48 >= 1", "time=48: a time needs its unit, h or min. Write 48h or 48min."),
        ("C@48h >= 1 in day1", "window=day1: C@48h is at one time, so it has no window"),
        ("fT>MIC >= 50% in dya1", "window=dya1: this is not a window. Did you mean 'day1'?"),
        ("fT>MIC >= 50% in 48..24h", "end=24: the end of a window must be a finite number > 48 h"),
        ("fT>MIC >= 50% in interval 0", "n=0: the number of a dosing interval must be a whole number >= 1"),
        ("fAUC24/MIC >= 400 in 0..12h", "window=0..12h: AUC24 is over a window of 24 h. Take day1"),
        ("fT>MIC >= 50% at ELF", "site=ELF: ELF needs its ratio to plasma, which is not assumed. Write at ELF 0.3"),
        ("fT>MIC >= 50% at elv 0.3", "site=elv: this site is not known. Did you mean 'ELF'?"),
        ("fT>MIC >= 50% at plasma 0.3", "penetration=0.3: in plasma the ratio is 1"),
        ("fT>MIC >= 50% at site 0", "penetration=0: a ratio to plasma must be a finite number > 0"),
        ("T>MIC >= 50% with fu 0.5", "fu=0.5: T>MIC is of the total drug, so it has no unbound fraction"),
        ("fT>MIC >= 50% with fu 1.5", "fu=1.5: a fraction must be a finite number > 0 and <= 1"),
        ("fT>MIC >= 50% in ss in day1", "window is said twice"),
        ("fT>MIC >= 50% wiht fu 0.5", "'wiht fu 0.5' cannot be read behind the limit. Did you mean 'with'?"),
        ("Cmin >= 1 and Cmax <= 9 in day1", "the window behind the last target could be meant for all"),
        ("Cmin >= 1; Cmax <= 9", "several targets together need brackets"),
        ("all of ()", "there is no target in the brackets"),
        ("", "'' is not an index"),
    ],
)  # fmt: skip
def test_parse__refuses_and_says_what_to_write(text, says):
    with pytest.raises(InputError, match=re.escape(says)):
        parse_target(text)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"index": "Cmn", "lower": 1}, "index=Cmn: this index is not known. Did you mean 'Cmin'?"),
        ({"index": "Cmin"}, "a target needs a limit"),
        ({"index": "Cmin", "lower": 1, "mic_multiple": 4}, "a multiple of the MIC goes with T>MIC alone"),
        ({"index": "T>MIC", "lower": 0.5}, "T>MIC is always by MIC"),
        ({"index": "C", "lower": 1}, "time=None: C, and no other index, needs a time in h"),
        ({"index": "Cmax", "lower": 1, "time": 3}, "time=3: C, and no other index, needs a time in h"),
        ({"index": "Cmin", "lower": float("nan")}, "Cmin=nan: a limit must be a finite number > 0"),
        ({"index": "Cmin", "lower": 1, "penetration": float("nan")}, "penetration=nan: a ratio to plasma"),
        ({"index": "Cmin", "lower": 1, "free": 1}, "free=1: free must be True or False"),
        ({"index": "Cmin", "lower": 1, "free": True, "fu": 0}, "fu=0: an unbound fraction must be"),
    ],
)
def test_target__refuses(fields, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Target(**fields)


def test_parse_target__keywords_count_where_the_text_does_not_say():
    given = {"window": "day1", "fu": 0.9, "site": "ELF", "penetration": 0.3}
    assert str(parse_target("fT>MIC >= 50%", **given)) == "fT>MIC >= 50% in day1 at ELF 0.3 with fu 0.9"
    said = "fT>MIC >= 50% in interval 2 at CSF 0.1 with fu 0.5"
    assert str(parse_target(said, **given)) == said
    assert str(parse_target("C@48h >= 1 at plasma", **given)) == "C@48h >= 1"  # total, at one time, in plasma
    assert str(Target.parse("T>MIC >= 50%", penetration=0.4)) == "T>MIC >= 50% at site 0.4"
    assert str(Target.parse("T>MIC >= 50% at bone", penetration=0.4)) == "T>MIC >= 50% at bone 0.4"
    with pytest.raises(InputError, match="bone needs its ratio"):  # ELF's ratio is not bone's
        parse_target("T>MIC >= 50% at bone", **given)
    made = Target.parse("Cmin >= 1")
    assert parse_target(made, **given) is made


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"target": "fT>MIC >= 50%", "fu": "98%", "site": "ELF", "penetration": 0.3, "window": "day1"},
         "fT>MIC >= 50% in day1 at ELF 0.3 with fu 0.98"),
        ({"target": "fT>MIC >= 50%", "window": [24, 48]}, "fT>MIC >= 50% in 24..48h"),
        ({"target": "fT>MIC >= 50% in day1", "window": "day1"}, "fT>MIC >= 50% in day1"),
        ({"all_of": ["fT>MIC >= 50%", {"target": "Cmin <= 20", "window": "ss"}], "fu": 0.9, "window": "day1"},
         "all of (fT>MIC >= 50% in day1 with fu 0.9; Cmin <= 20)"),
        ({"all_of": ["Cmin <= 20"]}, "Cmin <= 20"),
    ],
)  # fmt: skip
def test_parse_target__mappings(mapping, text):
    assert str(parse_target(mapping)) == text


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"taget": "x"}, "target=taget: this key is not known. Did you mean 'target'?"),
        ({"fu": 0.9}, "one of target and all_of must be given"),
        ({"target": 3}, "target=3: a target must be a text"),
        ({"all_of": "Cmin <= 1"}, "all_of must be a list of targets"),
        ({"target": "fT>MIC >= 50% with fu 0.5", "fu": 0.9}, "fu=0.9: the text of the target says 0.5"),
        ({"target": "T>MIC >= 50%", "fu": 0.9}, "fu=0.9: T>MIC is of the total drug"),
        ({"target": "Cmin >= 1", "window": 24}, "window=24: this is not a window. Write ss, first_dose"),
        (["Cmin >= 1"], "a target must be a text or keys"),
    ],
)  # fmt: skip
def test_parse_target__refuses_mappings(mapping, says):
    with pytest.raises(InputError, match=re.escape(says)):
        parse_target(mapping)


def test_all_of__needs_targets():
    with pytest.raises(InputError, match="needs two targets or more"):
        AllOf((Target.parse("Cmin >= 1"),))
    with pytest.raises(InputError, match="this is not a target"):
        AllOf(("Cmin >= 1", "Cmax <= 9"))
    with pytest.raises(InputError, match="these are several targets"):
        Target.parse("Cmin >= 1 and Cmax <= 9")


LOADED = Regimen.parse("from 2h 2 g load inf 1h, then 1 g q8h inf 1h")


@pytest.mark.parametrize(
    ("window", "span"),
    [
        ("ss", None),
        ("first_dose", (2, 10)),
        ("day1", (2, 26)),
        ("interval 3", (18, 26)),
        ("24..48h", (24, 48)),
        ("30min..2h", (0.5, 2)),
    ],
)
def test_window__span_of_a_regimen(window, span):
    assert Window.of(window).span(LOADED) == span
    assert Target.parse("fT>MIC >= 50%", window=window).span(LOADED) == span


def test_window__refused_for_regimens_that_have_none():
    for ends in (Regimen(1000, 8, n_doses=3), Regimen.from_events([(0, 1), (8, 1)])):
        with pytest.raises(
            InputError, match=r"window=ss: the regimen .* ends, so it has no steady state. Take day1"
        ):
            STEADY_STATE.span(ends)
    once = Regimen.parse("1 g at 3h")
    assert Window.of("day1").span(once) == (3, 27)
    assert Target.parse("C@4h >= 1").span(once) == (4, 4)
    with pytest.raises(InputError, match=r"has no dosing interval. Give the window in hours"):
        Window.of("first_dose").span(once)
    with pytest.raises(InputError, match=r"window=2\.\.10h: AUC24 is over a window of 24 h"):
        Target.parse("AUC24 >= 400 in first_dose").span(LOADED)
    assert Target.parse("AUC24 >= 400 in first_dose").span(Regimen(1000, 24)) == (0, 24)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "day2"}, "window=day2: this is not a window. Did you mean 'day1'?"),
        ({"kind": "interval"}, "n=None: the number of a dosing interval goes with the window 'interval'"),
        ({"kind": "day1", "n": 2}, "n=2: the number of a dosing interval goes with the window 'interval'"),
        ({"kind": "span", "start": 1}, "window=1..None: start and end, in h, go with the window 'span'"),
        ({"kind": "ss", "start": 1, "end": 2}, "window=1..2: start and end, in h, go with the window 'span'"),
        ({"kind": "span", "start": -1, "end": 2}, "start=-1: the start of a window must be a finite number >= 0 h"),
    ],
)  # fmt: skip
def test_window__refuses(fields, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Window(**fields)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text", [" " * 10**5 + "x", "1" * 10**5, "Cmin >= 1 in " + "a in " * 10**4, "x" * 10**6]
)
def test_parse_target__long_nonsense_is_refused_at_once_and_shortly(text):
    with pytest.raises(InputError, match=r"(target|window)=") as caught:
        parse_target(text)
    assert len(str(caught.value)) < 700
