"""Publishing: the old one or the new one, never a half."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.publish import exchange, replace_folder, staging, writing_error


def make_store(path: Path, text: str) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{}")
    (path / "part").mkdir()
    (path / "part" / "data").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_staging__publishes_a_folder_and_makes_the_folders_above(tmp_path):
    with staging(tmp_path / "a" / "b" / "store") as partial:
        assert partial.parent == tmp_path / "a" / "b"
        make_store(partial, "new")
        assert not (tmp_path / "a" / "b" / "store").exists()
    assert (tmp_path / "a/b/store/part/data").read_text() == "new"
    assert names(tmp_path / "a" / "b") == ["store"]


def test_staging__publishes_a_file(tmp_path):
    with staging(tmp_path / "table.csv") as partial:
        partial.write_text("CL\n1\n")
    assert names(tmp_path) == ["table.csv"]
    with staging(tmp_path / "table.csv", overwrite=True) as partial:
        partial.write_text("CL\n2\n")
    assert (tmp_path / "table.csv").read_text() == "CL\n2\n"
    assert names(tmp_path) == ["table.csv"]


def test_staging__refuses_what_exists(tmp_path):
    make_store(tmp_path / "store", "old")
    with (
        pytest.raises(InputError, match=r"path=.*store: it exists\. .*overwrite"),
        staging(tmp_path / "store"),
    ):
        pytest.fail("the body must not run")


def test_staging__keeps_the_old_until_the_new_is_whole(tmp_path):
    make_store(tmp_path / "store", "old")
    with staging(tmp_path / "store", overwrite=True) as partial:
        make_store(partial, "new")
        assert (tmp_path / "store/part/data").read_text() == "old"
    assert (tmp_path / "store/part/data").read_text() == "new"
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_staging__an_error_or_ctrl_c_leaves_the_old(tmp_path, error):
    make_store(tmp_path / "store", "old")
    with pytest.raises(type(error)), staging(tmp_path / "store", overwrite=True) as partial:  # noqa: PT012
        make_store(partial, "new")
        raise error
    assert (tmp_path / "store/part/data").read_text() == "old"
    assert names(tmp_path) == ["store"]


def test_staging__does_not_replace_a_folder_of_others(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with (
        pytest.raises(InputError, match="this folder was not written by tdmx"),
        staging(tmp_path / "home", overwrite=True),
    ):
        pytest.fail("the body must not run")
    (tmp_path / "empty").mkdir()
    with staging(tmp_path / "empty", overwrite=True) as partial:
        make_store(partial, "new")
    assert (tmp_path / "empty/part/data").read_text() == "new"


def test_staging__a_folder_does_not_replace_a_file(tmp_path):
    (tmp_path / "x").write_text("a file")
    with (
        pytest.raises(InputError, match="a file of this name exists"),
        staging(tmp_path / "x", overwrite=True) as p,
    ):
        make_store(p, "new")
    assert (tmp_path / "x").read_text() == "a file"
    assert names(tmp_path) == ["x"]


def test_staging__another_made_it_meanwhile(tmp_path):
    with pytest.raises(InputError, match="it exists"), staging(tmp_path / "store") as partial:  # noqa: PT012
        make_store(partial, "mine")
        make_store(tmp_path / "store", "theirs")
    assert (tmp_path / "store/part/data").read_text() == "theirs"
    assert names(tmp_path) == ["store"]


def test_staging__keeps_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    make_store(tmp_path / "disk" / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    with staging(tmp_path / "link", overwrite=True) as partial:
        make_store(partial, "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk/real/part/data").read_text() == "new"


def test_staging__a_parent_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("a file")
    with pytest.raises(StoreError, match="a part of this path is a file"), staging(tmp_path / "x" / "store"):
        pytest.fail("the body must not run")


def test_exchange_and_replace_folder(tmp_path):
    for swap in (exchange, replace_folder):
        new, old = tmp_path / "n.partial", tmp_path / "o"
        make_store(new, "new")
        make_store(old, "old")
        if swap(new, old) is False:
            pytest.skip("this file system cannot exchange names")
        assert (old / "part/data").read_text() == "new"
        assert (new / "part/data").read_text() == "old"
        for folder in (new, old):
            for leaf in ("part/data", "zarr.json"):
                (folder / leaf).unlink()
            (folder / "part").rmdir()
            folder.rmdir()


def test_replace_folder__puts_the_old_back_when_the_new_cannot_come(tmp_path):
    make_store(tmp_path / "o", "old")
    with pytest.raises(FileNotFoundError, match=r"absent\.partial"):
        replace_folder(tmp_path / "absent.partial", tmp_path / "o")
    assert (tmp_path / "o/part/data").read_text() == "old"
    assert names(tmp_path) == ["o"]


def test_writing_error__leaves_errors_of_reading_alone(tmp_path):
    elsewhere = PermissionError(errno.EACCES, "denied", "/somewhere/else.csv")
    assert writing_error(elsewhere, "store", tmp_path) is None
    inside = PermissionError(errno.EACCES, "denied", str(tmp_path / "c"))
    assert "no permission to write" in str(writing_error(inside, "store", tmp_path))
    assert writing_error(ValueError("x"), "store", tmp_path) is None
    assert writing_error(OSError("x"), "store", tmp_path) is None
    hdf5 = RuntimeError("file write failed: errno = 28, error message = 'No space left on device'")
    assert "the disk is full" in str(writing_error(hdf5, "store", tmp_path))


def test_staging__full_disk(small_disk):
    make_store(small_disk / "store", "old")
    full = pytest.raises(StoreError, match=r"path=.*store: the disk is full\.")
    with full, staging(small_disk / "store", overwrite=True) as partial:
        make_store(partial, "new")
        (partial / "big").write_bytes(bytes(2 << 20))
    assert (small_disk / "store/part/data").read_text() == "old"
    assert names(small_disk) == ["store"]


def test_staging__file_too_large(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with (
            pytest.raises(StoreError, match="a file would be larger than is allowed"),
            staging(tmp_path / "x") as p,
        ):
            p.write_bytes(bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert names(tmp_path) == []


def test_staging__no_permission():
    place = Path(tempfile.mkdtemp())
    place.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # root may write anywhere
        with (
            pytest.raises(StoreError, match="no permission to write here"),
            staging(place / "store") as partial,
        ):
            partial.mkdir()
    finally:
        if root:
            os.seteuid(0)
    assert names(place) == []
    place.rmdir()


KILLED = """
import sys
from pathlib import Path
from tdmx_dask.store.publish import staging
while True:
    with staging(sys.argv[1], overwrite=True) as partial:
        partial.mkdir()
        (partial / "zarr.json").write_text("{}")
        for part in range(8):
            (partial / str(part)).write_text(sys.argv[2] * 1000)
    print("published", flush=True)
"""


def test_staging__a_killed_writer_leaves_a_whole_one(tmp_path):
    store = tmp_path / "store"
    for trial in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, store, str(trial)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "published\n"
        time.sleep(0.003 * trial)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert names(store) == [*"01234567", "zarr.json"]
        assert {(store / part).read_text() for part in "01234567"} == {str(trial) * 1000}
    with staging(store, overwrite=True) as partial:
        make_store(partial, "last")
    assert names(tmp_path) == ["store"]
