"""Labels, colours and scales of figures."""

from __future__ import annotations

import itertools

import pytest

from tdmx_dask.plot import style


def test_mic_label__as_eucast_prints_dilutions() -> None:
    text = "0.001 0.002 0.004 0.008 0.016 0.03 0.06 0.125 0.25 0.5 1 2 4 8 16 32 64 128 256 512"
    printed = text.split()
    assert [style.mic_label(2.0**power) for power in range(-10, 10)] == printed
    assert [style.mic_label(float(one)) for one in printed] == printed
    assert [style.mic_label(mic) for mic in (3, 5.5, 0.7, 2.0**-12)] == ["3", "5.5", "0.7", "0.000244141"]


def test_mic_position__a_printed_dilution_stands_at_its_power() -> None:
    assert style.mic_position(0.03) == style.mic_position(2.0**-5) == -5.0
    assert style.mic_position(3) == pytest.approx(1.585, abs=1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (1, "100 %"), (0.9949, "99 %"), (0.997, ">99 %"), (0.9998, "100 %"), (0.002, "<1 %")],
)
def test_percent__says_what_rounding_would_hide(value: float, text: str) -> None:
    assert style.percent(value) == text


def test_percent__not_a_number_is_a_dash() -> None:
    assert style.percent(float("nan")) == "–"


def test_line_style__no_two_regimens_look_alike() -> None:
    looks = [style.line_style(slot) for slot in range(12)]
    for one, other in itertools.combinations(looks, 2):
        assert one["marker"] != other["marker"]
        assert (one["color"], one["linestyle"]) != (other["color"], other["linestyle"])


def _contrast(one: str, other: str) -> float:
    import matplotlib as mpl

    def luminance(colour: str) -> float:
        parts = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in mpl.colors.to_rgb(colour)
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_classes__numbers_can_be_read_on_their_fill() -> None:
    # WCAG 2, level AA: a contrast of 4.5 for text.
    colours = [style.class_colour(value, 0.9) for value in (0.95, 0.9, 0.85, 0.6, 0.1)]
    assert colours[0] == colours[1]
    assert len(set(colours)) == 4
    assert all(_contrast(colour, style.ink_on(colour)) >= 4.5 for colour in colours)


def test_wrapped__breaks_and_shortens() -> None:
    assert style.wrapped("a b\nc", 10) == "a b c"
    lines = style.wrapped("word " * 60, 20, 2).split("\n")
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert all(len(line) <= 20 for line in style.wrapped("x" * 300, 20, 3).split("\n"))
