"""Figures of exposures, of maps of regimens, and of two levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import tdmx_dask as tdmx
from tdmx_dask import plot
from tdmx_dask.errors import InputError
from tests.plot.synthetic import two_levels
from tests.plot.test_attainment import HOSTILE, check_layout, texts

RNG = np.random.default_rng(1)
DRAWS = {"CL": RNG.lognormal(1.6, 0.3, 300), "Vc": RNG.lognormal(3.0, 0.2, 300)}
INDICES = ["AUC24", "Cmin", "T>MIC at 4"]
GRID = [f"{dose} mg q{tau}h inf {tinf}h" for dose in (500, 1000) for tau in (8, 12) for tinf in (1, 3)]


def exposed(regimens: Any = ("1000 mg q8h inf 1h", "2000 mg q12h inf 3h")) -> xr.Dataset:
    return tdmx.exposures(DRAWS, regimens, INDICES)


def test_exposure__share_within_the_limits() -> None:
    result = exposed()
    figure = plot.exposure(result, limits={"AUC24": (400, 800), "Cmin": (None, 10), "T>MIC at 4": 0.5})
    check_layout(figure)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == [
        "AUC24, mean daily (mg·h/L)",
        "Cmin (mg/L)",
        "T>MIC at 4 mg/L",
    ]
    said = "\n".join(texts(figure))
    assert "each row scaled to its own maximum" in said.replace("\n", " ")
    assert "At steady state, over one dosing interval" in said
    assert "Unbound fraction" not in said
    for axes, name, low, high in zip(shown, INDICES, (400, 0, 0.5), (800, 10, 9), strict=True):
        within = [float(((one >= low) & (one <= high)).mean()) for one in result[name].values[0]]
        said = [text.get_text() for text in axes.texts]
        assert said == [plot.style.percent(share) for share in within]
    medians = [line.get_xdata()[0] for line in shown[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(medians, np.median(result["AUC24"].values[0], axis=(1, 2, 3)))
    assert [label.get_text() for label in shown[0].get_yticklabels()] == list(result.regimen.values)


def test_exposure__one_index_on_axes_of_ones_own() -> None:
    mine = Figure()
    ax = mine.add_subplot()
    assert plot.exposure(exposed(), index="Cmin", ax=ax) is mine
    assert len(ax.texts) == 0
    with pytest.raises(InputError, match="ax=axes: hold one panel, and there are 3"):
        plot.exposure(exposed(), ax=ax)


def test_exposure__windows_and_fu_are_said() -> None:
    asked = ["AUC", "fAUC24", "fT>2xMIC at 4", "Cmin in ss", "C@8h", "Cmax at ELF 0.4"]
    result = tdmx.exposures(DRAWS, "1000 mg q8h inf 1h", asked, window="day1", fu=0.7)
    assert list(result.data_vars) == asked
    figure = plot.exposure(result)
    check_layout(figure)
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_visible()] == [
        "AUC, the first 24 h (mg·h/L)",
        "fAUC24, the first 24 h (mg·h/L)",
        "fT>2xMIC at 4 mg/L, the first 24 h",
        "Cmin (mg/L)",
        "C@8h (mg/L)",
        "Cmax, ELF × 0.4, the first 24 h (mg/L)",
    ]
    said = texts(figure)
    assert any("Cmin in ss: at steady state" in text for text in said)
    assert any("Unbound fraction: 0.7" in text for text in said)
    assert [result[name].attrs["window"] for name in asked[3:5]] == [
        "one dosing interval at steady state",
        "at 8 h",
    ]


@pytest.mark.parametrize("mic", [1e5, 1e-5])
def test_exposure__what_is_constant_is_an_upright_line(mic: float) -> None:
    result = tdmx.exposures(DRAWS, "1000 mg q8h inf 1h", f"T>MIC at {mic:f}")
    axes = plot.exposure(result).axes[0]
    (spike,) = [line for line in axes.lines if len(set(line.get_ydata())) == 2]
    assert spike.get_xdata() == pytest.approx([0.0, 0.0] if mic > 1 else [1.0, 1.0])
    assert len(axes.collections) == 0


def test_exposure__names_are_text() -> None:
    figure = plot.exposure(exposed([tdmx.Regimen(1000 + i, 8, name=name) for i, name in enumerate(HOSTILE)]))
    check_layout(figure)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"index": "AUC"}, "index=AUC: is not in the result, which holds AUC24; Cmin; T>MIC at 4"),
        ({"limits": {"AUC": (1, 2)}}, "limits=AUC: is not in the result"),
        ({"limits": {"Cmin": (2, 1)}}, r"limits\[Cmin\]=\(2, 1\): limits are \(lower, upper\)"),
        ({"limits": {"Cmin": (None, None)}}, r"limits\[Cmin\]=\(None, None\): limits are"),
        ({"limits": {"Cmin": ("a", 3)}}, r"limits\[Cmin\]=\('a', 3\): limits are"),
        ({"regimen": "x"}, "regimen=x: is not in the result"),
    ],
)
def test_exposure__what_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plot.exposure(exposed(), **options)


def test_exposure__other_results_are_refused() -> None:
    with pytest.raises(InputError, match=r"an exposure is drawn of a result of tdmx.exposures"):
        plot.exposure(attained())
    with pytest.raises(InputError, match="result=41 rows: at most 40 rows can be read"):
        plot.exposure(exposed([f"{k} mg q8h" for k in range(100, 141)]))


def attained(regimens: Any = tuple(GRID), **options: Any) -> xr.Dataset:
    return tdmx.pta(DRAWS, regimens, ["T>MIC >= 50%", "AUC24/MIC >= 100"], mic=[1, 2, 4, 8], **options)


def test_target_map__every_cell_is_that_of_its_regimen() -> None:
    result = attained([each for each in GRID if each.endswith("3h")])
    figure = plot.target_map(result, mic=4)
    check_layout(figure)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == list(result.target.values)
    for axes, target in zip(shown, result.target.values, strict=True):
        columns = [label.get_text() for label in axes.get_xticklabels()]
        rows = [label.get_text() for label in axes.get_yticklabels()]
        assert (columns, rows) == (["8", "12"], ["1000 mg", "500 mg"])
        for text in axes.texts:
            x, y = (int(part) for part in text.get_position())
            regimen = f"{rows[y]} q{columns[x]}h inf 3h"
            value = result.pta.sel(regimen=regimen, target=target, mic=4).item()
            assert text.get_text() == plot.style.percent(value).removesuffix(" %")
    assert "at MIC 4 mg/L" in figure.get_suptitle()


def test_target_map__other_sides_and_cfr() -> None:
    isolates = tdmx.MICDistribution.parse("1:0.5, 4:0.5", organism="E. <coli>")
    cfr = tdmx.cfr(attained([each for each in GRID if "q8h" in each]), isolates)
    figure = plot.target_map(cfr, x="tinf", target="T>MIC ≥ 50%")
    check_layout(figure)
    assert figure.axes[0].get_xlabel() == "Length of infusion (h)"
    assert "E. <coli>" in figure.get_suptitle()
    daily = plot.target_map(cfr, x="tinf", y="daily_dose", target="T>MIC ≥ 50%", organism="E. <coli>")
    assert [label.get_text() for label in daily.axes[0].get_yticklabels()] == ["3000 mg/d", "1500 mg/d"]
    mine = Figure()
    ax = mine.add_subplot()
    assert plot.target_map(cfr, x="tinf", target="T>MIC ≥ 50%", ax=ax) is mine


@pytest.mark.parametrize(
    ("regimens", "options", "match"),
    [
        (GRID, {}, "mic=None: the result has several, 1, 2, 4, 8. Choose one of them with mic="),
        (GRID, {"mic": 3}, r"mic=3: this MIC was not counted"),
        (GRID, {"mic": 2}, "it stands in one cell of dose by tau with 500 mg q8h inf 1h. Choose other sides"),
        (GRID, {"mic": 2, "x": "dose"}, "x, y=dose, dose: the sides are two of dose, daily_dose, tau, tinf"),
        (["1 g load, then 1 g q8h"], {"mic": 2}, "a regimen on the map is one dose that repeats"),
        (GRID, {"mic": 2, "target": "x"}, "target=x: is not in the result"),
    ],
)
def test_target_map__what_is_refused(regimens: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plot.target_map(attained(regimens), **options)


def test_target_map__other_results_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"result=Dataset: a map is drawn of a result of tdmx.pta or tdmx.cfr"
    ):
        plot.target_map(exposed())
    isolates = [tdmx.MICDistribution.parse("1:1", organism=name) for name in "ab"]
    cfr = tdmx.cfr(attained(GRID[:1]), isolates)
    with pytest.raises(InputError, match="organism=None: the result has several, a, b"):
        plot.target_map(cfr)
    with pytest.raises(InputError, match="organism=c: is not in the result, which holds a; b"):
        plot.target_map(cfr, organism="c")


def test_uncertainty__lines_are_the_draws() -> None:
    result = two_levels()
    figure = plot.uncertainty(result, n_lines=200)
    check_layout(figure)
    for axes, pair in zip(figure.axes, (0, 1), strict=True):
        lines = np.array([each[:, 1] for each in axes.collections[0].get_segments()])
        counts = result["attained_by_draw"].values[pair, 0].reshape(5, -1).T
        np.testing.assert_allclose(lines, counts / 20)
        mean = next(line for line in axes.lines if line.get_marker() == "o")
        np.testing.assert_allclose(mean.get_ydata(), lines.mean(axis=0))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["single draws", "95 % credible interval", "mean of all draws"]
    assert any("its own 20 patients" in text for text in texts(figure))
    assert len(plot.uncertainty(result, n_lines=7).axes[0].collections[0].get_segments()) == 7


def test_uncertainty__one_panel_on_axes() -> None:
    mine = Figure()
    ax = mine.add_subplot()
    assert plot.uncertainty(two_levels(interval="monte_carlo"), regimen="1000 mg q8h inf 1h", ax=ax) is mine
    assert ax.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("result", "options", "match"),
    [
        (
            {"subjects": 1, "population": None, "n": None},
            {},
            "two levels are drawn of a result of tdmx.pta with several",
        ),
        ({"mic": 2}, {}, "result=1 MIC: curves need several MICs"),
        ({}, {"regimen": "x"}, "regimen=x: is not in the result, which holds 1000 mg"),
        ({}, {"n_lines": 0}, "n_lines=0: the number of lines"),
    ],
)
def test_uncertainty__what_is_refused(result: dict[str, Any], options: dict[str, Any], match: str) -> None:
    if "subjects" in result:
        made = tdmx.pta(DRAWS, "1 g q8h", "T>MIC >= 50%", mic=[1, 2])
    else:
        made = two_levels(**result)
    with pytest.raises(InputError, match=match):
        plot.uncertainty(made, **options)


def test_pta__marks_stand_at_their_mics() -> None:
    figure = plot.pta(attained(GRID[:2]), target="T>MIC ≥ 50%", marks={"ECOFF": 2, "EUCAST S<=<b>$x$": 16})
    check_layout(figure)
    axes = figure.axes[0]
    dotted = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert dotted == [1, 4]
    assert {"ECOFF", "EUCAST S<=<b>$x$"} <= {text.get_text() for text in axes.texts}
    assert axes.get_xlim()[1] >= 4
    ax = Figure().add_subplot()
    plot.pta(attained(GRID[:2]), target="T>MIC ≥ 50%", marks={"ECOFF": 2}, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["ECOFF"]
    with pytest.raises(InputError, match=r"marks\[ECOFF\]=0: a MIC must be a finite number > 0 mg/L"):
        plot.pta(attained(GRID[:2]), marks={"ECOFF": 0})
    with pytest.raises(InputError, match=r"marks=2: marks are MICs by name"):
        plot.pta(attained(GRID[:2]), marks=2)  # type: ignore[arg-type]
