"""A study: who is treated, how, against which targets and isolates, and which published table to meet."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tdmx_dask.domain.document import read_yaml
from tdmx_dask.domain.grid import parse_mic_grid
from tdmx_dask.domain.mic import MICDistribution, match_mic
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.published import Published
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.scenario import Scenario, read_design
from tdmx_dask.domain.section import Item, Section, nearest
from tdmx_dask.domain.target import AllOf, Target, parse_target
from tdmx_dask.errors import InputError, TdmxWarning

__all__ = [
    "N_DEFAULT",
    "Scenario",
    "Study",
    "needs_mic",
    "noting",
    "read_distributions",
    "read_fu",
    "read_mics",
    "read_population",
    "read_study",
    "read_targets",
    "shipped_studies",
]

N_DEFAULT = 10_000
"""Virtual patients of a study that does not say how many."""

_TEXTS = ("title", "description", "source")
_KEYS = (
    *("name", *_TEXTS, "seed", "n", "draws", "population", "subjects", "fu", "scenarios", "regimens"),
    *("targets", "mic", "distributions", "level", "breakpoint_level", "published"),
)


@dataclass(frozen=True, slots=True)
class Study:
    """A study that checked itself.

    Parameters
    ----------
    name : one word; names the results folder
    scenarios : at least one
    design : which regimen is given in which scenario, as (scenario name, regimen) pairs
    targets : at least one
    mic : mg/L, ascending
    title, description, source : as printed
    seed : of every random number
    n : virtual patients where a population is simulated; None where draws are given
    draws : a Zarr store of draws, or a file of another format (CSV, Parquet, NetCDF); or None
    population : None where the draws say all
    subjects : virtual patients of one draw (two-level); 1 is one level
    distributions : of MICs, for CFR
    published : a table to hold the result against
    fu : unbound fraction; None where draws or population give it, or nothing needs it
    level : of the intervals, a fraction
    breakpoint_level : PTA that makes a breakpoint, a fraction
    path : the file it was read from
    mapping : the study as read
    notes : what was mended on reading, as it was warned about
    """

    name: str
    scenarios: tuple[Scenario, ...]
    design: tuple[tuple[str, Regimen], ...]
    targets: tuple[Target | AllOf, ...]
    mic: tuple[float, ...]
    title: str = ""
    description: str = ""
    source: str = ""
    seed: int = 0
    n: int | None = None
    draws: Path | None = None
    population: Population | None = None
    subjects: int = 1
    distributions: tuple[MICDistribution, ...] = ()
    published: Published | None = None
    fu: float | None = None
    level: float = 0.95
    breakpoint_level: float = 0.9
    path: Path | None = None
    mapping: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def regimens(self) -> tuple[Regimen, ...]:
        """Each regimen once, in the order of the design."""
        return tuple({regimen.label: regimen for _, regimen in self.design}.values())

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, path: Path | None = None) -> Study:
        """Build a study from what a YAML file holds.

        Parameters
        ----------
        mapping : the files in ``config/studies`` show every key
        path : the file; relative paths in the mapping start from its folder

        Raises
        ------
        InputError
            Anything unknown, missing, out of range or contradictory, named by its path and its line.
        """
        top = Section(Item(mapping, "")).only(*_KEYS)
        folder = path.parent if path else Path()
        population = read_population(top, folder)
        draws = folder / top.text("draws") if "draws" in top else None
        if population is None and draws is None:
            top.at("population")
        scenarios, design = read_design(top, population.covariates if population else None)
        targets = read_targets(top)
        with noting() as notes:
            distributions = read_distributions(top, folder)
        mic = read_mics(top, targets, distributions)
        published = _published(top, scenarios, design, targets, mic) if "published" in top else None
        return cls(
            name=_name(top, path),
            scenarios=scenarios,
            design=design,
            targets=tuple(targets),
            mic=mic,
            **{key: top.text(key) if key in top else "" for key in _TEXTS},
            seed=top.integer("seed", 0),
            n=_n(top, draws),
            draws=draws,
            population=population,
            subjects=_subjects(top, draws),
            distributions=distributions,
            published=published,
            fu=read_fu(top),
            level=top.number("level", 0.95, low=0.5, high=0.9999),
            breakpoint_level=top.number("breakpoint_level", 0.9, low=0.01, high=1),
            path=path,
            mapping=mapping,
            notes=tuple(notes),
        )


def read_study(given: str | Path) -> Study:
    """Read a study.

    Parameters
    ----------
    given : a YAML file, or the name of a study that is shipped

    Raises
    ------
    InputError
        There is no such file or name, or the study is not one (see `Study.from_mapping`).
    """
    path = Path(given)
    shipped = shipped_studies()
    if not path.is_file():
        if str(given) not in shipped:
            close = nearest(path.stem, tuple(shipped))
            raise InputError(
                "study", given, "there is no such file, and no shipped study of that name", close
            )
        path = shipped[str(given)]
    return Study.from_mapping(read_yaml(path), path=path)


def shipped_studies() -> dict[str, Path]:
    """Name and file of the studies that come with tdmx_dask, by name."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_shipped" / "config" / "studies", package.parent / "config" / "studies"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    return {}


def needs_mic(target: Target | AllOf) -> bool:
    """Whether a target, or one of several, is relative to the MIC."""
    return any(each.per_mic for each in (target.targets if isinstance(target, AllOf) else (target,)))


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect what our own warnings say inside; they are given all the same."""
    texts: list[str] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TdmxWarning)
            yield texts
    finally:
        for each in caught:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
            if issubclass(each.category, TdmxWarning) and str(each.message) not in texts:
                texts.append(str(each.message))


def _name(top: Section, path: Path | None) -> str:
    name = top.text("name", path.stem if path else "study")
    if not all(letter.isalnum() or letter in "_-." for letter in name) or name.startswith("."):
        rule = "the name of a study names a folder: letters, digits, _, - and ."
        top.at("name").fail(rule, "Put the words into `title:`.")
    return name


def read_population(top: Section, folder: Path) -> Population | None:
    """The population of a document: a mapping, or the file that holds one; None where there is none."""
    if "population" not in top:
        return None
    item = top.at("population")
    if isinstance(item.value, str):
        file = folder / item.value
        with item.naming():
            item = Item(read_yaml(file), "population")
    if not isinstance(item.value, Mapping):
        item.fail("a population is a mapping, or the file that holds one")
    return Population.from_mapping(item)


def _n(top: Section, draws: Path | None) -> int | None:
    if draws is None:
        return top.integer("n", N_DEFAULT, low=1, high=10**12)
    if "n" in top:
        top.at("n").fail("the number of draws is that of the store", "Remove n, or remove draws.")
    return None


def _subjects(top: Section, draws: Path | None) -> int:
    subjects = top.integer("subjects", 1, low=1, high=10**9)
    if subjects > 1 and draws is None:
        rule = "virtual patients of each draw need draws of the population's parameters"
        top.at("subjects").fail(rule, "Give `draws:`, or use n: each draw of a population is a patient.")
    return subjects


def read_fu(top: Section) -> float | None:
    """The unbound fraction of a document, above 0 and at most 1."""
    if "fu" not in top:
        return None
    fu = top.number("fu", low=0, high=1)
    if fu == 0:
        top.at("fu").fail("the unbound fraction is above 0 and at most 1", "Give 0.89 for 11 % bound.")
    return fu


def read_targets(top: Section) -> list[Target | AllOf]:
    """The targets of a document, each once."""
    found: list[Target | AllOf] = []
    for item in top.items("targets"):
        found.append(_target(item))
        if any(found[-1].label == other.label for other in found[:-1]):
            item.fail("this target is given twice", "Keep one.")
    return found


def _target(item: Item) -> Target | AllOf:
    if not isinstance(item.value, str | Mapping):
        item.fail("a target is a text or a mapping", "Write fT>MIC >= 50%.")
    with item.naming():
        return parse_target(item.value)


def read_distributions(top: Section, folder: Path) -> tuple[MICDistribution, ...]:
    """The MIC distributions of a document; none where it has none."""
    if "distributions" not in top:
        return ()
    found: list[MICDistribution] = []
    for item in top.items("distributions"):
        for distribution in _distribution(item, folder):
            if any(distribution.organism == other.organism for other in found):
                item.fail(
                    f"two distributions are called {distribution.organism}", "Name the organisms apart."
                )
            found.append(distribution)
    return tuple(found)


def _distribution(item: Item, folder: Path) -> Sequence[MICDistribution]:
    """One distribution from a text or a mapping, or all of a file."""
    value = item.value
    if isinstance(value, Mapping) and "file" in value:
        section = item.section().only("file")
        with section.at("file").naming():
            return MICDistribution.read_csv(folder / section.text("file"))
    if isinstance(value, Mapping) and "text" in value:
        section = item.section().only("text", "organism", "source", "illustrative")
        with section.at("text").naming():
            return [
                MICDistribution.parse(
                    section.text("text"),
                    organism=section.text("organism", "isolates"),
                    source=section.text("source") if "source" in section else "",
                    illustrative=section.flag("illustrative", default=False),
                )
            ]
    if not isinstance(value, str | Mapping):
        item.fail("a distribution is a text or a mapping", "Write 0.25:0.1, 0.5:0.2, …")
    with item.naming():
        if isinstance(value, str):
            return [MICDistribution.parse(value, organism="isolates")]
        return [MICDistribution.from_mapping(value)]


def read_mics(
    top: Section, targets: Sequence[Target | AllOf], distributions: Sequence[MICDistribution]
) -> tuple[float, ...]:
    """The grid: as given, else the MICs of the distributions, else 1 mg/L where no target needs one."""
    if "mic" not in top:
        if distributions:
            return tuple(sorted({mic for each in distributions for mic in each.mic}))
        if any(map(needs_mic, targets)):
            top.at("mic")
        return (1.0,)
    item = top.at("mic")
    with item.naming():
        if isinstance(item.value, str):
            mic = parse_mic_grid(item.value)
        else:
            mic = parse_mic_grid([each.number() for each in item.items()])
        for distribution in distributions:
            match_mic(distribution.mic, mic)
    return mic


def _published(
    top: Section,
    scenarios: Sequence[Scenario],
    design: Sequence[tuple[str, Regimen]],
    targets: Sequence[Target | AllOf],
    mic: tuple[float, ...],
) -> Published:
    relative = {target.label: needs_mic(target) for target in targets}
    regimens = {regimen.label: regimen for _, regimen in design}
    labels: dict[str, Callable[[Item], str]] = {
        "scenario": lambda item: _label(item, [scenario.name for scenario in scenarios]),
        "regimen": lambda item: _label(item, list(regimens), lambda text: str(Regimen.parse(text))),
        "target": lambda item: _label(item, list(relative), lambda text: parse_target(text).label),
    }
    section = top.at("published").section()
    published = Published.read(section, labels, mic)
    asked = {(scenario, regimen.label) for scenario, regimen in design}
    for cell in published.cells:
        where = f"{cell.scenario}, {cell.regimen}, {cell.target}"
        if (cell.scenario, cell.regimen) not in asked:
            section.item.fail(
                f"the study does not compute the cell {where}", "Add the regimen to the scenario."
            )
        if cell.mic is None and relative[cell.target] and len(mic) > 1:
            section.item.fail(f"the cell {where} needs a MIC", "Add a column `mic`.")
    return published


def _label(item: Item, known: Sequence[str], canonical: Callable[[str], str] | None = None) -> str:
    """A label of the study, given as such or in another way of writing it."""
    text = item.text()
    if text in known:
        return text
    if canonical is not None:
        try:
            if canonical(text) in known:
                return canonical(text)
        except InputError:
            pass
    return item.fail("the study has none of this name", nearest(text, known))
