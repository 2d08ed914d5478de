"""Stacked branches: their parabolas, the meetings with a level, the time above it, and the first guess from chords."""

import numpy as np
import pytest

from tdmx_dask.kernels.branches import meeting, parabola, stacked, summed, taken, time_above, value
from tdmx_dask.kernels.chords import first_guess, knots
from tdmx_dask.kernels.course import concentration, course, course_cmax, monotone_pieces
from tdmx_dask.kernels.course_exceedance import LESS, _solved, course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tests.kernels.compartments import columns, wide_draws
from tests.kernels.test_course import HISTORIES, as_inputs

N = 200


def pieces_of(name, n_compartments, decades=0.3):
    """Pieces of a window, those without input first, with their profile, highest concentrations and length."""
    doses, window = HISTORIES[name]
    profile = course(disposition(*wide_draws(21, N, n_compartments, decades)), as_inputs(doses), window)
    pieces = sorted(monotone_pieces(profile), key=lambda piece: piece.segment.plateau is not None)
    return profile, pieces, course_cmax(profile), window[1] - window[0]


def branches_of(name, n_compartments, decades=0.3):
    profile, pieces, highest, length = pieces_of(name, n_compartments, decades)
    return stacked(profile.rate, pieces, highest, length, slice(None)), pieces, profile, highest


def slope(rate, segment, t):
    drive = -segment.held if segment.plateau is None else segment.plateau - segment.held
    return (drive * rate * np.exp(-rate * t)).sum(axis=0)


def between(branches, part):
    return branches.start + part * (branches.end - branches.start)


@pytest.mark.parametrize("name", sorted(HISTORIES))
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_a_parabola_has_value_slope_and_curvature_of_its_piece(name, n_compartments):
    branches, pieces, profile, highest = branches_of(name, n_compartments)
    assert branches.n_falls == sum(piece.segment.plateau is None for piece in pieces)
    t = between(branches, 0.4)
    curve = parabola(branches, t)
    h = 1e-4
    for i, piece in enumerate(pieces):
        here = concentration(profile.rate, piece.segment, t[i]) / highest
        steep = slope(profile.rate, piece.segment, t[i]) / highest
        after, before = (slope(profile.rate, piece.segment, t[i] + d) / highest for d in (h, -h))
        np.testing.assert_allclose(curve.value[i], here, rtol=1e-11)
        np.testing.assert_allclose(curve.steep[i], np.abs(steep), rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(curve.bend[i], (after - before) / (2 * h), rtol=1e-4, atol=1e-7)
        assert (np.sign(steep) == branches.sign[i])[piece.end > piece.start].all()
    np.testing.assert_array_equal(value(branches, t), curve.value)


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_a_parabola_meets_a_level_where_the_piece_does(n_compartments):
    """Its error is of the third order: a step ten times shorter leaves a thousandth."""
    for name in HISTORIES:
        branches, *_ = branches_of(name, n_compartments)
        t = between(branches, 0.5)
        errors = []
        for step in (0.04, 0.004):
            level = value(branches, between(branches, 0.5 + step))
            met, pace = meeting(branches, t, parabola(branches, t), level)
            errors.append(np.abs(met - between(branches, 0.5 + step)))
            there = parabola(branches, met)
            clear = there.steep > 1e-4
            assert (np.abs((pace * there.steep)[clear] - 1.0) < 0.05).mean() > 0.7
        assert np.median(errors[1] / np.maximum(errors[0], 1e-12)) < 5e-3
        assert (errors[1] <= 1e-4 * (branches.end - branches.start) + 1e-9).mean() > 0.95


def test_a_meeting_stays_within_its_branch():
    branches, *_ = branches_of("day 1", 2)
    curve = parabola(branches, between(branches, 0.5))
    for level in (0.0, 0.2, 1.0, 30.0):
        met, pace = meeting(branches, between(branches, 0.5), curve, np.full(N, level))
        assert (met >= branches.start).all()
        assert (met <= branches.end).all()
        assert (pace > 0.0).all()
        assert np.isfinite(pace).all()


def test_time_above_counts_whole_branches_and_parts():
    modes = disposition(*columns([(3.0, 30.0)] * 2))
    profile = course(modes, as_inputs([(0.0, 300.0, 0.0), (8.0, 600.0, 2.0)]), (0.0, 16.0))
    pieces = sorted(monotone_pieces(profile), key=lambda piece: piece.segment.plateau is not None)
    assert [piece.segment.plateau is None for piece in pieces] == [True, True, False]
    first, second = 10.0 * np.exp(-0.8), 10.0 * np.exp(-1.0) + 100.0 * -np.expm1(-0.2)
    last = second * np.exp(-0.6)
    branches = stacked(profile.rate, pieces, np.ones(2), 16.0, slice(None))
    np.testing.assert_allclose(branches.low[:, 0], [first, last, first], rtol=1e-12)
    np.testing.assert_allclose(branches.high[:, 0], [10.0, second, second], rtol=1e-12)
    t = np.array([[3.0, 3.0], [2.0, 2.0], [0.5, 0.5]])
    for level, hours, crossing in (
        (first - 0.1, 16.0, [False, False, False]),
        (first, 3.0 + 6.0 + 1.5, [True, False, True]),
        (9.9, 3.0 + 6.0 + 1.5, [True, False, True]),
        (10.0, 6.0 + 1.5, [False, False, True]),
        (last + 0.1, 2.0 + 1.5, [False, True, True]),
        (second, 0.0, [False, False, False]),
    ):
        above, crosses = time_above(branches, t, np.full(2, level))
        np.testing.assert_allclose(above, hours, rtol=1e-14)
        assert crosses[:, 1].tolist() == crossing


def test_taken_rows_keep_everything():
    branches, *_ = branches_of("overlapping infusions", 3)
    rows = np.array([5, 3, 77])
    some = taken(branches, rows)
    assert (some.n_falls, some.window) == (branches.n_falls, branches.window)
    for part, whole in zip(some[:-2], branches[:-2], strict=True):
        np.testing.assert_array_equal(part, whole[..., rows])


def test_sums_are_taken_in_order():
    parts = np.array([1e16, 1.0, -1e16, 1.0, 3.0, 1e16, 2.0, -1e16, 1.0, 1.0])
    expected = 0.0
    for part in parts:
        expected += part
    for n in (1, 2, 9, 1000):
        column = np.repeat(parts[:, None], n, axis=1)
        np.testing.assert_array_equal(summed(column), expected)
        np.testing.assert_array_equal(column[0], 1e16)


def guess_of(name, n_compartments, fraction, decades=0.3):
    profile, pieces, highest, length = pieces_of(name, n_compartments, decades)
    branches = stacked(profile.rate, pieces, highest, length, slice(None))
    ends = [knots(profile.rate, piece, length) for piece in pieces]
    return profile, branches, highest, ends, fraction * length * LESS


def test_knots_are_denser_at_the_start():
    profile, pieces, _, length = pieces_of("loading bolus and continuous", 2)
    for piece in pieces:
        heights = knots(profile.rate, piece, length)
        assert heights.shape == (9, N)
        for j in range(9):
            t = piece.start + (piece.end - piece.start) * (j / 8) ** 2
            expected = concentration(profile.rate, piece.segment, t)
            np.testing.assert_allclose(heights[j], expected, rtol=1e-12)
    profile, pieces, _, length = pieces_of("day 1", 1)
    assert [knots(profile.rate, piece, length).shape[0] for piece in pieces] == [3, 3, 3, 2, 2, 2]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_chords_are_exact_for_boluses_into_one_compartment(fraction):
    profile, branches, highest, ends, wanted = guess_of("boluses", 1, fraction, decades=1.0)
    level, t = first_guess(branches, ends, wanted)
    exact = course_exceeded(profile, fraction) / highest
    good = exact > 1e-9
    assert good.mean() > 0.5
    above, crosses = time_above(branches, t, level)
    short = np.abs(above / wanted - 1.0)[good]
    assert np.median(short) < 6e-3
    assert np.quantile(short, 0.9) < 0.3
    assert (
        np.median(np.abs(level / exact - 1.0)[good]) < 1e-3 or fraction == 0.5
    )  # there a range of levels will do
    off = np.where(crosses, np.abs(value(branches, t) / level - 1.0), 0.0)
    assert np.quantile(off, 0.99) < 1e-4


@pytest.mark.parametrize("name", sorted(HISTORIES))
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
def test_the_guess_is_near_and_two_joint_steps_end_it(name, n_compartments):
    for fraction in (0.3, 0.6):
        profile, branches, highest, ends, wanted = guess_of(name, n_compartments, fraction)
        level, t = first_guess(branches, ends, wanted)
        exact = course_exceeded(profile, fraction) / highest
        assert np.quantile(np.abs(level - exact), 0.95) < 0.12
        assert (t >= branches.start).all()
        assert (t <= branches.end).all()
        above, _ = time_above(branches, t, level)
        assert np.quantile(np.abs(above / wanted - 1.0), 0.9) < 0.25
        state, missed = _solved(branches, ends, wanted)
        assert missed.mean() < (0.5 if name.startswith(("loading", "day")) else 0.12)
        np.testing.assert_allclose(state.level[~missed], exact[~missed], rtol=0.0, atol=1e-10)
