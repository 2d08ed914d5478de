"""Results on disk."""

import json
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from tdmx_dask.errors import InputError, SchemaError, StoreError
from tdmx_dask.store import results
from tdmx_dask.store.digest import slabs
from tdmx_dask.store.results import _chunks, open_result, verify_result, write_result


@pytest.fixture
def pta():
    dims = ("scenario", "regimen", "target", "mic")
    rng = np.random.default_rng(3)
    values = rng.uniform(size=(2, 3, 1, 12))
    values[1, 2] = np.nan
    return xr.Dataset(
        {
            "pta": (dims, values, {"units": "1", "long_name": "probability of target attainment"}),
            "n_attained": (dims, rng.integers(0, 1000, size=values.shape)),
            "n_simulated": (dims[:3], np.array([[[1000]] * 3, [[1000], [1000], [0]]])),
            "breakpoint": (dims[:3], np.full((2, 3, 1), np.nan), {"level": np.float64(0.9), "units": "mg/L"}),
        },
        coords={
            "scenario": ["CLcr 50 mL/min", "CLcr 100 mL/min"],
            "regimen": np.array(["1000 mg q8h inf 3h", "a", "b"], dtype=object),
            "target": ["fT>MIC ≥ 50 %"],
            "mic": 2.0 ** np.arange(-5, 7),
            "mean_crcl": ("scenario", [50.0, 100.0]),
        },
        attrs={
            "seed": np.int64(7),
            "interval": "credible",
            "n_workers": 2,
            "seconds": 0.25,
            "flags": (True, None),
            "fu_note": "",
            "nan": float("nan"),
        },
    )


def test_write_result__round_trip(tmp_path, pta):
    digest = write_result(pta, tmp_path / "pta.zarr")
    found = open_result(tmp_path / "pta.zarr")
    xr.testing.assert_equal(found, pta)
    assert list(found) == list(pta)
    assert found.regimen.dtype.kind == "U"
    assert found.pta.attrs == pta.pta.attrs
    assert found["breakpoint"].attrs == {"level": 0.9, "units": "mg/L"}
    attributes = dict(found.attrs)
    assert attributes.pop("created_by").startswith("tdmx_dask")
    assert attributes == {
        "seed": 7,
        "interval": "credible",
        "n_workers": 2,
        "seconds": 0.25,
        "flags": [True, None],
        "fu_note": "",
        "nan": "nan",
        "tdmx_schema": "result/1",
        "digest": digest,
        "store": str(tmp_path / "pta.zarr"),
    }
    json.loads((tmp_path / "pta.zarr/zarr.json").read_text(), parse_constant=pytest.fail)
    assert verify_result(tmp_path / "pta.zarr") == digest
    assert write_result(found, tmp_path / "again.zarr") == digest


def test_open_result__another_program_reads_it(tmp_path, pta):
    write_result(pta, tmp_path / "pta.zarr")
    plain = xr.open_zarr(tmp_path / "pta.zarr", consolidated=False)
    np.testing.assert_array_equal(plain.pta, pta.pta)
    assert plain.target.values.tolist() == ["fT>MIC ≥ 50 %"]


@pytest.mark.parametrize("at_once", [0, 1 << 28])
def test_write_result__critical_mic_dask_or_not(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(results, "AT_ONCE", at_once)
    monkeypatch.setattr(results, "BATCH", 5000)
    values = np.random.default_rng(5).lognormal(size=(1, 2, 1, 2, 700))
    dims = ("scenario", "regimen", "target", "chain", "draw")
    plain = xr.DataArray(
        values, dims=dims, name="critical_mic", attrs={"units": "mg/L"}, coords={"regimen": ["a", "b"]}
    )
    lazy = plain.copy(data=da.from_array(values, chunks=(1, 1, 1, 1, (300, 300, 100))))
    assert write_result(plain, tmp_path / "a.zarr") == write_result(lazy, tmp_path / "b.zarr")
    found = open_result(tmp_path / "b.zarr")
    xr.testing.assert_identical(found.critical_mic, plain)
    assert len(list((tmp_path / "b.zarr/critical_mic").iterdir())) == (2 if at_once else 2 * 2 * 3 + 1)
    uneven = plain.copy(data=da.from_array(values, chunks=(1, 2, 1, 2, (100, 500, 100))))
    assert write_result(uneven, tmp_path / "c.zarr") == found.attrs["digest"]


def test_write_result__dimensions_of_one_may_be_dropped(tmp_path, pta):
    small = pta.isel(scenario=0, target=0)
    write_result(small, tmp_path / "pta.zarr")
    xr.testing.assert_equal(open_result(tmp_path / "pta.zarr"), small)
    cfr = xr.Dataset({"cfr": (("regimen", "organism"), [[0.9]])}, coords={"organism": ["E. coli"]})
    write_result(cfr, tmp_path / "cfr.zarr")
    xr.testing.assert_equal(open_result(tmp_path / "cfr.zarr"), cfr)


def test_write_result__refuses(tmp_path, pta):
    with pytest.raises(SchemaError, match="result=x: a result has a variable pta"):
        write_result(xr.Dataset({"x": 1.0}), tmp_path / "pta.zarr")
    write_result(pta, tmp_path / "pta.zarr")
    with pytest.raises(InputError, match=r"pta\.zarr: it exists"):
        write_result(pta, tmp_path / "pta.zarr")
    digest = write_result(pta.isel(mic=slice(3)), tmp_path / "pta.zarr", overwrite=True)
    assert verify_result(tmp_path / "pta.zarr") == digest
    assert [path.name for path in tmp_path.iterdir()] == ["pta.zarr"]


@pytest.mark.parametrize("at_once", [0, 1 << 28])
def test_write_result__a_failing_task_leaves_nothing(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(results, "AT_ONCE", at_once)

    def fail(block):
        raise ZeroDivisionError("no")

    broken = da.ones((1, 2, 1, 4), chunks=1).map_blocks(fail, dtype=float, meta=np.ones((1, 1, 1, 1)))
    result = xr.Dataset({"pta": (("scenario", "regimen", "target", "mic"), broken)})
    with pytest.raises(ZeroDivisionError, match="no"):
        write_result(result, tmp_path / "pta.zarr")
    assert list(tmp_path.iterdir()) == []


def test_write_result__full_disk(small_disk, pta):
    write_result(pta, small_disk / "pta.zarr")
    ones = da.ones((1, 1, 1, 1, 300_000), chunks=100_000)
    big = xr.DataArray(ones, name="critical_mic", dims=("scenario", "regimen", "target", "chain", "draw"))
    with pytest.raises(StoreError, match=r"pta\.zarr: the disk is full"):
        write_result(big, small_disk / "pta.zarr", overwrite=True)
    xr.testing.assert_equal(open_result(small_disk / "pta.zarr"), pta)
    assert [path.name for path in small_disk.iterdir()] == ["pta.zarr"]


def test_open_result__damage(tmp_path, pta):
    store = tmp_path / "pta.zarr"
    write_result(pta, store)
    with pytest.raises(StoreError, match="there is no such store"):
        open_result(tmp_path / "none.zarr")
    chunk = store / "pta" / "c.0.0.0.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:50] + b"x" + whole[51:])
    with pytest.raises(StoreError, match="a chunk is damaged"):
        verify_result(store)
    chunk.unlink()
    with pytest.raises(StoreError, match=r"pta/c\.0\.0\.0\.0: this chunk is missing"):
        open_result(store)
    chunk.write_bytes(whole)
    text = json.loads((store / "zarr.json").read_text())
    digest = text["attributes"].pop("digest")
    (store / "zarr.json").write_text(json.dumps(text))
    with pytest.raises(StoreError, match="half written"):
        open_result(store)
    text["attributes"] |= {"digest": digest[::-1]}
    (store / "zarr.json").write_text(json.dumps(text))
    with pytest.raises(StoreError, match="its content is not what was written"):
        verify_result(store)
    text["attributes"] |= {"tdmx_schema": "draws/1"}
    (store / "zarr.json").write_text(json.dumps(text))
    with pytest.raises(SchemaError, match="this is not a store of result, but of draws/1"):
        open_result(store)


@pytest.mark.parametrize(
    "shape", [(), (0,), (5,), (3, 2), (4, 1000), (1, 2, 3, 1000), (2, 700, 7), (40, 40, 40)]
)
@pytest.mark.parametrize("limit", [1, 64, 4096])
def test_slabs__cover_an_array_once_in_order(shape, limit):
    values = np.arange(int(np.prod(shape))).reshape(shape)
    pieces = [values[index] for index in slabs(shape, limit)]
    np.testing.assert_array_equal(np.concatenate([piece.ravel() for piece in pieces]), values.ravel())
    assert max(piece.size for piece in pieces) <= max(limit, 0)


def test_chunks__are_the_slabs():
    assert _chunks((3, 1, 4)) == (3, 1, 4)
    assert _chunks(()) == ()
    assert _chunks((2, 3, 1 << 20)) == (1, 1, 1 << 20)
    assert _chunks((2, 3, 5_000_000)) == (1, 1, 1 << 20)
    assert _chunks((0, 4)) == (1, 4)


def test_store__names_are_imported_when_asked_for():
    script = (
        "import sys, tdmx_dask.store as store\n"
        "assert 'xarray' not in sys.modules and 'zarr' not in sys.modules\n"
        "assert all(getattr(store, name).__name__ == name for name in store.__all__)\n"
        "try: store.nothing\nexcept AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "has no attribute 'nothing'" in done.stdout
