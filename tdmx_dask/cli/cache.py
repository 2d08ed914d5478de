"""``tdmx cache``: answers of jobs that are kept, so that nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.screen import open_screen

if TYPE_CHECKING:
    from tdmx_dask.store.cache import Cache

__all__ = ["cache"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_UNASKED = "nothing was removed: it was not confirmed. Add --yes to remove without being asked"


def _options(command: _Command) -> _Command:
    """Options of all its commands."""
    place = click.Path(path_type=Path)
    folder = click.option(
        "--folder", type=place, help="Of the cache; left out, cache-folder of the settings."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    return folder(as_json(command))


@click.group(
    context_settings=HELP,
    epilog=examples("tdmx cache info", "tdmx cache verify", "tdmx cache clear --yes"),
)
def cache() -> None:
    """Answers of jobs that are kept: how many, remove, check."""


@cache.command(context_settings=HELP, epilog=examples("tdmx cache info", "tdmx cache info --json"))
@_options
def info(folder: Path | None, as_json: bool) -> None:
    """Say how many answers are kept, their size, and the limits."""
    import time

    found = _open(folder).info()
    if as_json:
        wanted = ("folder", "entries", "bytes", "oldest", "max_bytes", "max_age")
        _print_json({name: value for name, value in asdict(found).items() if name in wanted})
        return
    screen = open_screen()
    screen.print(f"folder: {found.folder}", soft_wrap=True)
    screen.print(f"answers: {found.entries:,}, {_size(found.bytes)} of at most {_size(found.max_bytes)}")
    if found.oldest is not None:
        days = (time.time() - found.oldest) / 86400
        screen.print(f"longest unused: {days:,.1f} days")
    screen.print(f"an answer is kept {found.max_age / 86400:g} days")


@cache.command(context_settings=HELP, epilog=examples("tdmx cache clear", "tdmx cache clear --yes"))
@_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(folder: Path | None, as_json: bool, yes: bool) -> None:
    """Remove all answers that are kept; jobs compute them again. Other files of the folder stay."""
    kept = _open(folder)
    found = kept.info()
    if found.entries and not yes:
        question = f"Remove {found.entries:,} answers ({_size(found.bytes)}) of {found.folder}?"
        try:
            sure = click.confirm(question, err=True)
        except click.Abort:
            sure = False
        if not sure:
            raise click.Abort(_UNASKED)
    removed = kept.clear()
    if as_json:
        _print_json({"folder": kept.folder, "removed": removed})
    else:
        open_screen().print(f"removed {removed:,} answers of {kept.folder}", soft_wrap=True)


@cache.command(
    context_settings=HELP, epilog=examples("tdmx cache verify", "tdmx cache verify --folder shared/answers")
)
@_options
def verify(folder: Path | None, as_json: bool) -> None:
    """Read every answer that is kept; remove what is damaged or too old."""
    kept = _open(folder)
    good, removed = kept.verify()
    if as_json:
        _print_json({"folder": kept.folder, "good": good, "removed": removed})
    else:
        text = f"{good:,} answers are good; {removed:,} were damaged or too old, and were removed"
        open_screen().print(f"{kept.folder}: {text}", soft_wrap=True)


def _open(folder: Path | None) -> Cache:
    """The cache of the settings, perhaps in another folder, which must exist."""
    from tdmx_dask.config import settings
    from tdmx_dask.errors import InputError
    from tdmx_dask.store.cache import Cache

    if folder is not None and not folder.is_dir():
        raise InputError(
            "--folder", folder, "there is no such folder", "See cache-folder in config/tdmx.yaml."
        )
    found = settings()
    place = found.cache_folder if folder is None else folder
    return Cache(place, max_bytes=found.cache_max_bytes, max_age=found.cache_max_age)


def _size(n_bytes: int) -> str:
    from dask.utils import format_bytes

    return str(format_bytes(n_bytes))


def _print_json(what: dict[str, Any]) -> None:
    click.echo(json.dumps(what, default=str, indent=1))
