"""Answers kept by their address: who goes first, what is damaged, and what several processes do to one folder."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.cache import Cache
from tdmx_dask.store.cache_entry import OVERHEAD

DAY = 86400.0
ROOM = 1000 - OVERHEAD
"""Bytes of a value whose entry takes 1,000 bytes."""


def name(n: object) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def value(n: int, size: int = ROOM) -> bytes:
    return bytes([n % 256]) * size


def place(cache: Cache, digest: str) -> Path:
    return cache.folder / digest[:2] / digest


def on_disk(cache: Cache) -> int:
    return sum(path.stat().st_size for path in cache.folder.rglob("*") if path.is_file())


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "a" / "cache")


@pytest.fixture
def disk(tmp_path):
    """Without memory: every hit comes from the disk."""
    return Cache(tmp_path / "a" / "cache", memory_bytes=0)


@pytest.fixture
def clock(monkeypatch):
    """Moves the wall clock by some seconds."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    return lambda seconds: ahead.__setitem__(0, seconds)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_get__what_was_put(cache, size):
    assert cache.get(name(1)) is None
    cache.put(name(1), value(1, size))
    assert cache.get(name(1)) == value(1, size)
    assert Cache(cache.folder).get(name(1)) == value(1, size)
    cache.put(name(1), b"another")
    assert cache.get(name(1)) == Cache(cache.folder).get(name(1)) == b"another"
    assert cache.get(name(2)) is None


def test_init__touches_no_disk(cache):
    assert cache.info().entries == 0
    assert cache.clear() == 0
    assert cache.verify() == (0, 0)
    assert not cache.folder.parent.exists()


def test_folder__is_its_owners_alone(cache):
    cache.put(name(1), b"1")
    path = place(cache, name(1))
    assert [each.stat().st_mode & 0o777 for each in (cache.folder, path.parent, path)] == [
        0o700,
        0o700,
        0o600,
    ]


def test_memory__least_recently_used_goes_first(tmp_path):
    cache = Cache(tmp_path, max_bytes=0, memory_bytes=3 * (100 + 64))
    for n in range(3):
        cache.put(name(n), value(n, 100))
    assert cache.get(name(0)) == value(0, 100)
    cache.put(name(3), value(3, 100))
    assert [cache.get(name(n)) is not None for n in range(4)] == [True, False, True, True]
    cache.put(name(4), value(4, 1000))  # more than fits: nothing has to go for it
    info = cache.info()
    assert (info.memory_entries, info.memory_bytes) == (3, 3 * 164)
    assert (info.hits, info.misses) == (4, 1)
    assert (info.entries, list(tmp_path.iterdir())) == (0, [])


def test_memory__forgets_the_old_bytes_of_an_address(tmp_path):
    cache = Cache(tmp_path, memory_bytes=1000)
    cache.put(name(1), b"small")
    cache.put(name(1), bytes(2000))
    assert cache.info().memory_entries == 0
    assert cache.get(name(1)) == bytes(2000)


@pytest.mark.parametrize("memory_bytes", [0, 2**20])
def test_disk__least_recently_used_goes_first(tmp_path, memory_bytes):
    cache = Cache(tmp_path, max_bytes=10_000, memory_bytes=memory_bytes)
    for n in range(10):
        cache.put(name(n), value(n))
    assert cache.get(name(0)) == value(0)  # from memory too, it counts as a use of what is on the disk
    cache.put(name(10), value(10))
    other = Cache(tmp_path, memory_bytes=0)
    assert [n for n in range(11) if other.get(name(n)) is not None] == [0, 3, 4, 5, 6, 7, 8, 9, 10]


def test_disk__limit_holds_after_every_put(tmp_path):
    cache = Cache(tmp_path, max_bytes=20_000, memory_bytes=0)
    for n in range(100):
        cache.put(name(n), value(n, 1 + 97 * n % 3000))
        assert on_disk(cache) <= 20_000
        assert cache.get(name(n)) == value(n, 1 + 97 * n % 3000)
    assert cache.info().entries > 5
    cache.put(name("large"), bytes(20_001))
    assert cache.get(name("large")) is None
    assert cache.info().entries > 5


def test_disk__limit_holds_for_what_was_there_before(tmp_path):
    large = Cache(tmp_path)
    for n in range(20):
        large.put(name(n), value(n))
    small = Cache(tmp_path, max_bytes=5000)
    small.put(name(20), value(20))
    assert on_disk(small) <= 5000
    assert Cache(tmp_path).get(name(20)) == value(20)


def test_put__seldom_looks_through_the_folder(tmp_path, monkeypatch):
    looked, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or scan(path))
    cache = Cache(tmp_path, max_bytes=400_000)
    for n in range(300):
        cache.put(name(n), value(n))
    assert looked.count(tmp_path) <= 8


def test_age__expires_on_disk_and_in_memory(cache, clock):
    cache.max_age = 30 * DAY
    cache.put(name(1), b"1")
    for days, kept in ((29, True), (-29, True), (31, False)):
        clock(days * DAY)
        assert (cache.get(name(1)) is not None) == kept
        if kept:
            assert Cache(cache.folder).get(name(1)) == b"1"
    clock(0)
    assert cache.get(name(1)) is None
    assert on_disk(cache) == 0


@pytest.mark.parametrize("memory_bytes", [0, 2**20])
def test_age__a_clock_that_was_ahead_keeps_nothing_for_ever(tmp_path, clock, memory_bytes):
    clock(1000 * DAY)
    cache = Cache(tmp_path, memory_bytes=memory_bytes)
    cache.put(name(1), b"1")
    clock(0)
    assert cache.get(name(1)) is None
    assert on_disk(cache) == 0


def test_age__old_ones_go_when_the_folder_is_looked_through(tmp_path, clock):
    Cache(tmp_path).put(name(1), b"1")
    clock(31 * DAY)
    Cache(tmp_path).put(name(2), b"2")
    assert not place(Cache(tmp_path), name(1)).exists()
    Cache(tmp_path, max_age=100 * DAY).put(name(3), b"3")
    clock(65 * DAY)
    assert Cache(tmp_path).verify() == (0, 2)


def test_damage__every_byte_is_found_and_the_entry_removed(disk):
    disk.put(name(1), b"an answer")
    path = place(disk, name(1))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert disk.get(name(1)) is None, at
        assert not path.exists()
    for length in (*range(len(whole)), None):
        path.write_bytes(whole + b"more" if length is None else whole[:length])
        assert disk.get(name(1)) is None
        assert not path.exists()
    path.write_bytes(whole)
    assert disk.get(name(1)) == b"an answer"


def test_damage__of_another_name(disk):
    disk.put(name(1), b"1")
    place(disk, name(2)).parent.mkdir()
    place(disk, name(1)).rename(place(disk, name(2)))
    assert disk.get(name(2)) is None
    assert on_disk(disk) == 0


def test_damage__links_pipes_and_folders_do_no_harm(disk, tmp_path):
    disk.put(name(1), b"1")
    kept = tmp_path / "kept"
    place(disk, name(1)).rename(kept)
    place(disk, name(1)).symlink_to(kept)
    assert disk.get(name(1)) is None
    assert kept.exists()
    os.mkfifo(place(disk, name(1)))
    assert disk.get(name(1)) is None
    place(disk, name(1)).mkdir()
    for _ in range(2):
        assert disk.get(name(1)) is None
    disk.put(name(1), b"1")
    assert disk.info().entries == 0
    assert disk.verify() == (0, 0)


def test_verify__removes_what_is_wrong_and_nothing_else(cache):
    for n in range(6):
        cache.put(name(n), value(n))
    place(cache, name(0)).write_bytes(b"")
    place(cache, name(1)).write_bytes(place(cache, name(1)).read_bytes()[:-1] + b"!")
    place(cache, name(2)).rename(place(cache, name(3)))
    stray = cache.folder / "00" / name(4)  # whole, where nobody looks for it
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(place(cache, name(4)).read_bytes())
    notes = [cache.folder / "notes.txt", place(cache, name(4)).parent / "notes.txt"]
    for each in notes:
        each.write_text("mine")
    assert cache.verify() == (2, 4)
    assert cache.verify() == (2, 0)
    assert cache.clear() == 2
    assert cache.info().entries == cache.info().memory_entries == 0
    assert all(each.read_text() == "mine" for each in notes)


def test_partial__of_dead_writers_is_swept(cache):
    cache.put(name(0), b"0")
    fan = place(cache, name(0)).parent
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    host, live = socket.gethostname(), os.getpid()

    def partial(n: int, writer: str, age: float = 0) -> Path:
        path = fan / f".{name(n)}.{writer}-0123abcd.partial"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
        return path

    gone = [
        partial(1, f"{host}-{int(dead.stdout)}"),
        partial(2, f"{host}-{live}", 2 * 3600),
        partial(3, "else-where-7", 2 * 3600),
    ]
    stay = [partial(4, f"{host}-{live}"), partial(5, "else-where-7", 60)]
    assert cache.get(name(1)) is None
    Cache(cache.folder).put(name(6), b"6")
    assert [each.exists() for each in gone] == [False] * 3
    assert [each.exists() for each in stay] == [True] * 2
    assert cache.clear() == 2


def test_info(cache):
    cache.put(name(1), bytes(2_000_000))
    cache.get(name(1))
    cache.get(name(2))
    info = cache.info()
    assert (info.entries, info.bytes, info.hits, info.misses) == (1, 2_000_000 + OVERHEAD, 1, 1)
    assert info.oldest == pytest.approx(time.time(), abs=60)
    assert repr(info) == (
        f"<CacheInfo {cache.folder}: 1 entries, 2.0 of 1,073.7 MB; in memory 1, 2.0 of 67.1 MB; 1 hits of 2 (50%)>"
    )
    assert repr(cache) == f"<Cache {cache.folder}, at most 1,073.7 MB and 30 days>"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_bytes": -1}, r"max_bytes=-1: a limit is a whole number of bytes, >= 0"),
        ({"max_bytes": 1.5}, r"max_bytes=1\.5"),
        ({"memory_bytes": True}, r"memory_bytes=True"),
        ({"max_age": 0}, r"max_age=0: an age is in seconds, > 0"),
        ({"max_age": float("nan")}, r"max_age=nan"),
    ],
)
def test_limits__refused(tmp_path, limits, message):
    with pytest.raises(InputError, match=message):
        Cache(tmp_path, **limits)


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", name(1).upper(), name(1) + "0", name(1)[:63] + "\n", 3]
)
def test_address__refused(cache, digest):
    for call in (lambda: cache.get(digest), lambda: cache.put(digest, b"")):
        with pytest.raises(InputError, match=r"an address is 64 hexadecimal digits"):
            call()


def test_put__takes_bytes_alone(cache):
    with pytest.raises(InputError, match=r"value=<str>: a cache holds bytes"):
        cache.put(name(1), "text")


def fails_quietly(cache, caplog):
    """Nothing is raised, one line is logged, and what was computed is not lost to this process."""
    with caplog.at_level(logging.WARNING, "tdmx_dask.store"):
        for n in range(40):
            cache.put(name(n), value(n, 100_000))
    assert len(caplog.records) == 1
    assert "nothing is kept on this disk" in caplog.text
    assert cache.get(name(39)) == value(39, 100_000)
    other = Cache(cache.folder)
    found = [n for n in range(40) if other.get(name(n)) is not None]
    assert all(other.get(name(n)) == value(n, 100_000) for n in found)
    return found


def test_put__full_disk(small_disk, caplog):
    cache = Cache(small_disk / "cache")
    found = fails_quietly(cache, caplog)
    assert 5 <= len(found) < 11
    assert cache.verify() == (len(found), 0)
    assert not list(cache.folder.rglob("*.partial"))
    assert cache.clear() == len(found)
    cache.put(name(1), b"1")
    assert Cache(cache.folder).get(name(1)) == b"1"


def test_put__read_only_disk(small_disk, caplog):
    folder = small_disk / "cache"
    Cache(folder).put(name(99), b"99")
    damaged = place(Cache(folder), name(98))
    damaged.parent.mkdir()
    damaged.write_bytes(b"damaged")
    libc, remount_read_only = ctypes.CDLL(None, use_errno=True), 32 | 1
    assert libc.mount(b"tmpfs", os.fsencode(small_disk), b"tmpfs", remount_read_only, None) == 0
    cache = Cache(folder)
    assert fails_quietly(cache, caplog) == []
    assert cache.get(name(99)) == b"99"
    assert cache.get(name(98)) is None
    assert cache.info().entries == 2
    for call in (cache.verify, cache.clear):
        with pytest.raises(StoreError, match="the file system is read-only"):
            call()


def test_put__folder_is_a_file(tmp_path, caplog):
    (tmp_path / "cache").write_text("")
    cache = Cache(tmp_path / "cache")
    assert fails_quietly(cache, caplog) == []
    with pytest.raises(StoreError, match="a part of this path is a file"):
        cache.info()


def run(code: str, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that uses the cache of a folder."""
    start = (
        "import os, random, resource, sys, time\nfrom tests.store.test_cache import *\nfolder = sys.argv[1]\n"
    )
    command = [sys.executable, "-c", start + textwrap.dedent(code), str(folder), *map(str, arguments)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_put__file_size_limit(tmp_path):
    code = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    cache = Cache(folder, memory_bytes=0)
    for n in range(3):
        cache.put(name(n), value(n, 10_000))
    cache.put(name(3), value(3, 1000))
    print([cache.get(name(n)) is not None for n in range(4)], len(list(cache.folder.rglob("*.partial"))))
    """
    out, err = run(code, tmp_path).communicate(timeout=60)
    assert out.split("\n")[0] == "[False, False, False, True] 0", err
    assert err.count("nothing is kept on this disk") == 1


def test_processes__write_evict_and_read_one_folder(tmp_path):
    code = """
    cache, seed = Cache(folder, max_bytes=100_000, memory_bytes=5000), int(sys.argv[2])
    draw, end, hits = random.Random(seed), time.monotonic() + 1.5, 0
    while time.monotonic() < end:
        n = draw.randrange(300)
        found = cache.get(name(n))
        hits += found is not None
        assert found in (None, value(n)), n
        if found is None or draw.random() < 0.1:
            cache.put(name(n), value(n))
        if draw.random() < 0.003:
            place(cache, name(n)).write_bytes(b"torn")
    print(hits)
    """
    running = [run(code, tmp_path, seed) for seed in range(4)]
    done = [each.communicate(timeout=60) for each in running]
    assert [(each.returncode, err) for each, (_, err) in zip(running, done, strict=True)] == [(0, "")] * 4
    assert all(int(out) > 50 for out, _ in done)
    cache = Cache(tmp_path, max_bytes=100_000)
    assert on_disk(cache) <= 100_000 * (1 + 4 / 8)
    cache.verify()
    _, removed = cache.verify()
    assert removed == 0
    assert not list(tmp_path.rglob("*.partial"))


def test_processes__killed_while_writing(tmp_path):
    code = """
    cache, n = Cache(folder, memory_bytes=0), 0
    print("ready", flush=True)
    while True:
        cache.put(name(n), value(n, 3_000_000))
        n += 1
    """
    for _ in range(3):
        writer = run(code, tmp_path)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=60)
    cache = Cache(tmp_path)
    good, removed = cache.verify()
    assert good > 0
    assert removed == 0
    assert not list(tmp_path.rglob("*.partial"))


def test_threads__one_cache(tmp_path):
    cache, wrong = Cache(tmp_path, max_bytes=50_000, memory_bytes=5000), []

    def work(seed: int) -> None:
        for n in range(150):
            k = (n * 7 + seed * 13) % 80
            if cache.get(name(k)) not in (None, value(k)):
                wrong.append(k)
            cache.put(name(k), value(k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    info = cache.info()
    assert wrong == []
    assert info.hits + info.misses == 600
    assert info.memory_bytes <= 5000
    assert info.bytes <= 50_000
