"""Figures of PTA: what they show, and that nothing is cut off or overlaps."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import tdmx_dask as tdmx
from tdmx_dask import plot
from tdmx_dask.domain.mic import MICDistribution
from tdmx_dask.errors import InputError
from tests.plot.synthetic import MIC, cfr_result, pta_result, two_levels

ISOLATES = MICDistribution("P. aeruginosa", (0.25, 0.5, 1.0, 2.0), (0.3, 0.4, 0.2, 0.05), above=0.05)
REGIMENS = [f"{dose} mg q{tau}h inf {t}" for dose in (500, 1000, 2000) for tau, t in ((12, "1h"), (8, "3h"))]


def texts(figure: Figure) -> list[str]:
    """All text that is drawn."""
    found: list[Any] = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [artist.get_text() for artist in found if artist.get_visible() and artist.get_text()]


def check_layout(figure: Figure) -> None:
    """Nothing is cut off at the figure's edge, and neither legend nor notes touch the axes."""
    FigureCanvasAgg(figure).draw()
    edge = figure.bbox
    shown = [axes for axes in figure.axes if axes.get_visible()]
    boxes = [axes.get_tightbbox() for axes in shown]
    boxes += [artist.get_window_extent() for artist in (*figure.texts, *figure.legends)]
    for box in boxes:
        assert box is not None
        assert box.x0 >= edge.x0 - 1
        assert box.x1 <= edge.x1 + 1
        assert box.y0 >= edge.y0 - 1
        assert box.y1 <= edge.y1 + 1
    below = [artist.get_window_extent() for artist in (*figure.texts[:1], *figure.legends) if artist]
    below = [box for box in below if box.y1 < 0.5 * edge.y1]
    for axes in shown:
        for box in below:
            inner = axes.get_tightbbox()
            assert inner is not None
            assert box.y1 <= inner.y0 + 1
    labels = [axes.get_tightbbox() for axes in shown]
    for n, one in enumerate(labels):
        for other in labels[n + 1 :]:
            assert one is not None
            assert other is not None
            overlap = (
                min(one.x1, other.x1) - max(one.x0, other.x0),
                min(one.y1, other.y1) - max(one.y0, other.y0),
            )
            assert min(overlap) <= 2


def test_pta__draws_the_numbers() -> None:
    result = pta_result()
    figure = plot.pta(result)
    axes = figure.axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) == len(MIC)]
    assert len(curves) == 2
    for number, line in enumerate(curves):
        np.testing.assert_allclose(line.get_xdata(), np.log2(MIC))
        np.testing.assert_allclose(line.get_ydata(), result["pta"].values[0, number, 0])
    assert [text.get_text() for text in axes.get_xticklabels()][:4] == ["0.03", "0.06", "0.125", "0.25"]
    assert axes.get_ylim() == (0, 1)
    dashed = [line for line in axes.lines if list(line.get_ydata()) == [0.9, 0.9]]
    assert len(dashed) == 1


def test_pta__bands_are_the_interval() -> None:
    result = pta_result(regimens=("one",))
    band = plot.pta(result).axes[0].collections[0].get_paths()[0].vertices
    values = result.sel(regimen="one").isel(scenario=0, target=0)
    heights = np.asarray(band)[:, 1]
    assert heights.min() == pytest.approx(float(values["lower"].min()))
    assert heights.max() == pytest.approx(float(values["upper"].max()))


def test_pta__rings_and_legend_name_the_breakpoints() -> None:
    result = pta_result(regimens=("one", "two"))
    breaks = result["breakpoint"].values[0, :, 0]
    figure = plot.pta(result)
    rings = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in rings] == list(np.log2(breaks))
    assert f"one (breakpoint {breaks[0]:g} mg/L)" in texts(figure)


def test_pta__the_line_is_that_of_the_breakpoints() -> None:
    drawn = {"CL": np.random.default_rng(1).uniform(3, 9, 100), "Vc": np.full(100, 20.0)}
    found = tdmx.pta(drawn, ["1 g q8h", "2 g q8h"], "T>MIC >= 50%", mic=[1, 4, 16], breakpoint_level=0.8)
    isolates = MICDistribution.parse("1:0.5, 4:0.5")
    response = tdmx.cfr(found, isolates)
    for figure in (plot.pta(found), plot.uncertainty(two_levels(breakpoint_level=0.8))):
        assert [list(line.get_ydata()) for line in figure.axes[0].lines].count([0.8, 0.8]) == 1
    assert [list(line.get_xdata()) for line in plot.cfr(response).axes[0].lines].count([0.8, 0.8]) == 1
    for result, options in ((found, {"mic": 4}), (response, {})):
        assert "at least 80 %" in texts(plot.target_map(result, **options))


def test_pta__level_moves_the_line() -> None:
    figure = plot.pta(pta_result(), level=0.95)
    assert any(list(line.get_ydata()) == [0.95, 0.95] for line in figure.axes[0].lines)


@pytest.mark.parametrize(
    ("interval", "words"),
    [("credible", "95 % credible interval"), ("monte_carlo", "95 % Monte-Carlo interval")],
)
def test_pta__says_what_its_bands_are(interval: str, words: str) -> None:
    shown = " ".join(texts(plot.pta(pta_result(interval=interval))))
    assert f"Bands: {words}" in shown
    other = "Monte-Carlo" if interval == "credible" else "credible"
    assert other not in shown


def test_pta__no_interval_no_note_but_the_assumed_fu() -> None:
    result = pta_result(interval="none", fu_note="fu = 1 assumed: no unbound fraction was given")
    shown = " ".join(texts(plot.pta(result.drop_vars(["lower", "upper"]))))
    assert "interval" not in shown
    assert "fu = 1 assumed" in shown


def test_pta__says_the_unbound_fraction() -> None:
    result = pta_result().assign_attrs(fu="0.35")
    for figure in (plot.pta(result), plot.cfr(cfr_result(result))):
        assert "Unbound fraction: 0.35" in "\n".join(texts(figure))


def test_pta__histogram_holds_the_weights() -> None:
    figure = plot.pta(pta_result(), isolates=ISOLATES)
    bars = [float(patch.get_height()) for patch in figure.axes[1].patches]  # type: ignore[attr-defined]
    assert bars == [*ISOLATES.weight, ISOLATES.above]
    assert ">2" in texts(figure)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_pta__several_distributions_and_what_is_known_of_them() -> None:
    other = MICDistribution("E. coli", (0.03, 16.0), (0.5, 0.5), n_isolates=120, illustrative=True)
    figure = plot.pta(pta_result(mic=(0.5, 1.0, 2.0)), isolates=[ISOLATES, other])
    assert "E. coli (n = 120, illustrative)" in texts(figure)
    low, high = figure.axes[0].get_xlim()
    assert low < -5
    assert high > 4
    check_layout(figure)


def test_pta__a_panel_a_scenario_and_target() -> None:
    figure = plot.pta(pta_result(scenarios=("A", "B"), targets=("fT>MIC ≥ 50 %", "fAUC24/MIC ≥ 400")))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{s}, {t}" for s in "AB" for t in ("fT>MIC ≥ 50 %", "fAUC24/MIC ≥ 400")]
    one = plot.pta(pta_result(scenarios=("A", "B")), scenario="B")
    assert [axes.get_title(loc="left") for axes in one.axes] == ["B"]


def test_pta__what_was_not_asked_for_is_left_out() -> None:
    asked = np.ones((2, 2, 1), dtype=bool)
    asked[1, 0] = False
    figure = plot.pta(pta_result(scenarios=("A", "B"), asked=asked))
    counts = [
        sum(
            len(line.get_xdata()) == len(MIC) and bool(np.isfinite(line.get_ydata()).all())
            for line in axes.lines
        )
        for axes in figure.axes
    ]
    assert counts == [2, 1]


def test_pta__dropped_dimensions_come_back() -> None:
    result = pta_result().isel(scenario=0, target=0)
    assert len(plot.pta(result).axes) == 1
    assert len(plot.pta(result.drop_vars(["scenario", "target"])).axes) == 1
    assert plot.pta(result.isel(mic=3)).axes


@pytest.mark.parametrize("n_regimens", [1, 5, 12])
@pytest.mark.parametrize("n_scenarios", [1, 3, 6])
def test_pta__curves_are_laid_out_well(n_regimens: int, n_scenarios: int) -> None:
    regimens = [f"{name}, part {n}" for n in range(2) for name in REGIMENS][:n_regimens]
    result = pta_result(regimens=regimens, scenarios=[f"CCr {n} mL/min" for n in range(n_scenarios)])
    check_layout(plot.pta(result, isolates=ISOLATES if n_scenarios < 4 else None))


def test_pta__many_scenarios_become_a_table_with_numbers() -> None:
    result = pta_result(scenarios=[f"eGFR {n}" for n in range(10)])
    figure = plot.pta(result)
    check_layout(figure)
    shown = texts(figure)
    assert "eGFR 9 · 1000 mg q8h inf 3h" in shown
    value = float(result["pta"].sel(scenario="eGFR 9", regimen="1000 mg q8h inf 3h", mic=1).item())
    assert f"{100 * value:.0f}" in shown


def test_pta__36_scenarios_become_a_table_of_breakpoints() -> None:
    result = pta_result(scenarios=[f"eGFR {n}" for n in range(36)], regimens=REGIMENS)
    figure = plot.pta(result)
    check_layout(figure)
    shown = texts(figure)
    assert any("breakpoint" in text for text in shown)
    assert "eGFR 35" in shown
    assert "<0.03" in shown  # no MIC of the grid is attained in the worst scenarios
    assert f"{float(result['breakpoint'][0, -1, 0]):g}" in shown


def test_pta__targets_without_mic_become_dots() -> None:
    result = pta_result(scenarios=("A", "B"), targets=("Cmin 10–20 mg/L", "AUC24 400–600 mg·h/L"), mic=(1.0,))
    figure = plot.pta(result)
    check_layout(figure)
    dots = [float(line.get_xdata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(dots, result["pta"].values[:, :, 0, 0].ravel())
    assert "MIC" not in " ".join(texts(figure))


def test_pta__one_mic_is_named() -> None:
    figure = plot.pta(pta_result(targets=("fAUC24/MIC ≥ 100",), mic=(2.0,), scenarios=("A", "B")))
    assert any("at MIC 2 mg/L" in text for text in texts(figure))


def test_pta__many_rows_without_mic_become_tables() -> None:
    scenarios = [f"{weight} kg" for weight in range(6, 66, 6)]
    dense = plot.pta(
        pta_result(targets=("fAUC24/MIC ≥ 100",), mic=(2.0,), scenarios=scenarios, regimens=REGIMENS * 2)
    )
    check_layout(dense)
    assert any("at MIC 2 mg/L" in text for text in texts(dense))
    asked = np.zeros((36, 12, 4), dtype=bool)
    for number in range(36):
        asked[number, [number % 12, (number + 5) % 12]] = True
    targets = [f"C@{time}h ≥ {limit} mg/L" for time in (48, 96) for limit in (0.75, 1.13)]
    regimens = [
        f"{a} mg q12h x3, then {b} mg q24h x2" for a in (400, 600, 800, 1000) for b in (200, 400, 600)
    ]
    names = [f"eGFR {n}" for n in range(36)]
    sparse = plot.pta(
        pta_result(targets=targets, mic=(1.0,), scenarios=names, regimens=regimens, asked=asked)
    )
    check_layout(sparse)
    assert f"eGFR 3 · {regimens[3]}" in texts(sparse)


def test_pta__fine_grids_get_whole_dilutions_as_ticks() -> None:
    figure = plot.pta(pta_result(mic=np.geomspace(0.1, 50, 60).tolist()))
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["0.125", "0.25", "0.5", "1", "2", "4", "8", "16", "32"]


def test_pta__on_given_axes_and_figure() -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    assert plot.pta(pta_result(), ax=axes) is figure
    assert axes.get_xlabel() == "MIC (mg/L)"
    other = Figure(figsize=(8, 6))
    assert plot.pta(pta_result(scenarios=("A", "B")), figure=other) is other
    check_layout(other)
    with pytest.raises(
        InputError, match=r"ax=axes: hold one panel, and there are 2\. Choose a target and a scenario"
    ):
        plot.pta(pta_result(scenarios=("A", "B")), ax=axes)


def test_pta__refuses_unknown_labels_and_empty_results() -> None:
    with pytest.raises(InputError, match=r"scenario=nobody: is not in the result, which holds adult\."):
        plot.pta(pta_result(), scenario="nobody")
    with pytest.raises(InputError, match="target=Cmin: is not in the result"):
        plot.pta(pta_result(), target="Cmin")
    with pytest.raises(InputError, match="pta=no number: there is nothing to draw"):
        plot.pta(pta_result(asked=np.zeros((1, 2, 1), dtype=bool)))


HOSTILE = ["$x_1^{", "<script>alert(1)</script>", "x" * 300, "line\nbreak\ttab", "مرحبا", "%s {0} \\frac"]


def test_pta__hostile_names_are_only_names() -> None:
    result = pta_result(regimens=HOSTILE, scenarios=["$\\alpha$", "y" * 300])
    bugs = MICDistribution("$E_{coli", (0.5, 1.0), (0.5, 0.5))
    figure = plot.pta(result, isolates=bugs)
    check_layout(figure)
    assert "$x_1^{" in texts(figure)
    svg = plot.svg_text(figure)
    assert "<script" not in svg
    check_layout(plot.pta(pta_result(regimens=HOSTILE, scenarios=[str(n) + "z" * 300 for n in range(12)])))
    check_layout(plot.cfr(cfr_result(result, organisms=["$o$", "o" * 300])))


def test_pta__leaves_no_trace_in_matplotlib() -> None:
    code = (
        "import matplotlib as mpl, sys\n"
        "before = mpl.rcParams.copy()  # a plain dict() of it would choose a backend\n"
        "from tests.plot.synthetic import pta_result\n"
        "from tdmx_dask import plot\n"
        "plot.svg_text(plot.pta(pta_result()))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert mpl.rcParams.copy() == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
