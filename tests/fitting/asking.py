"""Requests of small fits, for tests of what drives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tdmx_dask.fitting.choice import choose_engine
from tdmx_dask.fitting.library import Library
from tdmx_dask.fitting.question import FitQuestion, ask_program
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.task import Sampling
from tests.fitting.stan_programs import NORMAL, NORMAL_DATA

FUNNEL = """
data { int centred; }
parameters { real v; vector[9] x; }
model { v ~ normal(0, 3); x ~ normal(0, exp(v / 2)); }
"""


def normal_question(name: str = "normal", **changes: Any) -> FitQuestion:
    return ask_program(NORMAL, {**NORMAL_DATA, **changes}, name=name, parameters=("mu",))


def request(folder: Path, question: FitQuestion | None = None, **options: Any) -> Request:
    question = question or normal_question()
    sampling = options.pop("sampling", Sampling(200, 300))
    settings = {"seed": 5, "sampling": sampling, **options}
    return Request(question, choose_engine("stanli", question.program), Library(folder), **settings)


def endless(folder: Path, name: str = "endless", **options: Any) -> Request:
    """A request whose chains run for minutes."""
    return request(folder, normal_question(name), sampling=Sampling(200, 10**7), **options)
