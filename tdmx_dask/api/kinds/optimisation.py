"""Jobs that say which regimen to give."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.kinds.data import named, naming, stated
from tdmx_dask.api.kinds.question import (
    ALIASES,
    arguments_of,
    content_of,
    distribution_mapping,
    family_of,
    memory_of,
    plain_question,
    read_distributions,
    size_of,
    title_of,
)
from tdmx_dask.api.optimise import Wish, ranked, read_candidates
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.jobs.request import Checked, Work

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.jobs.kind import Known, Place

__all__ = ["Optimization", "compute_optimum"]

_OF_CANDIDATES = ("doses", "taus", "tinfs", "max_daily_dose", "max_infusion_hours")
_OF_WISH = ("goal", "mic", "distributions")
_OF_QUESTION = (
    *("draws", "targets", "population", "subjects", "n", "fu", "weight", "seed", "window", "interval"),
    *("level", "model_type"),
)
_ALIASES = {
    **{key: name for key, name in ALIASES.items() if name in ("targets", "mic")},
    **dict.fromkeys(("regimen", "regimens"), "candidates"),
    **dict.fromkeys(("mic_distribution", "isolates", "distribution"), "distributions"),
}


class Optimization:
    """`tdmx.optimise` as a job: its spec is the arguments of it, its result the same Dataset."""

    name = "optimization"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Read the candidates and ask the question now; see `jobs.kind.Kind.check`."""
        given = named(spec, ("candidates", *_OF_CANDIDATES, *_OF_WISH, *_OF_QUESTION), _ALIASES)
        distributions = given.get("distributions")
        with naming("distributions"):
            if distributions is not None:
                distributions = read_distributions(distributions)
        with naming(*_OF_WISH):
            wish = Wish.of(given.get("goal", 0.9), given.get("mic"), distributions)
        of_candidates = {key: given.get(key) for key in (*_OF_CANDIDATES, "weight")}
        with naming(*of_candidates, "candidates"):
            regimens, n_left_out = read_candidates(given.get("candidates"), **of_candidates)
        asked = {key: value for key, value in given.items() if key in _OF_QUESTION}
        asked |= {"regimens": regimens, "mic": wish.grid, "breakpoint_level": wish.goal}
        plain, question = plain_question(asked, known)
        rest = {
            "goal": wish.goal,
            "mic": wish.mic,
            "distributions": [distribution_mapping(each) for each in wish.distributions] or None,
            "n_left_out": n_left_out,
        }
        return Checked(
            spec={"question": plain, **rest},
            content=stated(rest, {"question": content_of(plain)}),
            title=f"best of {len(regimens)}: {title_of(question)}"[:100],
            family=f"{self.name} {family_of(question)}",
            size=size_of(question),
            memory_mb=memory_of(question),
        )

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in one process."""
        return await place.call(f"{__name__}:compute_optimum", {"spec": dict(work.spec)}, name="optimise")


def compute_optimum(spec: Mapping[str, Any]) -> xr.Dataset:
    """Rank the candidates of a checked spec.

    Parameters
    ----------
    spec : of `Optimization.check`
    """
    given = spec["distributions"]
    wish = Wish.of(spec["goal"], spec["mic"], None if given is None else read_distributions(given))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)  # said at submit
        return ranked(wish, spec["n_left_out"], **arguments_of(spec["question"]), run="direct")
