"""Every error that tdmx_dask raises on purpose.

::

    TdmxError
    ├── InputError (ValueError)   a value that a user gave
    │   └── SchemaError           a file or a store whose layout, names or units are not the expected ones
    ├── ConfigError               a setting of the ``tdmx`` configuration
    ├── StoreError (OSError)      reading or writing a store: damage, a full disk, no permission
    ├── FitError                  a Stan run
    │   └── FitCancelled          … that was cancelled
    ├── JobError                  a queued request
    │   ├── JobCancelled          … that was cancelled
    │   ├── JobLost               … whose process or worker died
    │   └── JobTimeout            … that ran longer than it may, or was waited for in vain
    └── ClusterError              a scheduler or its workers

Each prints as ``name=value: the rule, with its unit. The fix.`` They cross machines: all fields go to
``Exception.__init__``, so pickling rebuilds them, and the text is made in ``__str__``.
"""

from __future__ import annotations

__all__ = [
    "ClusterError",
    "ConfigError",
    "FitCancelled",
    "FitError",
    "InputError",
    "JobCancelled",
    "JobError",
    "JobLost",
    "JobTimeout",
    "SchemaError",
    "StoreError",
    "TdmxError",
    "TdmxWarning",
]


class TdmxError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    name : what was given (an argument, a key, a file)
    value : its value, as the user gave it
    rule : what must hold, with its unit; without a final full stop
    fix : what to do, one sentence; may be empty
    """

    def __init__(self, name: str, value: object, rule: str, fix: str = "") -> None:
        super().__init__(name, value, rule, fix)
        self.name = name
        self.value = value
        self.rule = rule
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.name}={self.value}: {self.rule}."
        return f"{text} {self.fix}" if self.fix else text


class InputError(TdmxError, ValueError):
    """A value that a user gave is out of range, of the wrong kind, or missing."""


class SchemaError(InputError):
    """A file or a store has another layout, other names or other units than expected."""


class ConfigError(TdmxError):
    """A setting of the ``tdmx`` configuration is unknown or out of range."""


class StoreError(TdmxError, OSError):
    """A store cannot be read or written."""

    def __str__(self) -> str:
        return TdmxError.__str__(self)


class FitError(TdmxError):
    """A Stan run failed."""


class FitCancelled(FitError):  # noqa: N818  (it is no failure)
    """A Stan run was cancelled by whoever asked for it."""


class JobError(TdmxError):
    """A queued request failed."""


class JobCancelled(JobError):  # noqa: N818  (it is no failure)
    """A queued request was cancelled by whoever asked for it."""


class JobLost(JobError):  # noqa: N818
    """The process or worker that ran a request died; it may run again."""


class JobTimeout(JobError, TimeoutError):  # noqa: N818
    """A request ran longer than it may, or an answer did not come in the time that was given."""

    def __str__(self) -> str:
        return TdmxError.__str__(self)


class ClusterError(TdmxError):
    """A scheduler or its workers cannot do what was asked."""


class TdmxWarning(UserWarning):
    """An assumption was made or an input was mended; the text says which."""
