"""Profiles: what is shipped says what the code says, and what is wrong is named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import dask.config
import pytest
import yaml

import tdmx_dask as tdmx
from tdmx_dask.api.clusters import resolve
from tdmx_dask.clusters import jobqueue
from tdmx_dask.clusters.profile import BATCH, KINDS, Jobs, Local, read
from tdmx_dask.clusters.start import processes_and_threads
from tdmx_dask.config import shipped_config
from tdmx_dask.errors import ConfigError, InputError

SHIPPED = sorted((shipped_config() / "clusters").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped__has_every_option_with_its_default_and_a_comment(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    kind, profile = read(path.stem, said)
    assert kind == ("local" if path.stem == "notebook" else path.stem)
    assert [key.replace("-", "_") for key in said] == ["kind", *(option.name for option in fields(profile))]
    if path.stem != "notebook":
        assert profile == KINDS[kind]()
    bare = [line for line in path.read_text().splitlines() if line and "#" not in line]
    assert [
        line for line in bare if not line.startswith(("kind:", "namespace:", "fits-cores:", "fits-memory:"))
    ] == []


def test_shipped__one_for_every_kind() -> None:
    assert {path.stem for path in SHIPPED} == {*KINDS, "notebook"}


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        (
            "slurm",
            {"core": 2},
            r"x\.core=2: a cluster of kind slurm has no such option\. Did you mean cores\?",
        ),
        ("slurm", {"cores": 0}, r"x\.cores=0: the number of cores is a whole number >= 1"),
        ("slurm", {"cores": True}, r"x\.cores=True"),
        ("slurm", {"memory": "8 GiBs"}, r"x\.memory=8 GiBs: an amount of memory"),
        ("slurm", {"memory": -1}, r"x\.memory=-1"),
        ("slurm", {"memory": float("nan")}, r"x\.memory=nan"),
        ("slurm", {"walltime": "1:2:3:4"}, r"x\.walltime=1:2:3:4: a time"),
        ("slurm", {"walltime": 0}, r"x\.walltime=0"),
        ("slurm", {"walltime": "00:05:00"}, r"x\.longest_task=600 s: .*walltime, 300 s"),
        (
            "slurm",
            {"minimum_jobs": 3, "maximum_jobs": 2},
            r"x\.minimum_jobs=3: it is at most maximum_jobs, 2",
        ),
        ("slurm", {"fits_share": 1}, r"x\.fits_share=1: a fraction"),
        ("slurm", {"prologue": "module load python"}, r"x\.prologue=module load python: it is a list"),
        ("slurm", {"queue": "long\n#SBATCH --uid=0"}, r"x\.queue=long\n#SBATCH --uid=0: it is one line"),
        ("slurm", {"resource_spec": "mem=2G"}, r"x\.resource_spec=mem=2G: slurm has no such thing"),
        ("htcondor", {"queue": "long"}, r"x\.queue=long: htcondor has no such thing"),
        ("slurm", {"tls_cert": "a.pem"}, r"x\.tls_ca_file=None: credentials are three PEM files"),
        ("slurm", {"dashboard_port": 70000}, r"x\.dashboard_port=70000: a port"),
        ("kubernetes", {"node_selector": ["a"]}, r"x\.node_selector=\['a'\]: it is a mapping"),
        ("local", {"work": "magic"}, r"x\.work=magic: there is no such choice\. Known: kernels, fits"),
        ("local", {"processes": 1}, r"x\.processes=1: it is true or false"),
        ("slrum", {}, r"x\.kind=slrum: there is no such kind of cluster"),
        (None, {}, r"x\.kind=None"),
    ],
)
def test_read__refuses(kind: str | None, said: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read("x", {"kind": kind, **said})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("01:00:00", 3600.0),
        ("1-02:00:00", 93600.0),
        ("90:30", 325800.0),  # hours and minutes
        ("90 min", 5400.0),
        (120, 120.0),
        (0.5, 0.5),
    ],
)
def test_read__times(given: object, seconds: float) -> None:
    _, profile = read("x", {"kind": "slurm", "walltime": given, "longest-task": 0.1})
    assert isinstance(profile, Jobs)
    assert profile.walltime == seconds


def test_resolve__files_sites_and_options_override_each_other(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("kind: slurm\nqueue: short\n")
    site = {"slurm": {"cores": 16, "queue": "main"}, "bigmem": {"kind": "slurm", "memory": "512 GiB"}}
    with dask.config.set({"tdmx.clusters": site}):
        for name, queue, memory in (("slurm", "main", 8), ("bigmem", "main", 512), (mine, "short", 8)):
            found, kind, profile = resolve(name, {"walltime": "02:00:00"})
            assert isinstance(profile, Jobs)
            assert (found, kind) == (Path(name).stem, "slurm")
            assert (profile.cores, profile.queue, profile.memory) == (16, queue, memory * 2**30)
            assert profile.walltime == 7200
    assert resolve("slurm", {})[2] == Jobs()


def test_resolve__environment_names_options_with_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_TDMX__CLUSTERS__PBS__LONGEST_TASK", "20 min")
    with dask.config.set(dask.config.collect(paths=[])):
        _, _, profile = resolve("pbs", {})
    assert isinstance(profile, Jobs)
    assert profile.longest_task == 1200


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.yaml", None, r"cluster=.*absent\.yaml: it is a YAML file that can be read"),
        ("list.yaml", "- 1", r"cluster=.*list\.yaml: it holds kind and options"),
        ("broken.yaml", "kind: [", r"cluster=.*broken\.yaml: it is a YAML file"),
        ("kindless.yaml", "cores: 2", r"kindless\.kind=None: there is no such kind"),
        ("binary.yaml", "\x00\x01", r"cluster=.*binary\.yaml: it is a YAML file"),
    ],
)
def test_cluster__refuses_files(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        tdmx.cluster(tmp_path / name)


def test_cluster__refuses_names() -> None:
    with pytest.raises(InputError, match=r"cluster=slrum: there is no such profile.*Did you mean slurm\?"):
        tdmx.cluster("slrum")
    with (
        dask.config.set({"tdmx.clusters.local.workers": 2}),
        pytest.raises(InputError, match=r"local\.workers=2: a cluster of kind local has no such option"),
    ):
        tdmx.cluster("local")
    with (
        dask.config.set({"tdmx.clusters.local": 2}),
        pytest.raises(ConfigError, match=r"tdmx\.clusters\.local=2: a mapping"),
    ):
        tdmx.cluster("local")


@pytest.mark.parametrize("kind", BATCH)
def test_batch_kinds__have_one_schema(kind: str) -> None:
    assert read("x", {"kind": kind}) == (kind, Jobs())


@pytest.mark.parametrize(
    ("profile", "cores", "expected"),
    [
        (Local(), 2, (2, 1)),
        (Local(), 16, (16, 1)),
        (Local(work="fits"), 16, (1, 16)),
        (Local(work="fits", reserve_cores=2), 16, (1, 14)),
        (Local(reserve_cores=9), 2, (1, 1)),
        (Local(n_workers=4), 16, (4, 4)),
        (Local(n_workers=3), 2, (3, 1)),
        (Local(threads_per_worker=8), 16, (2, 8)),
        (Local(threads_per_worker=8), 2, (1, 8)),
        (Local(n_workers=3, threads_per_worker=5), 2, (3, 5)),
    ],
)
def test_local__divides_a_machine_by_its_work(profile: Local, cores: int, expected: tuple[int, int]) -> None:
    assert processes_and_threads(profile, cores) == expected


def test_file__times_are_hours_and_minutes_with_and_without_quotes(tmp_path: Path) -> None:
    for written in ("10:00", '"10:00"', "08:00", "2:30:00"):
        (tmp_path / "mine.yaml").write_text(
            f"kind: slurm\nwalltime: {written}\nlongest-task: 1:30\ncores: 8\n"
        )
        _, _, profile = resolve(tmp_path / "mine.yaml", {})
        hours = {"2:30:00": 2.5, "08:00": 8}.get(written, 10)
        assert isinstance(profile, Jobs)
        assert (profile.walltime, profile.longest_task, profile.cores) == (hours * 3600, 5400, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [slurm]\n", r"mine\.kind=\['slurm'\]: there is no such kind of cluster"),
        ("kind: slurm\nwalltime: 2024-13-45\n", "it is a YAML file that can be read"),
        ("kind: slurm\nshared-folder: ~nobody-of-this-name/x\n", "there is no user of this name here"),
        ("kind: slurm\ntls-ca-file: ~nobody-of-this-name/x\n", "there is no user of this name here"),
    ],
)
def test_file__bad_ones_are_one_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        resolve(tmp_path / "mine.yaml", {})
    with pytest.raises(InputError, match="it is a YAML file that can be read"):
        resolve("~nobody-of-this-name/mine.yaml", {})


def test_jobs__leave_no_keys_where_their_start_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def interrupted(_kind: str) -> None:
        assert list((tmp_path / "shared").glob("keys-*/key.pem"))
        raise KeyboardInterrupt

    monkeypatch.setattr(jobqueue, "_class", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tdmx.cluster("slurm", shared_folder=str(tmp_path / "shared"))
    assert not list((tmp_path / "shared").iterdir())
