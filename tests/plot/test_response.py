"""Figures of CFR."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from tdmx_dask import plot
from tdmx_dask.errors import InputError
from tests.plot.synthetic import cfr_result, pta_result
from tests.plot.test_attainment import REGIMENS, check_layout, texts


def test_cfr__draws_the_numbers_and_their_intervals() -> None:
    result = cfr_result(pta_result())
    figure = plot.cfr(result)
    check_layout(figure)
    lines = figure.axes[0].lines
    dots = [float(line.get_xdata()[0]) for line in lines if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(dots, result["cfr"].values[0, :, 0].T.ravel())
    bars = [
        line.get_xdata() for line in lines if len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2
    ]
    np.testing.assert_allclose([bar[0] for bar in bars], result["lower"].values[0, :, 0].T.ravel())
    np.testing.assert_allclose([bar[1] for bar in bars], result["upper"].values[0, :, 0].T.ravel())
    shown = texts(figure)
    assert {"E. coli", "P. aeruginosa"} <= set(shown)
    assert f"{100 * dots[0]:.0f} %" in shown
    assert any("Bars: 95 % credible interval" in text for text in shown)


def test_cfr__a_column_a_scenario() -> None:
    figure = plot.cfr(cfr_result(pta_result(scenarios=("A", "B"), regimens=REGIMENS)))
    check_layout(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["A", "B"]


def test_cfr__many_become_a_table() -> None:
    result = cfr_result(pta_result(scenarios=[f"S{n}" for n in range(12)], regimens=REGIMENS))
    figure = plot.cfr(result)
    check_layout(figure)
    assert f"S11 · {REGIMENS[-1]}" in texts(figure)
    assert f"{100 * float(result['cfr'][0, 0, 0, 1]):.0f}" in texts(figure)


def test_cfr__no_interval_and_what_was_not_asked_for() -> None:
    asked = np.ones((1, 2, 1), dtype=bool)
    asked[0, 1] = False
    result = cfr_result(pta_result(asked=asked, interval="none")).drop_vars(["lower", "upper"])
    figure = plot.cfr(result)
    assert "1000 mg q8h inf 3h" not in texts(figure)
    assert not any("interval" in text for text in texts(figure))


def test_cfr__on_given_axes() -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    assert plot.cfr(cfr_result(pta_result()), ax=axes) is figure
    with pytest.raises(InputError, match="ax=axes: hold one panel, and there are 2"):
        plot.cfr(cfr_result(pta_result(scenarios=("A", "B"))), ax=axes)
