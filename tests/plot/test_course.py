"""Figures of concentrations over time, of measured levels and of their replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import tdmx_dask as tdmx
from tdmx_dask import plot
from tdmx_dask.errors import InputError
from tests.plot.test_attainment import HOSTILE, check_layout, texts

RNG = np.random.default_rng(1)
DRAWS = {"CL": RNG.lognormal(1.6, 0.3, 300), "Vc": RNG.lognormal(3.0, 0.2, 300)}


def course(regimens: Any = "1000 mg q8h inf 1h", **options: Any) -> xr.Dataset:
    return tdmx.concentrations(DRAWS, regimens, n_times=41, **options)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_concentration__draws_the_numbers() -> None:
    result = course()
    figure = plot.concentration(result, mic=2)
    check_layout(figure)
    (axes,) = figure.axes
    median = next(line for line in axes.lines if len(line.get_xdata()) == result.sizes["time"])
    np.testing.assert_allclose(median.get_xdata(), result.time)
    np.testing.assert_allclose(median.get_ydata(), result.concentration.sel(quantile=0.5).squeeze())
    for band, low in zip(axes.collections, (0.05, 0.25), strict=True):
        heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
        ends = result.concentration.sel(quantile=[low, 1 - low])
        assert heights.min() == pytest.approx(float(ends[:, :, 0].min()))
        assert heights.max() == pytest.approx(float(ends[:, :, 1].max()))
    assert [line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [2]
    assert legend(figure) == ["median", "percentiles 5–95 %", "percentiles 25–75 %", "MIC 2 mg/L"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Time since a dose at steady state (h)",
        "Concentration (mg/L)",
    )
    assert "Percentiles of 300 profiles" in "\n".join(texts(figure))


def test_concentration__a_panel_a_regimen_and_scenario_on_one_scale() -> None:
    result = course(["1000 mg q8h inf 1h", "4000 mg q12h", "500 mg q6h"], window="day1")
    figure = plot.concentration(result)
    check_layout(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(result.regimen.values)
    assert {axes.get_ylim() for axes in figure.axes} == {figure.axes[0].get_ylim()}
    assert figure.axes[0].get_ylim()[1] >= float(result.concentration.max())
    one = plot.concentration(result, regimen="500 mg q6h")
    assert len(one.axes) == 1


def test_concentration__levels_window_and_names() -> None:
    result = course(n_intervals=2)
    levels = [(1, 20.0), tdmx.Level(6.0, 0.5, below=True)]
    figure = plot.concentration(result, levels=levels, mic={"ECOFF": 2, "S": 8}, fu=0.5)
    check_layout(figure)
    (axes,) = figure.axes
    markers = {line.get_marker(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert markers["o"] == (1, 20)
    assert markers["v"] == (6, 0.5)
    heights = [line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert heights == [4, 16]  # total concentrations whose half is 2 and 8
    assert legend(figure)[0] == "window"
    assert {"ECOFF: 2 mg/L unbound", "S: 8 mg/L unbound"} <= set(legend(figure))
    assert axes.patches[0].get_x() == 0
    assert axes.patches[0].get_width() == 8
    assert any("MIC / fu, fu = 0.5" in text for text in texts(figure))


def test_concentration__logarithmic_axis_reads_as_numbers() -> None:
    figure = plot.concentration(course(), log=True)
    check_layout(figure)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels() if text.get_text()]
    assert "10" in labels
    assert not any("$" in label for label in labels)


def test_concentration__on_axes_of_ones_own() -> None:
    mine = Figure()
    ax = mine.add_subplot()
    assert plot.concentration(course(), ax=ax) is mine
    assert len(ax.lines) == 1
    with pytest.raises(InputError, match="ax=axes: hold one panel, and there are 2"):
        plot.concentration(course(["1 g q8h", "2 g q8h"]), ax=ax)


def test_concentration__names_are_text() -> None:
    result = course([tdmx.Regimen(1000 + i, 8, name=name) for i, name in enumerate(HOSTILE)])
    figure = plot.concentration(result, title="<script>$x$", mic={"$\\frac{1}$<b>": 2})
    check_layout(figure)
    assert "<script>$x$" in texts(figure)


def test_concentration__every_quantile_is_drawn() -> None:
    result = course(quantiles=[0.1, 0.25, 0.4, 0.75])
    figure = plot.concentration(result)
    check_layout(figure)
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if len(line.get_xdata()) == result.sizes["time"]]
    for line, share in zip(drawn, (0.1, 0.4), strict=True):
        np.testing.assert_allclose(line.get_ydata(), result.concentration.sel(quantile=share).squeeze())
    assert len({str(line.get_linestyle()) for line in drawn} | {"-"}) > 1
    assert len(axes.collections) == 1
    assert legend(figure) == ["percentile 10", "percentile 40", "percentiles 25–75 %"]
    ends = plot.concentration(course(quantiles=[0.05, 0.95]))
    assert legend(ends) == ["percentiles 5–95 %"]


def test_concentration__several_mics_are_named_on_their_lines() -> None:
    figure = plot.concentration(course(free=True, fu=0.5), mic=[1, 2, 4, 8])
    check_layout(figure)
    (axes,) = figure.axes
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("1", 1), ("2", 2), ("4", 4), ("8", 8)]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert "Unbound fraction: 0.5" in "\n".join(texts(figure))


def test_concentration__total_drug_beside_a_mic_says_so() -> None:
    shown = "\n".join(texts(plot.concentration(course(), mic=2)))
    assert "Concentrations are of the total drug, MICs of the unbound" in shown
    for figure in (plot.concentration(course(), mic=2, fu=0.5), plot.concentration(course()),
                   plot.concentration(course(free=True, fu=0.5), mic=2)):  # fmt: skip
        assert "total drug" not in "\n".join(texts(figure))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"levels": [(1, 2), (41, 12)]},
            r"levels=12 mg/L at 41 h: .* within the times of the result, 0 to 8 h. .*window=\(0, 41\)",
        ),
        ({"regimen": "x"}, "regimen=x: is not in the result, which holds 1000 mg q8h inf 1h"),
        ({"mic": -1}, "mic=-1: a MIC must be a finite number > 0 mg/L"),
        ({"fu": 2}, "fu=2: an unbound fraction must be"),
        ({"levels": [(-1, 2)]}, "time=-1: the time of a level"),
    ],
)
def test_concentration__what_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plot.concentration(course(), **options)


def test_concentration__other_results_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"result=pta, .*: a concentration is drawn of a result of tdmx.concentr"
    ):
        plot.concentration(tdmx.pta(DRAWS, "1 g q8h", "T>MIC >= 50%", mic=1))
    with pytest.raises(InputError, match=r"result=int: a concentration is drawn of a result"):
        plot.concentration(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"levels=1: levels are of the total drug, .* free=False"):
        plot.concentration(course(free=True, fu=0.5), levels=[(1, 2)])
    with pytest.raises(InputError, match=r"fu=0.5: these concentrations are of the unbound drug already"):
        plot.concentration(course(free=True, fu=0.5), fu=0.5)
    many = course([f"{100 * k} mg q8h" for k in range(1, 27)])
    with pytest.raises(InputError, match="result=26 panels: at most 24 panels can be read"):
        plot.concentration(many)


def replicated(n: int = 2) -> xr.DataTree:
    made = RNG.lognormal(2, 0.3, (2, 100, n))
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"CL": (("chain", "draw"), np.ones((2, 100)))}),
            "posterior_predictive": xr.Dataset({"level": (("chain", "draw", "observation"), made)}),
            "constant_data": xr.Dataset(
                {
                    "level": ("observation", [8.0, 0.5][:n]),
                    "level_time": ("observation", [1.0, 7.5][:n]),
                    "below": ("observation", [0, 1][:n]),
                }
            ),
        }
    )


def test_ppc__levels_beside_their_replicates() -> None:
    tree = replicated()
    figure = plot.ppc(tree)
    check_layout(figure)
    made = tree["posterior_predictive"]["level"].values.reshape(-1, 2)
    outer = figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([line[:, 1] for line in outer], np.quantile(made, [0.05, 0.95], axis=0).T)
    assert "below quantification, at its limit" in legend(figure)
    check_layout(plot.ppc(replicated(1)))
    with pytest.raises(InputError, match="fit=Dataset: a predictive check needs levels and their replicates"):
        plot.ppc(xr.Dataset())


def test_levels__on_axes_and_refusals() -> None:
    ax = Figure().add_subplot()
    time = np.linspace(0, 8, 5)
    band = {name: ("time", np.full(5, value)) for name, value in (("q5", 1.0), ("q50", 2.0), ("q95", 3.0))}
    seen = {"level": ("observation", [2.0]), "below": ("observation", [0])}
    plot.levels(xr.Dataset({**band, **seen}, {"time": time, "level_time": ("observation", [4.0])}), ax=ax)
    assert len(ax.lines) == 2
    with pytest.raises(InputError, match="result=q5, q50, q95: levels is drawn of a result of course_of"):
        plot.levels(xr.Dataset(band, {"time": time}))
