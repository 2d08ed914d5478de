"""Stores of draws: what is written is read, lazily or by slices, and damage is said."""

import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.errors import InputError, SchemaError, StoreError
from tdmx_dask.store import layout
from tdmx_dask.store.draws import (
    draws_digest,
    open_draws,
    open_tree,
    read_slice,
    stored_at,
    verify_draws,
    write_draws,
)
from tests.store.conftest import make_draws, make_omega


@pytest.fixture
def store(tmp_path, tree):
    path = tmp_path / "draws.zarr"
    write_draws(tree, path)
    return path


def test_write_draws__round_trip(tmp_path, tree):
    digest = write_draws(tree, tmp_path / "draws.zarr")
    opened = open_tree(tmp_path / "draws.zarr")
    posterior = opened["posterior"].to_dataset()
    xr.testing.assert_equal(posterior, tree["posterior"].to_dataset())
    xr.testing.assert_equal(opened["sample_stats"].to_dataset(), tree["sample_stats"].to_dataset())
    xr.testing.assert_equal(opened["constant_data"].to_dataset(), tree["constant_data"].to_dataset())
    assert list(posterior) == list(tree["posterior"].data_vars)
    assert posterior.eta.dtype.kind == "U"
    assert posterior.CL.attrs["units"] == "L/h"
    assert posterior.attrs == {
        "sampling": "mcmc",
        "source": "made up",
        "tdmx_schema": "draws/1",
        "created_by": layout.created_by(),
        "digest": digest,
        "store": str(tmp_path / "draws.zarr"),
    }
    assert verify_draws(tmp_path / "draws.zarr") == digest


def test_open_draws__is_lazy_and_needs_no_dask(tmp_path, draws):
    store = tmp_path / "plain.zarr"  # xarray itself imports dask for an index, which omega would bring
    write_draws(draws, store)
    script = (
        "import sys; from tdmx_dask.store.draws import open_draws, read_slice\n"
        f"ds = open_draws({str(store)!r})\n"
        "assert ds.CL.chunks is None and ds.CL.values.sum() > 0\n"
        "assert read_slice(ds.attrs['store'], ['CL'], 1, 3, 9)['CL'].shape == (6,)\n"
        "assert not {'dask', 'scipy', 'matplotlib', 'h5py'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
    (store / "posterior/Vc/c.0.0").write_bytes(b"nonsense")
    open_draws(store)  # only metadata are read


def test_open_draws__another_program_reads_the_groups(store, tree):
    plain = xr.open_datatree(store, engine="zarr", consolidated=False, chunks=None)
    np.testing.assert_array_equal(plain["posterior/CL"], tree["posterior/CL"])
    np.testing.assert_array_equal(plain["sample_stats/diverging"], tree["sample_stats/diverging"])


def test_write_draws__names_units_and_dtype_are_ours(tmp_path):
    raw = make_draws().rename(Vc="V1", Q1="Q", Vp1="V2").drop_attrs().assign_coords(draw=np.arange(1, 51))
    raw = raw.assign(WT=raw.CL.astype("float32"))
    write_draws(raw, tmp_path / "x.zarr")
    draws = open_draws(tmp_path / "x.zarr")
    assert list(draws) == ["CL", "Vc", "Q1", "Vp1", "WT"]
    assert [draws[name].attrs["units"] for name in draws] == ["L/h", "L", "L/h", "L", "kg"]
    assert {draws[name].dtype for name in draws} == {np.dtype("float64")}
    assert not draws.coords


def test_write_draws__an_opened_store_is_written_again_the_same(store, tmp_path):
    digest = write_draws(open_draws(store), tmp_path / "again.zarr")
    assert digest == open_draws(store).attrs["digest"]
    assert open_draws(tmp_path / "again.zarr").attrs["store"] == str(tmp_path / "again.zarr")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -3.0])
def test_write_draws__refuses_a_value_and_writes_nothing(tmp_path, draws, bad):
    draws.CL[1, 17] = bad
    with pytest.raises(
        InputError, match=rf"^CL\[chain=1, draw=17\]={bad:g}: a clearance must be finite and > 0 L/h"
    ):
        write_draws(draws, tmp_path / "x.zarr")
    assert list(tmp_path.iterdir()) == []


def test_write_draws__refuses(tmp_path, tree):
    with pytest.raises(SchemaError, match="draws=empty"):
        write_draws(make_draws(n_draws=0), tmp_path / "x.zarr")
    wrong = make_draws()
    wrong.CL.attrs["units"] = "mL/min"
    with pytest.raises(SchemaError, match=r"CL\.units=mL/min: CL is in L/h"):
        write_draws(wrong, tmp_path / "x.zarr")
    extra = tree.assign({"other": tree["posterior"]})
    with pytest.raises(SchemaError, match="groups=posterior, sample_stats, constant_data, other"):
        write_draws(extra, tmp_path / "x.zarr")
    short = tree.copy()
    short["sample_stats"] = xr.DataTree(tree["sample_stats"].to_dataset().isel(draw=slice(9)))
    with pytest.raises(
        SchemaError, match=r"sample_stats/diverging=\(2, 9\): it has the posterior's 2 chains of 50 draws"
    ):
        write_draws(short, tmp_path / "x.zarr")
    text = tree.copy()
    text["constant_data"] = xr.DataTree(xr.Dataset({"drug": ((), "meropenem")}))
    with pytest.raises(SchemaError, match="constant_data/drug=<U9: a store of draws holds numbers"):
        write_draws(text, tmp_path / "x.zarr")
    write_draws(tree, tmp_path / "x.zarr")
    with pytest.raises(InputError, match=r"x\.zarr: it exists\. .*--overwrite"):
        write_draws(tree, tmp_path / "x.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


def test_write_draws__full_disk_keeps_the_old(tmp_path, draws, small_disk):
    write_draws(draws, small_disk / "x.zarr")
    with pytest.raises(StoreError, match=r"x\.zarr: the disk is full\."):
        write_draws(make_draws(4, 20000), small_disk / "x.zarr", overwrite=True)
    assert verify_draws(small_disk / "x.zarr") == draws_digest(draws)
    assert [path.name for path in small_disk.iterdir()] == ["x.zarr"]


def test_write_draws__killed_in_mid_write(tmp_path, draws):
    path = tmp_path / "x.zarr"
    write_draws(draws, path)
    script = (
        "import sys; from tests.store.conftest import make_draws; from tdmx_dask.store.draws import write_draws\n"
        "draws = make_draws(4, 30_000); print('now', flush=True)\n"
        "while True: write_draws(draws, sys.argv[1], overwrite=True)\n"
    )
    new = draws_digest(make_draws(4, 30_000))
    for delay in (0.005, 0.02, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert verify_draws(path) in (draws_digest(draws), new)
    write_draws(draws, path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


@given(
    size=st.sampled_from([1024, 2048, 65536]),
    parts=st.sampled_from([50, 700, 2048]),
    lazy=st.booleans(),
)
@settings(max_examples=5, deadline=None)
def test_digest__does_not_depend_on_chunks(tmp_path_factory, size, parts, lazy):
    path = tmp_path_factory.mktemp("digest") / "x.zarr"
    draws = make_draws(2, 2500, omega=make_omega(2, 2500))
    expected = draws_digest(draws)
    given_draws = draws.chunk(chain=1, draw=parts) if lazy else draws
    old, layout.CHUNK_DRAWS = layout.CHUNK_DRAWS, size
    try:
        assert write_draws(given_draws, path) == expected
    finally:
        layout.CHUNK_DRAWS = old
    assert draws_digest(given_draws) == expected
    assert draws_digest(open_draws(path)) == expected


def test_digest__depends_on_what_the_draws_are(draws):
    other_value = draws.copy(deep=True)
    other_value.CL[1, 49] = np.nextafter(other_value.CL[1, 49], 99)
    others = [
        other_value,
        draws.rename(CL="x"),
        draws.assign_attrs(sampling="independent"),
        draws.isel(draw=slice(49)),
        draws.isel(chain=[1, 0]),
        draws.assign(CL=draws.Vc.assign_attrs(units="L/h"), Vc=draws.CL.assign_attrs(units="L")),
        draws.assign(omega=make_omega(2, 50)),
        draws.assign(omega=make_omega(2, 50, names=("Vc", "CL"))),
    ]
    digests = {draws_digest(each) for each in [draws, *others]}
    assert len(digests) == 9
    assert draws_digest(draws.assign_attrs(source="elsewhere")[["Vp1", "Q1", "CL", "Vc"]]) == draws_digest(
        draws
    )


@given(chain=st.integers(0, 1), start=st.integers(0, 2999), length=st.integers(1, 3000))
@settings(max_examples=40, deadline=None)
def test_read_slice__is_that_slice(long_store_once, chain, start, length):
    path, draws = long_store_once
    stop = min(start + length, 3000)
    names = ["Vp1", "CL", "omega"]
    values = read_slice(path, names, chain, start, stop)
    assert list(values) == names
    for name in names:
        np.testing.assert_array_equal(values[name], draws[name].values[chain, start:stop])
        assert values[name].flags.c_contiguous
        assert values[name].dtype == np.float64


@pytest.fixture(scope="module")
def long_store_once(tmp_path_factory):
    draws = make_draws(2, 3000, omega=make_omega(2, 3000, ("CL", "Vc", "Q1")))
    path = tmp_path_factory.mktemp("long") / "long.zarr"
    size, layout.CHUNK_DRAWS = layout.CHUNK_DRAWS, 1024
    try:
        write_draws(draws, path)
    finally:
        layout.CHUNK_DRAWS = size
    assert sorted(entry.name for entry in (path / "posterior/CL").iterdir()) == [
        *(f"c.{chain}.{chunk}" for chain in (0, 1) for chunk in (0, 1, 2)),
        "zarr.json",
    ]
    return path, draws


def test_read_slice__refuses(store):
    with pytest.raises(InputError, match=r"names=Vmax: the store .* has CL, Vc, Q1, Vp1, omega, theta"):
        read_slice(store, ["CL", "Vmax"], 0, 0, 5)
    with pytest.raises(InputError, match="chain=2: there are chains 0 to 1"):
        read_slice(store, ["CL"], 2, 0, 5)
    for start, stop in ((0, 51), (-1, 5), (5, 5)):
        with pytest.raises(InputError, match=rf"draws={start}\.\.{stop}: a slice lies within 0\.\.50"):
            read_slice(store, ["CL"], 0, start, stop)
    with pytest.raises(StoreError, match="there is no such store"):
        read_slice(store.with_name("none.zarr"), ["CL"], 0, 0, 5)


def test_read_slice__sees_that_the_store_was_replaced(store, draws):
    digest = open_draws(store).attrs["digest"]
    before = read_slice(store, ["CL"], 0, 0, 5, digest=digest)["CL"]
    other = draws.assign(CL=draws.CL * 2)
    write_draws(other, store, overwrite=True)
    np.testing.assert_array_equal(read_slice(store, ["CL"], 0, 0, 5)["CL"], before * 2)
    with pytest.raises(StoreError, match=r"its digest is .*…, not .*…\. It was replaced"):
        read_slice(store, ["CL"], 0, 0, 5, digest=digest)


def replace_value(store: Path, name: str, draw: int, value: float) -> None:
    """Put a value into a chunk, with a right checksum."""
    import google_crc32c

    file = store / "posterior" / name / "c.0.0"
    numbers = np.frombuffer(file.read_bytes()[:-4], dtype="<f8").copy()
    numbers[draw] = value
    file.write_bytes(numbers.tobytes() + google_crc32c.value(numbers.tobytes()).to_bytes(4, "little"))


def test_read_slice__refuses_a_value(store):
    replace_value(store, "CL", 17, np.inf)
    with pytest.raises(
        InputError, match=r"^CL\[chain=0, draw=17\]=inf: a clearance must be finite and > 0 L/h"
    ):
        read_slice(store, ["Vc", "CL"], 0, 10, 20)
    read_slice(store, ["Vc", "CL"], 0, 18, 20)
    assert read_slice(store, ["CL"], 0, 10, 20, check=False)["CL"][7] == np.inf


def test_damage__a_changed_value_is_seen_by_verify(store):
    replace_value(store, "CL", 17, 3.0)
    with pytest.raises(StoreError, match="posterior: its content is not what was written"):
        verify_draws(store)


def test_damage__a_flipped_bit(store):
    file = store / "posterior/Vc/c.1.0"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    message = re.escape(f"{file}: this chunk is damaged: its checksum is wrong. Restore it")
    with pytest.raises(StoreError, match=message):
        read_slice(store, ["Vc"], 1, 0, 5)
    with pytest.raises(StoreError, match="posterior: a chunk is damaged"):
        verify_draws(store)
    with pytest.raises(ValueError, match="checksum"):  # Zarr's own error
        open_draws(store).Vc.load()


def test_damage__a_chunk_cut_short(store):
    file = store / "posterior/Vc/c.1.0"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"c\.1\.0: this chunk has another length"):
        read_slice(store, ["Vc"], 1, 0, 5)
    file.write_bytes(b"")
    with pytest.raises(StoreError, match=r"c\.1\.0: this chunk has another length"):
        read_slice(store, ["Vc"], 1, 0, 5)


def test_damage__a_missing_chunk(store):
    read_slice(store, ["Vc"], 1, 0, 5)  # its metadata are remembered
    (store / "posterior/Vc/c.1.0").unlink()
    with pytest.raises(StoreError, match=r"posterior/Vc/c\.1\.0: this chunk is missing"):
        open_draws(store)
    with pytest.raises(StoreError, match=r"c\.1\.0: this chunk cannot be read \(No such file"):
        read_slice(store, ["Vc"], 1, 0, 5)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("zarr.json", r"zarr\.json: this file cannot be read"),
        ("posterior/zarr.json", "posterior: it is damaged"),
        ("posterior/CL/zarr.json", "damaged"),
        ("posterior/eta/zarr.json", "damaged"),
        ("sample_stats/lp/zarr.json", "damaged"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damage__metadata(store, file, message, content):
    (store / file).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        open_tree(store)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x28\xb5\x2f\xfd" + b"\x00" * 9])
def test_damage__names_of_omega(store, content):
    (store / "posterior/eta/c.0").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        open_draws(store)


def test_read_slice__many_stores_and_threads(tmp_path):
    draws = [make_draws(1, 30 + each) for each in range(20)]
    for each, one in enumerate(draws):
        write_draws(one, tmp_path / f"{each}.zarr")
    with ThreadPoolExecutor(4) as pool:
        read = [
            pool.submit(read_slice, tmp_path / f"{each % 20}.zarr", ["Vc"], 0, 5, 25) for each in range(200)
        ]
    for each, one in enumerate(read):
        np.testing.assert_array_equal(one.result()["Vc"], draws[each % 20].Vc.values[0, 5:25])


@pytest.mark.parametrize("name", ["posterior/CL", "posterior/eta", "posterior", "sample_stats"])
def test_damage__a_missing_folder(store, name):
    shutil.rmtree(store / name)
    with pytest.raises(StoreError, match=r"damaged|missing"):
        open_tree(store)


def edit_mark(store, **changes):
    text = json.loads((store / "zarr.json").read_text())
    attributes = text["attributes"] | changes
    text["attributes"] = {key: value for key, value in attributes.items() if value is not None}
    (store / "zarr.json").write_text(json.dumps(text))


def test_open_draws__refuses(store, tmp_path):
    with pytest.raises(StoreError, match=r"none\.zarr: there is no such store"):
        open_draws(tmp_path / "none.zarr")
    with pytest.raises(SchemaError, match="this is not a Zarr v3 store of draws"):
        open_draws(tmp_path)
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(SchemaError, match="this is not a store of draws, but of something else"):
        open_draws(tmp_path / "other.zarr")
    edit_mark(store, digest=None)
    with pytest.raises(StoreError, match="half written: the completion mark is missing"):
        open_draws(store)
    edit_mark(store, tdmx_schema="draws/2")
    with pytest.raises(SchemaError, match=r"its schema is draws/2; this version reads draws/1"):
        open_draws(store)
    edit_mark(store, tdmx_schema="result/1")
    with pytest.raises(SchemaError, match=r"not a store of draws, but of result/1"):
        open_draws(store)


def test_open_draws__refuses_units(store):
    file = store / "posterior/CL/zarr.json"
    file.write_text(file.read_text().replace('"L/h"', '"mL/min"'))
    with pytest.raises(SchemaError, match=r"CL\.units=mL/min: CL is in L/h"):
        open_draws(store)


def test_stored_at__only_where_nothing_was_changed(store):
    draws = open_draws(store)
    assert stored_at(draws) == str(store)
    assert stored_at(open_draws(store)[["CL", "Vc"]]) == str(store)
    assert stored_at(draws.copy()) == str(store)
    for changed in (
        draws.isel(draw=slice(10)),
        draws.isel(draw=slice(None, None, -1)),
        draws.isel(chain=[1, 0]),
        draws.rename(CL="Vc", Vc="CL"),
        draws.assign(CL=draws.Vc),
        draws.assign(CL=open_draws(store).CL * 2),
        draws.chunk(draw=10),
        xr.concat([draws, draws], "draw"),
        draws.assign_attrs(digest="0" * 64),
        draws.assign_attrs(store="/nowhere"),
        draws.drop_attrs(),
    ):
        assert stored_at(changed) is None


def test_stored_at__another_store_of_the_same_name(store, tmp_path, draws):
    write_draws(draws, tmp_path / "b.zarr")
    mixed = open_draws(store).assign(CL=open_draws(tmp_path / "b.zarr").CL)
    assert stored_at(mixed) is None
    old = open_draws(tmp_path / "b.zarr")
    write_draws(draws.assign(CL=draws.CL * 2), tmp_path / "b.zarr", overwrite=True)
    assert stored_at(old) is None


def test_open_draws__pickles(store):
    draws = pickle.loads(pickle.dumps(open_draws(store)))  # noqa: S301
    assert float(draws.CL.sum()) == float(open_draws(store).CL.sum())


def test_lazy_draws__are_written_block_by_block(tmp_path):
    lazy = make_draws(1, 4096)
    lazy = xr.Dataset(
        {
            name: (variable.dims, da.from_array(variable.values, chunks=(1, 1024)))
            for name, variable in lazy.items()
        }
    )
    write_draws(lazy, tmp_path / "x.zarr")
    np.testing.assert_array_equal(open_draws(tmp_path / "x.zarr").CL, make_draws(1, 4096).CL)


@pytest.mark.parametrize("n_draws", [1, 999, 1024, 1025, 70_000, 10**7, 10**9])
@pytest.mark.parametrize("row", [1, 2, 9, 16, 10_000])
def test_chunk_draws__whole_blocks(n_draws, row):
    size = layout.chunk_draws(n_draws, row)
    assert size % 1024 == 0
    assert layout.MOST_DRAWS % size == 0
    assert size * row * 8 <= layout.MOST_BYTES or size == 1024
    assert size < 2 * max(n_draws, 1024)
    assert n_draws / size < 2200 * row


def test_speed(tmp_path):
    draws = make_draws(1, 1_000_000)
    start = time.perf_counter()
    write_draws(draws, tmp_path / "x.zarr")
    written = time.perf_counter() - start
    opening = min(_seconds(lambda: open_draws(tmp_path / "x.zarr")) for _ in range(5))
    reading = min(
        _seconds(lambda: read_slice(tmp_path / "x.zarr", list(draws), 0, 65536, 131072)) for _ in range(5)
    )
    print(f"write {written:.3f} s, open {opening * 1e3:.1f} ms, slice of 65536 x 4 {reading * 1e3:.2f} ms")


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
