"""A study from end to end: simulate, count, compare, and publish one folder of results."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.deviation import Deviation, deviations
from tdmx_dask.api.results import settings_of, write_folder
from tdmx_dask.domain.study import Study, noting, read_study
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StudyResult", "run_study"]

STREAMED = 20_000_000
"""Profiles from which on a run keeps a checkpoint: below, it takes seconds and there is nothing worth keeping."""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a run of a study found.

    Parameters
    ----------
    study : as read
    pta : dims (scenario, regimen, target, mic)
    cfr : dims (scenario, regimen, target, organism); None where the study has no distribution of MICs
    comparison : each published cell beside the computed one
    notes : assumptions and mended inputs, as they were warned about
    seconds : what took how long
    settings : how it was asked to run
    out : the folder of results; None where none was written
    """

    study: Study
    pta: xr.Dataset
    cfr: xr.Dataset | None
    comparison: tuple[Deviation, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    out: Path | None = None


def run_study(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    on: Any = None,
    run: str = "auto",
    n_workers: int | None = None,
    chunk_size: int | None = None,
    progress: bool = True,
) -> StudyResult:
    """Run a study and write its results.

    The folder is published whole: it appears when everything in it is written, and an older one stays until then.
    A long run keeps its counts in the file ``<out>.checkpoint`` while it lasts, and goes on from there with `resume`.

    Parameters
    ----------
    study : a `Study`, a YAML file, or the name of a shipped study
    out : folder to make; None computes without writing
    overwrite : replace the folder, and begin anew where an interrupted run left counts
    resume : go on from the counts that an interrupted run left
    on, run, n_workers, chunk_size, progress : as for `tdmx_dask.pta`

    Returns
    -------
    the result, with the datasets in memory

    Raises
    ------
    InputError
        The study is wrong; `out` exists and `overwrite` is false; an interrupted run was left and neither `resume`
        nor `overwrite` says what to do with it.
    StoreError
        The results cannot be written.
    ClusterError
        The cluster cannot do what was asked.
    KeyboardInterrupt
        The run was stopped; the text says whether and how it can go on.

    Examples
    --------
    >>> result = run_study("seed_workloads", progress=False)
    >>> float(result.pta["pta"].sel(regimen="1000 mg q8h inf 1h", mic=2).item())
    1.0
    """
    from tdmx_dask.store.publish import staging

    study = study if isinstance(study, Study) else read_study(study)
    settings: dict[str, Any] = {"run": run, "n_workers": n_workers, "chunk_size": chunk_size}
    if out is None:
        return _computed(study, None, settings, on=on, progress=progress)
    out = Path(out)
    kept = _checkpoint(study, out, overwrite=overwrite, resume=resume)
    with _explaining(out, kept), staging(out, overwrite=overwrite) as folder:
        result = _computed(study, kept, settings, on=on, progress=progress)
        write_folder(result, folder)
    if kept is not None:
        kept.unlink(missing_ok=True)
    return replace(result, out=out)


def _computed(study: Study, kept: Path | None, settings: dict[str, Any], **options: Any) -> StudyResult:
    from tdmx_dask.api.verbs import cfr

    start = time.perf_counter()
    with noting() as notes:
        attained = _attained(study, kept, {**settings, **options})
        counted = time.perf_counter()
        response = cfr(attained, study.distributions, level=study.level) if study.distributions else None
    comparison = deviations(attained, study.published) if study.published else ()
    seconds = {"pta": counted - start, "cfr": time.perf_counter() - counted}
    return StudyResult(study, attained, response, comparison, (*study.notes, *notes), seconds, settings)


def _attained(study: Study, kept: Path | None, options: dict[str, Any]) -> xr.Dataset:
    """The PTA of every pair of the design."""
    from tdmx_dask.api.verbs import pta

    return pta(
        study.population if study.draws is None else _draws(study.draws),
        None,
        study.targets,
        mic=study.mic,
        design=study.design,
        scenarios=settings_of(study),
        population=study.population if study.draws is not None else None,
        subjects=study.subjects,
        n=study.n,
        fu=study.fu,
        seed=study.seed,
        level=study.level,
        breakpoint_level=study.breakpoint_level,
        checkpoint=kept,
        **options,
    )


def _checkpoint(study: Study, out: Path, *, overwrite: bool, resume: bool) -> Path | None:
    """Where the counts of a long run are kept; None for a short one."""
    out = Path(os.path.realpath(out))
    if not out.name:
        raise InputError(
            "out", out, "results go into a folder of their own", "Name one, such as results/mine."
        )
    file = out.with_name(out.name + ".checkpoint")
    if file.exists() and not resume:
        if not overwrite:
            rule = "an interrupted run left its counts here"
            raise InputError("checkpoint", file, rule, "Go on with --resume, or begin anew with --overwrite.")
        file.unlink()
    return file if _n_profiles(study) >= STREAMED else None


def _draws(path: Path) -> Path | xr.Dataset:
    """Draws as the verbs take them: the path of a store, or what a file of another format holds."""
    return _opened(path) if path.is_file() else path


def _opened(path: Path) -> xr.Dataset:
    """Draws of a store, lazily, or of a file of another format, in memory."""
    if path.is_file():
        from tdmx_dask.store.importing import import_draws

        return import_draws(path)
    from tdmx_dask.store.draws import open_draws

    return open_draws(path)


def _n_profiles(study: Study) -> int:
    n_pairs = len(study.design)
    if study.draws is None:
        return (study.n or 0) * n_pairs
    sizes = _opened(study.draws).sizes
    return sizes["chain"] * sizes["draw"] * study.subjects * n_pairs


@contextmanager
def _explaining(out: Path, kept: Path | None) -> Iterator[None]:
    """Say, when a run is stopped, what is left of it."""
    try:
        yield
    except KeyboardInterrupt:
        text = f"interrupted; nothing was written to {out}"
        if kept is not None and kept.exists():
            text = f"interrupted; what was counted is kept in {kept}, and --resume goes on from there"
        raise KeyboardInterrupt(text) from None
