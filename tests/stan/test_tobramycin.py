"""Posterior mode of a published case: posologyr's test against Monolix (tests/testthat/test_map_mlx.R)."""

from pathlib import Path

import pytest
from stanli import Model

from tdmx_dask.fitting.program import read_program

PUBLISHED = {"ke": 0.1258, "V": 18.21}  # 1/h, L


def test_mode__is_the_published():
    clearance, weight = 80.0, 65.0
    data = {
        "typical": [
            0.21 * (clearance / 67.8) ** 0.89 * (weight / 66.4) ** -1.09,
            19.8 * (weight / 66.4) ** 0.80,
        ],
        "variance": [0.08075, 0.01203],
        "k12": 0.041,
        "k21": 0.12,
        "amount": 500.0,
        "tinf": 0.5,
        "n_levels": 2,
        "level_time": [1.0, 14.0],
        "level": [25.0, 5.5],
        "proportional": 0.198,
    }
    program = read_program(Path(__file__).parent / "programs" / "tobramycin.stan")
    mode = Model(stan_code=program.code, data=data).optimize(seed=1)
    for name, value in PUBLISHED.items():
        assert mode[name] == pytest.approx(value, abs=0.5 * 10.0 ** (-4 if name == "ke" else -2))
