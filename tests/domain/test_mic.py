"""MIC distributions: weights sum to 1, dilutions match, every table form gives the same."""

import math
import pickle
import re
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.domain.mic import MICDistribution, dilution, match_mic
from tdmx_dask.errors import InputError, TdmxWarning

EUCAST = {  # as EUCAST prints two-fold dilutions
    -9: 0.002, -8: 0.004, -7: 0.008, -6: 0.016, -5: 0.03, -4: 0.06, -3: 0.125, -2: 0.25, -1: 0.5, 0: 1, 1: 2,
    2: 4, 3: 8, 4: 16, 5: 32, 6: 64, 7: 128, 8: 256, 9: 512,
}  # fmt: skip


def quiet(make):
    """Made from weights that need not sum to 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return make()


@st.composite
def distributions(draw):
    mic = sorted(draw(st.sets(st.sampled_from([*EUCAST.values(), 3, 5, 6, 0.75]), min_size=1)))
    number = st.integers(0, 10**6) if draw(st.booleans()) else st.floats(0, 1e6)
    weights = draw(st.lists(number, min_size=len(mic), max_size=len(mic)).filter(lambda ws: sum(ws) > 1e-9))
    above = draw(number) if draw(st.booleans()) else 0
    shown = [f"<={mic[0]}", *mic[1:]] if draw(st.booleans()) else mic
    shown = [*shown, f">{mic[-1]}"] if above or draw(st.booleans()) else shown
    numbers = [*weights, above][: len(shown)]
    if all(isinstance(weight, int) for weight in numbers):
        return MICDistribution.from_counts(shown, numbers)
    made = quiet(lambda: MICDistribution.from_mapping({"mic": shown, "weight": numbers}))
    return replace(made, n_isolates=draw(st.one_of(st.none(), st.integers(1, 10**6))))


@settings(max_examples=200)
@given(distributions())
def test_str__parses_back_to_the_same_distribution(made):
    """Without a warning: what is printed sums to 1."""
    assert MICDistribution.parse(str(made)) == made
    assert MICDistribution.from_mapping(made.to_mapping()) == made
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301
    assert math.fsum([*made.weight, made.above]) == pytest.approx(1, abs=1e-9)


def test_dilution__as_eucast_prints_it():
    assert {power: dilution(mic) for power, mic in EUCAST.items()} == {power: power for power in EUCAST}
    assert [dilution(mic) for mic in (3, 5, 6, 0.75, 0.38, 1.08, 1.06)] == [None] * 6 + [0]
    with pytest.raises(InputError, match="mic=0: a MIC must be a finite number > 0 mg/L"):
        dilution(0)


@given(st.lists(st.sampled_from(sorted(EUCAST)), unique=True), st.permutations(sorted(EUCAST)))
def test_match_mic__finds_each_dilution_however_it_is_printed(powers, order):
    counted = [EUCAST[power] for power in order]
    found = match_mic([2.0**power for power in powers], counted)
    assert [order[index] for index in found] == powers
    assert (found == match_mic([EUCAST[power] for power in powers], counted)).all()


def test_match_mic__value_before_dilution_and_refused_where_not_counted():
    assert match_mic([0.03, 0.03125, 3], [0.03125, 0.03, 3]).tolist() == [1, 0, 2]
    assert match_mic([], [1]).tolist() == []
    with pytest.raises(
        InputError, match=r"mic=6: this MIC was not counted \(counted: 3, 5 mg/L\). Count it too"
    ):
        match_mic([3, 6], [3, 5])


@pytest.mark.parametrize(
    ("text", "mic", "weight", "above", "n", "censored"),
    [
        ("0.25:0.1, 0.5:0.9", (0.25, 0.5), (0.1, 0.9), 0, None, ()),
        ("0.5:90%, 0.25:10%", (0.25, 0.5), (0.1, 0.9), 0, None, ()),
        ("0,25:0,1; 0,5:0,9", (0.25, 0.5), (0.1, 0.9), 0, None, ()),
        ("<= 0.25 mg/L:1, 0.5:3", (0.25, 0.5), (0.25, 0.75), 0, 4, ("<=0.25",)),
        ("≤0.25:0.25, 32:0.5, >32:0.25", (0.25, 32), (0.25, 0.5), 0.25, None, ("<=0.25", ">32")),
        ("16:1, >32:1\n", (16,), (0.5,), 0.5, 2, (">32",)),
        ("0.03:0.5, 1:0.5 (n=57)", (0.03, 1), (0.5, 0.5), 0, 57, ()),
        ("2:1", (2,), (1,), 0, None, ()),
    ],
)
def test_parse__forms(text, mic, weight, above, n, censored):
    made = MICDistribution.parse(text, organism="E. coli")
    assert (made.mic, made.weight, made.above) == (mic, weight, above)
    assert (made.n_isolates, made.censored, made.organism) == (n, censored, "E. coli")


def test_weights__normalised_with_a_warning_counts_silently():
    with pytest.warns(TdmxWarning, match=r"MIC weights of isolates sum to 0.8, not 1: they were normalised"):
        made = MICDistribution.parse("1:0.2, 2:0.6")
    assert made.weight == pytest.approx((0.25, 0.75))
    assert (
        MICDistribution.parse("1:0.3333333, 2:0.3333333, 4:0.3333333").n_isolates is None
    )  # off by 1e-7: silent
    assert MICDistribution.parse("1:2, 2:6") == MICDistribution.from_counts([1, 2], [2, 6])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MICDistribution.parse(""), "a distribution needs MICs and as many weights; it has 0 and 0"),
        (lambda: MICDistribution.parse("1:-0.1, 2:1.1"), "weight=-0.1: a weight must be a finite number >= 0"),
        (lambda: MICDistribution.parse("1:nan, 2:1"), "weight=nan: this is not a number"),
        (lambda: MICDistribution.parse("1:0, 2:0"), "the weights at the MICs are all 0"),
        (lambda: MICDistribution.parse(">2:1"), "a distribution needs MICs"),
        (lambda: MICDistribution.parse("1, 2"), "mic=1: each item must be a MIC, a colon and a weight"),
        (lambda: MICDistribution.parse("0:1"), "mic=0: a MIC must be a finite number > 0 mg/L"),
        (lambda: MICDistribution.parse("x:1"), "mic=x: this is not a MIC. Write 0.25, <=0.25 or >32, in mg/L."),
        (lambda: MICDistribution.parse("0.03:0.5, 0.03125:0.5"), "mic=0.03, 0.03125: one dilution must not be there"),
        (lambda: MICDistribution.parse("3:0.5, 3:0.5"), "mic=3, 3: one dilution must not be there twice"),
        (lambda: MICDistribution.parse("1:0.5, <0.5:0.5"), "mic=<0.5: below a MIC is not a dilution at which it "
                                                           "could count. Write <=0.25"),
        (lambda: MICDistribution.parse("1:0.5, >=64:0.5"), "mic=>=64: from a MIC on is not above the highest one "
                                                           "tested. Write >32"),
        (lambda: MICDistribution.parse("1:0.5, <=2:0.5"), "censored=<=2: <=2 must be the lowest MIC, which is 1 mg/L"),
        (lambda: MICDistribution.parse("8:0.5, >4:0.5"), "censored=>4: >4 must not be below the highest MIC, which is"),
        (lambda: MICDistribution.parse("8:0.4, >8:0.3, >16:0.3"), "there may be one MIC such as <=0.25 and one such"),
        (lambda: MICDistribution.parse(3), "mic=3: a MIC distribution must be a text"),
        (lambda: MICDistribution.parse("1:1", organism=""), "organism=: organism must be a text"),
        (lambda: MICDistribution("a", (2, 1), (0.5, 0.5)), "mic=2, 1: MICs must ascend. Sort them with their weights."),
        (lambda: MICDistribution("a", (1,), (1,), n_isolates=0), "n_isolates=0: a number of isolates must be"),
        (lambda: MICDistribution("a", (1,), (1,), illustrative=1), "illustrative must be True or False"),
        (lambda: MICDistribution.from_counts([1, 2], [1]), "count=1: there are 2 MICs and 1 values of count"),
        (lambda: MICDistribution.from_counts([1], [0.5]), "counts must be whole numbers. Fractions go by weight."),
        (lambda: MICDistribution.from_counts([1], [True]), "count=True: a count must be a finite number >= 0"),
        (lambda: MICDistribution.from_mapping({"mci": {1: 1}}), "mic distribution=mci: this key is not known. Did you "
                                                                "mean 'mic'?"),
        (lambda: MICDistribution.from_mapping({"mic": [1]}), "mic=[1]: mic must be a text or a mapping, or a list"),
        (lambda: MICDistribution.from_mapping({"mic": [1], "count": [2], "n_isolates": 2}), "counts say the number"),
        (lambda: MICDistribution.from_mapping({"mic": "1:2", "n_isolates": 2}), "n_isolates: this key is not known"),
        (lambda: MICDistribution.from_mapping([1]), "MICs must be a text or keys"),
    ],
)  # fmt: skip
def test_mic_distribution__refuses(make, says):
    with pytest.raises(InputError, match=re.escape(says)):
        make()


@pytest.mark.parametrize(
    "mapping",
    [
        {"mic": "<=1:6, 2:3, >2:1"},
        {"mic": {"<=1": 6, 2: 3, ">2": 1}},
        {"mic": [2, ">2", "<=1"], "count": [3, 1, 6]},
    ],
)
def test_from_mapping__forms(mapping):
    made = MICDistribution.from_mapping({**mapping, "organism": "E. coli", "illustrative": True})
    assert made == MICDistribution("E. coli", (1, 2), (0.6, 0.3), 0.1, 10, ("<=1", ">2"), illustrative=True)


LONG = "organism,mic,count\nE. coli,<=0.25,6\nE. coli,0.5,4\nK. pneumoniae,1,3\nK. pneumoniae,>1,1\n"
WIDE = "Organism,<=0.25,0.5,1,>1,Observations,(T)ECOFF\nE. coli,6,4,0,0,10,0.5\nK. pneumoniae,,,3,1,4,ID\n"


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        WIDE,
        "\ufeff# a comment\r\n\r\n" + LONG.replace("\n", "\r\n"),
        LONG.replace(",", ";").replace("0.", "0,"),
        WIDE.replace(",", ";").replace("0.", "0,").replace("Organism", ""),
        WIDE.replace(",", "\t"),
        LONG.replace("<=0.25", '"<=0,25"').replace("0.5", '"0,5"'),
        "Drug,Species,MIC (mg/L),N\n" + "".join(f"x,{line}\n" for line in LONG.splitlines()[1:]),
    ],
)
def test_read_csv__every_form_gives_the_same(tmp_path, text):
    path = tmp_path / "mic.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert MICDistribution.read_csv(path) == (
        MICDistribution.from_counts(["<=0.25", 0.5], [6, 4], organism="E. coli", source="mic.csv"),
        MICDistribution.from_counts([1, ">1"], [3, 1], organism="K. pneumoniae", source="mic.csv"),
    )


def test_read_csv__weights_and_a_single_isolate(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("mic,weight\n1,10%\n2,0.9\n")
    (made,) = MICDistribution.read_csv(path, source="a ward", illustrative=True)
    assert (made.organism, made.weight, made.source, made.illustrative) == (
        "mine",
        (0.1, 0.9),
        "a ward",
        True,
    )
    path.write_text("mic,count\n1,1\n")
    assert MICDistribution.read_csv(path)[0].n_isolates == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty. Give the columns organism, mic and count"),
        ("organism,mic,count\n", "there is no line below the header"),
        ("a,b\n1,2\n", "mic.csv=a, b: this header is of no MIC table"),
        ("organism,mic\nx,2\n", "one of count and weight must be there"),
        (
            "organism,mic,cuont\nx,2,1\n",
            "mic.csv, column 3=cuont: this column is not known. Did you mean 'count'?",
        ),
        ("organism,mic,count,n\nx,2,1,1\n", "mic.csv, column 4=n: count is there twice"),
        ("organism,mic,count\nx,2,1\nx,4\n", "mic.csv, line 3=x: this line has 2 columns, the header 3"),
        ("organism,mic,count\nx,2,1\n\nx,many,1\n", "mic.csv, line 4, column mic=many: this is not a MIC"),
        (
            "organism,mic,count\nx,2,-1\n",
            "mic.csv, line 2, column count=-1: this must be a whole number >= 0",
        ),
        (
            "organism,mic,count\nx,2,1.5\n",
            "mic.csv, line 2, column count=1.5: this must be a whole number >= 0",
        ),
        ("organism,mic,weight\nx,2,\n", "mic.csv, line 2, column weight=: this is not a number"),
        ("organism;mic;count\nx;2;1,000\n", "line 2, column count=1,000: a comma before three digits"),
        (
            "organism;mic;weight\nx;0,5;0.5\n",
            "column weight=0.5: the table writes decimal commas and decimal points",
        ),
        (
            "organism,mic,count\nx,2,1.000\n",
            "column count=1.000: a point before three digits can mean two things",
        ),
        ("organism,mic,count\n,2,1\n", "mic.csv, line 2=: the organism is missing"),
        ("drug,organism,mic,count\na,x,2,1\nb,x,4,1\n", "mic.csv=a, b: a table must be of one drug"),
        ("organism,mic,count\nx,2,1\nx,2,3\n", "mic.csv, x: mic=2, 2: one dilution must not be there twice"),
        ("organism,mic,count\nx,2,0\n", "mic.csv, x: weight=x: the weights at the MICs are all 0"),
        ('organism,mic,count\nx,"2"3,1\n', "mic.csv, line 2=: ',' expected after '\"'. Check its quotes."),
        ("o,1,2,comment\nx,1,2,3\n", "mic.csv, column 4=comment: this column is not known"),
        ("o,1,2,Observations\nx,1,2,4\n", "mic.csv, line 2=x: the counts sum to 3, not to 4 observations"),
        ("o,1,2\nx,1,2\nx,3,4\n", "mic.csv, line 3=x: the organism is on line 2 already"),
        ("o,1,>=2\nx,1,2\n", "mic.csv, line 1, column >=2=>=2: from a MIC on is not above"),
    ],
)
def test_read_csv__refuses_and_says_where(tmp_path, text, says):
    path = tmp_path / "mic.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        MICDistribution.read_csv(path)


def test_read_csv__refuses_what_is_no_text(tmp_path):
    with pytest.raises(InputError, match="it cannot be read: No such file or directory"):
        MICDistribution.read_csv(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("organism,mic,count\nß,1,1\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"it is not UTF-8 text \(byte 19\). Save it as CSV in UTF-8."):
        MICDistribution.read_csv(tmp_path / "latin.csv")
