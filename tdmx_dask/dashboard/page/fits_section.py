"""The section of fits: each with its chains, as far as they are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tdmx_dask.dashboard.page.chains import Chain, Fit
from tdmx_dask.dashboard.page.words import NONE, amount, bar, more, seconds, share, table, text

__all__ = ["FITS", "ROWS", "fits_html"]

ROWS, FITS = 56, 24
"""Lines of fits and chains that are shown at most, and of these lines of fits."""

EMPTY = "No fit runs on this cluster. <code>tdmx.fit_async(…, on=cluster)</code> starts one."

_PHASES = {
    "starting": "starts", "retrying": "tries again", "warmup": "warm-up", "sampling": "sampling", "done": "done", "failed": "failed",
}  # fmt: skip
_KINDS = {"done": "good", "failed": "bad", "retrying": "warn"}
_HEADS = (
    ("fit", ""), ("", "k"), ("iterations", ""), ("", "n"), ("divergences", "n"), ("R-hat", "n"), ("ESS", "n"), ("step size", "n wide"),
    ("time", "n wide"), ("left", "n"),
)  # fmt: skip


def fits_html(fits: Collection[Fit], now: float) -> str:
    """HTML of fits, those that run first, then the latest that ended.

    Parameters
    ----------
    fits : the oldest first
    now : s since 1970
    """
    running = [fit for fit in fits if fit.ended is None]
    ended = sorted((fit for fit in fits if fit.ended is not None), key=lambda fit: -(fit.ended or 0.0))
    if not running and not ended:
        return f'<p class="soft">{EMPTY}</p>'
    shown = [*running, *ended][:FITS]
    room = ROWS - len(shown)
    rows: list[str] = []
    for fit in shown:
        rows.append(_fit(fit, now))
        if fit.ended is None:
            numbers = sorted(fit.chains)[:room]
            room -= len(numbers)
            rows += [_chain(number, fit.chains[number], waits=fit.waits(number)) for number in numbers]
    left_out = len(running) + len(ended) - len(shown)
    n_chains = sum(len(fit.chains) for fit in running)
    chains_left_out = n_chains - (ROWS - len(shown) - room)
    what = "fits" + (f", {chains_left_out:,} chains" if chains_left_out else "")
    rest = more(left_out, what) if left_out else more(chains_left_out, "chains")
    return table(_HEADS, rows, "fits") + rest + _NOTE


_NOTE = (
    '<p class="soft note">R-hat and ESS so far: the worst of the log density and the first parameters, of all chains of the fit. '
    "“&lt;”: an upper bound, as the chains move slowly.</p>"
)


def _fit(fit: Fit, now: float) -> str:
    chains = fit.chains.values()
    done, total = fit.done, fit.total
    divergences = sum(chain.divergences for chain in chains)
    figures = fit.figures()
    phase = fit.phase if fit.ended is None or fit.phase in ("done", "failed") else "ended"
    ess = NONE if figures.ess is None else ("&lt;" if figures.bounded else "") + f"{figures.ess:,.0f}"
    cells = (
        ("name", f"<b>{text(fit.name, 60)}</b>"),
        ("k", _phase(phase, waits=bool(fit.chains) and all(map(fit.waits, fit.chains)))),
        ("", bar(share(done, total), "good" if phase == "done" else "")),
        ("n", f"{done:,} / {total:,}"),
        ("n", _divergences(divergences)),
        ("n", _rhat(figures.rhat)),
        ("n ess", ess),
        ("n wide", ""),
        ("n wide", seconds((fit.ended or now) - fit.began)),
        ("n", seconds(fit.left(now)) if fit.ended is None else ""),
    )
    return _row(cells, "fit")


def _chain(number: int, chain: Chain, *, waits: bool) -> str:
    note = f'<span class="soft"> {text(chain.text)}</span>' if chain.text else ""
    cells = (
        ("soft chain", f"chain {number + 1}"),
        ("k", _phase(chain.phase, waits=waits)),
        ("", bar(share(chain.iteration, chain.total), "good" if chain.phase == "done" else "") + note),
        ("n iteration", f"{chain.iteration:,} / {chain.total:,}"),
        ("n", _divergences(chain.divergences)),
        ("n", ""),
        ("n", ""),
        ("n wide", amount(chain.step_size)),
        ("n wide", seconds(chain.seconds)),
        ("n", "" if chain.phase == "done" else seconds(chain.seconds_left)),
    )
    return _row(cells, "chain")


def _row(cells: Iterable[tuple[str, str]], kind: str) -> str:
    return (
        f'<tr class="{kind}">' + "".join(f'<td class="{each}">{said}</td>' for each, said in cells) + "</tr>"
    )


def _phase(phase: str, *, waits: bool) -> str:
    if waits and phase not in ("done", "failed"):
        return '<span class="warn">waits for a worker</span>'
    return f'<span class="{_KINDS.get(phase, "")}">{_PHASES.get(phase, phase)}</span>'


def _divergences(n: int) -> str:
    return f'<span class="warn">{n:,}</span>' if n else "0"


def _rhat(value: float | None) -> str:
    """Above 1.01 chains have not mixed (Vehtari et al. 2021)."""
    if value is None:
        return NONE
    return (
        f'<span class="{"warn" if value > 1.01 else "good"}">{value:.3f}</span>'
        if value < 1000
        else '<span class="bad">∞</span>'
    )
