"""Figures of a calibration, and of levels on their predicted course."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tdmx_dask.api.calibrate import _table
from tdmx_dask.fitting.calibration import FitRanks
from tdmx_dask.plot.calibration import calibration
from tdmx_dask.plot.levels import levels
from tests.plot.test_attainment import check_layout


def ranks(n_quantities: int, *, wide: bool = False) -> xr.Dataset:
    rng = np.random.default_rng(1)
    names = [f"q{k}" for k in range(n_quantities)]
    fits = {}
    for number in range(60):
        values = rng.random(n_quantities)
        values[0] = rng.beta(4, 4) if wide else values[0]
        fits[number] = FitRanks(dict(zip(names, values, strict=True)), dict.fromkeys(names, 1.0), 99, 150.0)
    result = _table(fits)
    result.attrs |= {"model": "2C", "error": "combined"}
    return result


@pytest.mark.parametrize("n_quantities", [1, 4, 9])
def test_calibration__two_axes_a_quantity(n_quantities):
    figure = calibration(ranks(n_quantities))
    check_layout(figure)
    assert len(figure.axes) == 2 * n_quantities
    assert "60 fits" in figure.get_suptitle()


def test_calibration__what_is_wrong_has_another_colour():
    figure = calibration(ranks(3, wide=True))
    colours = [axes.lines[-1].get_color() for axes in figure.axes[1::2]]
    assert colours[0] != colours[1] == colours[2]
    assert "too wide" in ranks(3, wide=True).attrs["verdict"]


def course() -> xr.Dataset:
    time = np.linspace(40, 48, 30)
    middle = 20 * np.exp(-0.2 * (time - 40))
    return xr.Dataset(
        {
            "q5": ("time", 0.8 * middle),
            "q50": ("time", middle),
            "q95": ("time", 1.3 * middle),
            "level": ("observation", [15.0, 2.0]),
            "below": ("observation", [0, 1]),
            "level_q5": ("observation", [8.0, 1.0]),
            "level_q95": ("observation", [30.0, 8.0]),
        },
        {"time": time, "level_time": ("observation", [41.0, 47.5])},
    )


def test_levels__censored_ones_have_another_marker():
    figure = levels(course(), title="bed 4")
    check_layout(figure)
    (axes,) = figure.axes
    markers = {line.get_marker(): line.get_xdata().tolist() for line in axes.lines[1:]}
    assert markers == {"o": [41.0], "v": [47.5]}
    assert axes.get_ylim()[0] == 0
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("below quantification" in text for text in texts)
    assert texts[:3] == ["predicted concentration, median", "its 5–95 %", "5–95 % of a level, measured there"]
    bars = axes.collections[-1].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[8, 30], [1, 8]])
