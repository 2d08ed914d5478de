"""How a command ends: one line on stderr and a code that a script can act on."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress

import click

from tdmx_dask.errors import ClusterError, FitCancelled, FitError, JobError, TdmxError, TdmxWarning

__all__ = ["CODES", "guarded"]

DONE, FAILED, WRONG_INPUT, SYSTEM, CLUSTER, FIT, INTERRUPTED, PIPE = 0, 1, 2, 3, 4, 5, 130, 141

CODES = {
    DONE: "done",
    FAILED: "an internal failure; the message says where its log is",
    WRONG_INPUT: "wrong input: an option, a study, draws, a store that is damaged, a place that cannot be written",
    SYSTEM: "the system failed: input or output, or memory",
    CLUSTER: "the cluster: a scheduler or its workers",
    FIT: "a fit or a job failed, or a calibration found its posteriors wrong",
    INTERRUPTED: "interrupted; `tdmx run --resume` goes on where that is possible",
}

_KINDS = ((ClusterError, CLUSTER), (FitCancelled, INTERRUPTED), (FitError, FIT), (JobError, FIT))


def guarded(command: Callable[[], object], *, debug: bool) -> int:
    """Run a command; print what went wrong as one line; return the exit code.

    Parameters
    ----------
    command : takes nothing
    debug : show the traceback instead of hiding it
    """
    _tolerate_terminal()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("default" if debug else "ignore")
        warnings.simplefilter("always", TdmxWarning)
        try:
            command()
            sys.stdout.flush()
        except BaseException as error:  # every way a command can end passes here, Ctrl-C and broken pipes too
            if isinstance(error, SystemExit):
                return error.code if isinstance(error.code, int) else FAILED
            if debug and not isinstance(error, click.exceptions.Exit | click.Abort | KeyboardInterrupt):
                traceback.print_exc()
            return _end(error)
    return DONE


def _end(error: BaseException) -> int:
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        _say(str(error) or "interrupted; nothing was written")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return DONE
    if isinstance(error, click.ClickException):
        _say(f"error: {_usage(error)}")
        return WRONG_INPUT
    if isinstance(error, TdmxError):
        _say(f"error: {error}")
        return next((code for kind, code in _KINDS if isinstance(error, kind)), WRONG_INPUT)
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or "disk"
        _say(f"error: file={place}: the system says: {error.strerror}. Check the disk and the permissions.")
        return SYSTEM
    if isinstance(error, MemoryError):
        _say("error: memory=full: the work does not fit. Use fewer draws or `--chunk-size`, or more memory.")
        return SYSTEM
    _say(f"error: {type(error).__name__}: {_one_line(error)}. This is a fault in tdmx; {_logged(error)}")
    return FAILED


def _usage(error: click.ClickException) -> str:
    """What click found wrong, as one sentence, and where help is."""
    text = _one_line(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{text}. See `{context.command_path} --help`." if context else f"{text}."


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:300]


def _logged(error: BaseException) -> str:
    """Keep the traceback in a file and say where."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="tdmx-", suffix=".log", delete=False) as log:
            traceback.print_exception(error, file=log)
    except OSError:
        return "run it again with `tdmx --debug …` to see where."
    return f"the log is {log.name}"


def _say(line: str) -> None:
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    kind = "note" if issubclass(category, TdmxWarning) else category.__name__
    _say(f"{kind}: {_one_line(message)}")


def _tolerate_terminal() -> None:
    """A terminal that cannot print a sign gets a question mark, not a failure."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
