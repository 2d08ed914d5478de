"""Formulas: what they give, how they print, and what they refuse."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.formula import FUNCTIONS, MAX_DEPTH, check_name
from tdmx_dask.errors import InputError

VALUES = {
    "WT": np.array([3.5, 70.0, 140.0]),
    "AGE": np.array([0.2, 40.0, 90.0]),
    "SEX": np.array([0.0, 1.0, 1.0]),
}


def value(text, **values):
    return Expression.parse(text).evaluate(values or VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13.6 * (WT / 70)**0.66", 13.6 * (VALUES["WT"] / 70) ** 0.66),
        ("2**3**2", 512),
        ("(2**3)**2", 64),
        ("-2**2", -4),
        ("(-2)**2", 4),
        ("2**-1", 0.5),
        ("10 - 4 - 3", 3),
        ("10 - (4 - 3)", 9),
        ("12 / 4 / 3", 1),
        ("12 / (4 / 3)", 9),
        ("- -+3", 3),
        ("7 / 2", 3.5),
        ("1e3 + .5 + 2. + 1.5E-1", 1002.65),
        ("exp(log(5))", 5),
        ("sqrt(16) + abs(-3)", 7),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("where(SEX == 1, 0.8, 1)", [1, 0.8, 0.8]),
        ("1 + 0.5 * (SEX == 1)", [1, 1.5, 1.5]),
        ("(SEX == 1) + (AGE > 65)", [0, 1, 2]),
        ("AGE > 65", [0, 0, 1]),
        ("where(SEX == 1 and not AGE > 65, 1, 2)", [2, 1, 2]),
        ("where(SEX == 0 or AGE >= 90, 1, 2)", [1, 2, 1]),
        ("where(1 < AGE <= 40, 1, 2)", [2, 1, 2]),
        ("where(SEX != 1, 1, 2)", [1, 2, 2]),
        ("where(AGE < 40, 1, 2)", [1, 2, 2]),
        ("  WT \n / 70 ", VALUES["WT"] / 70),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(value(text), expected, rtol=1e-15)


@pytest.mark.parametrize("number", [3, 2.5, -1.5, 0, 1e300, 5e-324, np.float64(7.25), np.float32(0.5)])
def test_a_number_is_a_formula(number):
    if isinstance(number, np.float32):
        number = float(number)
    expression = Expression.parse(number)
    assert expression.constant == number
    assert expression.names == ()
    assert Expression.parse(str(expression)) == expression


def test_inputs_broadcast_and_extra_names_are_ignored():
    result = value("a + b", a=np.zeros((3, 1)), b=np.arange(4), c=1)
    assert result.shape == (3, 4)
    assert result.dtype == np.float64


def test_names_are_sorted_and_constant_is_none():
    expression = Expression.parse("b * a + b * exp(c)")
    assert expression.names == ("a", "b", "c")
    assert expression.constant is None


def test_arithmetic_gives_inf_and_nan_without_a_warning():
    assert math.isinf(value("1 / 0", x=0))
    assert math.isnan(value("log(-1) + (-8)**0.3", x=0))
    assert math.isinf(value("9**9**9**9**9", x=0))


def test_a_missing_value_names_the_nearest():
    with pytest.raises(InputError, match=r"2 \* CCr=CCr: this name has no value here\. Did you mean CCR\?"):
        Expression.parse("2 * CCr").evaluate({"CCR": 1, "WT": 2})


def test_equal_formulas_are_equal_and_travel():
    one, other = Expression.parse("a+(b*c)"), Expression.parse(" a + b * c ")
    assert one == other
    assert hash(one) == hash(other)
    assert one != Expression.parse("(a + b) * c")
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    with pytest.raises(AttributeError, match="cannot assign"):
        one.names = ()


LEAVES = st.one_of(
    st.floats(0, 1e6).map(lambda x: (repr(x), lambda v: x)),
    st.sampled_from(["a", "b", "Vc_2"]).map(lambda name: (name, lambda v: v[name])),
)


def grow(inner):
    def two(sign, function):
        return st.tuples(inner, inner).map(
            lambda p: (f"({p[0][0]}) {sign} ({p[1][0]})", lambda v: function(p[0][1](v), p[1][1](v)))
        )

    def call(name, function):
        return inner.map(lambda p: (f"{name}({p[0]})", lambda v: function(p[1](v))))

    def choose(sign, function):
        return st.tuples(inner, inner, inner).map(
            lambda p: (
                f"where(({p[0][0]}) {sign} ({p[1][0]}), {p[2][0]}, {p[1][0]})",
                lambda v: np.where(function(p[0][1](v), p[1][1](v)), p[2][1](v), p[1][1](v)),
            )
        )

    return st.one_of(
        two("+", np.add), two("-", np.subtract), two("*", np.multiply), two("/", np.divide), two("**", np.power),
        call("-", np.negative), call("exp", np.exp), call("log", np.log), call("sqrt", np.sqrt),
        choose("<", np.less), choose(">=", np.greater_equal),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.recursive(LEAVES, grow, max_leaves=12))
def test_printing_parses_back_and_values_agree_with_numpy(pair):
    text, function = pair
    values = {"a": np.float64(1.7), "b": np.float64(-0.3), "Vc_2": np.float64(26.5)}
    expression = Expression.parse(text)
    again = Expression.parse(str(expression))
    assert again == expression
    assert str(again) == str(expression)
    assert len(str(expression)) <= len(text)
    with np.errstate(all="ignore"):
        expected = function(values)
    np.testing.assert_allclose(expression.evaluate(values), expected, rtol=1e-12)


ATTACKS = [
    ("a.b", r"a\.b is not allowed"),
    ("().__class__.__bases__", "is not allowed"),
    ("a.__class__", r"a\.__class__ is not allowed"),
    ("__import__('os').system('ls')", "is not allowed"),
    ("__import__('os')", "__import__ is no function"),
    ("eval(a)", "eval is no function of a formula. Known: exp"),
    ("squrt(a)", r"squrt is no function of a formula\. Did you mean sqrt\?"),
    ("exp(a)(b)", r"exp\(a\)\(b\) is not allowed"),
    ("lambda: 1", "lambda: 1 is not allowed"),
    ("lambda", "this is not a formula"),
    ("class", "this is not a formula"),
    ("import os", "this is not a formula"),
    ("a[0]", r"a\[0\] is not allowed"),
    ("[1]", r"\[1\] is not allowed"),
    ("{1: 2}", "is not allowed"),
    ("(1, 2)", "is not allowed"),
    ("a, b", "is not allowed"),
    ("[x for x in a]", "is not allowed"),
    ("(x := 3)", "is not allowed"),
    ("a if b else c", r"Write where\(condition, a, b\)"),
    ("'x'", "'x' is not a number"),
    ("f'{a}'", "is not allowed"),
    ("b'1'", "is not a number"),
    ("True", "True is not a number"),
    ("None", "None is not a number"),
    ("...", r"\.\.\. is not a number"),
    ("1j", "1j is not a number"),
    ("0xFF", "0xFF is not a number"),
    ("1_000", "1_000 is not a number"),
    ("1if a else 2", "1if is not a number"),
    ("1.2.3", r"1\.2\.3 is not a number"),
    ("1e999", "1e999 is too large"),
    ("1" * 1500, "is too large for a number"),
    ("inf", "inf is not a finite number"),
    ("nan * a", "nan is not a finite number"),
    ("a ^ 2", r"\^ has no meaning in a formula\. Write a power as \*\*"),
    ("a # b", "# has no meaning"),
    ("a \\ b", "has no meaning"),
    ("a % b", "a % b is not allowed"),
    ("a // b", "is not allowed"),
    ("a @ b", "is not allowed"),
    ("a | b", "is not allowed"),
    ("a << 99", "is not allowed"),
    ("~a", "~a is not allowed"),
    ("a in b", "in and is have no meaning"),
    ("a is b", "in and is have no meaning"),
    ("exp", r"exp is a function\. Write exp\(\.\.\.\)"),
    ("exp()", "exp takes 1 value, not 0"),
    ("exp(1, 2)", "exp takes 1 value, not 2"),
    ("min(1)", "min takes 2 to 20 values, not 1"),
    ("where(a > 1, b)", "where takes 3 values, not 2"),
    ("exp(*a)", "exp takes plain arguments"),
    ("exp(x=1)", "exp takes plain arguments"),
    ("where(a, b, c)", r"where needs a comparison, not a\. Write a > 0"),
    ("a and b", "and needs a comparison, not a"),
    ("not a", "not needs a comparison, not a"),
    ("a < b + 1 < c", r"b \+ 1 is compared on both sides"),
    ("__a", "__a is no name of a covariate"),
    ("", "the formula is empty"),
    ("  \n ", "the formula is empty"),
    ("a b", "this is not a formula .* near character"),
    ("(((", "this is not a formula"),
    ("a; b", "this is not a formula"),
    ("a = b", "this is not a formula"),
    ("await a", "is not allowed"),
    ("(yield)", "is not allowed"),
    ("*a", "this is not a formula"),
    ("ＣＬ * 2", "FULLWIDTH LATIN CAPITAL LETTER C"),
    ("\ufb01", "LATIN SMALL LIGATURE FI"),
    ("СL", "CYRILLIC CAPITAL LETTER ES"),
    ("a × b", r"MULTIPLICATION SIGN\) is not\. Write \*"),
    ("a − b", r"MINUS SIGN\) is not\. Write -"),
    ("a²", r"SUPERSCRIPT TWO\) is not\. Write \*\*2"),
    ("a\u202eb", r"a\\u202eb: .*RIGHT-TO-LEFT OVERRIDE"),
    ("a\x1b[31m", r"x1b"),
    ("a\x00b", r"a\\x00b: .*character 0"),
]


@pytest.mark.parametrize(("text", "message"), ATTACKS)
def test_what_is_not_arithmetic_is_refused(text, message):
    with pytest.raises(InputError, match=message) as caught:
        Expression.parse(text, name="parameters.CL")
    assert str(caught.value).startswith("parameters.CL=")
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 350


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "(" * 999 + "1" + ")" * 999,
        "-" * 1999 + "1",
        "not " * 400 + "a",
        "a+" * 999 + "a",
    ],
)
def test_nesting_and_length_are_limited(text):
    with pytest.raises(InputError, match=r"nests at most 50 deep|at most 2000 characters"):
        Expression.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "-" * MAX_DEPTH + "a",
        "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH,
        "a+" * MAX_DEPTH + "a",
        "a**" * MAX_DEPTH + "a",
    ],
)
def test_the_deepest_formula_parses_back(text):
    expression = Expression.parse(text)
    assert Expression.parse(str(expression)) == expression


@pytest.mark.parametrize("thing", [True, None, [1], {"a": 1}, 1j])
def test_what_is_neither_text_nor_number_is_refused(thing):
    with pytest.raises(InputError, match="a formula is a text or a number"):
        Expression.parse(thing)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(InputError, match="is not a finite number"):
        Expression.parse(number)


@pytest.mark.parametrize("name", ["WT", "_x", "a1", "Vc_2"])
def test_names_that_a_formula_can_use(name):
    assert check_name(name, "covariate") == name
    assert Expression.parse(name).names == (name,)


@pytest.mark.parametrize(
    "name", ["", "1a", "a b", "a-b", "__a", "ＣＬ", "lambda", "in", "inf", "a.b", *FUNCTIONS]
)
def test_names_that_a_formula_cannot_use(name):
    with pytest.raises(InputError, match=r"^covariate=.*Rename it"):
        check_name(name, "covariate")
