"""The report: what it says, and that nothing in a name can break out of it."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdmx_dask import plot
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.published import Cell
from tdmx_dask.errors import StoreError
from tdmx_dask.fitting.diagnostics import Diagnosis
from tdmx_dask.plot.style import percent
from tdmx_dask.report import (
    Section,
    Sheet,
    caveat_of,
    fit_section,
    fit_sentences,
    levels_section,
    patient_section,
    population_section,
    report_text,
    write_report,
)
from tests.plot.synthetic import cfr_result, pta_result
from tests.plot.test_attainment import HOSTILE

VOID = {"meta", "img", "link", "br", "hr", "input", "base"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; tables as rows of cell texts, with the class of each cell."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.every: list[list[list[tuple[str, str]]]] = []
        self.kinds: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    @property
    def tables(self) -> list[list[list[tuple[str, str]]]]:
        """Tables of results and settings."""
        return [t for t, kind in zip(self.every, self.kinds, strict=True) if "sheet" not in kind.split()]

    @property
    def sheets(self) -> list[list[list[tuple[str, str]]]]:
        """Tables of what was asked, of populations and fits."""
        return [t for t, kind in zip(self.every, self.kinds, strict=True) if "sheet" in kind.split()]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.every.append([])
            self.kinds.append(str(named.get("class") or ""))
        elif tag == "tr":
            self.every[-1].append([])
        elif tag in ("td", "th"):
            self.every[-1][-1].append(("", str(named.get("class") or "")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag  # well nested

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.pieces.append(data)
        inside = [tag for tag in self.open if tag in ("td", "th", "caption")]
        if inside and inside[-1] != "caption":
            text, kind = self.every[-1][-1][-1]
            self.every[-1][-1][-1] = (f"{text} {data}".strip(), kind)


@dataclass
class Pair:
    """A published cell and its computed counterpart."""

    cell: Cell
    computed: float

    @property
    def difference(self) -> float:
        return self.computed - self.cell.pta

    @property
    def judged(self) -> bool:
        return not self.cell.left_out

    @property
    def within(self) -> bool:
        return abs(self.difference) <= self.cell.tolerance


def report(folder: Path, pta: Any = None, **options: Any) -> Page:
    """A report of a made-up result, parsed."""
    options.setdefault("title", "A study")
    page = Page(write_report(folder / "report.html", pta=pta_result() if pta is None else pta, **options))
    assert page.open == []
    return page


def test_report__stands_alone_and_says_what_it_is(tmp_path: Path) -> None:
    result = pta_result()
    page = report(tmp_path, result, figures={"PTA": plot.svg_text(plot.pta(result))}, cfr=cfr_result(result))
    assert page.text.count("Research use only. Not a medical device.") == 2
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert (
            attributes.get("src", "data:").startswith("data:image/svg+xml;base64,") or "src" not in attributes
        )
        assert "href" not in attributes
    assert not re.search(r"url\(|@import|https?://", page.source)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert [f.name for f in tmp_path.iterdir()] == ["report.html"]


def test_report__holds_every_number_of_the_result(tmp_path: Path) -> None:
    result = pta_result()
    table = report(tmp_path, result).tables[0]
    assert [text for text, _ in table[0]][:4] == ["Regimen", "0.03", "0.06", "0.125"]
    for number, row in enumerate(table[2:]):
        values = result.isel(scenario=0, target=0, regimen=number)
        assert row[0][0] == str(values["regimen"].item())
        for m, (text, kind) in enumerate(row[1:-1]):
            value, low, high = (float(values[name][m]) for name in ("pta", "lower", "upper"))
            assert kind == (
                "hit" if value >= 0.9 else "near" if value >= 0.8 else "half" if value >= 0.5 else "low"
            )
            assert ("✓" in text) == (value >= 0.9)
            shown, bounds = text.split()[0], text.split()[-1]
            if 0.01 <= value <= 0.99:
                assert abs(float(shown) - 100 * value) <= 0.5 + 1e-9
            parts = bounds.split("–")
            ends = [float(part.strip("<>")) for part in parts]
            assert ends[0] <= ends[-1]
            assert parts[0] != parts[-1] or high - low < 0.001
            assert abs(ends[0] - 100 * low) <= 0.5 + 1e-9
            assert abs(ends[-1] - 100 * high) <= 0.5 + 1e-9
        assert row[-1][0] == f"{float(values['breakpoint']):g}"


@pytest.mark.parametrize(
    ("reached", "texts"),
    [
        (0.9, ["✓ at least 90 %", "≈ 80 % to 90 %", "50 % to 80 %", "below 50 %"]),
        (0.55, ["✓ at least 55 %", "≈ 45 % to 55 %", "below 45 %"]),
        (0.5, ["✓ at least 50 %", "≈ 40 % to 50 %", "below 40 %"]),
        (0.05, ["✓ at least 5 %", "≈ below 5 %"]),
    ],
)
def test_report__the_key_has_the_classes_that_there_are(
    tmp_path: Path, reached: float, texts: list[str]
) -> None:
    result = pta_result()
    result["breakpoint"].attrs["level"] = reached
    page = report(tmp_path, result)
    assert (
        page.text.split("Numbers are per cent")[0]
        .replace("\u00a0", " ")
        .rstrip()
        .endswith(" ".join(texts[-2:]))
    )
    assert page.text.count("to 50 %") == (reached == 0.5)
    kinds = {kind for row in page.tables[0] for _, kind in row} - {"", "group", "break"}
    assert len(kinds) <= len(texts)
    labels = [
        text.get_text()
        for text in plot.pta(pta_result(scenarios=[f"S{n}" for n in range(12)]), level=reached)
        .legends[0]
        .get_texts()
    ]
    assert len(labels) == len(texts)


def test_report__bounds_that_are_almost_whole(tmp_path: Path) -> None:
    result = pta_result(mic=(1.0, 2.0, 4.0, 8.0), regimens=("A",))
    ends = [(0.99997, 0.99999), (0.00001, 0.00002), (1.0, 1.0), (0.9999, 1.0)]
    for m, (low, high) in enumerate(ends):
        result["lower"][0, 0, 0, m], result["upper"][0, 0, 0, m] = low, high
    row = report(tmp_path, result).tables[0][2]
    assert [text.split()[-1] for text, _ in row[1:5]] == [">99.9–>99.9", "<0.1–<0.1", "100", ">99.9–100"]


def test_report__a_caveat_stands_where_numbers_are(tmp_path: Path) -> None:
    result = pta_result()
    page = report(tmp_path, result, cfr=cfr_result(result), caveat="Do not.")
    assert page.text.count("Do not.") == 2


def test_report__summary_names_the_breakpoints(tmp_path: Path) -> None:
    page = report(tmp_path, pta_result(regimens=("weak", "strong")))
    assert (
        "The target is attained in at least 90 % of patients with strong up to a MIC of 2 mg/L; with weak up to a "
        "MIC of 1 mg/L." in page.text.replace("\u00a0", " ")
    )


def test_report__summary_of_what_never_and_always_attains(tmp_path: Path) -> None:
    result = pta_result(regimens=("never", "always"), mic=(16.0, 32.0))
    result["breakpoint"][0, 1, 0] = 32.0
    text = report(tmp_path, result).text.replace("\u00a0", " ")
    assert "with always up to a MIC of 32 mg/L (the largest computed)." in text
    assert "never: at none of the MICs from 16 to 32 mg/L." in text


def test_report__targets_without_mic(tmp_path: Path) -> None:
    result = pta_result(
        targets=("Cmin 10–20 mg/L", "AUC24 400–600 mg·h/L"), mic=(1.0,), regimens=("A", "B", "C")
    )
    result["pta"][0, 0, 0] = 0.46
    page = report(tmp_path, result)
    assert [text for text, _ in page.tables[0][0]] == ["Regimen", "Cmin 10–20 mg/L", "AUC24 400–600 mg·h/L"]
    shares = [float(value) for value in result["pta"][0, :, 0, 0]]
    assert [share >= 0.9 for share in shares] == [False, True, True]
    low, middle, high = (percent(share) for share in shares)
    text = page.text.replace("\u00a0", " ")
    assert f"of patients with B ({middle}) and C ({high}). Not so: A ({low})." in text
    assert "Breakpoint:" not in text
    at_one = report(tmp_path, pta_result(targets=("fAUC24/MIC ≥ 100",), mic=(2.0,)))
    assert "At a MIC of 2 mg/L" in at_one.text
    assert "of patients at a MIC of 2 mg/L" in at_one.text.replace("\u00a0", " ")


def test_report__scenarios_by_regimens_where_there_is_one_value(tmp_path: Path) -> None:
    result = pta_result(targets=("fAUC24/MIC ≥ 100",), mic=(2.0,), scenarios=("6 kg", "12 kg", "18 kg"))
    page = report(tmp_path, result)
    assert [text for text, _ in page.tables[0][0]] == ["Scenario", *result["regimen"].values.tolist()]
    assert [row[0][0] for row in page.tables[0][1:]] == ["6 kg", "12 kg", "18 kg"]
    assert page.tables[0][3][2][0].split()[0] == percent(float(result["pta"][2, 1, 0, 0])).removesuffix(" %")
    assert "fAUC24/MIC ≥ 100 at a MIC of 2 mg/L" in page.text


def test_report__many_scenarios_are_summed_up(tmp_path: Path) -> None:
    result = pta_result(scenarios=[f"eGFR {n}" for n in range(36)])
    page = report(tmp_path, result)
    reached = int(np.isfinite(result["breakpoint"]).sum())
    assert f"36 scenarios: {reached} of 72 pairs of scenario and regimen reach 90" in page.text
    assert len(page.tables[0]) == 1 + 36 * 3
    single = report(tmp_path, pta_result(scenarios=[f"eGFR {n}" for n in range(36)], mic=(1.0,)))
    assert re.search(r"36 scenarios: \d+ of 72 pairs of scenario and regimen attain the target", single.text)


@pytest.mark.parametrize(
    ("interval", "said", "unsaid"),
    [
        ("credible", "95 % credible interval", "Monte-Carlo interval"),
        ("monte_carlo", "95 % Monte-Carlo interval", "credible"),
        ("none", "Numbers are per cent.", "Small print"),
    ],
)
def test_report__calls_the_interval_what_it_is(tmp_path: Path, interval: str, said: str, unsaid: str) -> None:
    result = pta_result(interval=interval)
    if interval == "none":
        result["lower"][:] = np.nan
    page = report(tmp_path, result, cfr=cfr_result(result))
    assert said in page.text
    assert unsaid not in page.text


def test_report__cfr_and_its_distributions(tmp_path: Path) -> None:
    result = cfr_result(pta_result(regimens=("A", "B")), organisms=("E. coli", "P. aeruginosa"))
    page = report(tmp_path, pta_result(regimens=("A", "B")), cfr=result)
    table = page.tables[1]
    assert [text for text, _ in table[0]] == ["Regimen", "E. coli (illustrative)", "P. aeruginosa"]
    shown = [float(row[2][0].split()[0]) for row in table[2:]]
    np.testing.assert_allclose(shown, 100 * result["cfr"].values[0, :, 0, 1], atol=0.5 + 1e-9)
    text = page.text.replace("\u00a0", " ")
    assert "illustrative, not counted isolates; 100 isolates" in text
    assert "printed as >32; 2 % above the largest concentration tested count as not attained" in text
    best = 100 * float(result["cfr"][0, 1, 0, 1])
    assert f"No regimen reaches 90 %; the best is B with {best:.0f} %." in text
    assert text.count("Its distribution of MICs is illustrative, not counted isolates.") == 1


def test_report__comparison_in_percentage_points(tmp_path: Path) -> None:
    result = pta_result(regimens=("A", "B"), mic=(1.0, 2.0, 4.0))
    target = str(result["target"].values[0])
    values = result["pta"].values[0, :, 0]
    cells = [
        Pair(
            Cell("adult", "A", target, 1.0, round(float(values[0, 0]) - 0.012, 3), 0.03), float(values[0, 0])
        ),
        Pair(
            Cell("adult", "A", target, 2.0, round(float(values[0, 1]) + 0.05, 3), 0.03), float(values[0, 1])
        ),
        Pair(Cell("adult", "B", target, 4.0, 0.1, 0.03, "printed for another dose"), float(values[1, 2])),
        Pair(Cell("adult", "B", "Cmin 10–20 mg/L", None, 0.5, 0.03), 0.5),
    ]
    page = report(tmp_path, result, comparison=cells, comparison_source="Somebody 2020")
    by_mic, single = page.tables[1:3]
    assert [text for text, _ in by_mic[0]] == ["Regimen", "1", "2", "4"]
    assert by_mic[2][1][0].startswith("+1.2")
    assert by_mic[2][1][1] == "within"
    assert by_mic[2][2][0].startswith("-5.0")
    assert "!" in by_mic[2][2][0]
    assert by_mic[2][2][1] == "beyond"
    assert by_mic[3][3][1] == "left-out"
    assert by_mic[3][1] == ("", "none")
    assert single[2][1][0].startswith("0.0")
    assert "Somebody 2020" in page.text
    assert "* printed for another dose" in page.text
    assert (
        "2 of 3 published cells lie within their tolerance; the largest deviation is -5.0 percentage points. 1"
        in page.text
    )


def test_report__without_judged_cells(tmp_path: Path) -> None:
    cell = Cell("adult", "A", "T", 1.0, 0.5, 0.03, "no")
    assert "No published cell is judged." in report(tmp_path, comparison=[Pair(cell, 0.6)]).text


def test_report__settings_provenance_and_notes(tmp_path: Path) -> None:
    result = pta_result(fu_note="fu = 1 assumed: no unbound fraction was given")
    result.attrs["population"] = '{"name": "meropenem", "subjects": 2}'
    provenance = {"command": ["tdmx", "run"], "workers": 3, "empty": "", "seconds": {"pta": 0.123456789}}
    notes = ["Weights were normalised.", "fu = 1 assumed: no unbound fraction was given"]
    page = report(tmp_path, result, provenance=provenance, notes=notes)
    settings = {row[0][0]: row[1][0] for row in page.tables[-1]}
    assert settings["Seed"] == "1"
    assert settings["Simulated profiles"] == "10,000"
    largest = f"{100 * float(result['mcse'].max()):.2g} percentage points"
    assert settings["Largest Monte-Carlo standard error of PTA"] == largest
    assert settings["command"] == "tdmx, run"
    assert settings["workers"] == "3"
    assert "Workers" not in settings
    assert settings["seconds"] == "pta 0.123457"
    assert settings["Population"] == "name meropenem, subjects 2"
    assert "empty" not in settings
    assert page.text.count("fu = 1 assumed") == 1
    assert "Weights were normalised." in page.text


def test_report__what_was_not_asked_for(tmp_path: Path) -> None:
    asked = np.ones((2, 2, 2), dtype=bool)
    asked[1, 0] = asked[0, 1, 1] = False
    result = pta_result(scenarios=("A", "B"), targets=("fT>MIC ≥ 50 %", "Cmin ≤ 20 mg/L"), asked=asked)
    page = report(tmp_path, result, cfr=cfr_result(result))
    assert not re.search(r"\bnan\b", page.text.lower())


def test_report__hostile_names_are_only_names(tmp_path: Path) -> None:
    evil = "</title></td><script>alert(1)</script>"
    names = [*HOSTILE, evil, "{{ 7 * 7 }}", "{% raw %}", "&lt;b&gt;", '" onload="x']
    result = pta_result(
        regimens=names, scenarios=(evil, "y" * 300), targets=("fT>MIC <img src=x onerror=alert(1)>",)
    )
    cell = Cell(evil, names[0], "fT>MIC <img src=x onerror=alert(1)>", 1.0, 0.5, 0.03, evil)
    page = report(
        tmp_path,
        result,
        title=evil,
        cfr=cfr_result(result, organisms=(evil, "o" * 300)),
        figures={f'"{evil}': f"<svg>{evil}</svg>"},
        provenance={evil: {evil: evil}},
        notes=[evil],
        comparison=[Pair(cell, 0.6)],
        comparison_source=evil,
    )
    assert "<script" not in page.source
    assert sum(tag == "title" for tag, _ in page.tags) == 1
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1
    assert set(images[0]) == {"src", "alt"}
    assert "49" not in [text for table in page.tables for row in table for text, _ in row]
    assert {"{{ 7 * 7 }}", "{% raw %}", "&lt;b&gt;"} <= {row[0][0] for table in page.tables for row in table}
    assert "\u2068مرحبا\u2069" in page.text  # cannot turn the sentence around it


def test_report__figures_are_whole(tmp_path: Path) -> None:
    svg = plot.svg_text(plot.pta(pta_result()))
    page = report(tmp_path, figures={"PTA against MIC": svg})
    source = next(str(attributes["src"]) for tag, attributes in page.tags if tag == "img")
    assert base64.b64decode(source.split(",")[1]).decode() == svg


def test_report__same_bytes_for_the_same_result(tmp_path: Path) -> None:
    assert report(tmp_path).source == report(tmp_path).source


def test_report__says_why_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"report=.*missing/report.html: cannot be written \(No such file"):
        write_report(tmp_path / "missing" / "report.html", title="x", pta=pta_result())


def test_report__sections_stand_between_the_question_and_pta(tmp_path: Path) -> None:
    sheet = Sheet(
        "A table", ("Name", "Value", ""), (("a", "1", ""), ("b", "2", "odd")), frozenset({1}), "A note"
    )
    facts = Sheet("", (), (("Model", "2C"),))
    section = Section("Fit", ("A paragraph",), (sheet, facts), {"A figure": "<svg/>"})
    page = report(
        tmp_path,
        sections=[section, Section("Nothing")],
        about=["Why it was asked"],
        summary=[("Fit", "Sound.")],
    )
    text = page.text
    order = [
        "Summary",
        "Sound.",
        "Question",
        "Why it was asked",
        "Regimens",
        "Fit A paragraph",
        "A table",
        "A note",
        "A figure",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert places[-1] < text.index("Numbers are per cent")
    assert "Nothing" not in text
    rows = [attributes.get("class") for tag, attributes in page.tags if tag == "tr"]
    assert rows.count("marked") == 1
    assert page.sheets[-1] == [[("Model", ""), ("2C", "")]]


def test_report__question_of_a_result(tmp_path: Path) -> None:
    result = pta_result(regimens=("1000 mg q8h inf 30min", "2 g load inf 30min, then 3 g q24h ci", "own"))
    result.attrs["regimens"] = json.dumps(
        [
            {"dose": 1000, "tau": 8, "tinf": 0.5},
            {"regimen": "2 g load inf 30min, then 3 g q24h ci"},
            {"regimen": "own"},
            "??",
        ]
    )
    result.attrs["scenarios"] = json.dumps({"low": {"CCr": 40.0}, "high": {"CCr": 120.0}})
    result.attrs["covariate_units"] = '{"CCr": "mL/min"}'
    page = report(tmp_path, result)
    regimens, targets, scenarios, mics = page.sheets
    assert [text for text, _ in regimens[1]] == [
        "1000 mg q8h inf 0.5h",
        "1,000 mg",
        "8",
        "0.5",
        "3,000 mg",
        "1.5",
        "–",
    ]
    assert [text for text, _ in regimens[2]][1:] == [
        *("3,000 mg", "24", "24", "3,000 mg", "24"),
        "2000 mg at 0h inf 0.5h",
    ]
    assert [text for text, _ in regimens[3]] == ["own", "–", "–", "–", "–", "–", "–"]
    assert regimens[4][0][0] == "??"
    assert [text for text, _ in targets[1]] == ["fT>MIC ≥ 50 %", "one dosing interval at steady state"]
    assert "All targets are counted at steady state: over one dosing interval." in page.text
    assert [[text for text, _ in row] for row in scenarios] == [
        ["Scenario", "CCr (mL/min)"],
        ["low", "40"],
        ["high", "120"],
    ]
    assert mics[0][1][0].startswith("0.03, 0.06, 0.125")


@pytest.mark.parametrize("bad", ["", "{", "[1", '"text"', "3", "[3, null]"])
def test_report__attributes_that_are_none_do_not_matter(tmp_path: Path, bad: str) -> None:
    result = pta_result()
    result.attrs |= {"regimens": bad, "targets": bad, "scenarios": bad}
    assert "Probability of target attainment" in report(tmp_path, result).text


def test_report__without_pta(tmp_path: Path) -> None:
    page = Page(
        write_report(
            tmp_path / "report.html", title="A fit", summary=[("Fit", "Sound.")], notes=["No PTA yet."]
        )
    )
    assert page.open == []
    assert "Probability" not in page.text
    assert "No PTA yet." in page.text
    assert [tag for tag, _ in page.tags].count("h2") == 1


def test_report__of_draws_or_of_patients(tmp_path: Path) -> None:
    result = pta_result(interval="monte_carlo")
    assert "finite number of simulated patients" in report(tmp_path, result).text
    result.attrs["population"] = '""'
    text = report(tmp_path, result).text
    assert "attained with a probability of at least 90 % under 1000 mg q8h" in text.replace("\u00a0", " ")
    assert "finite number of draws" in text
    assert "patients" not in text


VERDICT = Diagnosis(
    True,
    (),
    ("Tree depth costs time.",),
    {"rhat": 1.0016, "ess_bulk": 2173.0, "divergences": 0.0, "chains": 4, "draws": 1000},
)


def test_fit_section__figures_and_problems() -> None:
    parameters = [
        {
            "parameter": "CL",
            "q5": 8.512,
            "q50": 10.24,
            "q95": 12.21,
            "unit": "L/h",
            "r_hat": 1.0016,
            "ess_bulk": 2189.2,
        },
        {
            "parameter": "mu",
            "q5": None,
            "q50": None,
            "q95": None,
            "prior_q5": 0.1,
            "prior_q50": 0.2,
            "prior_q95": 0.3,
        },
    ]
    section = fit_section(parameters, VERDICT, about=[("Method", "nuts")])
    posterior, diagnostics = section.sheets
    assert posterior.rows[0] == ("CL", "L/h", "10.2", "8.51–12.2", "–", "–", "1.002", "2,189", "–")
    assert posterior.rows[1] == ("mu", "", "–", "–––", "0.2", "0.1–0.3", "–", "–", "–")
    assert dict(diagnostics.rows) == {
        "Method": "nuts",
        "Draws": "4 chains of 1,000",
        "Largest R-hat": "1.002",
        "Smallest effective sample size, bulk": "2,173",
        "Divergent draws": "0",
    }
    assert section.paragraphs == ("The draws are sound.", "Tree depth costs time.")
    bad = replace(VERDICT, healthy=False, problems=("R-hat is 1.3. Run longer.",))
    assert fit_section([], bad).paragraphs[:2] == (
        "Do not dose by these draws yet:",
        "R-hat is 1.3. Run longer.",
    )
    assert caveat_of(bad).startswith("Do not dose by these draws yet")
    assert fit_sentences(bad, [level(9, 4, 6)])[0][0] == "Fit"
    ((_, said),) = fit_sentences(bad)
    assert (
        said
        == "Do not dose by these draws yet (R-hat 1.002, ESS 2,173, divergent draws 0): R-hat is 1.3. Run longer."
    )


def level(measured: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {
        "time": 4.0,
        "measured": measured,
        "below": 0,
        "replicated_q5": low,
        "replicated_q95": high,
        **more,
    }


@pytest.mark.parametrize(
    ("row", "far"),
    [
        (level(5, 4, 6), False),
        (level(7, 4, 6), True),
        (level(3, 4, 6), True),
        (level(3, 4, 6, below=1), True),
        (level(5, 4, 6, below=1), False),
        (level(9, 4, 6, below=1), False),  # below 9 is what 4 to 6 says too
        ({"time": 1.0, "measured": 5.0, "below": 0, "predicted_q5": 6.0, "predicted_q95": 7.0}, True),
        ({"time": 1.0, "measured": 5.0, "below": 0}, False),
    ],
)
def test_levels_section__marks_what_is_outside(row: dict[str, Any], far: bool) -> None:
    section = levels_section([row])
    (sheet,) = section.sheets
    assert (0 in sheet.marked) is far
    assert sheet.rows[0][-1] == ("outside" if far else "")
    sentences = fit_sentences(VERDICT, [row])
    assert [about for about, _ in sentences] == (["Levels", "Fit"] if far else ["Fit", "Levels"])
    said = dict(sentences)["Levels"]
    caveat = (
        "1 of 1 levels lies outside of what the fitted model makes: these numbers are as right as that model."
    )
    assert caveat_of(VERDICT, [row]) == (caveat if far else "")
    assert ("outside" in said) is far


def test_levels_section__many_outside_are_summed_up() -> None:
    ((_, said), _) = fit_sentences(VERDICT, [level(9, 4, 6)] * 8)
    assert said.startswith("8 of 8 levels lie outside")
    assert " and 2 more. Check the times" in said
    assert levels_section([]).empty


def test_population_section__variability_and_covariates() -> None:
    population = Population.from_mapping(
        {
            "name": "made up",
            "source": "Somebody 2020",
            "thetas": {"TVCL": 5.0},
            "parameters": {"CL": "TVCL * (WT / 70)", "Vc": 20},
            "covariates": {
                "WT": {"unit": "kg", "lognormal": {"median": 70, "omega": 0.2}},
                "AGE": {"unit": "years", "value": 40},
                "SCR": {"unit": "umol/L"},
            },
            "bsv": {"CL": {"omega": 0.3}, "Vc": {"omega": 0.2}},
            "correlations": {"CL, Vc": 0.4},
            "fu": 0.5,
        }
    )
    section = population_section(population)
    tables = {sheet.caption: sheet.rows for sheet in section.sheets}
    facts = dict(tables[""])
    assert facts["Model"] == "1C (one compartment)"
    assert facts["Unbound fraction"] == "0.5"
    assert facts["Source"] == "Somebody 2020"
    assert tables["Typical values"] == (("TVCL", "5"),)
    assert tables["Parameters"][0] == ("CL", "TVCL * (WT / 70)", "L/h", "CV 30.7 % (SD of the log 0.3)")
    assert tables["Correlations of the parameters"] == (("CL and Vc", "0.4"),)
    covariates = {row[0]: row[1:] for row in tables["Covariates"]}
    assert covariates["AGE"] == ("40", "years")
    assert covariates["SCR"] == ("of the scenario or the patient", "umol/L")
    assert "median 70" in covariates["WT"][0]


def test_patient_section__priors_and_error() -> None:
    patient = Patient.from_mapping(
        {
            "id": "<b>4</b>",
            "regimen": "1000 mg q8h inf 30min x2",
            "levels": [{"time": 9, "value": 3}],
            "priors": {"CL": {"median": 5, "omega": 0.3}, "V": 20},
            "error": {"kind": "combined", "additive": {"median": 0.5, "omega": 0.2}, "proportional": 0.15},
        }
    )
    section = patient_section(patient)
    facts, priors = section.sheets
    assert dict(facts.rows)["Patient"] == "<b>4</b>"
    assert (
        dict(facts.rows)["Residual error"]
        == "combined; additive 0.5 mg/L, SD of its log 0.2; proportional 0.15, fixed"
    )
    assert priors.rows == (("CL", "5 L/h", "SD of the log 0.3"), ("Vc", "20 L", "fixed"))


def test_report_text__hostile_sections(tmp_path: Path) -> None:
    evil = "</style><script>alert(1)</script>{{ 7 * 7 }}"
    sheet = Sheet(evil, (evil, evil), ((evil, evil),), frozenset({0}), evil)
    text = report_text(
        title=evil,
        sections=[Section(evil, (evil,), (sheet, Sheet(evil, (), ((evil, evil),))), {evil: evil})],
        about=[evil],
        summary=[(evil, evil)],
    )
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    page = Page(tmp_path / "page.html")
    assert page.open == []
    assert "<script" not in text
    assert page.text.count("{{ 7 * 7 }}") == 17
