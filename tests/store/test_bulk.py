"""Many stores at once: the same files as one by one, and one that fails hinders no other."""

import json

import numpy as np
import pytest
import xarray as xr

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.bulk import write_many
from tdmx_dask.store.draws import open_tree, verify_draws, write_draws
from tests.store.conftest import make_draws


def groups_of(tree):
    return {name: group.to_dataset() for name, group in tree.children.items()}


def with_predictions(tree):
    shape = (tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"], 3)
    values = np.random.default_rng(3).normal(size=shape)
    level = xr.Dataset({"level": (("chain", "draw", "obs"), values)})
    return {
        **groups_of(tree),
        "log_likelihood": level,
        "posterior_predictive": level.assign(level=level.level + 1),
    }


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("n_draws", [50, 1500])
def test_write_many__same_files_as_one_by_one(tmp_path, tree, n_draws):
    tree = (
        xr.DataTree.from_dict(with_predictions(tree))
        if n_draws == 50
        else xr.DataTree.from_dict(
            {"posterior": make_draws(3, n_draws), "constant_data": tree["constant_data"].to_dataset()}
        )
    )
    digest = write_draws(tree, tmp_path / "one.zarr")
    assert write_many([(groups_of(tree), tmp_path / f"{each}.zarr") for each in range(3)]) == [digest] * 3
    assert write_many([(groups_of(tree), tmp_path / "alone.zarr")]) == [digest]
    expected = files(tmp_path / "one.zarr")
    for other in ("0.zarr", "2.zarr", "alone.zarr"):
        found = files(tmp_path / other)
        assert set(found) == set(expected)
        for name, content in expected.items():
            if name.endswith("zarr.json"):
                assert json.loads(found[name]) == json.loads(content), name
            else:
                assert found[name] == content, name
        assert verify_draws(tmp_path / other) == digest


def test_write_draws__keeps_log_likelihood_and_predictions(tmp_path, tree):
    given = with_predictions(tree)
    write_draws(xr.DataTree.from_dict(given), tmp_path / "x.zarr")
    opened = open_tree(tmp_path / "x.zarr")
    for name in ("log_likelihood", "posterior_predictive"):
        xr.testing.assert_equal(opened[name].to_dataset(), given[name])
    given["log_likelihood"] = given["log_likelihood"].isel(draw=slice(5))
    with pytest.raises(
        InputError, match=r"log_likelihood/level=.*it has the posterior's 2 chains of 50 draws"
    ):
        write_draws(xr.DataTree.from_dict(given), tmp_path / "y.zarr")


def test_write_many__one_that_fails_hinders_no_other(tmp_path, tree):
    bad = groups_of(tree)
    bad["posterior"] = bad["posterior"].assign(CL=bad["posterior"].CL * np.nan)
    (tmp_path / "file").write_text("")
    (tmp_path / "there.zarr").mkdir()
    outcomes = write_many(
        [
            (groups_of(tree), tmp_path / "a.zarr"),
            (bad, tmp_path / "b.zarr"),
            (groups_of(tree), tmp_path / "file" / "c.zarr"),
            (groups_of(tree), tmp_path / "there.zarr"),
            (groups_of(tree), tmp_path / "e.zarr"),
        ]
    )
    assert outcomes[0] == outcomes[4] == verify_draws(tmp_path / "e.zarr")
    assert isinstance(outcomes[1], InputError)
    assert str(outcomes[1]).startswith("CL[chain=0, draw=0]=nan")
    assert isinstance(outcomes[2], StoreError)
    assert isinstance(outcomes[3], InputError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "e.zarr", "file", "there.zarr"]


def test_write_many__a_full_disk_is_said_of_each(small_disk, tree):
    large = {"posterior": make_draws(4, 9000)}
    outcomes = write_many([(large, small_disk / "a.zarr"), (large, small_disk / "b.zarr")])
    assert all(isinstance(each, StoreError) and "the disk is full" in str(each) for each in outcomes)
    assert list(small_disk.iterdir()) == []
    assert isinstance(write_many([(groups_of(tree), small_disk / "c.zarr")])[0], str)
