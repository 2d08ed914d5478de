"""Who may talk to a cluster: whoever holds its key. Beyond loopback nothing speaks without."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from distributed.security import Security

from tdmx_dask.errors import ClusterError, InputError, StoreError

__all__ = ["Credentials", "from_files", "is_loopback", "private_folder", "refuse_plain", "temporary", "write"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files.

    Parameters
    ----------
    ca_file, cert, key : paths; the key is readable by its owner alone
    """

    ca_file: str
    cert: str
    key: str


def temporary() -> Security:
    """Credentials of one cluster, in memory: a self-signed certificate that is its own authority, for every role."""
    made: Security = Security.temporary()
    return made


def from_files(given: Credentials) -> Security:
    """Credentials from PEM files, for every role.

    Raises
    ------
    InputError
        A file is missing, is no PEM file, or the key can be read by others.
    """
    for name in ("ca_file", "cert", "key"):
        path = Path(getattr(given, name)).expanduser()
        try:
            content = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"tls_{name}", path, f"it is a PEM file that can be read ({error})", "Check the path."
            ) from error
        if "-----BEGIN " not in content:
            raise InputError(f"tls_{name}", path, "it is a PEM file", "It begins with -----BEGIN.")
    key = Path(given.key).expanduser()
    if os.name == "posix" and key.stat().st_mode & 0o077:
        raise InputError("tls_key", key, "a key is readable by its owner alone", f"chmod 600 {key}")
    files = {name: str(Path(getattr(given, name)).expanduser()) for name in ("ca_file", "cert", "key")}
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=files["ca_file"],
        **{f"tls_{role}_cert": files["cert"] for role in roles},
        **{f"tls_{role}_key": files["key"] for role in roles},
    )


def write(security: Security, folder: Path) -> Credentials:
    """Write credentials of `temporary` into a folder of ours, for processes that start later.

    Raises
    ------
    StoreError
        The folder cannot be made or written, or others can reach into it.
    """
    folder = private_folder(folder)
    paths = {}
    for name in ("ca_file", "cert", "key"):
        content = getattr(security, "tls_ca_file" if name == "ca_file" else f"tls_client_{name}")
        path = folder / f"{name.replace('_file', '')}.pem"
        try:
            path.unlink(missing_ok=True)
            with os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
            ) as file:
                file.write(content)
        except OSError as error:
            raise StoreError(
                "credentials", path, f"cannot be written ({error})", "Check space and permissions."
            ) from error
        paths[name] = str(path)
    return Credentials(**paths)


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone can enter (mode 0700), and check that it is so.

    Raises
    ------
    StoreError
        It cannot be made, belongs to somebody else, or others can enter it.
    """
    folder = folder.expanduser()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise StoreError("folder", folder, f"cannot be made ({error})", "Name another.") from error
    if os.name == "posix" and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise StoreError(
            "folder",
            folder,
            "keys are kept in a folder that its owner alone can enter",
            f"chmod 700 {folder}",
        )
    return folder


def is_loopback(address: str) -> bool:
    """Whether an address such as ``tcp://127.0.0.1:8786`` stays on this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost" or address.startswith("inproc://"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_plain(address: str) -> None:
    """Refuse an address beyond this machine without TLS.

    Raises
    ------
    ClusterError
        It is one.
    """
    if not address.startswith("tls://") and not is_loopback(address):
        raise ClusterError(
            "cluster",
            address,
            "beyond loopback only TLS is spoken: whoever reaches a plain port runs code as its owner",
            "Start that scheduler with TLS and join tls://…, or pass a distributed.Client of your own.",
        )
