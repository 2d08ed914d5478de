"""The one reader of configuration: the ``tdmx`` namespace of Dask's configuration, checked.

Defaults come from ``config/tdmx.yaml``; Dask's files (``~/.config/dask/*.yaml``) and environment variables (``DASK_TDMX__SEED=1``) win.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tdmx_dask.errors import ConfigError

__all__ = ["Settings", "settings", "shipped_config", "underscored"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is configured.

    Parameters
    ----------
    seed : of the virtual patients, 0 .. 2^64 - 1
    interval_level, breakpoint_level : fractions in (0, 1)
    fits_library : folder in which fits are kept, relative to the working directory or absolute
    queue_folder, cache_folder : folders of the queue of jobs and of answers that are kept, as `fits_library`
    cache_max_bytes : of the answers on the disk
    cache_max_age : s after which an answer is worth nothing
    pools_folder : what is known of clusters that run on, below the home folder or absolute
    clusters : profile -> kind and options, as written; `tdmx.cluster` checks the one that it starts
    """

    seed: int
    interval_level: float
    breakpoint_level: float
    fits_library: str
    queue_folder: str
    cache_folder: str
    cache_max_bytes: int
    cache_max_age: float
    pools_folder: str
    clusters: Mapping[str, Mapping[str, Any]]


def shipped_config() -> Path:
    """Folder of the configuration that comes with the package."""
    package = Path(__file__).resolve().parent
    shipped = package / "_shipped" / "config"
    return shipped if shipped.is_dir() else package.parent / "config"


def settings() -> Settings:
    """Read and check the configuration as it is now.

    Raises
    ------
    ConfigError
        An unknown key (with the nearest known one) or a value out of range.
    """
    import dask.config

    given = dask.config.get("tdmx", {})
    return _checked(dask.config.merge(_defaults(), given)) if given else _default_settings()


@functools.cache
def _default_settings() -> Settings:
    return _checked(_defaults())


def _checked(merged: Mapping[str, Any]) -> Settings:
    merged = {key.replace("_", "-"): value for key, value in merged.items()}
    _known("tdmx", merged, set(_defaults()))
    seed = merged["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ConfigError("tdmx.seed", seed, "a seed is a whole number, 0 <= seed < 2^64", "Set another.")
    for key in ("interval-level", "breakpoint-level"):
        value = merged[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise ConfigError(
                f"tdmx.{key}", value, "a level is a fraction, 0 < level < 1", "For example 0.95."
            )
    return Settings(
        seed=seed,
        interval_level=merged["interval-level"],
        breakpoint_level=merged["breakpoint-level"],
        fits_library=_folder("fits-library", merged["fits-library"]),
        queue_folder=_folder("queue-folder", merged["queue-folder"]),
        cache_folder=_folder("cache-folder", merged["cache-folder"]),
        cache_max_bytes=_bytes("cache-max-bytes", merged["cache-max-bytes"]),
        cache_max_age=_seconds("cache-max-age", merged["cache-max-age"]),
        pools_folder=_folder("pools-folder", merged["pools-folder"]),
        clusters=_profiles(merged["clusters"]),
    )


def _profiles(given: Any) -> dict[str, dict[str, Any]]:
    """Profiles as shipped, with what a site or user says; one of their own inherits from that of its kind."""
    if not isinstance(given, Mapping):
        raise ConfigError("tdmx.clusters", given, "a mapping of profiles is needed", "See config/tdmx.yaml.")
    profiles = {name: dict(shipped) for name, shipped in _shipped_profiles().items()}
    for name, said in given.items():
        if not isinstance(said, Mapping):
            raise ConfigError(
                f"tdmx.clusters.{name}", said, "a mapping of options is needed", "See config/clusters."
            )
        if str(name) in profiles:
            profiles[str(name)].update(underscored(said))
    for name, said in given.items():
        if str(name) not in profiles:
            options = underscored(said)
            profiles[str(name)] = {**profiles.get(str(options.get("kind")), {}), **options}
    return profiles


def underscored(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the names of options as Python writes them."""
    return {str(key).replace("-", "_"): value for key, value in given.items()}


@functools.cache
def _shipped_profiles() -> dict[str, dict[str, Any]]:
    import yaml

    profiles = {}
    for path in sorted((shipped_config() / "clusters").glob("*.yaml")):
        with path.open(encoding="utf-8") as file:
            profiles[path.stem] = underscored(yaml.safe_load(file))
    return profiles


def _folder(name: str, given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ConfigError(
            f"tdmx.{name}", given, "it is the path of a folder", f"For example {_defaults()[name]}."
        )
    return given


def _bytes(name: str, given: Any) -> int:
    from dask.utils import parse_bytes

    size = _parsed(parse_bytes, given)
    if size is None or size < 0:
        raise ConfigError(f"tdmx.{name}", given, "it is a number of bytes, >= 0", "For example 1 GiB.")
    return int(size)


def _seconds(name: str, given: Any) -> float:
    from dask.utils import parse_timedelta

    seconds = _parsed(parse_timedelta, given)
    if seconds is None or not seconds > 0:
        raise ConfigError(f"tdmx.{name}", given, "it is a length of time, > 0 s", "For example 30 d.")
    return float(seconds)


def _parsed(parse: Callable[[Any], Any], given: Any) -> Any:
    """As Dask reads it; None where it cannot."""
    if isinstance(given, bool) or not isinstance(given, int | float | str) or given == "":
        return None
    try:
        return parse(given)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


@functools.cache
def _defaults() -> dict[str, Any]:
    import yaml

    with (shipped_config() / "tdmx.yaml").open(encoding="utf-8") as file:
        defaults: dict[str, Any] = yaml.safe_load(file)["tdmx"]
    return defaults


def _known(name: str, given: Any, known: set[str]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(name, given, "a mapping of settings is needed", "See config/tdmx.yaml.")
    for key in given:
        if str(key).replace("_", "-") not in known:
            near = get_close_matches(str(key), known, 1)
            fix = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}."
            raise ConfigError(f"{name}.{key}", given[key], "there is no such setting", fix)
