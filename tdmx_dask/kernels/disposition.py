"""Linear disposition: the exponentials of one, two and three mammillary compartments.

With elimination from the central compartment only, a unit bolus into it gives the concentration

    h(t) = 1/CL · Σ_k u_k λ_k exp(-λ_k t),        Σ_k u_k = 1,

and a constant infusion of unit rate rises to 1/CL as ``1/CL · Σ_k u_k (1 - exp(-λ_k t))`` (Gibaldi & Perrier, Pharmacokinetics,
2nd ed. 1982, ch. 2; Wagner, J Pharmacokinet Biopharm 1976;4:443). The shares ``u_k`` are those of AUC: they lie in [0, 1] and stay
finite where a flow vanishes, which the usual coefficients ``A_k = u_k λ_k/CL`` divided again by ``λ_k`` do not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["TINY_RATE", "Array", "Modes", "disposition", "namespace"]

Array = Any  # a float64 array of any namespace; the docstrings give shapes

TINY_RATE = 1e-290
"""1/h. A rate that vanishes (no flow) is raised to this, so that ratios such as (1 - e^-λa)/(1 - e^-λb) take their limit a/b."""


def namespace(x: Array) -> Any:
    """Return the array namespace of an array: ``numpy``, ``cupy``, …"""
    return x.__array_namespace__()


class Modes(NamedTuple):
    """The exponentials of a block of profiles.

    Attributes
    ----------
    rate : (mode, profile), 1/h, fastest first
    share : (mode, profile), share of AUC, sums to 1 over the modes
    resistance : (profile,), 1/CL in h/L, the steady concentration for a rate of 1 mg/h
    """

    rate: Array
    share: Array
    resistance: Array


def disposition(
    CL: Array,
    Vc: Array,
    Q1: Array | None = None,
    Vp1: Array | None = None,
    Q2: Array | None = None,
    Vp2: Array | None = None,
) -> Modes:
    """Exponentials of one (CL, Vc), two (Q1, Vp1) or three (Q2, Vp2) compartments.

    Parameters
    ----------
    CL, Q1, Q2 : (profile,), L/h; CL > 0, flows >= 0
    Vc, Vp1, Vp2 : (profile,), L, > 0

    Returns
    -------
    Modes of shape (1, profile), (2, profile) or (3, profile); NaN where a parameter is NaN
    """
    if Q1 is None:
        return _one(CL, Vc)
    if Q2 is None:
        return _two(CL, Vc, Q1, Vp1)
    return _three(CL, Vc, Q1, Vp1, Q2, Vp2)


def _one(CL: Array, Vc: Array) -> Modes:
    xp = namespace(CL)
    rate = xp.empty((1, CL.shape[0]))
    xp.divide(CL, Vc, out=rate[0])
    return Modes(rate, xp.ones_like(rate), 1.0 / CL)


def _two(CL: Array, Vc: Array, Q1: Array, Vp1: Array) -> Modes:
    """Roots a > b of λ² - (k10 + k12 + k21) λ + k10 k21, without subtracting like from like.

    The discriminant is (k10 - k12 - k21)² + 4 k10 k12 >= 0, and (a - k10)(k10 - b) = k10 k12, so of the two shares
    u_a = (k10 - b)/(a - b) and u_b = (a - k10)/(a - b) the larger is a sum and the smaller a quotient.
    """
    xp = namespace(CL)
    rate = xp.empty((2, CL.shape[0]))
    share = xp.empty_like(rate)
    a, b = rate
    k10, k12, k21 = CL / Vc, Q1 / Vc, Q1 / Vp1
    difference = k10 - k12
    difference -= k21
    smaller = k10 * k12
    gap = difference * difference
    larger = 4.0 * smaller
    gap += larger
    xp.sqrt(gap, out=gap)
    xp.add(k10, k12, out=a)
    a += k21
    a += gap
    a *= 0.5
    k10 *= k21
    xp.divide(k10, a, out=b)
    xp.maximum(b, TINY_RATE, out=b)
    xp.abs(difference, out=larger)
    larger += gap
    larger *= 0.5
    smaller /= larger
    smaller /= gap
    larger /= gap
    central = difference >= 0.0
    share[0] = xp.where(central, larger, smaller)
    share[1] = xp.where(central, smaller, larger)
    return Modes(rate, share, 1.0 / CL)


def _three(CL: Array, Vc: Array, Q1: Array, Vp1: Array, Q2: Array, Vp2: Array) -> Modes:
    """Largest root by the trigonometric formula, the other two from the deflated quadratic.

    With λ1 >= λ2 >= λ3 and Σ u λ = k10, Σ u λ² = k10 (k10 + k12 + k13), the shares are
    u_i = ((λ_j - k10)(λ_k - k10) + k10 (k12 + k13)) / ((λ_i - λ_j)(λ_i - λ_k)). u_2 is what remains, so the sum is exact where
    two rates coincide and only their common share is determined.
    """
    xp = namespace(CL)
    rate = xp.empty((3, CL.shape[0]))
    share = xp.zeros_like(rate)
    fast, middle, slow = rate
    k10, k12, k21 = CL / Vc, Q1 / Vc, Q1 / Vp1
    k13, k31 = Q2 / Vc, Q2 / Vp2
    out_of_centre = k12 + k13
    trace = k10 + out_of_centre + k21 + k31
    product = k10 * k21 * k31
    pairs = k10 * (k21 + k31) + k12 * k31 + k13 * k21 + k21 * k31
    mean = trace / 3.0
    spread = xp.sqrt(xp.maximum(mean * mean - pairs / 3.0, TINY_RATE))
    cosine = (mean * (mean * mean - 0.5 * pairs) + 0.5 * product) / (spread * spread * spread)
    # cos(φ/3) by the tangent of the half angle: NumPy vectorises tan and arccos, not cos.
    tangent = xp.tan(xp.arccos(xp.minimum(xp.maximum(cosine, -1.0), 1.0)) / 6.0)
    tangent *= tangent
    xp.add(mean, 2.0 * spread * (1.0 - tangent) / (1.0 + tangent), out=fast)
    product /= fast
    half = 0.5 * (pairs - product) / fast
    split = xp.sqrt(xp.maximum(half * half - product, 0.0))
    xp.maximum(half + split, TINY_RATE, out=middle)
    xp.maximum(product / middle, TINY_RATE, out=slow)
    from_fast, from_middle, from_slow = fast - k10, middle - k10, slow - k10
    mixed = k10 * out_of_centre
    share[0] = (from_middle * from_slow + mixed) / xp.maximum((fast - middle) * (fast - slow), TINY_RATE)
    share[2] = (from_fast * from_middle + mixed) / xp.maximum((fast - slow) * (middle - slow), TINY_RATE)
    share[2] *= slow > TINY_RATE  # a compartment without flow takes nothing
    xp.minimum(xp.maximum(share, 0.0, out=share), 1.0, out=share)
    share[1] = (1.0 - share[0] - share[2]) * (middle > TINY_RATE)
    return Modes(rate, share, 1.0 / CL)
