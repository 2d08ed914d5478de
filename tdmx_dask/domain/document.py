"""YAML as plain data: mappings, lists, text, numbers, true, false and null, and nothing that can surprise.

The file is read event by event and built here, so what is refused is refused before it costs anything:
nesting, tags, aliases that multiply, a key given twice. Scalars follow the YAML 1.2 core schema: ``no`` and
``on`` are text, ``12:30`` is text, ``1e3`` is a number. Mappings and lists remember their lines, so that a
later complaint can name the place.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tdmx_dask.errors import SchemaError

__all__ = [
    "MAX_ALIASES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "LinedList",
    "LinedMapping",
    "parse_value",
    "parse_yaml",
    "read_yaml",
]

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_ALIASES = 50
MAX_NODES = 200_000
"""Values in one document, an alias counted with all it stands for."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?")
_NAMED = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class LinedMapping(dict[str, object]):
    """A mapping that knows its file, its own line and the line of each key (counted from 1)."""

    file: str = ""
    line: int = 0
    lines: dict[str, int]

    def __init__(self, file: str, line: int) -> None:
        super().__init__()
        self.file, self.line, self.lines = file, line, {}


class LinedList(list[object]):
    """A list that knows its file, its own line and the line of each item (counted from 1)."""

    file: str = ""
    line: int = 0
    lines: list[int]

    def __init__(self, file: str, line: int) -> None:
        super().__init__()
        self.file, self.line, self.lines = file, line, []


def read_yaml(path: str | Path) -> LinedMapping:
    """Read one YAML file whose top is a mapping.

    Parameters
    ----------
    path : a file of at most 1 MB, UTF-8

    Returns
    -------
    the mapping; every mapping and list in it knows its lines

    Raises
    ------
    SchemaError
        the file cannot be read, is too large, is not UTF-8, or is not the plain YAML described above
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SchemaError(
            "file", path, f"it cannot be read ({error.strerror or error})", "Check the path."
        ) from None
    if len(raw) > MAX_BYTES:
        raise SchemaError(
            "file", path, "a YAML file has at most 1 MB", "Keep tables in CSV or Zarr and name them here."
        )
    if b"\0" in raw:
        raise SchemaError("file", path, "it holds NUL bytes, so it is not UTF-8 text", "Save it as UTF-8.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SchemaError(
            "file", f"{path}, line {line}", "the text is not UTF-8", "Save it as UTF-8."
        ) from None
    return parse_yaml(text, file=str(path))


def parse_yaml(text: str, *, file: str = "text") -> LinedMapping:
    """Build the mapping that a YAML text stands for; ``file`` is the name to complain under.

    Raises
    ------
    SchemaError
        see `read_yaml`
    """
    top = parse_value(text, file=file)
    if not isinstance(top, LinedMapping):
        raise _Builder(file).error(
            1, "the top must be a mapping of `key: value` lines", "Begin with `name:`."
        )
    return top


def parse_value(text: str, *, file: str = "text") -> object:
    """Build whatever a YAML text stands for: a mapping, a list, a text, a number, true, false or null.

    Raises
    ------
    SchemaError
        see `read_yaml`
    """
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if "maximum nesting depth" in str(error.problem):  # libyaml reads ahead, and has a limit of its own
            raise builder.too_deep(mark.line + 1 if mark else 0) from None
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise builder.error(
            mark.line + 1 if mark else 0, f"this is not YAML ({what})", "Check the indentation."
        ) from None
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())[:120]
        raise SchemaError("file", file, f"this is not YAML ({what})", "Save it as UTF-8 text.") from None
    return builder.top


class _Builder:
    """Takes YAML events and builds the value, with its limits checked as it grows."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.top: object = None
        self._n_documents = self._n_nodes = self._n_aliases = 0
        self._open: list[LinedMapping | LinedList] = []
        self._anchor_of_open: list[str | None] = []
        self._keys: list[str | None] = []
        self._anchors: dict[str, object] = {}

    def error(self, line: int, rule: str, fix: str) -> SchemaError:
        """A complaint about one line of the file."""
        return SchemaError("file", f"{self.file}, line {line}" if line else self.file, rule, fix)

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the stream."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._n_documents += 1
            if self._n_documents > 1:
                raise self.error(line, "one file holds one YAML document", "Remove the second `---`.")
        elif isinstance(event, yaml.AliasEvent):
            self._put(self._expand(str(event.anchor), line), line)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event.tag, line)
            self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._refuse_tag(event.tag, line)
            self._begin(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            raise self.error(line, f"YAML tags are not read here ({tag[:40]})", "Write the plain value.")

    def _count(self, n: int, line: int) -> None:
        self._n_nodes += n
        if self._n_nodes > MAX_NODES:
            raise self.error(
                line, f"a document has at most {MAX_NODES:,} values", "Keep large tables in CSV or Zarr."
            )

    def _expand(self, anchor: str, line: int) -> object:
        self._n_aliases += 1
        if self._n_aliases > MAX_ALIASES:
            raise self.error(
                line, f"a document has at most {MAX_ALIASES} aliases (*name)", "Write the values out."
            )
        if anchor not in self._anchors:
            raise self.error(
                line, f"the alias *{anchor} stands for nothing that is complete here", "Define it before."
            )
        value = self._anchors[anchor]
        n_values, depth = _measure(value)
        self._count(n_values, line)
        self._check_depth(len(self._open) + depth, line)
        return value

    def _check_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            raise self.too_deep(line)

    def too_deep(self, line: int) -> SchemaError:
        """The error of values that nest too deep."""
        return self.error(line, f"values nest at most {MAX_DEPTH} deep", "Flatten them.")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._count(1, line)
        if self._awaits_key():
            if event.implicit[0] and not isinstance(_resolve(event.value), str):
                raise self.error(
                    line, f"a key must be text, not {event.value[:40] or 'empty'}", "Put it in quotes."
                )
            self._key(event.value, line)
            return
        value = _resolve(event.value) if event.implicit[0] else event.value
        if event.anchor:
            self._anchors[event.anchor] = value
        self._put(value, line)

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], LinedMapping) and self._keys[-1] is None

    def _key(self, key: str, line: int) -> None:
        mapping = self._open[-1]
        if key in mapping:
            raise self.error(line, f"the key {key[:60]!r} is given twice", "Keep one of them.")
        self._keys[-1] = key

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if self._awaits_key():
            raise self.error(line, "a key must be text", "Use a word as the key.")
        self._check_depth(len(self._open) + 1, line)
        self._count(1, line)
        if isinstance(event, yaml.MappingStartEvent):
            self._open.append(LinedMapping(self.file, line))
        else:
            self._open.append(LinedList(self.file, line))
        self._anchor_of_open.append(event.anchor)
        self._keys.append(None)

    def _end(self) -> None:
        value = self._open.pop()
        self._keys.pop()
        anchor = self._anchor_of_open.pop()
        if anchor:
            self._anchors[anchor] = value
        self._put(value, value.line)

    def _put(self, value: object, line: int) -> None:
        if not self._open:
            self.top = value
            return
        owner = self._open[-1]
        if isinstance(owner, LinedList):
            owner.append(value)
            owner.lines.append(line)
            return
        key = self._keys[-1]
        if key is None:
            raise self.error(line, "a key must be text", "Write the key out.")
        owner[key] = value
        owner.lines[key] = line
        self._keys[-1] = None


def _resolve(text: str) -> object:
    """A plain scalar by the YAML 1.2 core schema."""
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _measure(value: object) -> tuple[int, int]:
    """Number of values in a value, counted up to one above the limit, and how deep they nest."""
    n_values, deepest = 0, 0
    pending = [(value, 0)]
    while pending and n_values <= MAX_NODES:
        item, depth = pending.pop()
        n_values += 1
        if isinstance(item, LinedMapping | LinedList):
            deepest = max(deepest, depth + 1)
            inner = item.values() if isinstance(item, LinedMapping) else item
            pending.extend((each, depth + 1) for each in inner)
    return n_values, deepest
