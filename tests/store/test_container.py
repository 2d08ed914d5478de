"""A store that is one Zip file is the same store as a folder."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import tdmx_dask as tdmx
from tdmx_dask.errors import SchemaError, StoreError
from tdmx_dask.store import slices
from tdmx_dask.store.bulk import write_many
from tdmx_dask.store.container import Archive, extract
from tdmx_dask.store.draws import open_draws, open_tree, read_slice, stored_at, verify_draws, write_draws
from tests.conftest import posterior


def groups() -> dict[str, xr.Dataset]:
    draws = posterior(omega=False)
    stats = xr.Dataset({"lp": draws["CL"] * -1.0})
    return {"posterior": draws, "sample_stats": stats}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """The same draws in a folder and in an archive."""
    folder, archive = tmp_path / "a.zarr", tmp_path / "a.zarr.zip"
    digests = [*write_many([(groups(), folder)]), *write_many([(groups(), archive)])]
    assert digests[0] == digests[1] == write_draws(xr.DataTree.from_dict(groups()), tmp_path / "b.zarr")
    assert archive.is_file()
    return folder, archive


def test_archive__opens_as_a_folder_does(both: tuple[Path, Path]) -> None:
    folder, archive = both
    xr.testing.assert_equal(open_draws(folder).load(), open_draws(archive).load())
    assert open_tree(folder).groups == open_tree(archive).groups
    assert verify_draws(archive) == verify_draws(folder)
    n = open_draws(archive).sizes["draw"]
    ours, theirs = (read_slice(path, ["CL", "Vc"], 0, 3, n) for path in both)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert stored_at(open_draws(archive)) == str(archive)
    assert stored_at(open_draws(archive) * 2) is None


def test_archive__gives_the_same_pta_by_every_way(both: tuple[Path, Path]) -> None:
    question = {"regimens": "1000 mg q8h inf 3h", "targets": "T>MIC >= 50%", "mic": [1, 4, 16]}
    expected = tdmx.pta(both[0], **question, run="direct").n_attained
    for run in ("direct", "threads"):
        assert (tdmx.pta(both[1], **question, run=run).n_attained == expected).all()
    assert (tdmx.pta(both[1], **question, compute=False).compute().n_attained == expected).all()


def test_archive__is_the_same_file_each_time_and_comes_out_as_the_folder(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, archive = both
    write_many([(groups(), tmp_path / "again.zarr.zip")])
    assert archive.read_bytes() == (tmp_path / "again.zarr.zip").read_bytes()
    extract(archive, tmp_path / "out")
    inside = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    out = {
        path.relative_to(tmp_path / "out"): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert inside == out


def test_archive__cut_short_is_refused(both: tuple[Path, Path]) -> None:
    content = both[1].read_bytes()
    both[1].write_bytes(content[:-30])
    with pytest.raises((StoreError, SchemaError), match=r"a\.zarr\.zip"):
        open_draws(both[1])


@pytest.mark.parametrize("whole", [True, False])
def test_archive__damage_is_named_by_its_file(both: tuple[Path, Path], whole: bool) -> None:
    offset, size = Archive(both[1])._places["posterior/CL/c.0.0"]
    content = bytearray(both[1].read_bytes())
    content[offset + 200 if whole else offset] ^= 1
    both[1].write_bytes(content)
    with pytest.raises(StoreError, match=r"CL.c\.0\.0.*(damaged|cannot be read)"):
        read_slice(both[1], ["CL"], 0, 0, 1)
    assert size > 400


def test_archive__a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zarr.zip").write_text("hello")
    with pytest.raises((StoreError, SchemaError), match="not a zip file"):
        open_draws(tmp_path / "x.zarr.zip")


def test_archive__compressed_by_others_is_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{}" * 100)
    with pytest.raises(StoreError, match="is compressed"):
        open_draws(tmp_path / "c.zip")


@given(st.binary(max_size=100))
def test_residue__of_anything_with_its_checksum(data: bytes) -> None:
    assert google_crc32c.value(data + google_crc32c.value(data).to_bytes(4, "little")) == slices._RESIDUE
