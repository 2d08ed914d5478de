"""A cohort of fits: as they complete, and all together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import as_completed, wait
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.fit_request import OF_ONE
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.fit import Fit
    from tdmx_dask.fitting.future import ChainProgress, FitFuture

__all__ = ["Cohort", "end", "models_by_name", "patients_by_name"]

_ENDING = 10.0
"""s that cancelled fits may take."""

Wanted = dict[str, tuple[object, dict[str, Any]]]


class Cohort:
    """Fits that were asked for together.

    Iterating gives each `Fit` as it completes; those that fail are kept in `failures`, and stop no other.

    Parameters
    ----------
    futures : by name, in the order that they were asked for
    refused : those that could not even be asked for: name -> why

    Attributes
    ----------
    futures : as given
    """

    def __init__(self, futures: Mapping[str, FitFuture], refused: Mapping[str, BaseException]) -> None:
        self.futures = dict(futures)
        self._refused = dict(refused)

    def __len__(self) -> int:
        return len(self.futures) + len(self._refused)

    def __iter__(self) -> Iterator[Fit]:
        for future in as_completed(self.futures.values()):
            if future.exception() is None:
                yield future.result()

    def __getitem__(self, name: str) -> FitFuture:
        return self.futures[name]

    @property
    def failures(self) -> dict[str, BaseException]:
        """What went wrong so far, by name; never waits."""
        ended = {name: future.exception() for name, future in self.futures.items() if future.done()}
        return self._refused | {name: error for name, error in ended.items() if error is not None}

    def results(self, timeout: float | None = None) -> dict[str, Fit]:
        """Wait for all; the fits that succeeded, by name, in the order that they were asked for.

        Parameters
        ----------
        timeout : seconds; None waits for ever

        Raises
        ------
        TimeoutError
            Some are not done; they run on.
        """
        pending = wait(self.futures.values(), timeout).not_done
        if pending:
            raise TimeoutError(f"{len(pending)} of {len(self.futures)} fits are not done after {timeout} s")
        return {name: each.result() for name, each in self.futures.items() if each.exception() is None}

    def progress(self) -> dict[str, tuple[ChainProgress, ...]]:
        """How far each fit's chains are, by name; never waits."""
        return {name: future.progress() for name, future in self.futures.items()}

    def cancel(self) -> None:
        """Cancel all that are not done."""
        for future in self.futures.values():
            future.cancel()

    @property
    def draws(self) -> xr.Dataset:
        """Posteriors of all fits that succeeded, in memory, dims (chain, draw, scenario): `pta` takes all patients at once.

        Waits for all. Variables that each fit has, one number a draw; ``scenario`` names the fit.

        Raises
        ------
        InputError
            No fit succeeded, or their chains have unequal shapes (with `target_ess` they may): use the fits one by one.
        """
        import xarray as xr

        fits = self.results()
        if not fits:
            raise InputError("cohort", "no fit", "at least one fit must succeed", "See failures.")
        posteriors = {name: fit.draws for name, fit in fits.items()}
        shapes = {name: (each.sizes["chain"], each.sizes["draw"]) for name, each in posteriors.items()}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(
                f"{name}: {chains} x {draws}" for name, (chains, draws) in list(shapes.items())[:4]
            )
            raise InputError(
                "draws", listed, "all fits have the same chains and draws", "Use each fit's own draws."
            )
        first = next(iter(posteriors.values()))
        common = [
            name
            for name, variable in first.data_vars.items()
            if variable.dims == ("chain", "draw") and all(name in each for each in posteriors.values())
        ]
        parts = [each[common].load().drop_attrs(deep=False) for each in posteriors.values()]
        joined = xr.concat(parts, dim="scenario", join="exact", combine_attrs="drop_conflicts")
        attrs = {"sampling": first.attrs["sampling"], "source": f"{len(parts)} fits"}
        return (
            joined.transpose("chain", "draw", "scenario")
            .assign_coords(scenario=list(posteriors))
            .assign_attrs(attrs)
        )

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for future in self.futures.values():
            counts[future.status] = counts.get(future.status, 0) + 1
        if self._refused:
            counts["refused"] = len(self._refused)
        return (
            f"<Cohort of {len(self)}: {', '.join(f'{count} {status}' for status, count in counts.items())}>"
        )

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{each._repr_html_()}</li>" for each in self.futures.values())
        return f"<ul>{rows}</ul>"


def end(futures: Collection[FitFuture]) -> None:
    """Cancel fits because of Ctrl-C or what failed beside them, and wait until they, and what is shown of them, are gone."""
    for future in futures:
        future.cancel()
    for ended in wait(futures, _ENDING).done:
        ended.exception()


def patients_by_name(what: object) -> Wanted:
    """Patients by name, each with options of its own: none.

    Parameters
    ----------
    what : a sequence, a mapping, or the path of a cohort's CSV file
    """
    if isinstance(what, str | PathLike):
        from tdmx_dask.domain.cohort import read_cohort

        what = read_cohort(Path(what))
    if isinstance(what, Mapping):
        named: Wanted = {str(name): (each, {}) for name, each in what.items()}
    elif isinstance(what, Sequence):
        from tdmx_dask.domain.patient import as_patient
        from tdmx_dask.fitting.question import FitQuestion

        nouns = [each if isinstance(each, FitQuestion) else as_patient(each) for each in what]
        names = [each.name if isinstance(each, FitQuestion) else each.id for each in nouns]
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        if twice:
            raise InputError(
                "patients", twice[0], "two patients have this id", "Give them in a mapping by name."
            )
        named = {name: (each, {}) for name, each in zip(names, nouns, strict=True)}
    else:
        raise InputError(
            "patients", type(what).__name__, "patients are a sequence or a mapping", "Give a list."
        )
    if not named:
        raise InputError("patients", "none", "there is at least one patient", "Give a list of patients.")
    return named


def models_by_name(what: object, patient: object) -> Wanted:
    """The patient by the names of its models, each with its options.

    Parameters
    ----------
    what : ``{name: model or options}``, or a sequence of models
    patient : whose levels all are fitted to
    """
    if isinstance(what, Sequence) and not isinstance(what, str):
        what = {str(each): each for each in what}
    if not isinstance(what, Mapping) or not what:
        raise InputError(
            "models", what, "models are a mapping by name", 'For example {"one": "1C", "two": "2C"}.'
        )
    found: Wanted = {}
    for name, each in what.items():
        own = dict(each) if isinstance(each, Mapping) else {"model": each}
        strange = set(own) - set(OF_ONE)
        if strange:
            rule = f"a model's own options are {', '.join(OF_ONE[:-1])}"
            raise InputError(f"models[{name}]", min(strange), rule, "Give it for all fits.")
        found[str(name)] = (None if "program" in own else patient, own)
    return found
