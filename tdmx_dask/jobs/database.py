"""The file behind the queue: SQLite with a write-ahead log, every commit on the disk before it is believed."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tdmx_dask.errors import StoreError

__all__ = ["Database"]

FILE = "queue.sqlite"
VERSION = 1
_APPLICATION = 0x74646D78  # "tdmx"
_BUSY_SECONDS = 30.0
_NETWORK = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "9p", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph",
        "glusterfs", "fuse.glusterfs", "fuse.sshfs", "pvfs2", "orangefs", "panfs", "coda", "webdav", "davfs", "fuse.rclone", "fuse.s3fs",
        "virtiofs",
    }
)  # fmt: skip
"""File systems on which locks or shared memory of several machines do not hold what SQLite needs of them."""

_SCHEMA = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, title TEXT NOT NULL, digest TEXT,
    family TEXT NOT NULL, size REAL NOT NULL, grp TEXT NOT NULL, priority INTEGER NOT NULL,
    cost REAL NOT NULL, due REAL NOT NULL DEFAULT 0,
    patience REAL NOT NULL, state TEXT NOT NULL, hold REAL, boot TEXT NOT NULL, asked REAL NOT NULL, taken REAL,
    retries INTEGER NOT NULL, timeout REAL, memory_mb REAL,
    claims INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    owner TEXT, worker TEXT, done INTEGER, total INTEGER,
    submitted REAL NOT NULL, started REAL, ended REAL, wait_s REAL, run_s REAL,
    result_file TEXT, error TEXT
);
CREATE INDEX jobs_order ON jobs (priority, grp, cost DESC, id) WHERE state = 'queued' AND hold IS NULL;
CREATE INDEX jobs_due ON jobs (due, id) WHERE state = 'queued' AND hold IS NULL;
CREATE INDEX jobs_held ON jobs (hold) WHERE hold IS NOT NULL;
CREATE INDEX jobs_running ON jobs (owner, id) WHERE state = 'running';
CREATE INDEX jobs_same ON jobs (digest) WHERE state = 'running';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE TABLE bodies (job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE, spec TEXT NOT NULL, result BLOB);
CREATE TABLE needs (
    job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, other INTEGER NOT NULL, follows INTEGER NOT NULL,
    PRIMARY KEY (job, other)
) WITHOUT ROWID;
CREATE INDEX needs_other ON needs (other);
CREATE TABLE log (job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, at REAL NOT NULL, attempt INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX log_job ON log (job);
CREATE TABLE clients (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL, space TEXT NOT NULL,
    boot TEXT NOT NULL, beat REAL NOT NULL, seen REAL NOT NULL, slots INTEGER NOT NULL
);
CREATE TABLE groups (
    name TEXT PRIMARY KEY, share REAL NOT NULL DEFAULT 1, waiting INTEGER NOT NULL DEFAULT 0,
    waiting_s REAL NOT NULL DEFAULT 0, used_s REAL NOT NULL DEFAULT 0
);
CREATE TABLE served (one INTEGER PRIMARY KEY CHECK (one = 1), seconds REAL NOT NULL);
INSERT INTO served VALUES (1, 0);
CREATE TABLE rates (family TEXT PRIMARY KEY, n REAL NOT NULL, mean REAL NOT NULL, variance REAL NOT NULL);
CREATE TABLE history (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, grp TEXT NOT NULL, priority INTEGER NOT NULL, state TEXT NOT NULL,
    ended REAL, wait_s REAL, run_s REAL, attempts INTEGER NOT NULL
);
"""


class Database:
    """One connection of this process to the queue's file; safe to use from any thread.

    Parameters
    ----------
    folder : of the queue; made if it is not there, for its owner alone (0700)

    Raises
    ------
    StoreError
        The folder is on a network file system, everybody may write to it, it cannot be written, or holds another or a damaged file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._process = os.getpid()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(
                "queue", folder, f"the folder cannot be made ({error.strerror})", _ELSEWHERE
            ) from error
        _refuse_network(folder)
        if folder.stat().st_mode & stat.S_IWOTH:  # who can add a job names the function that it runs
            rule = "everybody on this machine may write to it, and could have code run by whoever works on it"
            raise StoreError("queue", folder, rule, f"Use a folder of its own, or `chmod o-w {folder}`.")
        with self._translated():
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA foreign_keys = ON")
        with self.reading():  # before anything is written: it may be somebody else's file
            self._recognise()
        mode = run("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            rule = "this file system cannot hold a write-ahead log"
            raise StoreError("queue", self.path, rule, _ELSEWHERE)
        run("PRAGMA synchronous = FULL")
        with self.writing() as db:
            if self._recognise():
                return
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")

    def _recognise(self) -> bool:
        """Whether the file is a queue of this layout; False where it is empty, `StoreError` where it is something else."""
        run = self._connection.execute
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0 and not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        if run("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise StoreError("queue", self.path, "this file is not a queue of tdmx", "Choose another folder.")
        if version != VERSION:
            rule = f"it was made by another version of tdmx (layout {version}, this one has {VERSION})"
            raise StoreError("queue", self.path, rule, "Use that version, or another folder.")
        return True

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the one writer of all processes; everything is on the disk when the block is left, or nothing is.

        Raises
        ------
        StoreError
            The disk is full, the file damaged, or another process holds it too long.
        """
        self._own()
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """See one state of the file throughout the block.

        Raises
        ------
        StoreError
            The file is damaged or closed.
        """
        self._own()
        with self._lock, self._translated():
            if self._connection.in_transaction:  # inside of a writing block of this thread
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.rollback()

    def changes(self) -> int:
        """A number that is another one after another process has written."""
        self._own()
        with self._lock, self._translated():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def stamp(self) -> tuple[int, int]:
        """Another value after anybody has written, this process too."""
        self._own()
        with self._lock, self._translated():
            return int(
                self._connection.execute("PRAGMA data_version").fetchone()[0]
            ), self._connection.total_changes

    def close(self) -> None:
        """Close the connection; what was written stays."""
        self._own()
        with self._lock:
            self._connection.close()

    def _own(self) -> None:
        """Refuse a connection that came by a fork: two processes on one would damage the file."""
        if os.getpid() != self._process:
            raise StoreError(
                "queue", self.path, "another process opened it, and forked", "Open it again in this one."
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _error(error, self.path) from error


_ELSEWHERE = "Choose another place with folder= (--folder), on a disk of this machine."


def _error(error: sqlite3.Error, path: Path) -> StoreError:
    text = str(error)
    if "full" in text:
        return StoreError("queue", path, "the disk is full; nothing was written", "Make room, and try again.")
    if "locked" in text or "busy" in text:
        rule = f"another process has been writing to it for {_BUSY_SECONDS:.0f} s"
        return StoreError("queue", path, rule, "Try again.")
    if "closed" in text:
        return StoreError("queue", path, "it was closed", "Open it again.")
    if "readonly" in text or "unable to open" in text:
        return StoreError("queue", path, "it cannot be written", _ELSEWHERE)
    if "disk I/O" in text:
        return StoreError(
            "queue",
            path,
            "the disk could not be read or written",
            "Check its room and health, and try again.",
        )
    return StoreError(
        "queue", path, f"it cannot be used ({text})", "If it is damaged, restore it or begin another folder."
    )


def _refuse_network(folder: Path) -> None:
    """SQLite's write-ahead log needs memory that is shared by all who write: one machine."""
    place = folder.resolve()
    kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    for parent in (place, *place.parents):
        kind = kinds.get(str(parent))
        if kind is not None:
            if kind.lower() in _NETWORK:
                rule = f"it is on a network file system ({kind}), where SQLite cannot keep a queue whole"
                raise StoreError("queue", folder, rule, _ELSEWHERE)
            return
