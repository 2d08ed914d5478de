"""Studies: what they hold, what they refuse, and those that are shipped."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import yaml

from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.study import N_DEFAULT, Study, needs_mic, noting, read_study, shipped_studies
from tdmx_dask.errors import InputError, SchemaError, TdmxWarning

POPULATION = """
population:
  model: 1C
  parameters: {CL: "5 * (CCr / 80)", Vc: 30}
  covariates: {CCr: {unit: mL/min, value: 80}}
  bsv: {CL: {cv: 0.3}}
"""
BASE = POPULATION + "regimens: 1 g q8h inf 30min\ntargets: fT>MIC >= 50%\nmic: 0.5..2\n"


def study(text: str, path: Path | None = None) -> Study:
    return Study.from_mapping(parse_yaml(text, file=str(path or "s.yaml")), path=path)


def test_study__defaults():
    found = study(BASE)
    assert (found.name, found.seed, found.n, found.subjects) == ("study", 0, N_DEFAULT, 1)
    assert (found.level, found.breakpoint_level, found.fu) == (0.95, 0.9, None)
    assert found.mic == (0.5, 1.0, 2.0)
    assert [scenario.name for scenario in found.scenarios] == ["all"]
    assert found.design == (("all", found.regimens[0]),)
    assert found.targets[0].label == "fT>MIC ≥ 50%"
    assert found.population is not None
    assert found.population.model == "1C"
    assert found.distributions == ()
    assert found.published is None
    assert found.notes == ()


def test_study__all_keys():
    found = study(
        BASE
        + "name: mine\ntitle: T\ndescription: D\nsource: S\nseed: 7\nn: 1e6\nfu: 0.9\nlevel: 0.9\nbreakpoint_level: 0.95\n"
        + 'distributions: ["0.5:0.5, 2:0.5"]\n'
        + "published: {source: x, unit: percent, tolerance_pp: 3, columns: [scenario, regimen, target, mic, pta],"
        + ' rows: [[all, 1000 mg q8h inf 0.5h, "fT>MIC >= 0.5", 1, 99]]}\n'
    )
    assert (found.name, found.title, found.description, found.source) == ("mine", "T", "D", "S")
    assert (found.seed, found.n, found.fu, found.level, found.breakpoint_level) == (7, 10**6, 0.9, 0.9, 0.95)
    assert found.distributions[0].mic == (0.5, 2.0)
    assert found.published is not None
    cell = found.published.cells[0]
    assert (cell.regimen, cell.target, cell.mic) == (found.regimens[0].label, found.targets[0].label, 1.0)


def test_study__mic_of_the_distributions():
    found = study(
        BASE.replace("mic: 0.5..2\n", "distributions: ['0.5:0.5, 4:0.5', {text: '2:1', organism: two}]\n")
    )
    assert found.mic == (0.5, 2.0, 4.0)
    assert [each.organism for each in found.distributions] == ["isolates", "two"]


def test_study__no_mic_needed():
    found = study(BASE.replace("targets: fT>MIC >= 50%\nmic: 0.5..2", "targets: [Cmin 10..20, AUC24 <= 600]"))
    assert found.mic == (1.0,)
    assert [needs_mic(target) for target in found.targets] == [False, False]


def test_study__two_levels_from_draws(tmp_path):
    found = study(BASE + "draws: d.zarr\nsubjects: 100\n", tmp_path / "s.yaml")
    assert found.draws == tmp_path / "d.zarr"
    assert (found.subjects, found.n) == (100, None)


def test_study__files_beside_it(tmp_path):
    (tmp_path / "pop.yaml").write_text(yaml.safe_dump(yaml.safe_load(POPULATION)["population"]))
    (tmp_path / "mic.csv").write_text("organism,mic,count\nA,0.5,3\nA,1,1\nB,2,5\n")
    text = "population: pop.yaml\nregimens: 1 g q8h\ntargets: T>MIC >= 0.5\nmic: 0.5..2\ndistributions: {file: mic.csv}\n"
    (tmp_path / "mine.yaml").write_text(text)
    found = read_study(tmp_path / "mine.yaml")
    assert found.name == "mine"
    assert [each.organism for each in found.distributions] == ["A", "B"]
    assert found.path == tmp_path / "mine.yaml"


def test_study__keeps_what_was_mended():
    with pytest.warns(TdmxWarning, match="sum"):
        found = study(BASE + "distributions: '0.5:0.5, 1:0.2'\n")
    assert len(found.notes) == 1


def test_noting__gives_warnings_all_the_same():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with noting() as notes:
            for text in ("twice", "twice"):
                warnings.warn(text, TdmxWarning, stacklevel=1)
            warnings.warn("another", UserWarning, stacklevel=1)
    assert notes == ["twice"]
    assert [str(each.message) for each in caught] == ["twice", "twice", "another"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (BASE + "regimen: x", r"^regimen=x: this key is not known here\. Did you mean regimens\? \(s\.yaml, line \d+\)$"),
        (BASE.replace("population:", "x:"), r"^x=.*is not known"),
        ("regimens: 1 g q8h", r"^population=null: this key is needed"),
        (POPULATION + "regimens: 1 g q8h", r"^targets=null: this key is needed"),
        (BASE.replace("mic: 0.5..2", ""), r"^mic=null: this key is needed"),
        (BASE + "seed: -1", r"^seed=-1: it must be at least 0"),
        (BASE + "n: 0", r"^n=0: it must be between 1 and"),
        (BASE + "n: many", r"^n=many: a whole number is wanted"),
        (BASE + "fu: 90", r"^fu=90: it must be between 0 and 1"),
        (BASE + "fu: 0", r"^fu=0: the unbound fraction is above 0"),
        (BASE + "level: 95", r"^level=95: it must be between 0\.5 and 0\.9999"),
        (BASE + "name: ../x", r"^name=\.\./x: the name of a study names a folder"),
        (BASE + "subjects: 10", r"^subjects=10: virtual patients of each draw need draws"),
        (BASE + "draws: x.zarr\nn: 10", r"^n=10: the number of draws is that of the store"),
        (BASE.replace("fT>MIC >= 50%", "fT>MIC >= 150%"), r"^targets=fT>MIC >= 150%: "),
        (BASE.replace("fT>MIC >= 50%", "[3]"), r"^targets\[0\]=3: a target is a text or a mapping"),
        (BASE.replace("fT>MIC >= 50%", "[T>MIC >= 0.5, T>MIC >= 50%]"), r"^targets\[1\]=.*given twice"),
        (BASE.replace("mic: 0.5..2", "mic: [1, -2]"), r"^mic=\[1, -2\]: mic=-2\.0: a MIC is a finite number above 0"),
        (BASE.replace("mic: 0.5..2", "mic: [1, x]"), r"^mic.*x: a number is wanted"),
        (BASE + "distributions: '0.25:1'", r"^mic=0\.5\.\.2: mic=0\.25: this MIC was not counted"),
        (BASE + "distributions: '0.5:-1'", r"^distributions=0\.5:-1: "),
        (BASE + "distributions: ['1:1', '2:1']", "two distributions are called isolates"),
        (BASE + "distributions: {organism: a, mic: [1], cuont: [3]}", "count"),
        (BASE + "distributions: [5]", "a distribution is a text or a mapping"),
        (BASE + "distributions: {file: none.csv}", r"^distributions\.file=none\.csv"),
        (BASE.replace("CCr / 80", "CCR / 80"), r"^population\.parameters\.CL"),
        (BASE.replace("{cv: 0.3}", "{cv: -0.3}"), r"^population\.bsv\.CL"),
        ("population: none.yaml\nregimens: 1 g q8h", r"^population=none\.yaml: .*cannot be read"),
        ("population: [1]\nregimens: 1 g q8h", "a population is a mapping"),
        (BASE + "published: {source: x, unit: percent, tolerance_pp: 3, target: Cmax >= 1, columns: [regimen], rows: [[x]]}",
         r"^published\.target=Cmax >= 1: the study has none of this name"),
        (BASE + "published: {source: x, unit: percent, tolerance_pp: 3, scenario: all, target: fT>MIC >= 0.5,"
         " columns: [1 g q8h inf 30min], rows: [[9]]}", "needs a MIC"),
    ],
)  # fmt: skip
def test_study__refused(text, match):
    with pytest.raises(InputError, match=match) as caught:
        study(text)
    assert "\n" not in str(caught.value)


def test_study__published_pair_must_be_asked_for():
    text = POPULATION + "regimens: {a: 1 g q8h, b: 2 g q8h}\ntargets: T>MIC >= 0.5\nmic: 1\n"
    text += "scenarios: [{name: x, regimens: a}, {name: y, regimens: b}]\n"
    text += "published: {source: s, unit: percent, tolerance_pp: 1, target: T>MIC >= 0.5, mic: 1, columns: [scenario, b], rows: [[x, 9]]}"
    with pytest.raises(InputError, match="does not compute the cell x, b"):
        study(text)


def test_read_study__by_name_and_by_file():
    assert read_study("meropenem_sepsis") == read_study(shipped_studies()["meropenem_sepsis"])


@pytest.mark.parametrize("given", ["meropenem", "nowhere/meropenem_sepsi.yaml"])
def test_read_study__unknown(given):
    match = rf"^study={re.escape(given)}: there is no such file, .* Did you mean meropenem_sepsis\?$"
    with pytest.raises(InputError, match=match):
        read_study(given)


def test_read_study__names_the_file_of_bad_yaml(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("a: !!python/object:x 1")
    with pytest.raises(SchemaError, match=r"bad\.yaml, line 1: YAML tags are not read"):
        read_study(file)


def test_shipped__all_read():
    assert set(shipped_studies()) >= {
        "fluconazole_auc",
        "meropenem_sepsis",
        "seed_workloads",
        "teicoplanin_loading",
    }
    for name in shipped_studies():
        found = read_study(name)
        assert found.name == name
        assert found.title
        assert found.source
        assert all(each.illustrative for each in found.distributions)


@pytest.mark.parametrize(
    ("name", "n_scenarios", "n_pairs", "n_cells", "n_left_out"),
    [
        ("meropenem_sepsis", 5, 9, 54, 0),
        ("fluconazole_auc", 10, 60, 120, 0),
        ("teicoplanin_loading", 36, 71, 215, 11),
    ],
)
def test_shipped__published_tables(name, n_scenarios, n_pairs, n_cells, n_left_out):
    found = read_study(name)
    assert found.published is not None
    assert len(found.scenarios) == n_scenarios
    assert len(found.design) == n_pairs
    assert len(found.published.cells) == n_cells
    assert sum(bool(cell.left_out) for cell in found.published.cells) == n_left_out
