"""Jobs of PTA and CFR: checked when they are submitted, run as the verbs run them, with the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from tdmx_dask.api.kinds.data import keep_value, named, naming, opened_value, stated
from tdmx_dask.api.kinds.pieces import PIECE_SECONDS, in_pieces, seconds_of
from tdmx_dask.api.kinds.question import (
    ALIASES,
    KEYS,
    arguments_of,
    content_of,
    distribution_mapping,
    family_of,
    level_of,
    memory_of,
    plain_question,
    read_distributions,
    size_of,
    title_of,
)
from tdmx_dask.api.verbs import cfr, pta
from tdmx_dask.domain.mic import MICDistribution, match_mic
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.jobs.request import Checked, Work

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.jobs.kind import Known, Place

__all__ = ["CFRCalculation", "PTACalculation", "compute_cfr", "compute_pta"]

OF_CFR = {"mic_distribution": "distributions", "isolates": "distributions", "distribution": "distributions"}

_MODULE = "tdmx_dask.api.kinds.attainment"


class PTACalculation:
    """PTA as a job: its spec is the arguments of `tdmx.pta`, its result the same Dataset.

    ``regimen``, ``target`` or ``target_def`` and ``MIC`` are read as ``regimens``, ``targets`` and ``mic``; a ``model_type`` must be that
    of the draws. Draws in memory are copied into the queue's folder.
    """

    name = "pta_calculation"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Ask the question now, so that every mistake is said at submit; see `jobs.kind.Kind.check`."""
        plain, question = plain_question(named(spec, KEYS, ALIASES), known)
        return Checked(
            spec={**plain, "seconds": seconds_of(question)},
            content=stated(content_of(plain), {}),
            title=title_of(question),
            family=f"{self.name} {family_of(question)}",
            size=size_of(question),
            memory_mb=memory_of(question),
        )

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in one process; what takes long in several, where there are several."""
        n_pieces = min(place.slots, int(work.spec["seconds"] / PIECE_SECONDS))
        if n_pieces > 1:
            return await in_pieces(work.spec, n_pieces, place)
        return await place.call(f"{_MODULE}:compute_pta", {"spec": dict(work.spec)}, name="pta")


class CFRCalculation:
    """CFR as a job: ``pta`` (a job's id, a result, or the path of one) with ``distributions``; or the spec of a PTA with them."""

    name = "cfr_calculation"

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Check the spec; see `jobs.kind.Kind.check`."""
        given = named(spec, ("pta", "distributions", *KEYS), {**ALIASES, **OF_CFR})
        if "distributions" not in given:
            rule = "CFR is over a distribution of MICs"
            raise InputError("spec.distributions", None, rule, "Give for example '0.25:0.1, 0.5:0.9'.")
        with naming("distributions"):
            distributions = read_distributions(given.pop("distributions"))
        plain = [distribution_mapping(each) for each in distributions]
        if "pta" not in given:
            return self._of_question(given, distributions, plain, known)
        level = level_of(given.pop("level")) if "level" in given else None
        for key in given.keys() - {"pta"}:
            rule = "the PTA has answered this already"
            raise InputError(f"spec.{key}", "given", rule, "Leave it out, or give no pta.")
        source, digest = _source(given["pta"], distributions, known)
        rest = {"distributions": plain, "level": level}
        return Checked(
            spec={"pta": source, **rest},
            content=None if digest is None else stated(rest, {"pta": digest}),
            title=f"CFR, {', '.join(each.organism for each in distributions)}"[:100],
            family=f"{self.name} of a pta",
            size=float(len(distributions)),
            after=(source["job"],) if "job" in source else (),
        )

    def _of_question(
        self,
        given: dict[str, Any],
        distributions: tuple[MICDistribution, ...],
        plain: list[Any],
        known: Known,
    ) -> Checked:
        given.setdefault("mic", list(distributions))
        asked, question = plain_question(given, known)
        with naming("mic"):
            for each in distributions:
                match_mic(each.mic, question.plan.mic)
        rest = {"distributions": plain, "level": None}
        organisms = ", ".join(each.organism for each in distributions)
        return Checked(
            spec={"pta": {"spec": asked}, **rest},
            content=stated(rest, {"pta": content_of(asked)}),
            title=f"{title_of(question)}, {organisms}"[:100],
            family=f"{self.name} {family_of(question)}",
            size=size_of(question),
            memory_mb=memory_of(question),
        )

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it in one process."""
        arguments: dict[str, Any] = {"spec": dict(work.spec)}
        if "job" in work.spec["pta"]:
            arguments["pta"] = work.inputs[work.spec["pta"]["job"]]
        return await place.call(f"{_MODULE}:compute_cfr", arguments, name="cfr")


# --- what runs in a process of its own ------------------------------------------------------------------------


def compute_pta(spec: Mapping[str, Any]) -> xr.Dataset:
    """PTA of a checked spec; what was warned about at submit is not said again.

    Parameters
    ----------
    spec : of `plain_question`

    Raises
    ------
    InputError
        The draws are not those of the submit.
    StoreError
        The draws are gone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return pta(**arguments_of(spec), run="direct")


def compute_cfr(spec: Mapping[str, Any], pta: bytes | None = None) -> xr.Dataset:
    """CFR of a checked spec.

    Parameters
    ----------
    spec : of `CFRCalculation.check`
    pta : the encoded result of the job that the spec names
    """
    from tdmx_dask.store.value import decode

    source = spec["pta"]
    if pta is not None:
        attained = decode(pta)
    else:
        attained = compute_pta(source["spec"]) if "spec" in source else opened_value(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        return cfr(attained, read_distributions(spec["distributions"]), level=spec["level"])


def _source(
    given: object, distributions: tuple[MICDistribution, ...], known: Known
) -> tuple[dict[str, Any], str | None]:
    """Where a PTA comes from, and what stands for it in the address of the answer."""
    import xarray as xr

    from tdmx_dask.store.value import encode

    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        job = int(given)
        with naming("pta"):
            kind = known.kind_of(job)
        if kind != PTACalculation.name:
            rule = f"that job is a {kind}"
            raise InputError("spec.pta", job, rule, f"Give the id of a {PTACalculation.name}.")
        digest = known.digest_of(job)
        return {"job": job}, None if digest is None else f"job {digest}"
    with naming("pta"):
        if isinstance(given, str | PathLike):
            from tdmx_dask.store.results import open_result

            given = open_result(fspath(given))
        if not isinstance(given, xr.Dataset) or "n_attained" not in given:
            rule = "it is the id of a job, a result of tdmx.pta, or the path of one"
            raise InputError("pta", type(given).__name__, rule, "Call tdmx.pta first.")
        result = given.compute()
    with naming("pta", "mic", "distributions"), warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        for each in distributions:
            match_mic(each.mic, np.atleast_1d(result["mic"].values).tolist())
    with naming("pta"):
        kept = keep_value(encode(result), known)
    return dict(kept), kept["digest"]
