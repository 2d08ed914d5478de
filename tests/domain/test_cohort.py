"""Cohorts from NONMEM's columns: what rows mean, and what is refused with its line and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.cohort import read_cohort
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.patient import Patient, shipped_patients
from tdmx_dask.errors import InputError
from tests.domain.cohorts import N, example_cohort


@pytest.fixture
def cohort(tmp_path: Path):
    def read(text: str | bytes, **options) -> tuple[Patient, ...]:
        path = tmp_path / "c.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_cohort(path, **options)

    return read


def doses(one: Patient) -> list[tuple[float, float, float]]:
    return [(each.time, each.amount, each.tinf) for each in one.doses]


# --- what rows mean


def test_cohort__rows(cohort):
    (one,) = cohort("ID,TIME,AMT,DV\nA,0,1000,.\nA,9,.,12.5\nA,15.5,0,<0.5\n")
    assert one.id == "A"
    assert doses(one) == [(0, 1000, 0)]
    assert one.levels == (Level(9, 12.5), Level(15.5, 0.5, below=True))


def test_cohort__columns_in_any_order_and_case(cohort):
    (one,) = cohort("dv,Amt,id,time\n.,1000,1,0\n12.5,.,1,9\n")
    assert one == cohort("ID,TIME,AMT,DV\n1,0,1000,.\n1,9,.,12.5\n")[0]


@pytest.mark.parametrize("column", ["RATE,2000", "TINF,0.5", "DUR,0.5", "DUR (h),0.5", "RATE (mg/h),2000"])
def test_cohort__infusions(cohort, column):
    name, value = column.split(",")
    (one,) = cohort(f"ID,TIME,AMT,{name},DV\n1,0,1000,{value},.\n1,9,.,.,12.5\n")
    assert doses(one) == [(0, 1000, 0.5)]


def test_cohort__rate_and_length_may_agree(cohort):
    (one,) = cohort("ID,TIME,AMT,RATE,DUR,DV\n1,0,1000,333.3333,3,.\n1,9,.,.,.,12.5\n")
    assert doses(one) == [(0, 1000, 3)]


def test_cohort__addl(cohort):
    (one,) = cohort("ID,TIME,AMT,DUR,DV,ADDL,II\n1,0,1000,0.5,.,2,8\n1,17,.,.,12.5,.,.\n")
    assert doses(one) == [(0, 1000, 0.5), (8, 1000, 0.5), (16, 1000, 0.5)]


def test_cohort__steady_state(cohort):
    text = "ID,TIME,AMT,DUR,DV,SS,II\n1,3,1000,0.5,.,1,8\n1,4,.,.,12.5,.,.\n1,11,1000,0.5,.,.,.\n"
    (one,) = cohort(text)
    assert one.run_in == 240
    assert doses(one) == [(3 + 8.0 * k, 1000, 0.5) for k in range(32)]
    assert one.levels == (Level(244, 12.5),)
    assert cohort(text, run_in=20)[0].run_in == 24


def test_cohort__evid(cohort):
    text = "ID,TIME,AMT,DV,EVID,MDV\n1,0,0,.,3,1\n1,0,1000,.,4,1\n1,1,.,99,0,1\n1,2,.,.,2,1\n1,8,500,.,1,1\n1,9,.,12.5,0,0\n"
    (one,) = cohort(text)
    assert doses(one) == [(0, 1000, 0), (8, 500, 0)]
    assert one.levels == (Level(9, 12.5),)


@pytest.mark.parametrize("flag", ["CENS", "BLQ"])
def test_cohort__below_quantification(cohort, flag):
    (one,) = cohort(
        f"ID,TIME,AMT,DV,{flag},LLOQ\n1,0,1000,.,.,.\n1,9,.,.,1,0.5\n1,10,.,0,1,0.25\n1,11,.,0.5,0,0.5\n"
    )
    assert one.levels == (Level(9, 0.5, True), Level(10, 0.25, True), Level(11, 0.5))
    (one,) = cohort(f"ID,TIME,AMT,DV,{flag}\n1,0,1000,.,.\n1,9,.,0.5,1\n")
    assert one.levels == (Level(9, 0.5, True),)


def test_cohort__level_before_a_dose_of_its_time(cohort):
    (one,) = cohort("ID,TIME,AMT,DV\n1,0,1000,.\n1,8,.,3\n1,8,1000,.\n")
    assert one.levels == (Level(8, 3),)
    assert len(one.doses) == 2


def test_cohort__covariates(cohort):
    text = "ID,TIME,AMT,DV,WT (kg),SEX,CCr,NOTE,C\n1,0,1000,.,70,female,80,x,\n1,9,.,3,.,.,80,y,\n"
    text += "2,0,1000,.,60,male,50,,\n2,9,.,3,60,male,55,,\n"
    one, two = cohort(text)
    assert {name: each.plain() for name, each in one.covariates.items()} == {
        "WT": "70 kg",
        "SEX": "female",
        "CCr": 80,
    }
    assert {name: each.plain() for name, each in two.covariates.items()} == {"WT": "60 kg", "SEX": "male"}
    assert (one.varying, two.varying) == ((), ("CCr",))
    (one, _) = cohort(text, covariates=["WT"])
    assert set(one.covariates) == {"WT"}
    with pytest.raises(InputError, match="line 2, NOTE=x: this is not a number"):
        cohort(text, covariates=["NOTE"])


def test_cohort__names_are_only_names(cohort):
    found = cohort('ID,TIME,AMT,DV\n<script>alert(1)</script>,0,1,.\n"../../x, y",0,1,.\n=cmd(),0,1,.\n')
    assert [each.id for each in found] == ["<script>alert(1)</script>", "../../x, y", "=cmd()"]


@given(st.integers(0, 3), st.sampled_from([",", ";", "\t"]), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_cohort__layout_is_free(tmp_path_factory, blank, separator, bom, newline):
    rows = ["ID,TIME,AMT,DV,WT", "1,0,1000,.,70", "# a remark", "1,9,.,12.5,70"]
    text = newline.join([*[""] * blank, "# a remark; with, signs", *rows, "", ""])
    data = ("\ufeff" if bom else "") + text.replace(",", separator)
    path = tmp_path_factory.mktemp("layout") / "c.csv"
    path.write_bytes(data.encode())
    (one,) = read_cohort(path)
    assert (doses(one), one.levels, one.covariates["WT"].value) == ([(0, 1000, 0)], (Level(9, 12.5),), 70)


def test_cohort__header_may_begin_with_a_hash(cohort):
    assert cohort("#ID,TIME,AMT,DV\n1,0,1000,.\n")[0].id == "1"


# --- what is refused

HEAD = "ID,TIME,AMT,RATE,DUR,DV,EVID,MDV,BLQ,LLOQ,SS,II,ADDL,CMT,WT\n"
DOSE = "1,0,1000,.,.,.,1,1,.,.,.,.,.,1,70\n"


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("1,0,1000,-2,.,.,1,1,.,.,.,.,.,1,70", "line 2, RATE=-2: a rate that the model chooses"),
        ("1,0,1000,500,3,.,1,1,.,.,.,.,.,1,70", "they contradict each other: DUR 3 h and RATE 2 h"),
        ("1,0,1000,.,-3,.,1,1,.,.,.,.,.,1,70", "line 2, DUR=-3: an infusion lasts 0 h or longer"),
        ("1,0,-1000,.,.,.,1,1,.,.,.,.,.,1,70", "EVID=1 is a dose, and a dose is above 0 mg"),
        ("1,0,-1000,.,.,.,.,1,.,.,.,.,.,1,70", "AMT=-1000: a dose is above 0 mg"),
        ("1,0,2e9,.,.,.,1,1,.,.,.,.,.,1,70", "AMT=2e9: a dose must be a finite number > 0 and <= 1000000 mg"),
        ("1,0,.,.,.,.,1,1,.,.,.,.,.,1,70", "line 2, AMT=.: EVID=1 is a dose"),
        ("1,0,1000,.,.,.,0,1,.,.,.,.,.,1,70", "EVID=0 is no dose"),
        ("1,0,1000,.,.,.,7,1,.,.,.,.,.,1,70", "EVID=7: it is 0, 1, 2, 3 or 4"),
        ("1,0,1000,.,.,.,1,1,.,.,.,.,3,1,70", "II=.: ADDL needs the hours between doses"),
        ("1,0,1000,.,.,.,1,1,.,.,.,-8,3,1,70", "II=-8: ADDL needs the hours between doses"),
        ("1,0,1000,.,.,.,1,1,.,.,.,8,999999,1,70", "ADDL=999999: at most 5,000 doses"),
        ("1,0,1000,.,.,.,1,1,.,.,.,8,1e300,1,70", "ADDL=1e300: it is a whole number from 0"),
        ("1,0,1000,.,.,.,1,1,.,.,.,8,2.5,1,70", "ADDL=2.5: it is a whole number"),
        ("1,0,1000,.,.,.,1,1,.,.,.,8,-1,1,70", "ADDL=-1: it is a whole number"),
        ("1,0,1000,.,.,.,1,1,.,.,1,.,.,1,70", "II=.: SS needs the hours between doses"),
        ("1,0,1000,.,.,.,1,1,.,.,1,1e-300,.,1,70", "II=1e-300: at most 5,000 doses"),
        ("1,0,1000,.,.,.,1,1,.,.,2,8,.,1,70", "SS=2: steady state is read for the first dose"),
        ("1,0,1000,.,9,.,1,1,.,.,1,8,.,1,70", "at steady state an infusion is not longer than II"),
        (DOSE + "1,8,1000,.,.,.,1,1,.,.,1,8,.,1,70", "line 3, SS=1: steady state is read for the first dose"),
        (DOSE + "1,8,1000,.,.,.,4,1,.,.,.,.,.,1,70", "line 3, EVID=4: EVID=4 begins anew after doses"),
        (DOSE + "1,8,.,.,.,.,3,1,.,.,.,.,.,1,70", "EVID=3: EVID=3 begins anew after doses"),
        (DOSE + "1,8,.,.,.,-2,0,0,.,.,.,.,.,1,70", "line 3, DV=-2: a level must be a finite number"),
        (DOSE + "1,8,.,.,.,0,0,0,.,.,.,.,.,1,70", "DV=0: a level must be"),
        (DOSE + "1,8,.,.,.,1e6,0,0,.,.,.,.,.,1,70", "DV=1e6: a level must be"),
        (DOSE + "1,8,.,.,.,.,0,0,.,.,.,.,.,1,70", "DV=.: the level is missing. Set MDV to 1"),
        (DOSE + "1,8,.,.,.,high,0,0,.,.,.,.,.,1,70", "DV=high: this is not a number"),
        (DOSE + "1,8,.,.,.,.,0,0,1,.,.,.,.,1,70", "LLOQ=.: a level below quantification needs its limit"),
        (DOSE + "1,8,.,.,.,0,0,0,1,.,.,.,.,1,70", "LLOQ=.: a level below quantification needs its limit"),
        (DOSE + "1,8,.,.,.,0.3,0,0,0,0.5,.,.,.,1,70", "it is below LLOQ=0.5 mg/L and not marked"),
        (DOSE + "1,8,.,.,.,<0.3,0,0,0,0.5,.,.,.,1,70", "the limit is 0.5 mg/L by LLOQ"),
        (DOSE + "1,8,.,.,.,9,0,0,-1,0.5,.,.,.,1,70", "a level above the range of the assay is not read"),
        (DOSE + "1,8,.,.,.,9,0,3,.,.,.,.,.,1,70", "MDV=3: it is a whole number from 0 to 1"),
        (DOSE + "1,8,.,.,.,9,0,0,.,.,.,.,.,1,70\n1,7,.,.,.,9,0,0,.,.,.,.,.,1,70", "line 4, TIME=7: times ascend"),
        (DOSE + "1,0,.,.,.,9,0,0,.,.,.,.,.,1,70", "line 3, TIME=0: a level at the time of a bolus"),
        (DOSE + "1,8:30,.,.,.,9,0,0,.,.,.,.,.,1,70", "Write the hours since the start, not a time of day"),
        (DOSE + "1,-8,.,.,.,9,0,0,.,.,.,.,.,1,70", "TIME=-8: it must be at least 0"),
        (DOSE + "1,.,.,.,.,9,0,0,.,.,.,.,.,1,70", "TIME=.: a number is missing"),
        (DOSE + "1,8,.,.,.,9,0,0,.,.,.,.,.,1,70\n1,9,.,.,.,9,0,0,.,.,.,.,.,2,70", "CMT=2: levels of one compartment"),
        (DOSE + ".,8,.,.,.,9,0,0,.,.,.,.,.,1,70", "line 3, ID=.: the id of the patient is missing"),
        (DOSE + "2,0,1000,.,.,.,1,1,.,.,.,.,.,1,70\n" + DOSE, "line 4, ID=1: the rows of a patient stand together"),
        ("1,8,.,.,.,9,0,0,.,.,.,.,.,1,70", "patient 1 has no dose"),
        ("1,8,.,.,.,9,0,0,.,.,.,.,.,1,70\n1,9,1000,.,.,.,1,1,.,.,.,.,.,1,70", "line 2, TIME=8: a level must be later"),
        (DOSE + "1,8,.,.,.,12,5,0,0,.,.,.,.,.,1,70", "has 16 columns, the header 15. Write decimal points"),
        (DOSE + "1,8,.,.,.,9", "has 6 columns, the header 15. Fill empty cells"),
        ("x" * 300 + ",0,1000,.,.,.,1,1,.,.,.,.,.,1,70", "line 2, id="),
    ],
)  # fmt: skip
def test_cohort__row_refused(cohort, rows, match):
    with pytest.raises(InputError) as caught:
        cohort(HEAD + rows + "\n")
    assert match in str(caught.value)
    assert "c.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        ("\n\n  \n", "the file is empty"),
        ("ID,TIME,AMT,DV\n", "there is no row below the header"),
        ("ID,TIME,AMT\n1,0,1\n", "a cohort needs the column DV"),
        ("ID,TIME,AMT,DV,time\n1,0,1,.,0\n", "TIME: this column is there twice"),
        ("ID,TIME,AMT (g),DV\n1,0,1,.\n", "its unit is mg"),
        ("ID,TIME,AMT,DV (ng/mL)\n1,0,1,.\n", "its unit is mg/l"),
        ("ID,TIME (min),AMT,DV\n1,0,1,.\n", "its unit is h"),
        ('ID,TIME,AMT,DV\n1,0,"1,.\n', "this line cannot be split into cells"),
        (
            "ID;TIME;AMT;DV\n1;0;1000;.\n1;9;.;12,5\n",
            "line 3, DV=12,5: this is not a number. Write 12.5, with a decimal point",
        ),
        (
            "ID;TIME;AMT;DV;WT\n1;0;1000;.;70,5\n",
            "line 2, WT=70,5: this is not a number. Write 70.5, with a decimal point",
        ),
        ("ID;TIME;AMT;DV\n1;0;1000;.\n1;9;.;<0,5\n", "with a decimal point"),
        (b"ID,TIME,AMT,DV\n\xff\xfe,0,1,.\n", "it is not UTF-8 text"),
        (b"ID,TIME,AMT,DV\n1\0,0,1,.\n", "a table is a text of at most 100 MB"),
        ("ID,TIME,AMT,DV,WT\n1,0,1,.,1e999\n", "the number must be finite"),
    ],
)
def test_cohort__file_refused(cohort, text, match):
    with pytest.raises(InputError) as caught:
        cohort(text)
    assert match.lower() in str(caught.value).lower()


def test_cohort__call_refused(cohort, tmp_path):
    with pytest.raises(InputError, match="there is no such file, and no shipped cohort of that name"):
        read_cohort("nobody")
    with pytest.raises(InputError, match="there is no such file"):
        read_cohort(tmp_path)
    with pytest.raises(
        InputError, match=r"covariates=WTT: c.csv has no column of this name. Did you mean WT\?"
    ):
        cohort("ID,TIME,AMT,DV,WT\n1,0,1,.,70\n", covariates=["WTT"])
    with pytest.raises(InputError, match="run_in=0"):
        cohort("ID,TIME,AMT,DV,WT\n1,0,1,.,70\n", run_in=0)


# --- shipped


def test_shipped__cohort_is_what_its_seed_gives():
    assert shipped_patients()["example_cohort"].read_text(encoding="utf-8") == example_cohort()


def test_shipped__cohort():
    found = read_cohort("example_cohort")
    assert len(found) == N
    assert all(len(one.doses) == 6 and len(one.levels) == 4 for one in found)
    assert any(level.below for one in found for level in one.levels)
    assert {each.covariates["CCr"].unit for each in found} == {"mL/min/1.73m2"}
