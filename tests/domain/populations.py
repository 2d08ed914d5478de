"""Populations that several tests draw from."""

from tdmx_dask.domain.population import Population

# Fukumoto 2023, doi:10.1097/FTD.0000000000001040, Table 2
MEROPENEM = {
    "name": "meropenem, adults with sepsis",
    "source": "Fukumoto 2023, doi:10.1097/FTD.0000000000001040",
    "model": "2C",
    "covariates": {"CCr": {"unit": "mL/min/1.73 m²", "value": 87.6}},
    "parameters": {"CL": "13.6 * (CCr/87.6)**0.66", "V1": 26.5, "Q": 9.8, "V2": 13.2},
    "bsv": {"CL": {"cv": 0.221}, "V1": {"cv": "23%"}},
    "fu": 1,
}
# Du 2021, doi:10.3389/fphar.2021.630047, with its covariates as independent truncated normals
CEFATHIAMIDINE = {
    "parameters": {"CL": "2.20*(WT/10.25)**0.75*(AGE/1.25)**0.662", "V": "3.36*(WT/10.25)"},
    "covariates": {
        "WT": {"unit": "kg", "normal": {"mean": 10.33, "sd": 1.57, "low": 8, "high": 13}},
        "AGE": {"unit": "years", "normal": {"mean": 1.2, "sd": 0.43, "low": 0.35, "high": 1.86}},
    },
    "bsv": {"CL": {"cv": 0.256}, "V": {"cv": 0.224}},
    "fu": 0.77,
}
# Li 2006 (DDMORE): variances of the log
LI = {
    "parameters": {
        "CL": "15.0*(AGE/35)**-0.447*(CLcr/83)**0.62",
        "V1": "12.7*(WT/70)**0.82",
        "Q": 15.2,
        "V2": 12.4,
    },
    "covariates": {
        "AGE": {"unit": "years", "uniform": {"low": 20, "high": 80}},
        "WT": {"unit": "kg", "lognormal": {"median": 70, "cv": 0.2, "low": 40, "high": 120}},
        "SEX": {"unit": "female", "discrete": {"values": ["female", "male"], "weights": [0.45, 0.55]}},
        "SCR": {"unit": "umol/L", "lognormal": {"median": 80, "omega": 0.3}},
        "CLcr": {"unit": "mL/min", "equation": "cockcroft-gault", "weight": "total"},
        "HT": {"unit": "cm", "normal": {"mean": 170, "sd": 8}},
    },
    "bsv": {
        key: {"variance": v} for key, v in {"CL": 0.0884, "V1": 0.0976, "Q": 0.103, "V2": 0.0726}.items()
    },
    "correlations": {"CL, V1": 0.4, "V2 Q": -0.3},
}


def population(**changes):
    mapping = {
        "parameters": {"CL": 5.0, "Vc": 20.0},
        "bsv": {"CL": {"omega": 0.3}, "Vc": {"omega": 0.2}},
        **changes,
    }
    return Population.from_mapping({key: value for key, value in mapping.items() if value is not None})


def patients(source, **arguments):
    arguments = {"seed": 1, "chain": 0, "draw_start": 0, "n_draws": 5, **arguments}
    return source.simulate(**arguments)
