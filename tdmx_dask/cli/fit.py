"""``tdmx fit``: from levels to a posterior, PTA and CFR."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.fit_options import asked, assessment_of, fit_options
from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.screen import NOTICE, open_screen
from tdmx_dask.errors import FitError

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from tdmx_dask.api.individual import Individual
    from tdmx_dask.api.patients import Patients
    from tdmx_dask.fitting.fit import Fit

__all__ = ["fit"]


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx fit meropenem_tdm",
        "tdmx fit patient.yaml --target-ess 1000 --auto-tune --out results/bed_4",
        'tdmx fit patient.yaml -r "2000 mg q8h inf 3h" -t "fT>MIC >= 100%" --mic 0.5..16',
        'tdmx fit cohort.csv --priors meropenem_tdm --error "proportional 15%" --on local',
    ),
)
@click.argument("patient", metavar="PATIENT")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make.  [default: results/NAME]"
)
@click.option(
    "--overwrite", is_flag=True, help="Replace that folder; the old one is kept until the new is whole."
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the posterior's table to a CSV file too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@fit_options
def fit(patient: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Fit PATIENT: a YAML file, a cohort as CSV with NONMEM's columns, or the name of a shipped one.

    Prints the posterior, whether it can be trusted, the levels beside their prediction and, where the file (or options) name regimens
    and targets, PTA and CFR. Writes a folder with all draws as Zarr, the tables as CSV, a PTA plot, report.html and run.json.
    """
    if options["csv_file"] is not None and options["csv_file"].exists():
        from tdmx_dask.errors import InputError

        raise InputError(
            "--csv", options["csv_file"], "this file exists", "Choose another name, or remove it."
        )
    one = not _is_cohort(patient)
    (_fit_one if one else _fit_all)(patient, options, as_json=as_json, quiet=quiet)


def _is_cohort(given: str) -> bool:
    from tdmx_dask.domain.patient import shipped_patients

    path = Path(given)
    if not path.is_file() and given in shipped_patients():
        path = shipped_patients()[given]
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def _fit_one(given: str, options: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    from tdmx_dask.api.individual import fit_individual, posterior_rows
    from tdmx_dask.domain.patient import read_patient

    patient = read_patient(given)
    patient = replace(patient, assessment=assessment_of(options, patient.assessment), **_fu(options))
    out = options["out"] or Path("results") / _folder_name(patient.id)
    found = fit_individual(
        patient,
        out,
        overwrite=options["overwrite"],
        progress=not (quiet or as_json),
        **asked(options),
    )
    _write_csv(posterior_rows(found), options["csv_file"])
    if as_json:
        _print_json(_plain_individual(found))
    elif not quiet:
        _show_one(open_screen(), found)


def _fu(options: dict[str, Any]) -> dict[str, Any]:
    return {} if options["fu"] is None else {"fu": options["fu"]}


def _fit_all(given: str, options: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    from tdmx_dask.api.patients import fit_patients
    from tdmx_dask.domain.cohort import read_cohort

    patients = tuple(replace(each, **_fu(options)) for each in read_cohort(given))
    found = fit_patients(
        patients,
        options["out"] or Path("results") / _folder_name(Path(given).stem),
        assessment=assessment_of(options, None),
        overwrite=options["overwrite"],
        progress=not (quiet or as_json),
        **asked(options),
    )
    _write_csv(found.rows, options["csv_file"])
    if as_json:
        _print_json(_plain_patients(found))
    elif not quiet:
        _show_all(open_screen(), found)
    if found.interrupted:
        n_done, n_all = len(found.rows), len(patients)
        raise KeyboardInterrupt(
            f"interrupted; {n_done} of {n_all} fits were done and are kept: the same command, with --overwrite, goes on from there"
        )
    if found.failures:
        name, text = next(iter(found.failures.items()))
        raise FitError(
            "fits",
            f"{len(found.failures)} of {len(patients)}",
            f"they failed, first {name}: {text.rstrip('.')}",
        )


def _show_one(screen: Console, found: Individual) -> None:
    from tdmx_dask.cli.posterior import print_individual

    print_individual(screen, found)
    _show_attainment(screen, found.pta, found.cfr)
    for note in found.notes:
        screen.print(f"Note: {note}")
    total = sum(found.seconds.values())
    screen.print(f"{found.fit.engine}, {_chains(found.fit)}, {total:.2g} s.")
    _where(screen, found.out, report=True)


def _show_all(screen: Console, found: Patients) -> None:
    from tdmx_dask.cli.posterior import print_cohort

    print_cohort(screen, found)
    _show_attainment(screen, found.pta, found.cfr)
    total = sum(found.seconds.values())
    screen.print(f"{len(found.rows)} fits in {total:.3g} s.")
    _where(screen, found.out, report=False)


def _show_attainment(screen: Console, pta: xr.Dataset | None, cfr: xr.Dataset | None) -> None:
    from tdmx_dask.cli.present import print_cfr, print_pta

    if pta is not None:
        print_pta(screen, pta)
        screen.print()
    if cfr is not None:
        print_cfr(screen, cfr)
        screen.print()


def _where(screen: Console, out: Path | None, *, report: bool) -> None:
    page = f"  (open {out}/report.html)" if report else ""
    screen.print(f"Results: {out}{page}", soft_wrap=True)
    screen.print(NOTICE, style="bold")


def _chains(fit: Fit) -> str:
    sizes = fit.draws.sizes
    seed = fit.attrs.get("seed")
    return f"{sizes['chain']} chains of {sizes['draw']:,} draws" + (
        f", seed {seed}" if seed is not None else ""
    )


def _folder_name(name: str) -> str:
    """A folder's name from a patient's id, which may hold any sign."""
    return (
        "".join(letter if letter.isalnum() or letter in "_-." else "_" for letter in name).lstrip(".")
        or "fit"
    )


def _write_csv(rows: list[Any], path: Path | None) -> None:
    if path is None:
        return
    from tdmx_dask.api.records import write_csv
    from tdmx_dask.store.publish import staging

    with staging(path) as partial:
        write_csv(rows, partial)


def _print_json(what: dict[str, Any]) -> None:
    from tdmx_dask.store.digest import json_safe

    click.echo(json.dumps(json_safe({"notice": NOTICE, **what}), ensure_ascii=False, allow_nan=False))


def _attainment(pta: xr.Dataset | None, cfr: xr.Dataset | None) -> dict[str, Any]:
    from tdmx_dask.api.records import cfr_rows, pta_rows

    found: dict[str, Any] = {}
    if pta is not None:
        found["pta"] = pta_rows(pta)
    if cfr is not None:
        found["cfr"] = cfr_rows(cfr)
    return found


def _plain_individual(found: Individual) -> dict[str, Any]:
    from tdmx_dask.api.individual import level_rows, posterior_rows

    diagnosis = found.fit.diagnose()
    return {
        "patient": found.patient.id,
        "engine": found.fit.engine,
        "healthy": bool(diagnosis.healthy),
        "problems": list(diagnosis.problems),
        "posterior": posterior_rows(found),
        "levels": level_rows(found),
        **_attainment(found.pta, found.cfr),
        "notes": list(found.notes),
        "seconds": found.seconds,
        "out": str(found.out),
    }


def _plain_patients(found: Patients) -> dict[str, Any]:
    return {
        "patients": found.rows,
        "failures": found.failures,
        "interrupted": found.interrupted,
        **_attainment(found.pta, found.cfr),
        "notes": list(found.notes),
        "seconds": found.seconds,
        "out": str(found.out),
    }
