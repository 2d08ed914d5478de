"""Any dose history over any window, against an independent integration and by superposition."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tdmx_dask.kernels.course import (
    Input,
    concentration,
    course,
    course_at,
    course_auc,
    course_cmax,
    course_cmin,
    monotone_pieces,
)
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.exceedance import exceeded
from tdmx_dask.kernels.interval import steady_state
from tests.kernels.compartments import Trajectory, columns, parameters, wide_draws

HISTORIES = {  # (time, amount, tinf), window
    "first dose": ([(0.0, 1000.0, 1.0)], (0.0, 8.0)),
    "day 1": ([(0.0, 1000.0, 3.0), (8.0, 1000.0, 3.0), (16.0, 1000.0, 3.0)], (0.0, 24.0)),
    "loading infusion, then continuous": ([(0.0, 2000.0, 0.5), (0.5, 3000.0, 23.5)], (0.0, 24.0)),
    "loading bolus and continuous": ([(0.0, 1000.0, 0.0), (0.0, 3000.0, 24.0)], (0.0, 24.0)),
    "overlapping infusions": ([(0.0, 500.0, 6.0), (4.0, 1000.0, 4.0), (9.0, 300.0, 2.0)], (2.0, 13.0)),
    "boluses": ([(0.0, 500.0, 0.0), (5.0, 1000.0, 0.0), (9.0, 200.0, 0.0)], (3.0, 15.0)),
    "changing rate": ([(0.0, 500.0, 4.0), (4.0, 100.0, 6.0), (10.0, 800.0, 2.0)], (1.0, 12.0)),
    "pause, then a lower rate": ([(0.0, 3000.0, 8.0), (8.5, 200.0, 9.5)], (8.0, 18.0)),
    "missed dose": ([(0.0, 1000.0, 1.0), (24.0, 1000.0, 1.0)], (12.0, 25.0)),
}
histories = st.sampled_from(sorted(HISTORIES))


def as_inputs(doses):
    return [Input(*dose) for dose in doses]


@settings(max_examples=60, deadline=None)
@given(parameters, histories)
def test_a_window_is_what_integration_gives(p, name):
    doses, window = HISTORIES[name]
    trajectory = Trajectory(p, doses, window)
    modes = disposition(*columns([p]))
    profile = course(modes, as_inputs(doses), window)
    highest = trajectory.highest()
    assert course_auc(profile)[0] == pytest.approx(trajectory.auc(), rel=1e-6)
    assert course_cmax(profile)[0] == pytest.approx(highest, rel=1e-6)
    assert course_at(modes, as_inputs(doses), window[1])[0] == pytest.approx(
        trajectory.trough, abs=1e-9 * highest
    )
    for fraction in (0.1, 0.37, 0.8):
        t = window[0] + fraction * (window[1] - window[0])
        expected = trajectory.at(t)
        assert course_at(modes, as_inputs(doses), t)[0] == pytest.approx(expected, abs=1e-6 * highest)


@settings(max_examples=60, deadline=None)
@given(parameters, histories)
def test_pieces_are_monotone_and_cover_the_window(p, name):
    doses, window = HISTORIES[name]
    profile = course(disposition(*columns([p])), as_inputs(doses), window)
    highest = course_cmax(profile)[0]
    covered = 0.0
    for piece in monotone_pieces(profile):
        start, end = piece.start[0], piece.end[0]
        covered += end - start
        between = [concentration(profile.rate, piece.segment, t)[0] for t in np.linspace(start, end, 60)]
        assert piece.first[0] == pytest.approx(between[0], abs=1e-12 * highest)
        assert piece.last[0] == pytest.approx(between[-1], abs=1e-12 * highest)
        slopes = np.diff(between)
        assert (slopes >= -1e-11 * highest).all() or (slopes <= 1e-11 * highest).all()
    assert covered == pytest.approx(window[1] - window[0], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(parameters, histories)
def test_the_lowest_trough_is_a_minimum_or_the_end(p, name):
    """Where the concentration stops falling (before a dose, at the turn of an infusion), the window ends, or starts under way."""
    doses, window = HISTORIES[name]
    trajectory = Trajectory(p, doses, window)
    values = []
    for piece in trajectory.pieces:  # a minimum between two knots is lower than both
        turns = [t for t in piece.derivative().roots(extrapolate=False) if np.isfinite(t)]
        values.append(np.asarray(piece(np.sort([*piece.x, *turns]))))
    joined = np.concatenate(values)
    assume(
        joined.min() == 0.0 or joined.min() > 1e-9 * joined.max()
    )  # below, the integration does not see a fall
    falls = np.diff(joined) < -1e-13 * joined.max()  # pieces meet to rounding only
    troughs = joined[1:][falls & ~np.append(falls[1:], False)]
    started = [float(joined[0])] if window[0] > 0.0 else []  # no dose is due there, and treatment has begun
    expected = min([trajectory.trough, *troughs, *started])
    profile = course(disposition(*columns([p])), as_inputs(doses), window)
    assert course_cmin(profile)[0] == pytest.approx(expected, abs=1e-6 * trajectory.highest())


def test_the_lowest_trough_is_not_the_time_before_the_first_dose():
    modes = disposition(*columns([(6.0, 25.0)]))
    inputs = [Input(5.0 + 6.0 * k, 750.0, 2.0) for k in range(10)]
    before = course_cmin(course(modes, inputs, (3.5, 60.0)))
    np.testing.assert_array_equal(before, course_cmin(course(modes, inputs, (5.0, 60.0))))
    assert before[0] > 1.0


def test_a_long_history_is_walked_dose_by_dose():
    """A thousand doses are the steady state of a drug that is gone in days."""
    modes = disposition(*columns([(5.0, 30.0, 2.0, 20.0)]))
    inputs = [Input(8.0 * k, 1000.0, 1.0) for k in range(1000)]
    late = course_exceeded(course(modes, inputs, (7992.0, 8000.0)), 0.5)
    np.testing.assert_allclose(late, 1000.0 * exceeded(steady_state(modes, 8.0, 1.0), 0.5), rtol=1e-10)


def test_the_lowest_trough_of_a_first_dose_is_not_its_start():
    profile = course(disposition(*columns([(5.0, 30.0)])), [Input(0.0, 100.0, 1.0)], (0.0, 8.0))
    assert course_cmin(profile)[0] == pytest.approx(20.0 * (1 - np.exp(-1 / 6)) * np.exp(-7 / 6), rel=1e-12)


def test_the_lowest_of_a_rise_is_its_start():
    """A continuous infusion rises: the least of a window within it stands at its start, and where the next bag is hung as well."""
    modes = disposition(*columns([(5.0, 30.0)]))
    bags = [Input(24.0 * k, 2000.0, 24.0) for k in range(4)]
    for window in ((10.0, 17.0), (24.0, 48.0)):
        np.testing.assert_allclose(
            course_cmin(course(modes, bags, window)), course_at(modes, bags, window[0])
        )
    short = [
        Input(8.0 * k, 1000.0, 1.0) for k in range(6)
    ]  # its trough at 24 h belongs to the interval before
    np.testing.assert_allclose(course_cmin(course(modes, short, (24.0, 32.0))), course_at(modes, short, 32.0))
    np.testing.assert_allclose(course_cmin(course(modes, short, (23.5, 32.0))), course_at(modes, short, 24.0))
    bolus = [*bags, Input(30.0, 100.0, 0.0)]
    np.testing.assert_allclose(course_cmin(course(modes, bolus, (30.0, 31.0))), course_at(modes, bolus, 31.0))


def test_a_rise_that_goes_on_is_no_trough():
    """A slow infusion, a fast one, then a short fall: the trough is the end, not where the first infusion ended."""
    modes = disposition(*columns([(5.0, 30.0)]))
    inputs = [Input(0.0, 100.0, 4.0), Input(4.0, 1000.0, 4.0)]
    profile = course(modes, inputs, (0.0, 8.5))
    np.testing.assert_allclose(course_cmin(profile), course_at(modes, inputs, 8.5), rtol=1e-12)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_areas_of_slow_modes_do_not_cancel(n_compartments):
    """Hardly any elimination or exchange: an infusion of 1 mg over 3 h leaves t²/6 mg·h in 0..t."""
    draws = [np.full(4, value) for value in (1e-9, 30.0, 1e-12, 20.0, 1e-12, 40.0)[: 2 * n_compartments]]
    draws[0] = np.array([1e-12, 1e-9, 1e-6, 1e-4])
    area = course_auc(course(disposition(*draws), [Input(0.0, 1.0, 3.0)], (0.0, 2.0)))
    # ∫ (1 - e^{-kt}) / (3 CL) dt, to the second order of kt
    kt = draws[0] / 30.0 * 2.0
    np.testing.assert_allclose(area, 4.0 / 6.0 / 30.0 * (1.0 - kt / 3.0 + kt * kt / 12.0), rtol=1e-11)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_doses_superpose(n_compartments):
    modes = disposition(*wide_draws(1, 400, n_compartments))
    one, other = [Input(0.0, 300.0, 2.0), Input(6.0, 100.0, 0.0)], [Input(1.5, 700.0, 6.0)]
    for time in (0.5, 1.5, 2.0, 6.0, 7.5, 11.0):
        parts = course_at(modes, one, time) + course_at(modes, other, time)
        np.testing.assert_allclose(course_at(modes, one + other, time), parts, rtol=1e-11, atol=1e-11)
    areas = [course_auc(course(modes, inputs, (1.0, 9.0))) for inputs in (one, other, other + one)]
    np.testing.assert_allclose(areas[0] + areas[1], areas[2], rtol=1e-11)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_time_and_amount_scale(n_compartments):
    draws = wide_draws(2, 300, n_compartments)
    slower = [
        column * (1.0 if i % 2 else 0.5) for i, column in enumerate(draws)
    ]  # flows halved: all lasts twice as long
    doses, window = HISTORIES["loading bolus and continuous"]
    here = course(disposition(*draws), as_inputs(doses), window)
    stretched = [Input(2.0 * t, 2e-4 * amount, 2.0 * tinf) for t, amount, tinf in doses]
    there = course(disposition(*slower), stretched, (2.0 * window[0], 2.0 * window[1]))
    for figure, factor in ((course_cmax, 2e-4), (course_cmin, 2e-4), (course_auc, 4e-4)):
        np.testing.assert_allclose(figure(there), factor * figure(here), rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_areas_of_neighbouring_windows_add(n_compartments):
    modes = disposition(*wide_draws(3, 300, n_compartments, decades=2.0))
    for doses, (start, end) in HISTORIES.values():
        cuts = [start, start + 0.3 * (end - start), start + 0.31 * (end - start), end]
        parts = [course_auc(course(modes, as_inputs(doses), pair)) for pair in pairwise(cuts)]
        whole = course_auc(course(modes, as_inputs(doses), (start, end)))
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-9, atol=1e-15)


def test_amounts_may_differ_between_profiles():
    modes = disposition(*wide_draws(4, 3, 2))
    amounts = np.array([100.0, 250.0, 700.0])
    for tinf in (0.0, 1.5):
        each = [course_auc(course(modes, [Input(0.0, amount, tinf)], (0.0, 8.0))) for amount in amounts]
        together = course_auc(course(modes, [Input(0.0, amounts, tinf)], (0.0, 8.0)))
        np.testing.assert_allclose(together, [each[i][i] for i in range(3)], rtol=1e-14)


def test_a_dose_at_the_end_is_not_in_the_window():
    modes = disposition(*wide_draws(5, 20, 2))
    doses, late = [Input(0.0, 100.0, 0.0)], Input(8.0, 500.0, 0.0)
    for figure in (course_auc, course_cmax, course_cmin):
        before = figure(course(modes, doses, (0.0, 8.0)))
        np.testing.assert_array_equal(figure(course(modes, [*doses, late], (0.0, 8.0))), before)
    np.testing.assert_array_equal(course_at(modes, [*doses, late], 8.0), course_at(modes, doses, 8.0))
    jump = course_cmax(course(modes, [*doses, late], (8.0, 9.0))) - course_at(modes, doses, 8.0)
    np.testing.assert_allclose(jump, 500.0 * impulse_at_once(modes), rtol=1e-10)


def impulse_at_once(modes):
    return modes.resistance * (modes.share * modes.rate).sum(axis=0)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize(
    "cycle_of_doses",
    [
        [(0.0, 100.0, 0.0)],
        [(0.0, 100.0, 1.0), (10.0, 50.0, 0.0)],
        [(3.0, 200.0, 2.0), (9.0, 100.0, 6.0)],
        [(0.0, 100.0, 12.0)],
        [(2.0, 100.0, 10.5), (11.5, 30.0, 1.0)],
    ],
)
def test_a_cycle_is_the_limit_of_a_long_history(n_compartments, cycle_of_doses):
    modes = disposition(*wide_draws(6, 100, n_compartments, decades=0.3))
    n = 400
    history = [Input(12.0 * j + t, amount, tinf) for j in range(n) for t, amount, tinf in cycle_of_doses]
    for window in ((0.0, 12.0), (2.0, 7.5)):
        endless = course(modes, as_inputs(cycle_of_doses), window, cycle=12.0)
        late = course(modes, history, (12.0 * (n - 1) + window[0], 12.0 * (n - 1) + window[1]))
        for figure in (course_auc, course_cmax, course_cmin):
            np.testing.assert_allclose(figure(endless), figure(late), rtol=1e-8)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_nan_stays_in_its_row(n_compartments):
    draws = wide_draws(1, 5, n_compartments)
    draws[0][2] = np.nan
    for doses, window in HISTORIES.values():
        profile = course(disposition(*draws), as_inputs(doses), window)
        for figure in (course_auc, course_cmax, course_cmin):
            assert np.isnan(figure(profile)).tolist() == [False, False, True, False, False]
