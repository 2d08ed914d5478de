"""The command ``tdmx``: the group, and where each command lives; a command is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from tdmx_dask.cli.exits import CODES, guarded
from tdmx_dask.cli.options import examples

__all__ = ["main"]

_COMMANDS = {
    "run": ("tdmx_dask.cli.run", "run", "Run a study: tables, plots, a report, and the numbers behind them."),
    "pta": ("tdmx_dask.cli.attainment", "pta", "Probability of target attainment of draws, at each MIC."),
    "cfr": ("tdmx_dask.cli.attainment", "cfr", "Cumulative fraction of response over MIC distributions."),
    "fit": ("tdmx_dask.cli.fit", "fit", "Fit a patient's levels, or a cohort's: posterior, PTA and CFR."),
    "calibrate": (
        "tdmx_dask.cli.calibrate",
        "calibrate",
        "Are posteriors of simulated levels what they claim to be?",
    ),
    "stan": ("tdmx_dask.cli.stan", "stan", "Engines of Stan fits: status, install CmdStan, compile."),
    "draws": ("tdmx_dask.cli.draws", "draws", "Import, describe and export draws."),
    "studies": ("tdmx_dask.cli.studies", "studies", "List the studies that are shipped."),
    "study": ("tdmx_dask.cli.studies", "study", "Check a study, or copy a shipped one to start from."),
    "queue": ("tdmx_dask.cli.queue", "queue", "Submit jobs, watch them, and work on them."),
    "worker": ("tdmx_dask.cli.worker", "worker", "Work on a queue of jobs until told to end."),
    "cluster": ("tdmx_dask.cli.cluster", "cluster", "Start clusters that run on; see, scale and stop them."),
    "serve": ("tdmx_dask.cli.serve", "serve", "The workbench in a browser: fits, PTA and CFR without code."),
    "cache": ("tdmx_dask.cli.cache", "cache", "Answers of jobs that are kept: how many, remove, check."),
    "bench": ("tdmx_dask.cli.bench", "bench", "Measure this machine against the reference figures."),
}

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in CODES.items())
_EPILOG += "\n\n\b\nResearch use only. Not a medical device."


class _Lazy(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from tdmx_dask.domain.section import nearest

            ctx.fail(f"command={args[0]}: there is no such command. {nearest(args[0], tuple(_COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Lazy,
    epilog=examples(
        "tdmx run meropenem_sepsis",
        "tdmx draws import my_draws.csv my_draws.zarr",
        'tdmx pta my_draws.zarr -r "1000 mg q8h inf 3h" -t "fT>MIC >= 50%" --mic 0.25..64 --fu 0.98',
    )
    + "\n\n"
    + _EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="tdmx-dask", message="tdmx %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def tdmx(debug: bool) -> None:
    """Antibiotic dosing under uncertainty: which regimen attains its target, at which MIC, in how many patients."""


def _call(arguments: list[str]) -> None:
    """As click's own `main`, which would swallow what an interrupted run has to say."""
    with tdmx.make_context("tdmx", arguments) as context:
        tdmx.invoke(context)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    code = guarded(lambda: _call(arguments), debug=debug)
    if argv is None:
        sys.exit(code)
    return code
