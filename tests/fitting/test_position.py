import numpy as np

from tdmx_dask.fitting.position import position_of


def test_position_of__columns_nest_as_stan_writes_json():
    names = ["a", "m[1,1]", "m[2,1]", "m[1,2]", "m[2,2]", "m[1,3]", "m[2,3]", "t[1]", "t[2]"]
    found = position_of(names, np.arange(9))
    assert found == {"a": 0.0, "m": [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]], "t": [7.0, 8.0]}


def test_position_of__no_parameters():
    assert position_of([], []) == {}
