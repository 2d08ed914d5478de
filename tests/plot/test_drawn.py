"""A figure shows itself in a notebook, whether or not pyplot was imported."""

from __future__ import annotations

import struct

from tdmx_dask.plot import style


def test_drawn__has_a_picture_of_twice_the_size_that_it_takes() -> None:
    figure = style.canvas(None, 4, 2)
    figure.add_subplot().plot([1, 2])
    png, size = figure._repr_png_()  # type: ignore[attr-defined]
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert size == {"width": 4 * figure.dpi, "height": 2 * figure.dpi}
    assert (width, height) == (2 * size["width"], 2 * size["height"])


def test_drawn__a_given_figure_is_left_as_it_is() -> None:
    from matplotlib.figure import Figure

    given = Figure()
    assert style.canvas(given, 4, 2) is given
