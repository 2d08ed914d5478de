"""What the figures are held against: the compiled probe, and plain NumPy on a time grid."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["compiled_probe", "numpy_grid"]

Floats = NDArray[np.float64]
FLAGS = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-shared", "-fPIC"]


def compiled_probe() -> Callable[[dict[str, Floats], Floats], None] | None:
    """The probe of ``probe.c``, built now with gcc: fills critical MICs of W1; None without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    source = Path(__file__).with_name("probe.c")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "probe.so"
        built = subprocess.run(  # noqa: S603  our own file, a fixed command
            [compiler, *FLAGS, "-o", library, source, "-lmvec", "-lm"], check=False, capture_output=True
        )
        if built.returncode:
            return None
        probe = ctypes.CDLL(str(library)).critical
    pointer = ctypes.POINTER(ctypes.c_double)
    probe.argtypes = [pointer] * 5 + [ctypes.c_long] + [ctypes.c_double] * 4
    probe.restype = None

    def critical(draws: dict[str, Floats], out: Floats) -> None:
        arrays = [draws[name].ctypes.data_as(pointer) for name in ("CL", "Vc", "Q1", "Vp1")]
        probe(*arrays, out.ctypes.data_as(pointer), out.size, 1000.0, 8.0, 1.0, 0.5)

    return critical


def numpy_grid(draws: dict[str, Floats], mic: list[float], dose: float, tau: float, tinf: float) -> Floats:
    """PTA at each MIC the usual way: closed-form steady state on a grid of 0.05 h, and the share of grid points above the MIC."""
    cl, v, q, v2 = (draws[name][:, None] for name in ("CL", "Vc", "Q1", "Vp1"))
    k10, k12, k21 = cl / v, q / v, q / v2
    total = k10 + k12 + k21
    gap = np.sqrt(total * total - 4 * k10 * k21)
    alpha, beta = (total + gap) / 2, (total - gap) / 2
    t = np.arange(0, tau, 0.05)
    concentration = np.zeros((cl.shape[0], t.size))
    for rate, weight in ((alpha, (alpha - k21) / gap), (beta, (k21 - beta) / gap)):
        level = dose / tinf * weight / (v * rate)
        rising = level * (
            1 - np.exp(-rate * t) * (1 - np.exp(-rate * (tau - tinf))) / (1 - np.exp(-rate * tau))
        )
        falling = level * (1 - np.exp(-rate * tinf)) / (1 - np.exp(-rate * tau)) * np.exp(-rate * (t - tinf))
        concentration += np.where(t <= tinf, rising, falling)
    return np.array([((concentration > each).mean(axis=1) >= 0.5).mean() for each in mic])
