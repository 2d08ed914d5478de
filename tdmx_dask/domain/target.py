"""Targets: what a concentration profile has to attain, over which window, at which site.

The grammar is in `tdmx_dask.domain.target_grammar`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tdmx_dask.domain import target_grammar as grammar
from tdmx_dask.domain.units import known_keys, nearest, number_text, parse_fraction, real
from tdmx_dask.domain.window import STEADY_STATE, Window
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.domain.regimen import Regimen

__all__ = ["STEADY_STATE", "AllOf", "Index", "Target", "Window", "parse_target"]

_UNSAID = float("nan")  # told from any other NaN by identity

Index = Literal["T>MIC", "AUC", "AUC24", "Cmax", "Cmin", "C"]

_KEYS = ("target", "all_of", "window", "fu", "site", "penetration")


@dataclass(frozen=True, slots=True)
class Target:
    """One PK/PD target.

    Parameters
    ----------
    index : ``T>MIC``, ``AUC`` (over the window), ``AUC24`` (over 24 h; at steady state the mean daily AUC),
        ``Cmax``, ``Cmin`` (the lowest of the window once treatment has begun), or ``C`` (at `time`)
    free : of the unbound drug
    per_mic : divided by the MIC; always so for ``T>MIC``
    lower, upper : inclusive limits; a fraction in (0, 1] for ``T>MIC``, h for AUC/MIC, mg·h/L, mg/L, or none. At
        least one; with `per_mic` the lower one alone
    mic_multiple : k of ``T>kxMIC``, > 0
    time : h, >= 0, for ``C`` alone: just before a dose that is due then
    window : `Window`; ``C`` has none
    site : ``plasma``, ``ELF``, ``bone``, ``CSF`` or ``site``
    penetration : ratio of the site's concentration to plasma's, > 0; 1 in plasma, elsewhere it must be said. It
        multiplies the plasma concentration, the unbound one where `free`
    fu : unbound fraction in (0, 1] for this target, None where it comes from elsewhere; only with `free`

    Raises
    ------
    InputError
        A value is out of range, or the target is not monotone in the MIC.

    Examples
    --------
    >>> t = Target.parse("fT>4xMIC >= 50% in day1 at ELF 0.3")
    >>> t.lower, t.mic_multiple, t.window.kind, t.penetration
    (0.5, 4.0, 'day1', 0.3)
    >>> Target.parse("Cmin 10..20").label
    'Cmin 10–20 mg/L'
    """

    index: Index
    free: bool = False
    per_mic: bool = False
    lower: float | None = None
    upper: float | None = None
    mic_multiple: float = 1.0
    time: float | None = None
    window: Window = STEADY_STATE
    site: str = "plasma"
    penetration: float = _UNSAID  # 1 in plasma; elsewhere it must be said
    fu: float | None = None

    def __post_init__(self) -> None:
        if self.index not in grammar.INDICES:
            fix = f"{nearest(str(self.index), grammar.INDICES)}Known: {', '.join(grammar.INDICES)}."
            raise InputError("index", self.index, "this index is not known", fix)
        for name in ("free", "per_mic"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(name, getattr(self, name), f"{name} must be True or False", "Write a bool.")
        self._check_limits()
        self._check_time()
        self._check_site()
        if self.fu is not None:
            if not self.free:
                rule = f"{self.head} is of the total drug, so it has no unbound fraction"
                raise InputError("fu", self.fu, rule, f"Write f{self.head}, or leave fu out.")
            fix = "Give a fraction, as in 0.98."
            fu = real("fu", self.fu, "an unbound fraction", gt=0, le=1, fix=fix)
            object.__setattr__(self, "fu", fu)

    def _check_limits(self) -> None:
        put = object.__setattr__
        multiple = real("mic_multiple", self.mic_multiple, "the multiple of the MIC", gt=0)
        put(self, "mic_multiple", multiple)
        if self.index != "T>MIC" and multiple != 1:
            rule = "a multiple of the MIC goes with T>MIC alone"
            raise InputError("mic_multiple", multiple, rule, "Put it into the limit.")
        if self.index == "T>MIC" and not self.per_mic:
            raise InputError("per_mic", False, "T>MIC is always by MIC", "Write per_mic=True.")
        if self.lower is None and self.upper is None:
            raise InputError("lower", None, "a target needs a limit", "Give lower, upper, or both.")
        if self.per_mic and self.upper is not None:
            rule = "an upper limit by MIC is not monotone in the MIC"
            fix = "State the limit without MIC, as in AUC24 <= 700 or Cmin <= 20."
            if self.index == "T>MIC":
                fix = "Ask for T>MIC >= 50%, or state the limit without MIC, as in Cmin <= 20."
            raise InputError("target", f"{self.head} {self._limits}", rule, fix)
        top = 1.0 if self.index == "T>MIC" else None
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if value is not None:
                fix = "Write 50% or 0.5." if top else ""
                put(self, name, real(self.head, value, "a limit", gt=0, le=top, fix=fix))
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            rule = "the lower limit must be below the upper one"
            raise InputError(self.head, self._limits, rule, "Exchange them.")

    def _check_time(self) -> None:
        if (self.index == "C") != (self.time is not None):
            raise InputError(
                "time", self.time, "C, and no other index, needs a time in h", "Write C@48h >= 1."
            )
        if self.time is not None:
            put = object.__setattr__
            put(self, "time", real("time", self.time, "the time of a concentration", unit="h", ge=0))
        object.__setattr__(self, "window", Window.of(self.window))
        if self.index == "C" and self.window != STEADY_STATE:
            rule = f"{self.head} is at one time, so it has no window"
            raise InputError("window", self.window, rule, "Leave the window out.")
        if self.window.kind == "span":
            self._check_day(self.window.start or 0.0, self.window.end or 0.0)

    def _check_day(self, start: float, end: float) -> None:
        if self.index == "AUC24" and not math.isclose(end - start, 24.0, rel_tol=1e-9):
            fix = "Take day1 or a span of 24 h such as 24..48h, or AUC over the window itself."
            raise InputError(
                "window", Window("span", start=start, end=end), "AUC24 is over a window of 24 h", fix
            )

    def _check_site(self) -> None:
        site = next((known for known in grammar.SITES if known.lower() == str(self.site).lower()), None)
        if site is None:
            fix = f"{nearest(str(self.site), grammar.SITES)}Known: {', '.join(grammar.SITES)}."
            raise InputError("site", self.site, "this site is not known", fix)
        object.__setattr__(self, "site", site)
        ratio = 1.0 if self.penetration is _UNSAID and site == "plasma" else self.penetration
        if ratio is _UNSAID:
            rule = f"{site} needs its ratio to plasma, which is not assumed"
            raise InputError("site", site, rule, f"Write at {site} 0.3, or give penetration=0.3.")
        ratio = real("penetration", ratio, "a ratio to plasma", gt=0, fix="For example 0.3.")
        if site == "plasma" and ratio != 1:
            rule = "in plasma the ratio is 1"
            raise InputError("penetration", ratio, rule, "Name the site: ELF, bone, CSF or site.")
        object.__setattr__(self, "penetration", ratio)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        window: object = None,
        fu: float | None = None,
        site: str | None = None,
        penetration: float | None = None,
    ) -> Target:
        """A target from its text; the keywords count where the text does not say.

        `fu` fills in free-drug targets only, `window` all but ``C@48h``.

        Raises
        ------
        InputError
            The text cannot be read, or a value is out of range.
        """
        target = parse_target(text, window=window, fu=fu, site=site, penetration=penetration)
        if isinstance(target, AllOf):
            raise InputError("target", text, "these are several targets", "Read them with parse_target.")
        return target

    @property
    def head(self) -> str:
        """The index as the grammar writes it: ``fT>4xMIC``, ``C@48h/MIC``."""
        return grammar.head_text(
            self.index, free=self.free, per_mic=self.per_mic, mic_multiple=self.mic_multiple, time=self.time
        )

    @property
    def _limits(self) -> str:
        return grammar.limit_text(self.index, self.lower, self.upper)

    def __str__(self) -> str:
        text = f"{self.head} {self._limits}"
        if self.window != STEADY_STATE:
            text += f" in {self.window}"
        if self.site != "plasma":
            text += f" at {self.site} {number_text(self.penetration)}"
        return text if self.fu is None else f"{text} with fu {number_text(self.fu)}"

    @property
    def unit(self) -> str:
        """The unit of the limits: ``mg/L``, ``mg·h/L``, ``h`` for AUC/MIC, otherwise empty."""
        if self.per_mic:
            return "h" if self.index.startswith("AUC") else ""
        return "mg·h/L" if self.index.startswith("AUC") else "mg/L"

    @property
    def label(self) -> str:
        """What tables print."""
        text = f"{self.head} {self._limits}".replace("xMIC", "×MIC")
        text = text.replace(">=", "≥").replace("<=", "≤").replace("..", "–")
        if not self.per_mic:
            text += f" {self.unit}"
        notes = [] if self.window == STEADY_STATE else [str(self.window).replace("..", "–").replace("_", " ")]
        if self.site != "plasma":
            notes.append(f"{self.site} × {number_text(self.penetration)}")
        if self.fu is not None:
            notes.append(f"fu {number_text(self.fu)}")
        return f"{text} ({', '.join(notes)})" if notes else text

    @property
    def window_words(self) -> str:
        """Over which time it is taken, for a reader who does not know the grammar."""
        if self.time is not None:
            return f"at {number_text(self.time)} h"
        if self.index == "AUC24" and self.window == STEADY_STATE:
            return "mean day at steady state"
        return self.window.words

    def span(self, regimen: Regimen) -> tuple[float, float] | None:
        """Start and end of what counts, h; None at steady state; ``(time, time)`` for ``C@time``.

        Raises
        ------
        InputError
            As `Window.span`; AUC24 over a window that does not last 24 h.
        """
        if self.time is not None:
            return self.time, self.time
        span = self.window.span(regimen)
        if span is not None:
            self._check_day(*span)
        return span


@dataclass(frozen=True, slots=True)
class AllOf:
    """Several targets that a profile must attain together.

    Parameters
    ----------
    targets : two or more; an `AllOf` among them is taken apart

    Raises
    ------
    InputError
        Fewer than two targets, or something that is none.

    Examples
    --------
    >>> str(parse_target("fT>MIC >= 50% and Cmin <= 20"))
    'all of (fT>MIC >= 50%; Cmin <= 20)'
    """

    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        flat: list[Target] = []
        given: tuple[object, ...] = self.targets
        for target in given:
            if isinstance(target, AllOf):
                flat += target.targets
            elif isinstance(target, Target):
                flat.append(target)
            else:
                raise InputError("targets", target, "this is not a target", "Read it with parse_target.")
        if len(flat) < 2:
            raise InputError("targets", len(flat), "all of several needs two targets or more", "Add one.")
        object.__setattr__(self, "targets", tuple(flat))

    def __str__(self) -> str:
        return f"all of ({'; '.join(map(str, self.targets))})"

    @property
    def label(self) -> str:
        """What tables print."""
        return " and ".join(target.label for target in self.targets)

    @property
    def window_words(self) -> str:
        """Over which times they are taken."""
        return "; ".join(dict.fromkeys(target.window_words for target in self.targets))


def parse_target(
    given: object,
    *,
    window: object = None,
    fu: float | None = None,
    site: str | None = None,
    penetration: float | None = None,
) -> Target | AllOf:
    """A target, or several together, from a text or a mapping; a `Target` or `AllOf` is handed back.

    Parameters
    ----------
    given : a text, or a mapping with ``target`` (a text) or ``all_of`` (a list of texts or mappings), and
        ``window``, ``fu``, ``site``, ``penetration``: of the target, or of all that do not say their own
    window, fu, site, penetration : count where `given` does not say: `fu` for free-drug targets only, `window`
        for all but ``C@48h``, `penetration` for a site that has none

    Raises
    ------
    InputError
        The text cannot be read, a key is not known, text and mapping contradict, or a value is out of range.

    Examples
    --------
    >>> str(parse_target({"target": "fT>MIC >= 50%", "site": "ELF", "penetration": 0.3}))
    'fT>MIC >= 50% at ELF 0.3'
    """
    defaults = {"window": window, "fu": fu, "site": site, "penetration": penetration}
    if isinstance(given, Target | AllOf):
        return given
    if isinstance(given, str):
        fields, behind = grammar.split(given)
        targets = [_make(each, behind, defaults) for each in fields]
        return targets[0] if len(targets) == 1 else AllOf(tuple(targets))
    if not isinstance(given, Mapping):
        raise InputError("target", given, "a target must be a text or keys", "For example fT>MIC >= 50%.")
    known_keys("target", given, _KEYS)
    if ("target" in given) == ("all_of" in given):
        raise InputError("target", dict(given), "one of target and all_of must be given", "Add target.")
    said = {key: given[key] for key in _KEYS[2:] if given.get(key) is not None}
    if isinstance(said.get("fu"), str):
        said["fu"] = parse_fraction(said["fu"], "fu")
    if "target" in given:
        return _stated(given["target"], said, defaults)
    parts = given["all_of"]
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise InputError("all_of", parts, "all_of must be a list of targets", "Write a YAML list.")
    made = [parse_target(part, **{**defaults, **said}) for part in parts]
    return made[0] if len(made) == 1 else AllOf(tuple(made))  # type: ignore[arg-type]


def _stated(text: object, said: Mapping[str, Any], defaults: Mapping[str, Any]) -> Target | AllOf:
    """A target whose text is completed by keys, which must not contradict it."""
    if not isinstance(text, str):
        raise InputError("target", text, "a target must be a text", "For example fT>MIC >= 50%.")
    fields, behind = grammar.split(text)
    if len(fields) > 1:
        return AllOf(tuple(_make(each, behind, {**defaults, **said}) for each in fields))
    own = {**behind, **fields[0]}
    for key, value in said.items():
        value = Window.of(value) if key == "window" else value
        mine = own.get(key, value)
        if mine != value and str(mine).lower() != str(value).lower():
            raise InputError(key, value, f"the text of the target says {mine}", "Say it once.")
        own[key] = value
    return _make(own, {}, defaults)


def _make(fields: Mapping[str, Any], behind: Mapping[str, Any], defaults: Mapping[str, Any]) -> Target:
    """A target from what its text says, then what stands behind the bracket, then defaults."""
    own = dict(fields)
    for said in (behind, defaults):
        given = {key: value for key, value in said.items() if value is not None and key not in own}
        if own["index"] == "C":
            given.pop("window", None)
        if not own["free"]:
            given.pop("fu", None)
        if "site" in own:  # a ratio goes with its own site
            same = said.get("site") is None or str(said["site"]).lower() == str(own["site"]).lower()
            if not same or str(own["site"]).lower() == "plasma":
                given.pop("penetration", None)
        elif "penetration" in given:
            given.setdefault("site", "site")
        own |= given
    if "penetration" in own:
        own.setdefault("site", "site")
    return Target(**own)
