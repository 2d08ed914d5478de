"""Checkpoints: whole or none, and only of the same study."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdmx_dask.errors import InputError, StoreError, TdmxWarning
from tdmx_dask.store.checkpoint import load, save

COUNTS = {"n_attained": np.arange(24).reshape(2, 3, 4), "n_simulated": np.array([7], dtype=np.int64)}
DONE = np.array([True, False, True])


@given(
    counts=st.dictionaries(
        st.text(st.characters(categories=["L", "Nd", "Zs"]), min_size=1, max_size=9),
        hnp.arrays(st.sampled_from([np.int64, np.uint8, np.float64]), hnp.array_shapes(min_side=0)),
        max_size=3,
    ),
    done=hnp.arrays(np.bool_, st.integers(0, 40)),
)
@settings(max_examples=30, deadline=None)
def test_checkpoint__round_trip(tmp_path_factory, counts, done):
    path = tmp_path_factory.mktemp("checkpoint") / "c.npz"
    save(path, "d1", counts, done)
    found = load(path, "d1")
    assert found is not None
    np.testing.assert_array_equal(found.done, done)
    assert found.counts.keys() == counts.keys()
    for name, count in counts.items():
        np.testing.assert_array_equal(found.counts[name], count)
        assert found.counts[name].dtype == count.dtype
    assert [file.name for file in path.parent.iterdir()] == ["c.npz"]


def test_load__none_where_there_is_none(tmp_path):
    assert load(tmp_path / "c.npz", "d1") is None


def test_load__refuses_another_study(tmp_path):
    save(tmp_path / "c.npz", "d1", COUNTS, DONE)
    with pytest.raises(InputError, match=r"c\.npz: the study, its settings or its draws have changed"):
        load(tmp_path / "c.npz", "d2")


@pytest.mark.parametrize("damage", [0, 1, 40, 300, -30, -1])
def test_load__a_file_cut_short_is_none(tmp_path, damage):
    path = tmp_path / "c.npz"
    save(path, "d1", COUNTS, DONE)
    path.write_bytes(path.read_bytes()[:damage])
    with pytest.warns(TdmxWarning, match=r"c\.npz: it is damaged .* so the run starts from the beginning"):
        assert load(path, "d1") is None


def test_load__a_flipped_bit_never_gives_other_counts(tmp_path):
    path = tmp_path / "c.npz"
    save(path, "d1", COUNTS, DONE)
    whole = path.read_bytes()
    for position in range(0, len(whole), 37):
        data = bytearray(whole)
        data[position] ^= 4
        path.write_bytes(data)
        try:
            found = load(path, "d1")
        except (TdmxWarning, InputError):  # warnings are errors here
            continue
        assert found is not None
        np.testing.assert_array_equal(found.done, DONE)
        np.testing.assert_array_equal(found.counts["n_attained"], COUNTS["n_attained"])


def test_load__never_unpickles(tmp_path):
    path = tmp_path / "c.npz"
    with path.open("wb") as file:
        np.savez(file, digest=np.array("d1"), done=np.array([print], dtype=object))
    with pytest.warns(TdmxWarning, match="Object arrays cannot be loaded"):
        assert load(path, "d1") is None


def test_save__replaces_and_refuses_objects(tmp_path):
    path = tmp_path / "c.npz"
    save(path, "d1", COUNTS, DONE)
    save(path, "d1", {"n": np.array([1])}, ~DONE)
    found = load(path, "d1")
    assert found is not None
    assert list(found.counts) == ["n"]
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save(path, "d1", {"n": np.array([print])}, DONE)
    assert load(path, "d1") is not None
    assert [file.name for file in tmp_path.iterdir()] == ["c.npz"]


def test_save__full_disk_keeps_the_old(small_disk):
    path = small_disk / "c.npz"
    save(path, "d1", COUNTS, DONE)
    with pytest.raises(StoreError, match=r"c\.npz: the disk is full\."):
        save(path, "d1", {"n": np.zeros(300_000)}, DONE)
    found = load(path, "d1")
    assert found is not None
    np.testing.assert_array_equal(found.counts["n_attained"], COUNTS["n_attained"])
    assert [file.name for file in small_disk.iterdir()] == ["c.npz"]
