"""Plain YAML, and the YAML that is refused."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

import pytest

from tdmx_dask.domain.document import LinedList, LinedMapping, parse_yaml, read_yaml
from tdmx_dask.domain.section import Item, Section, nearest, shown
from tdmx_dask.errors import InputError, SchemaError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-11-23", "2026-11-23"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("010", 10),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("+1.5E-2", 0.015),
        (".inf", math.inf),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_scalar__core_schema(text, value):
    found = parse_yaml(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_parse__knows_its_lines():
    top = parse_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n", file="s.yaml")
    assert top == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert top.lines == {"a": 1, "b": 3}
    inner = top["b"]
    assert isinstance(inner, LinedList)
    assert inner.lines == [3, 4]
    assert isinstance(inner[1], LinedMapping)
    assert inner[1].lines == {"c": 4, "d": 5}
    assert inner[1].file == "s.yaml"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: !!python/object/apply:os.system [ls]", "line 1: YAML tags are not read here"),
        ("a: 1\nb: !mine x", "line 2: YAML tags"),
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("a: 1\n1: 2", "line 2: a key must be text, not 1. Put it in quotes"),
        ("? [x]\n: 1", "a key must be text"),
        ("a: 1\n---\nb: 1", "line 3: one file holds one YAML document|line 2: one file"),
        ("- 1\n- 2", "the top must be a mapping"),
        ("", "the top must be a mapping"),
        ("a: [1", "this is not YAML"),
        ("\ta: 1", "line 1: this is not YAML"),
        ("a: \x07", "this is not YAML"),
        ("a: *x", "stands for nothing"),
        ("a: &x [*x]", "stands for nothing"),
        ("a: " + "[" * 41 + "]" * 41, "nest at most 40 deep"),
        ("a: &x 1\nb: [" + "*x," * 51 + "]", "at most 50 aliases"),
    ],
)
def test_parse__refused(text, match):
    with pytest.raises(SchemaError, match=match) as caught:
        parse_yaml(text, file="s.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("file=s.yaml")


def test_parse__alias_is_the_value():
    assert parse_yaml("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


def test_parse__aliases_do_not_multiply():
    bomb = "a: &a [" + "x," * 5_000 + "]\nb: [" + "*a," * 45 + "]"
    with pytest.raises(SchemaError, match="at most 200,000 values"):
        parse_yaml(bomb)


def test_parse__aliases_do_not_deepen():
    deep = (
        "a0: &a0 " + "[" * 38 + "]" * 38 + "\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 9))
    )
    with pytest.raises(SchemaError, match="nest at most 40 deep"):
        parse_yaml(deep)


def test_parse__nesting_costs_nothing():
    start = time.perf_counter()
    with pytest.raises(SchemaError, match="nest at most 40 deep"):
        parse_yaml("a: " + "[" * 10_000_000)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"a: 1\n\0", "NUL bytes"),
        ("a: ä".encode("latin-1"), "line 1: the text is not UTF-8"),
        ("a: 1".encode("utf-16"), "NUL bytes"),
        (b"a: 1 #" + b"x" * 1_000_000, "at most 1 MB"),
    ],
)
def test_read__refused(tmp_path: Path, raw, match):
    path = tmp_path / "s.yaml"
    path.write_bytes(raw)
    with pytest.raises(SchemaError, match=match):
        read_yaml(path)


def test_read__takes_a_byte_order_mark(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(path) == {"a": 1}


def test_read__no_such_file(tmp_path: Path):
    with pytest.raises(SchemaError, match=r"cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "none.yaml")


def section(text: str) -> Section:
    return Section(Item(parse_yaml(text, file="dir/s.yaml"), ""))


def test_section__reads():
    found = section("a: 1.5\nb: 1e3\nc: word\nd: [1, 2]\ne: true\nf: {g: 1}")
    assert found.number("a") == 1.5
    assert found.integer("b") == 1000
    assert found.text("c") == "word"
    assert [item.number() for item in found.items("d")] == [1, 2]
    assert found.flag("e", False) is True
    assert found.at("f").section().integer("g") == 1
    assert found.number("zz", 3.0) == 3.0
    assert "zz" not in found
    assert list(found) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        (
            "regimen: 1",
            lambda s: s.only("regimens", "seed"),
            "regimen=1: this key is not known here. Did you mean regimens? (s.yaml, line 1)",
        ),
        (
            "qq: 1",
            lambda s: s.only("n", "seed"),
            "qq=1: this key is not known here. Known: n, seed. (s.yaml, line 1)",
        ),
        (
            "a: {b: x}",
            lambda s: s.at("a").section().number("b"),
            "a.b=x: a number is wanted here. (s.yaml, line 1)",
        ),
        ("a: .nan", lambda s: s.number("a"), "a=nan: the number must be finite. (s.yaml, line 1)"),
        ("a: true", lambda s: s.number("a"), "a=true: a number is wanted here. (s.yaml, line 1)"),
        ("a: 2", lambda s: s.number("a", low=0, high=1), "a=2: it must be between 0 and 1. (s.yaml, line 1)"),
        ("a: -2", lambda s: s.integer("a", low=0), "a=-2: it must be at least 0. (s.yaml, line 1)"),
        ("a: 2", lambda s: s.number("a", high=1), "a=2: it must be at most 1. (s.yaml, line 1)"),
        ("a: 1.5", lambda s: s.integer("a"), "a=1.5: a whole number is wanted here. (s.yaml, line 1)"),
        ("a: yes", lambda s: s.flag("a", True), "a=yes: this is true or false. (s.yaml, line 1)"),
        ("a: []", lambda s: s.items("a"), "a=[]: the list is empty. Give at least one. (s.yaml, line 1)"),
        (
            "a: [1, x]",
            lambda s: s.items("a")[1].number(),
            "a[1]=x: a number is wanted here. (s.yaml, line 1)",
        ),
        (
            "a: [1]",
            lambda s: s.at("a").section(),
            "a=[1]: a mapping of `key: value` is wanted here. (s.yaml, line 1)",
        ),
        ("a: [1]", lambda s: s.text("a"), "a=[1]: text is wanted here. (s.yaml, line 1)"),
        ("a: ' '", lambda s: s.text("a"), "a=: the text is empty. (s.yaml, line 1)"),
        (
            "a:",
            lambda s: s.at("a"),
            "a=null: a value is missing after this key. Write `a: …`. (s.yaml, line 1)",
        ),
        (
            "b: {c: 1}",
            lambda s: s.at("b").section().at("a"),
            "b.a=null: b needs this key. Write `a: …`. (s.yaml, line 1)",
        ),
    ],
)
def test_section__complains(text, read, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read(section(text))


def test_section__plain_mapping_has_no_place():
    with pytest.raises(InputError, match=r"^a=x: a number is wanted here\.$"):
        Section(Item({"a": "x"}, "")).number("a")
    with pytest.raises(SchemaError, match="a key must be text, not 1"):
        Section(Item({1: "x"}, ""))


def test_naming__of_a_mapping():
    item = section("a:\n  tau: 8\n  tinf: 9").at("a")
    with (
        pytest.raises(InputError, match=r"^a\.tinf=9: too long\. Shorten it\. \(s\.yaml, line 3\)$"),
        item.naming(),
    ):
        raise InputError("tinf", 9, "too long", "Shorten it.")


def test_naming__of_a_text():
    item = section("a: 10 mg q8h inf 9h").at("a")
    match = r"^a=10 mg q8h inf 9h: tinf=9: too long\. Shorten it\. \(s\.yaml, line 1\)$"
    with pytest.raises(InputError, match=match), item.naming():
        raise InputError("tinf", 9, "too long", "Shorten it.")
    with pytest.raises(InputError, match=r"^a=10 mg q8h inf 9h: nonsense\. \(s"), item.naming():
        raise InputError("regimen", "10 mg q8h inf 9h", "nonsense")


def test_shown__is_one_short_line():
    assert shown("x\ny") == "x y"
    assert shown({"a": 1}) == "{a}"
    assert shown(None) == "null"
    assert len(shown("x" * 1000)) == 60


def test_nearest__ignores_case():
    assert nearest("SEED", ("n", "seed")) == "Did you mean seed?"
    assert nearest("q", ()) == ""
