"""Dask's settings of job clusters: there while one runs, gone when the last has ended, in whatever order."""

from __future__ import annotations

from contextlib import ExitStack

import dask.config

from tdmx_dask.clusters.dask_settings import SETTINGS, dask_settings


def held() -> list[object]:
    return [dask.config.get(key, default=None) for key in SETTINGS]


def test_settings__held_until_the_last_has_ended() -> None:
    before = held()
    assert before != list(SETTINGS.values())
    first, second = ExitStack(), ExitStack()
    first.enter_context(dask_settings())
    second.enter_context(dask_settings())
    first.close()
    assert held() == list(SETTINGS.values())
    second.close()
    assert held() == before
