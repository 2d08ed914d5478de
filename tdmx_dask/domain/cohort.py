"""Patients from a table with NONMEM's columns: one row a dose or a level.

Columns are known by their names, in any order and case; all others are covariates, whose header may state their unit, as in
``CCr (mL/min)``.

===========  =====================================================================================
ID           of the patient; the rows of one stand together
TIME         h, ascending within a patient
AMT          mg
RATE         mg/h; 0 is a bolus
TINF, DUR    h, length of the infusion, instead of RATE
DV           mg/L; ``<0.5`` is below quantification
EVID         0 level, 1 dose, 2 neither; 3 and 4 begin anew, which is possible before the first dose alone
MDV          1: DV of this row does not count
CENS, BLQ    1: below quantification, at LLOQ, or at DV where there is no LLOQ
LLOQ         mg/L
ADDL, II     further doses, and the hours between them
SS           1: the dose comes at steady state with interval II
CMT, DVID    one site of measurement alone
===========  =====================================================================================

References
----------
NONMEM Users Guide VI, PREDPP, ch. V: EVID, SS, II, ADDL; Monolix' CENS.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tdmx_dask.domain.cohort_table import Row, Table, read_table
from tdmx_dask.domain.covariate import SEXES
from tdmx_dask.domain.doses import DoseEvent
from tdmx_dask.domain.level import Level, parse_level
from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.domain.patient import Patient, shipped_patients
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.schedule import MOST_DOSES
from tdmx_dask.domain.section import nearest
from tdmx_dask.domain.units import number_text, real
from tdmx_dask.errors import InputError

__all__ = ["RUN_IN", "read_cohort"]

RUN_IN = 240.0
"""h of past doses that stand for steady state."""


def read_cohort(
    given: str | Path, *, covariates: Collection[str] | None = None, run_in: float = RUN_IN
) -> tuple[Patient, ...]:
    """Read the patients of a table.

    Parameters
    ----------
    given : a CSV file (comma, semicolon or tab), or the name of a shipped cohort
    covariates : names of the columns to take; None: all others that hold numbers or sexes
    run_in : h; where SS = 1, doses every II hours are put before it for at least so long, and the clock begins with the first of
        them. A fit refuses it where the prior says that this is too short

    Returns
    -------
    patients in the order of the file

    Raises
    ------
    InputError
        The file is no such table, or a row cannot be: names file, line and column.
    """
    path = Path(given)
    shipped = {name: file for name, file in shipped_patients().items() if file.suffix == ".csv"}
    if not path.is_file():
        if str(given) not in shipped:
            rule = "there is no such file, and no shipped cohort of that name"
            raise InputError("cohort", given, rule, nearest(path.stem, tuple(shipped)))
        path = shipped[str(given)]
    run_in = real("run_in", run_in, "the time of past doses", unit="h", gt=0, le=87_600)
    table = read_table(path, covariates)
    seen: dict[str, Row] = {}
    patients = []
    for key, group in groupby(table.rows, lambda row: row.text("ID")):
        rows = list(group)
        if key in seen:
            rule = f"the rows of a patient stand together, and {key} has some from line {seen[key].number} on"
            rows[0].fail("ID", rule, "Sort the table, or give the later stay an id of its own.")
        seen[key] = rows[0]
        patients.append(_patient(key, rows, table, run_in))
    return tuple(patients)


@dataclass(slots=True)
class _Record:
    """What the rows of one patient have said so far."""

    doses: list[DoseEvent]
    levels: list[tuple[Level, Row]]
    run_in: float = 0.0


def _patient(key: str, rows: Sequence[Row], table: Table, run_in: float) -> Patient:
    record = _Record([], [])
    last = 0.0
    _refuse_sites(rows)
    for row in rows:
        time = row.number_of("TIME", low=0.0)
        if time < last:
            row.fail(
                "TIME",
                f"times ascend within a patient, and {number_text(last)} h came before",
                "Sort the rows.",
            )
        last = time
        evid = _evid(row)
        if evid in (3, 4) and record.doses:
            rule = f"EVID={evid} begins anew after doses, and a patient has one course"
            row.fail("EVID", rule, "Give the later stay an id of its own.")
        if evid in (1, 4):
            _add_doses(record, row, time, run_in)
        elif evid == 0 and row.flag("MDV") == 0:
            _refuse_after_bolus(record, row, time)
            record.levels.append((_level(row, time + record.run_in), row))
    if not record.doses:
        rows[0].fail("ID", f"patient {key} has no dose", "Add its doses, or remove its rows.")
    first = min(dose.time for dose in record.doses)
    for level, row in record.levels:
        if level.time <= first:
            rule = "a level must be later than the first dose"
            row.fail("TIME", rule, "Write the doses before it, or set MDV to 1.")
    covariates, varying = _covariates(rows, table)
    try:
        return Patient(
            id=key,
            regimen=Regimen.from_events(record.doses),
            levels=tuple(level for level, _ in record.levels),
            covariates=covariates,
            varying=varying,
            run_in=record.run_in,
            source=table.path.name,
        )
    except InputError as error:
        name = f"{table.path.name}, line {rows[0].number}, {error.name}"
        raise type(error)(name, error.value, error.rule, error.fix) from None


def _refuse_after_bolus(record: _Record, row: Row, time: float) -> None:
    """Refuse a level that stands behind a bolus of the same time: a level is just before a dose that is due then."""
    if any(dose.time == time + record.run_in and dose.tinf == 0 for dose in record.doses):
        rule = "a level at the time of a bolus is the one just before it, and this row comes after the dose"
        row.fail("TIME", rule, "Put the level first, or give the minutes that it was later.")


def _evid(row: Row) -> int:
    """What the row is: as it says, else a dose where it has an amount."""
    given = row.optional("EVID")
    amount = row.optional("AMT") or 0.0
    if given is None:
        if amount < 0:
            row.fail("AMT", "a dose is above 0 mg", "Mend it.")
        return 1 if amount > 0 else 0
    if given not in (0, 1, 2, 3, 4):
        row.fail("EVID", "it is 0, 1, 2, 3 or 4", "0 is a level, 1 a dose.")
    if given in (1, 4) and not amount > 0:
        row.fail("AMT", f"EVID={given:g} is a dose, and a dose is above 0 mg", "Give AMT, or set EVID to 0.")
    if given in (0, 2, 3) and amount > 0:
        row.fail("AMT", f"EVID={given:g} is no dose", "Set EVID to 1, or remove AMT.")
    return int(given)


def _add_doses(record: _Record, row: Row, time: float, run_in: float) -> None:
    """The dose of a row, those that follow it by ADDL, and those before it by SS."""
    amount, tinf = row.number_of("AMT"), _tinf(row)
    interval = row.optional("II") or 0.0
    further, steady = row.flag("ADDL", highest=10**9), row.flag("SS", highest=2)
    if (further or steady) and interval <= 0:
        row.fail("II", f"{'ADDL' if further else 'SS'} needs the hours between doses", "Give II above 0.")
    if further + len(record.doses) >= MOST_DOSES:
        row.fail(
            "ADDL",
            f"at most {MOST_DOSES:,} doses are followed one by one",
            "Leave out those after the last level.",
        )
    if steady:
        if steady == 2 or record.doses:
            rule = "steady state is read for the first dose of a patient (SS=1)"
            row.fail("SS", rule, "Write the doses before it instead.")
        if tinf > interval:
            row.fail(
                "SS",
                "at steady state an infusion is not longer than II",
                "Write the doses before it instead.",
            )
        if run_in / interval + further >= MOST_DOSES:
            row.fail("II", f"at most {MOST_DOSES:,} doses are followed one by one", "Give a shorter run_in.")
        number = max(math.ceil(run_in / interval), 1)
        record.run_in = number * interval
    start = time + record.run_in
    try:
        for k in range(-round(record.run_in / interval) if steady else 0, further + 1):
            record.doses.append(DoseEvent(start + k * interval, amount, tinf))
    except InputError as error:
        row.fail({"amount": "AMT", "time": "TIME"}.get(error.name, "DUR"), error.rule, error.fix)


def _tinf(row: Row) -> float:
    """Length of the infusion, h, by RATE, TINF or DUR; 0 is a bolus."""
    rate = row.optional("RATE") or 0.0
    given = {name: row.optional(name) or 0.0 for name in ("TINF", "DUR")}
    if rate < 0:
        row.fail("RATE", "a rate that the model chooses (below 0) is not read", "Give the rate, or TINF.")
    amount = row.number_of("AMT")
    lengths = {name: value for name, value in given.items() if value != 0}
    if rate > 0:
        lengths["RATE"] = amount / rate
    for name, value in lengths.items():
        if value < 0:
            row.fail(name, "an infusion lasts 0 h or longer", "0 is a bolus.")
    if lengths and max(lengths.values()) > min(lengths.values()) * (1 + 1e-3):
        said = " and ".join(f"{name} {number_text(value)} h" for name, value in lengths.items())
        row.fail(next(iter(lengths)), f"they contradict each other: {said}", "Keep one of the columns.")
    return next(iter(lengths.values()), 0.0)


def _level(row: Row, time: float) -> Level:
    """The level of a row: measured, or below quantification."""
    flags = [row.flag(name, lowest=-1) for name in ("CENS", "BLQ")]
    if -1 in flags:
        row.fail("CENS", "a level above the range of the assay is not read", "Set MDV to 1.")
    lloq, text = row.optional("LLOQ"), row.text("DV")
    value: float | None = None
    below = 1 in flags
    try:
        if text:
            value, said = parse_level(text if text.lstrip()[:1] in "<≤" else row.number_of("DV"), "DV")
            below = below or said
            if said and lloq is not None and lloq != value:
                row.fail("DV", f"the limit is {number_text(lloq)} mg/L by LLOQ", "Say it once.")
        if below:
            value = lloq if lloq is not None else value
            if not value:
                row.fail(
                    "LLOQ", "a level below quantification needs its limit, in mg/L", "Add the column LLOQ."
                )
        elif value is None:
            row.fail("DV", "the level is missing", "Set MDV to 1 where none was measured.")
        elif lloq is not None and value < lloq:
            rule = f"it is below LLOQ={number_text(lloq)} mg/L and not marked"
            row.fail("DV", rule, "Set BLQ to 1, or leave LLOQ empty.")
        return Level(time, value, below)
    except InputError as error:
        if ", line " in error.name:
            raise
        return row.fail({"time": "TIME"}.get(error.name, "DV"), error.rule, error.fix)


def _refuse_sites(rows: Sequence[Row]) -> None:
    """Refuse levels of several sites or drugs, and doses into several compartments."""
    for column in ("CMT", "DVID"):
        for dose in (True, False):
            found = {row.text(column): row for row in rows if bool(row.optional("AMT")) == dose}
            found.pop("", None)
            if (column == "CMT" and len(found) > 1) or (column == "DVID" and not dose and len(found) > 1):
                what = "doses" if dose else "levels"
                rule = f"{what} of one compartment are read, here are {', '.join(sorted(found))}"
                list(found.values())[-1].fail(
                    column, rule, "Keep the rows of intravenous doses and plasma levels."
                )


def _covariates(rows: Sequence[Row], table: Table) -> tuple[dict[str, Measurement], tuple[str, ...]]:
    """Covariates of a patient, and the names of those that change within the record."""
    found: dict[str, Measurement] = {}
    varying = []
    for column in table.covariates:
        values = dict(_values(rows, column))
        if len(values) > 1:
            varying.append(table.name_of(column))
        for text, row in list(values.items())[:1]:
            if len(values) == 1:
                unit = table.units.get(column, "")
                try:
                    given = Measurement.read(
                        table.name_of(column), text if text.isalpha() else f"{text} {unit}"
                    )
                except InputError as error:
                    row.fail(column, error.rule, error.fix)
                found[table.name_of(column)] = given
    return found, tuple(varying)


def _values(rows: Sequence[Row], column: str) -> Iterator[tuple[str, Row]]:
    """Different values of a column, an empty cell left out."""
    for row in rows:
        text = row.text(column)
        if text:
            yield (text.lower() if text.lower() in SEXES else number_text(row.number_of(column))), row
