"""The shipped example of a cohort: run this file to write it anew."""

from __future__ import annotations

import numpy as np

from tdmx_dask.domain.patient import read_patient, shipped_patients
from tdmx_dask.domain.population import Population
from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition

SEED, N = 2026, 12
DOSE, TAU, TINF, ERROR, LLOQ = 1000.0, 8.0, 0.5, 0.15, 0.5
HEADER = "ID,TIME,AMT,DUR,DV,EVID,MDV,BLQ,LLOQ,ADDL,II,CCr (mL/min/1.73m2),SEX"


def example_cohort() -> str:
    """Twelve adults of the shipped meropenem population, each with levels of the first and the sixth interval."""
    population = read_patient("meropenem_tdm").priors
    assert isinstance(population, Population)
    lines = [
        f"# Simulated, not measured: {N} adults, meropenem 1 g every 8 h over 30 min, seed {SEED}.",
        "# Population of config/patients/meropenem_tdm.yaml, proportional error 15 %, limit of quantification 0.5 mg/L.",
        HEADER,
    ]
    rng = np.random.default_rng(SEED)
    clearances = np.round(rng.uniform(30, 160, N))
    for k, ccr in enumerate(clearances):
        patient = population.simulate(
            seed=SEED, chain=0, draw_start=0, n_draws=1, subject_start=k, scenario={"CCr": float(ccr)}
        )
        modes = disposition(*(patient[name][0] for name in population.parameters))
        inputs = [Input(i * TAU, DOSE, TINF) for i in range(6)]
        times = np.round([rng.uniform(0.6, 1.5), rng.uniform(5, 7.9), 40 + rng.uniform(0.6, 1.5), 47.5], 2)
        behind = f"{ccr:g},{'female' if rng.random() < 0.5 else 'male'}"
        lines.append(f"{k + 1},0,{DOSE:g},{TINF:g},.,1,1,0,.,5,8,{behind}")
        for time in times:
            level = float(course_at(modes, inputs, float(time))[0] * (1 + ERROR * rng.standard_normal()))
            below = level < LLOQ
            shown = "." if below else f"{level:.3g}"
            lines.append(f"{k + 1},{time:g},.,.,{shown},0,0,{int(below)},{LLOQ:g},.,.,{behind}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = shipped_patients()["meropenem_tdm"].parent
    (folder / "example_cohort.csv").write_text(example_cohort(), encoding="utf-8")
