"""``tdmx queue submit``: from a file, stdin or the command line to jobs that are on the disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.options import HELP, QUIET, examples
from tdmx_dask.cli.queue_options import folder_option, json_option, print_json
from tdmx_dask.errors import InputError, JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdmx_dask.api.queue import JobQueue

__all__ = ["read_spec", "submit"]

MAX_JSON_BYTES = 100_000_000
_SUFFIXES = (".json", ".yaml", ".yml")


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx queue submit pta_calculation question.yaml --priority 10",
        'tdmx queue submit pta_calculation question.yaml -s "regimens=[1 g q8h inf 3h, 2 g q8h inf 3h]"',
        "tdmx queue submit batch_processing -s function=mywork:score -s items=[1,2,3]",
        "tdmx queue submit many.yaml          # a list; each with type, spec and perhaps priority, after, …",
        "id=$(make_spec | tdmx queue submit stan_fit -)",
    ),
)
@click.argument("type_", metavar="TYPE")
@click.argument("spec", metavar="[SPEC]", required=False)
@click.option(
    "-s",
    "--set",
    "pairs",
    metavar="KEY=VALUE",
    multiple=True,
    help="A key of the spec; replaces that of SPEC. Repeat it.",
)
@click.option("--priority", type=int, metavar="N", help="-1000 .. 1000; higher runs first.  [default: 5]")
@click.option("--retries", type=int, metavar="N", help="More attempts after what may pass.  [default: 2]")
@click.option("--timeout", type=float, metavar="SECONDS", help="That an attempt may run.")
@click.option("--group", metavar="NAME", help="Whose fair share it counts to.  [default: your name]")
@click.option("--after", type=int, metavar="ID", multiple=True, help="Runs once this succeeded; repeat it.")
@click.option("--fresh", is_flag=True, help="Compute it even where the cache has the answer.")
@click.option(
    "--wait", is_flag=True, help="Until it has ended; the exit code is then 5 where it did not succeed."
)
@folder_option
@json_option
@QUIET
def submit(
    type_: str, spec: str | None, folder: Path | None, as_json: bool, wait: bool, quiet: bool, **given: Any
) -> None:
    """Submit a job, and print its id. Nothing runs here: that is for `tdmx worker` or `tdmx queue resume`.

    TYPE is batch_processing, pta_calculation, cfr_calculation, optimization, stan_fit or patient_analysis. SPEC is a YAML or JSON file
    (- for stdin) with the arguments of the verb by name. A SPEC that is a list submits all of it, or nothing where one is wrong; TYPE
    is then the type of those that name none, and may be left out.

    Relative paths in a spec are relative to the folder in which this command runs.
    """
    from tdmx_dask.api.queue import JobQueue
    from tdmx_dask.cli.worker import find_modules_here

    jobs = [_with_draws(job) for job in _asked(type_, spec, given)]
    find_modules_here()
    with JobQueue(max_workers=0, folder=folder) as queue:
        ids = queue.submit_batch(jobs)
        if as_json:
            print_json({"ids": ids})
        else:
            click.echo("\n".join(map(str, ids)))
        sys.stdout.flush()
        if wait:
            _wait(queue, ids, quiet=quiet)
            return
        _note_idle(queue, ids)


def _asked(type_: str, spec: str | None, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a command line, as `JobQueue.submit_batch` takes them."""
    pairs = dict(_pair(each) for each in given["pairs"])
    options: dict[str, Any] = {
        key: given[key] for key in ("priority", "retries", "timeout", "group") if given[key] is not None
    }
    options |= {"fresh": True} if given["fresh"] else {}
    options |= {"after": list(given["after"])} if given["after"] else {}
    default: str | None = type_
    if spec is None and (type_ == "-" or type_.endswith(_SUFFIXES)):
        spec, default = type_, None
    if default is not None:
        _known(default)
    if spec is None and not pairs:
        rule = "a job has a spec"
        raise InputError("SPEC", "missing", rule, "Give a file, - for stdin, or -s key=value.")
    value = {} if spec is None else read_spec(spec)
    name = "stdin" if spec == "-" else spec
    if isinstance(value, list):
        if pairs:
            raise InputError("-s", ", ".join(pairs), f"{name} is a list", "Set the keys there.")
        return _several(name, value, default, options)
    if not isinstance(value, Mapping):
        rule = "a spec is a mapping of names to values, or a list of jobs"
        raise InputError("SPEC", name, rule, "Begin with `key: value`.")
    if default is None:
        raise InputError("TYPE", name, "this is the spec of one job", "Say its type first.")
    return [{"type": default, "spec": {**value, **pairs}, **options}]


def _several(
    name: str | None, jobs: Sequence[Any], type_: str | None, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not jobs:
        raise InputError("SPEC", name, "the list has no job", "Give at least one.")
    found = []
    for number, job in enumerate(jobs):
        if not isinstance(job, Mapping):
            rule = "a job of a list is a mapping with type and spec"
            raise InputError(f"{name}[{number}]", type(job).__name__, rule, "")
        one = {**({} if type_ is None else {"type": type_}), **options, **job}
        if "type" in one:
            _known(one["type"])
        found.append(one)
    return found


def _with_draws(job: dict[str, Any]) -> dict[str, Any]:
    """A job whose draws are a table's file: it is read now, as `tdmx pta` reads it."""
    spec = job.get("spec")
    draws = spec.get("draws") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(draws, str):
        return job
    if Path(draws).suffix == ".zip" or not Path(draws).is_file():  # a store
        return job
    from tdmx_dask.store.importing import import_draws

    return {**job, "spec": {**spec, "draws": import_draws(draws)}}


def _known(type_: object) -> None:
    """Refuse a type that there is not, with the nearest."""
    from tdmx_dask.api.kinds import BUILT_IN
    from tdmx_dask.domain.section import nearest

    types = ("batch_processing", *(kind.name for kind in BUILT_IN))
    if type_ not in types:
        raise InputError("TYPE", str(type_), "there is no such type of jobs", nearest(str(type_), types))


def _pair(given: str) -> tuple[str, Any]:
    """``key=value``; a value is read as YAML where that makes it something else than text."""
    from tdmx_dask.domain.document import parse_value
    from tdmx_dask.errors import SchemaError

    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise InputError("-s", given, "it is key=value", "For example -s mic=0.25..16.")
    try:
        value = _plain(parse_value(text, file=f"-s {key}"))
    except SchemaError:
        if text.lstrip()[:1] in ("[", "{"):
            raise
        value = text
    return key.strip(), text if isinstance(value, str | Mapping) and text[:1] not in "{\"'" else value


def read_spec(given: str) -> Any:
    """What a file, or stdin (``-``), holds: YAML of at most 1 MB or JSON of at most 100 MB.

    Raises
    ------
    SchemaError
        It cannot be read, or is neither.
    """
    from tdmx_dask.domain.document import MAX_BYTES, parse_value
    from tdmx_dask.errors import SchemaError

    name = "stdin" if given == "-" else given
    try:
        with sys.stdin.buffer if given == "-" else Path(given).open("rb") as file:
            raw = file.read(MAX_JSON_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        fix = (
            "Check the path." if given.endswith(_SUFFIXES) or "/" in given else "Set keys with -s key=value."
        )
        raise SchemaError("SPEC", name, f"it cannot be read ({error.strerror})", fix) from error
    except UnicodeDecodeError as error:
        raise SchemaError("SPEC", name, "the text is not UTF-8", "Save it as UTF-8.") from error
    if given.endswith(".json") or text.lstrip()[:1] in ("[", "{"):
        found = _json(text, name, sure=given.endswith(".json"))
        if found is not None:
            return found
    if len(raw) > MAX_BYTES:
        rule = "a spec has at most 1 MB as YAML, 100 MB as JSON"
        raise SchemaError("SPEC", name, rule, "Keep draws in a store, and give its path.")
    return _plain(parse_value(text, file=name))


def _json(text: str, name: str, *, sure: bool) -> Any:
    """What a JSON text holds; None where it may be YAML."""
    import json

    from tdmx_dask.errors import SchemaError

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise SchemaError("SPEC", name, f"the key {twice} is given twice", "Give it once.")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError as error:
        raise SchemaError("SPEC", name, "it is nested too deeply", "") from error
    except ValueError as error:
        if sure:
            raise SchemaError("SPEC", name, f"this is not JSON ({error})", "Check its commas.") from error
    return None


def _plain(value: object) -> Any:
    """Python's own mappings and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _note_idle(queue: JobQueue, ids: Sequence[int]) -> None:
    """Say on stderr what came of it, where that is not what one expects."""
    from tdmx_dask.cli.queue_options import reading

    with reading(queue.folder) as ledger:
        answered = sum(state == "cached" for state in ledger.ended_among(ids).values())
        workers = ledger.overview().workers
    if answered:
        text = (
            "the cache had the answer" if len(ids) == 1 else f"the cache had {answered} of {len(ids)} answers"
        )
        click.echo(f"note: {text}", err=True)
    if answered < len(ids) and not workers:
        where = f"--folder {queue.folder}"
        click.echo(
            f"note: nobody works on this queue now. Start `tdmx worker {where}`, or `tdmx queue resume {where}`",
            err=True,
        )


def _wait(queue: JobQueue, ids: Sequence[int], *, quiet: bool) -> None:
    """Wait for jobs, and say how each ended, those that failed even where it is to be quiet.

    Raises
    ------
    JobError
        Not all of them succeeded.
    """
    from tdmx_dask.jobs.display import seconds

    bad = []
    try:
        for job in queue.as_completed(ids):
            found = queue.job(job)
            took = f" in {seconds(found.run_s)}" if found.run_s is not None else ""
            text = f": {found.error}" if found.error and found.state == "failed" else ""
            good = found.state in ("completed", "cached")
            if not (quiet and good):
                click.echo(f"job {job}: {found.state}{took}{text}", err=True)
            if not good:
                bad.append(job)
    except KeyboardInterrupt:
        what = f"job {ids[0]} goes" if len(ids) == 1 else f"{len(ids)} jobs go"
        raise KeyboardInterrupt(f"interrupted; {what} on, `tdmx queue cancel ID` ends one") from None
    if bad:
        first = queue.job(bad[0])
        fix = f"`tdmx queue show {bad[0]} --folder {queue.folder}` says more."
        raise JobError("jobs", f"{len(bad)} of {len(ids)}", f"they did not succeed, first {first}", fix)
