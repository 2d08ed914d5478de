"""Tables of MIC distributions: long (a row a MIC) and wide as EUCAST's (a row an organism)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tdmx_dask.domain.dilutions import Level, read_level
from tdmx_dask.domain.units import nearest, number_text, parse_number
from tdmx_dask.errors import InputError

__all__ = ["read"]

Pairs = list[tuple[Level, float]]

_COLUMNS = {
    "organism": ("organism", "species", "bacterium", "micro-organism", "microorganism"),
    "mic": ("mic", "mic (mg/l)", "mic_mg_l", "mic mg/l"),
    "count": ("count", "counts", "n", "isolates", "number", "observations"),
    "weight": ("weight", "fraction", "frequency", "proportion", "probability"),
    "drug": ("drug", "antibiotic", "agent", "antimicrobial"),
}
_BESIDE = ("distributions", "observations", "(t)ecoff", "ecoff", "confidence interval", "drug")  # EUCAST's
_FORMS = "Give the columns organism, mic and count (or weight), or organism and a column for each MIC."


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: its number in the file and its cells."""

    number: int
    cells: list[str]


def read(path: Path) -> list[tuple[str, Pairs, bool | None]]:
    """Organisms in the order of the file, with their MICs and numbers.

    The third says whether these are counts: False for weights, None where a wide table leaves it open.

    Raises
    ------
    InputError
        The file cannot be read, is empty or of another layout; names line and column.
    """
    lines = _lines(path)
    header = [" ".join(cell.lower().split()) for cell in lines[0].cells]
    names = [next((name for name, forms in _COLUMNS.items() if cell in forms), "") for cell in header]
    if "mic" in names:
        return _long(path, lines, names)
    if sum(_is_mic(cell) for cell in header) >= 2:
        return _wide(path, lines, header)
    raise InputError(path.name, ", ".join(lines[0].cells), "this header is of no MIC table", _FORMS)


def _lines(path: Path) -> list[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError("file", path, f"it cannot be read: {error.strerror}", "Check the path.") from None
    except UnicodeDecodeError as error:
        rule = f"it is not UTF-8 text (byte {error.start})"
        raise InputError("file", path, rule, "Save it as CSV in UTF-8.") from None
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = next((sign for sign in (";", "\t") if sign in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
                lines.append(Line(reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise InputError(
            f"{path.name}, line {reader.line_num}", "", str(error), "Check its quotes."
        ) from None
    if len(lines) < 2:
        rule = "the file is empty" if not lines else "there is no line below the header"
        raise InputError("file", path, rule, _FORMS)
    width = len(lines[0].cells)
    for line in lines[1:]:
        while len(line.cells) > width and not line.cells[-1]:
            line.cells.pop()
        if len(line.cells) != width:
            rule = f"this line has {len(line.cells)} columns, the header {width}"
            raise InputError(
                f"{path.name}, line {line.number}", line.cells[0], rule, f"Separate by '{separator}'."
            )
    return lines


def _long(path: Path, lines: Sequence[Line], names: Sequence[str]) -> list[tuple[str, Pairs, bool | None]]:
    """A row a MIC of an organism."""
    at = _long_columns(path, lines[0].cells, names)
    value = "count" if "count" in at else "weight"
    found: dict[str, Pairs] = {}
    drugs: set[str] = set()
    cells = _Cells(path)
    for line in lines[1:]:
        organism = line.cells[at["organism"]] if "organism" in at else path.stem
        if not organism:
            raise InputError(f"{path.name}, line {line.number}", "", "the organism is missing", "Repeat it.")
        level = cells.level(line.cells[at["mic"]], line.number, "mic")
        number = cells.number(line.cells[at[value]], line.number, value, whole=value == "count")
        found.setdefault(organism, []).append((level, number))
        drugs |= {line.cells[at["drug"]]} if "drug" in at else set()
    if len(drugs) > 1:
        rule = "a table must be of one drug"
        raise InputError(path.name, ", ".join(sorted(drugs)), rule, "Write a file for each.")
    return [(organism, pairs, value == "count") for organism, pairs in found.items()]


def _long_columns(path: Path, header: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    at: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name:
            fix = f"{nearest(header[index], _COLUMNS)}{_FORMS}"
            raise InputError(
                f"{path.name}, column {index + 1}", header[index], "this column is not known", fix
            )
        if name in at:
            raise InputError(
                f"{path.name}, column {index + 1}", header[index], f"{name} is there twice", _FORMS
            )
        at[name] = index
    if ("count" in at) == ("weight" in at):
        raise InputError(path.name, ", ".join(header), "one of count and weight must be there", _FORMS)
    return at


def _wide(path: Path, lines: Sequence[Line], header: Sequence[str]) -> list[tuple[str, Pairs, bool | None]]:
    """A row an organism, a column a MIC; MICs without isolates at the ends are left out."""
    cells = _Cells(path)
    levels: dict[int, Level] = {}
    for index, cell in enumerate(header[1:], start=1):
        if _is_mic(cell):
            levels[index] = cells.level(cell, lines[0].number, lines[0].cells[index])
        elif cell and cell not in _BESIDE:
            fix = f"{nearest(cell, _BESIDE)}{_FORMS}"
            raise InputError(f"{path.name}, column {index + 1}", cell, "this column is not known", fix)
    seen: dict[str, int] = {}
    found: list[tuple[str, Pairs, bool | None]] = []
    for line in lines[1:]:
        where, organism = f"{path.name}, line {line.number}", line.cells[0]
        if not organism or organism in seen:
            rule = (
                f"the organism is on line {seen[organism]} already" if organism else "the organism is missing"
            )
            raise InputError(where, organism, rule, "Write one line for each organism.")
        seen[organism] = line.number
        pairs = [
            (level, cells.number(line.cells[index] or "0", line.number, str(level)))
            for index, level in levels.items()
        ]
        total = sum(number for _, number in pairs)
        if "observations" in header and line.cells[header.index("observations")]:
            said = cells.number(line.cells[header.index("observations")], line.number, "observations")
            if said != total:
                rule = f"the counts sum to {number_text(total)}, not to {number_text(said)} observations"
                raise InputError(where, organism, rule, "Check that the columns are in place.")
        found.append((organism, _trimmed(pairs), None))
    return found


def _trimmed(pairs: Pairs) -> Pairs:
    """Without the MICs at either end at which there are no isolates."""
    pairs = sorted(pairs, key=lambda pair: (pair[0].sign == ">", pair[0].value))
    kept = [index for index, (_, number) in enumerate(pairs) if number != 0]
    return pairs[kept[0] : kept[-1] + 1] if kept else pairs


def _is_mic(cell: str) -> bool:
    return any(sign.isdigit() for sign in cell) and not any(
        sign.isalpha() for sign in cell.replace("mg/l", "")
    )


class _Cells:
    """Reads cells as numbers; one file writes either decimal commas or decimal points."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sign = ""

    def _check_sign(self, cell: str, name: str) -> None:
        sign = next((each for each in ",." if each in cell), "")
        if sign and self.sign and sign != self.sign:
            rule = "the table writes decimal commas and decimal points"
            raise InputError(name, cell, rule, "Write one of them.")
        self.sign = self.sign or sign

    def level(self, cell: str, line: int, column: str) -> Level:
        """A MIC."""
        name = f"{self.path.name}, line {line}, column {column}"
        self._check_sign(cell, name)
        try:
            return read_level(cell)
        except InputError as error:
            raise InputError(name, cell, error.rule, error.fix) from None

    def number(self, cell: str, line: int, column: str, *, whole: bool = False) -> float:
        """A weight or a count, >= 0."""
        name = f"{self.path.name}, line {line}, column {column}"
        self._check_sign(cell, name)
        if whole and re.fullmatch(r"[1-9]\d{0,2}(\.\d{3})+", cell):
            rule = "a point before three digits can mean two things"
            raise InputError(name, cell, rule, f"Write {cell.replace('.', '')} if it separates thousands.")
        number = parse_number(cell, name)
        if not 0 <= number <= 1e15 or (whole and not number.is_integer()):
            rule = f"this must be a {'whole ' if whole else ''}number >= 0"
            raise InputError(name, cell, rule, "Check that the columns are in place.")
        return number
