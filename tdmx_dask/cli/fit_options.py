"""Options of a fit, and what they mean to `fit_async`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tdmx_dask.cli.options import ON
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.domain.assessment import Assessment

__all__ = ["asked", "assessment_of", "fit_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_COUNT = click.IntRange(min=1)
_FILE = click.Path(path_type=Path)
_METHODS = click.Choice(["nuts", "mode", "laplace", "pathfinder", "advi"])
_OPTIONS: tuple[Any, ...] = (
    click.option("--model", type=click.Choice(["1C", "2C", "3C", "michaelis_menten", "parallel"]), help="Of the priors."),
    click.option("--priors", metavar="FILE|NAME", help="YAML with population: or priors:, or a shipped name."),
    click.option("--error", metavar="TEXT", help='Residual error, such as "proportional 15%" or "combined 0.5 15%".'),
    click.option("--fu", type=float, metavar="FRACTION", help="Unbound fraction, instead of the file's or the population's."),
    click.option("--method", type=_METHODS, default="nuts", show_default=True, help="NUTS, or an approximation."),
    click.option("--engine", type=click.Choice(["auto", "stanli", "cmdstan"]), default="auto", show_default=True),
    click.option("--executable", type=_FILE, metavar="FILE", help="A compiled CmdStan program to run."),
    click.option("--chains", type=_COUNT, default=4, show_default=True),
    click.option("--parallel-chains", type=_COUNT, metavar="N", help="Chains at once.  [default: what is free]"),
    click.option("--warmup", type=click.IntRange(min=0), default=1000, show_default=True, help="Iterations a chain."),
    click.option("--draws", type=_COUNT, default=1000, show_default=True, help="Draws a chain."),
    click.option("--adapt-delta", type=float, default=0.8, show_default=True, help="Wanted acceptance."),
    click.option("--max-treedepth", type=_COUNT, default=10, show_default=True),
    click.option("--target-ess", type=float, metavar="ESS", help="Stop when every parameter has this bulk and tail ESS."),
    click.option("--max-chains", type=_COUNT, default=8, show_default=True, help="With --target-ess."),
    click.option("--auto-tune", is_flag=True, help="After divergences raise adapt_delta, then reparameterise."),
    click.option("--max-attempts", type=_COUNT, default=3, show_default=True, help="Of --auto-tune."),
    click.option("--cold", is_flag=True, help="Do not start from the metric and step size of an earlier fit."),
    click.option("--fresh", is_flag=True, help="Run again what the library has already."),
    click.option("--seed", type=int, help="Of the chains.  [default: the setting tdmx.seed]"),
    click.option("--retries", type=click.IntRange(min=0), default=2, show_default=True, help="Of a chain that fails by bad luck."),
    click.option("--priority", type=int, default=0, show_default=True, help="Higher runs first on a shared cluster."),
    click.option("--memory", type=float, metavar="MB", help="That a fit may need.  [default: estimated]"),
    click.option("--library", type=_FILE, metavar="DIR", help="Where fits are kept.  [default: the setting tdmx.fits-library]"),
    ON,
    click.option("-r", "--regimen", "regimens", multiple=True, help="Candidate, instead of the file's; repeatable."),
    click.option("-t", "--target", "targets", multiple=True, help='Such as "fT>MIC >= 50%", instead of the file\'s; repeatable.'),
    click.option("--mic", help="mg/L, with --target.  [default: 0.25..32]"),
    click.option("-d", "--distribution", "distributions", multiple=True, metavar="TEXT", help='MICs and weights, "0.5:0.4, 1:0.6".'),
)  # fmt: skip
_NAMES = {
    **{name: name for name in ("model", "method", "engine", "executable", "chains", "parallel_chains")},
    **{name: name for name in ("adapt_delta", "max_treedepth", "target_ess", "max_chains", "auto_tune")},
    **{name: name for name in ("max_attempts", "seed", "retries", "priority", "library", "on")},
    "warmup": "iter_warmup",
    "draws": "iter_sampling",
    "memory": "memory_mb",
}


def fit_options(command: _Command) -> _Command:
    """All options of a fit."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options as keyword arguments of `fit_async` and `fit_many`; those that were left out are left out."""
    found = {_NAMES[key]: value for key, value in options.items() if key in _NAMES and value is not None}
    found |= {"warm_start": not options["cold"], "reuse": not options["fresh"]}
    if options["priors"]:
        found["priors"] = _priors(options["priors"])
    if options["error"]:
        from tdmx_dask.domain.error_model import ErrorModel

        found["error"] = ErrorModel.parse(options["error"], name="--error")
    return found


def _priors(given: str) -> Any:
    """Priors of a file that has population: or priors:, or is one."""
    from tdmx_dask.domain.document import read_yaml
    from tdmx_dask.domain.patient import shipped_patients
    from tdmx_dask.domain.population import Population
    from tdmx_dask.domain.prior import PriorSet
    from tdmx_dask.domain.section import Item, Section
    from tdmx_dask.domain.study import read_population, shipped_studies

    shipped = {**shipped_studies(), **{k: v for k, v in shipped_patients().items() if v.suffix == ".yaml"}}
    path = Path(given)
    if not path.is_file() and given in shipped:
        path = shipped[given]
    mapping = read_yaml(path)
    top = Section(Item(mapping, ""))
    if "population" in top:
        return read_population(top, path.parent)
    if "priors" in top:
        return PriorSet.from_mapping(top.at("priors"), model=top.text("model") if "model" in top else None)
    return Population.from_mapping(Item(mapping, "population"))


def assessment_of(options: dict[str, Any], given: Assessment | None) -> Assessment | None:
    """What is asked of the posterior: the file's, with what the options replace; None where nothing is."""
    if not any(options[key] for key in ("regimens", "targets", "mic", "distributions")):
        return given
    from tdmx_dask.api.nouns import read_mic, read_regimens, read_targets
    from tdmx_dask.domain.assessment import Assessment
    from tdmx_dask.domain.mic import MICDistribution

    for key in ("regimens", "targets"):
        if not options[key] and given is None:
            raise InputError(f"--{key[:-1]}", None, "PTA is of regimens against targets", "Give -r and -t.")
    regimens = read_regimens(options["regimens"]) if options["regimens"] else given.regimens  # type: ignore[union-attr]
    targets = read_targets(options["targets"]) if options["targets"] else given.targets  # type: ignore[union-attr]
    several = options["distributions"]
    isolates = tuple(
        MICDistribution.parse(text, organism="isolates" if len(several) == 1 else f"isolates {number}")
        for number, text in enumerate(several, 1)
    ) or (given.distributions if given else ())
    mic: Any = options["mic"] or (given.mic if given else "0.25..32")
    if isolates:
        grid = read_mic(mic, targets)
        mic = sorted({*grid, *(each for one in isolates for each in one.mic)})
    return Assessment(regimens, targets, read_mic(mic, targets), isolates)
