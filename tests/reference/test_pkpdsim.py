"""Analytic values that PKPDsim tests itself with: concentrations of one to three compartments, and AUC towards steady state.

Source: https://github.com/InsightRX/PKPDsim at c8a0ef5, tests test_advan.R (values printed to three decimals) and
test_calc_auc_analytic.R (Thomson's vancomycin model, against its own ODE solver, printed to three decimals).
"""

import numpy as np
import pytest

from tdmx_dask.kernels.course import Input, course, course_at, course_auc
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.interval import auc, nth_interval

PARAMETERS = {"CL": 10.0, "Vc": 50.0, "Q1": 5.0, "Vp1": 100.0, "Q2": 3.0, "Vp2": 150.0}
AT_23_H = {0.0: (0.242, 0.212, 0.169), 1.0: (0.268, 0.225, 0.177)}  # tinf in h: 1, 2, 3 compartments, mg/L
PRINTED = 0.0005  # half of the last decimal

VANCOMYCIN = {"CL": 3.02069794728, "Vc": 47.25, "Q1": 2.28, "Vp1": 51.24}
AUC_PER_DAY = (
    299.084,
    381.493,
    427.152,
    454.601,
    471.194,
    481.227,
    487.294,
    490.962,
    493.181,
    494.522,
)  # mg·h/L
ODE_SOLVER = 0.001  # its own error and the last decimal


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("tinf", sorted(AT_23_H))
def test_two_doses_of_100_mg_at_23_h(tinf, n_compartments):
    modes = disposition(*(np.array([value]) for value in list(PARAMETERS.values())[: 2 * n_compartments]))
    level = course_at(modes, [Input(0.0, 100.0, tinf), Input(12.0, 100.0, tinf)], 23.0)
    assert level[0] == pytest.approx(AT_23_H[tinf][n_compartments - 1], abs=PRINTED)


@pytest.mark.parametrize("day", range(10))
def test_vancomycin_auc_of_each_day(day):
    """1500 mg over 1 h every 24 h: the window of that day, and the interval of that number."""
    modes = disposition(*(np.array([value]) for value in VANCOMYCIN.values()))
    doses = [Input(24.0 * i, 1500.0, 1.0) for i in range(10)]
    window = course_auc(course(modes, doses, (24.0 * day, 24.0 * day + 24.0)))
    assert window[0] == pytest.approx(AUC_PER_DAY[day], abs=ODE_SOLVER)
    assert 1500.0 * auc(nth_interval(modes, 24.0, 1.0, day + 1))[0] == pytest.approx(window[0], rel=1e-12)
