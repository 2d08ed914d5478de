"""Figures of posteriors and chains."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from tdmx_dask import plot
from tdmx_dask.domain.patient import read_patient
from tdmx_dask.errors import InputError
from tdmx_dask.kernels.convergence import convergence
from tests.plot.test_attainment import HOSTILE, check_layout, texts


def tree(names: tuple[str, ...] = ("CL", "Vc"), *, n_draws: int = 200, divergent: int = 3) -> xr.DataTree:
    rng = np.random.default_rng(1)
    sample = ("chain", "draw")
    draws = {name: (sample, rng.lognormal(1, 0.2, (3, n_draws)), {"units": "L/h"}) for name in names}
    draws["fixed"] = (sample, np.full((3, n_draws), 2.0), {})
    draws["predicted"] = ((*sample, "observation"), rng.normal(size=(3, n_draws, 2)), {})
    diverging = np.zeros((3, n_draws), dtype=bool)
    diverging[1, :divergent] = True
    return xr.DataTree.from_dict(
        {"posterior": xr.Dataset(draws), "sample_stats": xr.Dataset({"diverging": (sample, diverging)})}
    )


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_posterior__density_interval_prior_and_divergences() -> None:
    given = tree()
    figure = plot.posterior(given, prior={"CL": (3.0, 0.5)})
    check_layout(figure)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in shown] == ["CL (L/h)", "Vc (L/h)"]  # what varies, and is one number
    values = given["posterior"]["CL"].values
    curve, bar, middle, prior, marks = shown[0].lines
    area = np.trapezoid(curve.get_ydata(), curve.get_xdata())
    assert area == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(bar.get_xdata(), np.quantile(values, [0.05, 0.95]))
    assert middle.get_xdata()[0] == pytest.approx(np.median(values))
    at = np.asarray(prior.get_xdata())
    density = np.exp(-0.5 * (np.log(at / 3) / 0.5) ** 2) / (at * 0.5 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(prior.get_ydata(), density)
    np.testing.assert_allclose(marks.get_xdata(), values[1, :3])
    assert legend(figure)[-1] == "divergent draws (3)"
    assert "3 chains of 200 draws" in texts(figure)
    assert len(shown[1].lines) == 4  # no prior of Vc


def test_posterior__prior_of_a_patient_and_the_whole_of_its_curve() -> None:
    patient = read_patient("meropenem_tdm")
    draws = xr.Dataset({"CL": (("chain", "draw"), np.random.default_rng(1).lognormal(2, 0.1, (2, 200)))})
    for given in (patient, {"CL": (13.6 * (75 / 87.6) ** 0.66, np.sqrt(np.log1p(0.221**2)))}):
        axes = plot.posterior(draws, prior=given).axes[0]
        prior = next(line for line in axes.lines if line.get_color() == plot.style.GREY)
        at, height = np.asarray(prior.get_xdata()), np.asarray(prior.get_ydata())
        assert at[height.argmax()] == pytest.approx(12.27 * np.exp(-(0.2183**2)), rel=0.02)
        assert (
            np.interp([at[0], at[-1]], at, height).max() < 0.01 * height.max()
        )  # it does not end in the air
        assert at[0] < axes.get_xlim()[0] < axes.get_xlim()[1] < at[-1]


def test_trace__all_chains_are_in_the_key() -> None:
    for n, last in ((14, "chain 14"), (30, "chain 28")):
        draws = xr.Dataset({"CL": (("chain", "draw"), np.random.default_rng(1).normal(5, 1, (n, 20)))})
        figure = plot.trace(draws)
        check_layout(figure)
        assert legend(figure)[-1] == last
        assert ("29th on have the looks" in "\n".join(texts(figure))) == (n > 28)


def test_posterior__named_elements_and_a_group_of_priors() -> None:
    given = tree(divergent=0)
    rng = np.random.default_rng(2)
    given["prior"] = xr.Dataset({"CL": (("chain", "draw"), rng.lognormal(1, 0.6, (1, 500)))})
    figure = plot.posterior(given, names=["CL", "predicted", "fixed"])
    check_layout(figure)
    shown = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert shown == ["CL (L/h)", "predicted[1]", "predicted[2]", "fixed"]
    assert "prior" in legend(figure)
    assert not any("divergent" in text for text in legend(figure))


def test_posterior__on_axes_of_ones_own() -> None:
    mine = Figure()
    ax = mine.add_subplot()
    assert plot.posterior(tree()["posterior"].to_dataset(), names="CL", ax=ax) is mine
    with pytest.raises(InputError, match="ax=axes: hold one panel, and there are 2"):
        plot.posterior(tree(), ax=ax)


def test_trace__every_chain_and_what_its_draws_are_worth() -> None:
    given = tree(n_draws=1000)
    figure = plot.trace(given)
    check_layout(figure)
    right = figure.axes[1]
    values = given["posterior"]["CL"].values
    for chain, line in enumerate(right.lines[:3]):
        rows = np.asarray(line.get_xdata(), dtype=int) - 1
        assert len(rows) == 250
        np.testing.assert_array_equal(line.get_ydata(), values[chain, rows])
    found = convergence(values[..., None])
    assert right.get_title(loc="left").startswith(
        f"R-hat {float(found.rhat[0]):.3f}, ESS {float(found.ess_bulk[0]):,.0f} bulk"
    )
    np.testing.assert_array_equal(right.lines[3].get_xdata(), [1, 2, 3])
    assert legend(figure) == ["chain 1", "chain 2", "chain 3", "divergent draws (3)"]
    assert "Lines show one draw in 4; densities and divergences are of all" in "\n".join(texts(figure))


def test_trace__few_draws_and_one_chain() -> None:
    draws = xr.Dataset({"CL": (("chain", "draw"), [[1.0, 2.0, 3.0]])})
    figure = plot.trace(draws)
    check_layout(figure)
    assert figure.axes[1].get_title(loc="left") == ""


def test_chains__names_are_text() -> None:
    names = tuple(name.replace("/", "|") for name in HOSTILE)
    for figure in (
        plot.posterior(tree(names), names=names),
        plot.trace(tree(names), names=names, title="<b>$x$"),
    ):
        check_layout(figure)
    assert "<b>$x$" in texts(figure)


@pytest.mark.parametrize(
    ("fit", "options", "match"),
    [
        (3, {}, "fit=int: it is a Fit, a DataTree with a group posterior, or a Dataset"),
        (xr.Dataset({"CL": ("draw", [1.0])}), {}, "fit=Dataset: it is a Fit"),
        (tree(), {"names": "Q"}, "names=Q: is not among the draws, which hold CL, Vc, fixed, predicted"),
        (tree(tuple(f"p{k}" for k in range(30))), {}, "names=30 numbers: 1 to 24 numbers are drawn"),
        (tree(), {"prior": {"CL": (0, 1)}}, r"prior\[CL\]=\(0, 1\): a prior is log-normal"),
        (tree(), {"prior": {"CL": 3}}, r"prior\[CL\]=3: a prior is log-normal"),
        (
            xr.Dataset({"CL": (("chain", "draw"), [[1.0, np.nan]])}),
            {"names": "CL"},
            "CL=not finite: densities are of finite draws",
        ),
    ],
)
def test_posterior__what_is_refused(fit: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        plot.posterior(fit, **options)


def test_figures__may_be_drawn_by_several_threads() -> None:
    import matplotlib as mpl

    before = mpl.rcParams.copy()
    wanted = plot.svg_text(plot.posterior(tree()))
    found: list[str] = []

    def draw() -> None:
        found.append(plot.svg_text(plot.posterior(tree())))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4
    assert mpl.rcParams.copy() == before
