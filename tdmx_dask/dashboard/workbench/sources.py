"""Where the draws of a question come from: a shipped population, a fit of this window, a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tdmx_dask.domain.study import Study, read_study, shipped_studies
from tdmx_dask.domain.units import shortened, whole
from tdmx_dask.errors import InputError, TdmxError

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.fitting.fit import Fit

__all__ = ["LARGEST_POPULATION", "Source", "of_fit", "of_store", "of_study", "shipped"]

LARGEST_POPULATION = 200_000
"""Virtual patients of a population that a page draws."""

_LARGEST_STORE = 2_000_000
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Draws in memory, and what a page says of them.

    Parameters
    ----------
    label : of the choice
    draws : dims (chain, draw)
    about : model, number of draws, where they come from
    fu : unbound fraction, where the draws do not have it
    """

    label: str
    draws: xr.Dataset
    about: str
    fu: float | None = None

    @property
    def n_draws(self) -> int:
        """Draws of all chains."""
        return int(self.draws.sizes["chain"] * self.draws.sizes["draw"])

    @property
    def two_level(self) -> bool:
        """Whether there is a between-subject covariance to draw patients from."""
        return "omega" in self.draws


@lru_cache(maxsize=1)
def shipped() -> dict[str, Study]:
    """Studies that come with tdmx_dask and have a population, by name."""
    studies = {name: read_study(name) for name in shipped_studies()}
    return {
        name: study for name, study in studies.items() if study.population is not None and study.draws is None
    }


@lru_cache(maxsize=8)
def of_study(name: str, scenario: str, n: int) -> Source:
    """Virtual patients of a shipped population.

    Parameters
    ----------
    name : of the study
    scenario : of the study
    n : patients, 1 to `LARGEST_POPULATION`

    Raises
    ------
    InputError
        No such population, or too many patients.
    """
    from tdmx_dask.api.virtual import sample

    n = whole("n", n, "the number of virtual patients")
    if n > LARGEST_POPULATION:
        rule = f"this page draws at most {LARGEST_POPULATION:,} patients"
        raise InputError("n", f"{n:,}", rule, "Use tdmx run for more.")
    study = shipped().get(name)
    setting = next((each for each in study.scenarios if each.name == scenario), None) if study else None
    if study is None or study.population is None or setting is None:
        raise InputError("source", f"{name}, {scenario}", "there is no such population", "Choose another.")
    weights = {each.weight for each in study.regimens if each.per_kg} & set(study.population.covariates)
    settings = {setting.name: setting.covariates} if setting.covariates else None
    draws = sample(study.population, n, seed=_SEED, scenarios=settings, covariates=sorted(weights))
    draws = draws.isel(scenario=0, drop=True) if "scenario" in draws.dims else draws
    said = (
        f"{study.population.model}, {n:,} virtual patients",
        study.population.name,
        study.population.source or study.source,
    )
    label = f"{name}, {scenario}" if len(study.scenarios) > 1 else name
    return Source(label, draws, ". ".join(text for text in said if text), study.fu)


def of_fit(fit: Fit) -> Source:
    """The posterior of a fit."""
    draws = fit.draws.load()
    n = int(draws.sizes["chain"] * draws.sizes["draw"])
    health = "" if fit.healthy else " The fit has problems: see its diagnosis."
    return Source(
        f"fit: {fit.name}", draws, f"{n:,} draws of the posterior of {fit.name}, by {fit.engine}.{health}"
    )


def of_store(path: str) -> Source:
    """Draws of a store on this machine.

    Raises
    ------
    InputError, StoreError
        There is none, it is damaged, or too large for a page.
    """
    from tdmx_dask.store.draws import open_draws

    if not path.strip():
        raise InputError(
            "store", "", "the path of a store of draws is wanted here", "Make one with tdmx draws import."
        )
    try:
        place = Path(path.strip()).expanduser()
        draws = open_draws(place)
    except TdmxError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a NUL, a name that is too long
        raise InputError(
            "store", shortened(path.strip()), f"this is no path ({error})", "Check it."
        ) from None
    n = int(draws.sizes["chain"] * draws.sizes["draw"])
    if n > _LARGEST_STORE:
        raise InputError(
            "store",
            place,
            f"its {n:,} draws are more than the {_LARGEST_STORE:,} of this page",
            "Use tdmx pta.",
        )
    return Source(
        f"store: {place.name}", draws.load(), f"{n:,} draws of {place}. {draws.attrs.get('source', '')}"
    )
