"""Keys are for their owner alone, and nothing plain leaves this machine."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from distributed import Client

import tdmx_dask as tdmx
from tdmx_dask.clusters.profile import Address
from tdmx_dask.clusters.security import (
    Credentials,
    from_files,
    is_loopback,
    private_folder,
    refuse_plain,
    temporary,
    write,
)
from tdmx_dask.clusters.start import join_address
from tdmx_dask.errors import ClusterError, InputError, StoreError


def test_write__for_its_owner_alone_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = write(temporary(), tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for path in (files.ca_file, files.cert, files.key):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert "PRIVATE KEY" in Path(files.key).read_text()
    assert "PRIVATE KEY" not in Path(files.cert).read_text() + Path(files.ca_file).read_text()
    again = write(temporary(), tmp_path / "keys")  # replaced, not appended to
    assert Path(again.key).read_text().count("BEGIN PRIVATE KEY") == 1


def test_from_files__opens_a_cluster_of_the_same_credentials(tmp_path: Path) -> None:
    with tdmx.cluster("local", n_workers=1, dashboard_port=0) as cluster:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        files = write(cluster.client.security, tmp_path / "keys")
        profile = Address(
            address=cluster.scheduler_address,
            tls_ca_file=files.ca_file,
            tls_cert=files.cert,
            tls_key=files.key,
        )
        with join_address(profile) as joined:
            assert joined.client.submit(sum, [1, 2]).result() == 3
            with pytest.raises(ClusterError, match=r"scale=2: this cluster was joined, not started here"):
                joined.scale(2)
        others = write(temporary(), tmp_path / "others")
        with pytest.raises(ClusterError, match="the scheduler does not answer"):
            join_address(
                Address(
                    address=cluster.scheduler_address,
                    tls_ca_file=others.ca_file,
                    tls_cert=others.cert,
                    tls_key=others.key,
                )
            )
        with pytest.raises((OSError, TimeoutError)):
            Client(cluster.scheduler_address.replace("tls://", "tcp://"), timeout="2s")
        assert cluster.client.submit(sum, [1, 3]).result() == 4


def test_from_files__refuses(tmp_path: Path) -> None:
    good = write(temporary(), tmp_path / "keys")
    with pytest.raises(InputError, match=r"tls_cert=.*absent: it is a PEM file that can be read"):
        from_files(Credentials(good.ca_file, str(tmp_path / "absent"), good.key))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match=r"tls_ca_file=.*text: it is a PEM file\. It begins"):
        from_files(Credentials(str(tmp_path / "text"), good.cert, good.key))
    Path(good.key).chmod(0o640)
    with pytest.raises(InputError, match=r"tls_key=.*: a key is readable by its owner alone\. chmod 600"):
        from_files(good)


def test_private_folder__refuses_one_that_others_can_enter(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(
        StoreError,
        match=r"folder=.*open: keys are kept in a folder that its owner alone can enter\. chmod 700",
    ):
        private_folder(tmp_path / "open")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"folder=.*file: cannot be made"):
        private_folder(tmp_path / "file")
    if os.getuid() == 0:
        (tmp_path / "others").mkdir(mode=0o700)
        os.chown(tmp_path / "others", 65534, 65534)
        with pytest.raises(StoreError, match="others: keys are kept"):
            private_folder(tmp_path / "others")


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("inproc://10.0.0.1/12/1", True),
        ("tcp://10.0.0.1:8786", False),
        ("tcp://0.0.0.0:8786", False),
        ("tcp://login1:8786", False),
        ("tcp://localhost.example.org:8786", False),
        ("ws://login1:8786", False),
    ],
)
def test_plain_address__never_leaves_this_machine(address: str, stays: bool) -> None:
    assert is_loopback(address) is stays
    if stays:
        refuse_plain(address)
    else:
        with pytest.raises(
            ClusterError, match=rf"cluster={re.escape(address)}: beyond loopback only TLS is spoken"
        ):
            refuse_plain(address)
        with pytest.raises(ClusterError, match="beyond loopback only TLS"):
            tdmx.cluster(address)
    refuse_plain("tls://10.0.0.1:8786")
