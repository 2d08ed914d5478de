"""Draws from files: what is recognised, what is refused, and how it is said."""

import gzip
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tdmx_dask.errors import InputError, SchemaError, StoreError, TdmxWarning
from tdmx_dask.store.importing import draws_from_columns, import_draws, import_tree
from tests.store.conftest import make_draws, make_omega


@pytest.fixture
def write(tmp_path):
    """Write a text to a file."""

    def make(text, name="draws.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(textwrap.dedent(text).encode(encoding))
        return path

    return make


# CSV


def test_csv__plain(write):
    draws = import_draws(write("CL,Vc\n5.1,30\n6.2,31.5\n"))
    assert dict(draws.sizes) == {"chain": 1, "draw": 2}
    np.testing.assert_array_equal(draws.CL, [[5.1, 6.2]])
    assert draws.CL.attrs["units"] == "L/h"
    assert draws.Vc.attrs["units"] == "L"
    assert draws.attrs == {"sampling": "independent", "source": "draws.csv"}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\ufeffCL,Vc\r\n5.1,30\r\n6.2,31.5\r\n", "utf-8"),  # as Excel writes it
        ("CL;Vc\n5,1;30\n6,2;31,5\n", "utf-8"),  # a German Excel
        ("CL;Vc\n5;30\n6;31\n", "utf-8"),
        ("CL;Vc\n5.1;30\n6.2;31.5\n", "utf-8"),
        ("CL\tVc\n5,1\t30\n6,2\t31,5\n", "utf-8"),
        (" CL  Vc\n 5.1 30.0\n 6.2 31.5\n", "utf-8"),
        ("CL, Vc\n5.1, 30\n\n6.2, 31.5\n\n", "utf-8"),
        ("# from R\n# 2 draws\n\nCL,Vc\n5.1,30\n# a note\n6.2,31.5", "utf-8"),
        ('"","CL","Vc"\n"1",5.1,30\n"2",6.2,31.5\n', "utf-8"),  # write.csv of R
    ],
)
def test_csv__dialects(write, text, encoding):
    draws = import_draws(write(text, encoding=encoding))
    assert list(draws) == ["CL", "Vc"]
    assert draws.Vc.values[0].round().tolist() in ([30.0, 31.0], [30.0, 32.0])
    assert draws.CL.values[0].tolist() in ([5.1, 6.2], [5.0, 6.0])


def test_csv__gzipped(tmp_path):
    (tmp_path / "draws.csv.gz").write_bytes(gzip.compress(b"CL,Vc\n5.1,30\n"))
    assert float(import_draws(tmp_path / "draws.csv.gz").CL[0, 0]) == 5.1


def test_csv__every_bit(write):
    values = np.random.default_rng(0).lognormal(sigma=30, size=500).clip(1e-30, 1e30)
    text = "CL\n" + "\n".join(repr(float(value)) for value in values) + "\n"
    np.testing.assert_array_equal(import_draws(write(text)).CL.values[0], values)


@pytest.mark.parametrize("chain", ["chain", ".chain", "Chain", "chain__", "CHAIN"])
@pytest.mark.parametrize("draw", ["draw", ".iteration", "iter", "iter__"])
def test_csv__chains_in_any_order(write, chain, draw):
    draws = import_draws(write(f"CL,{draw},{chain}\n4,2,2\n1,1,1\n3,1,2\n2,2,1\n"))
    assert list(draws) == ["CL"]
    np.testing.assert_array_equal(draws.CL, [[1, 2], [3, 4]])
    assert draws.attrs["sampling"] == "mcmc"


def test_csv__posterior_draws_df(write):
    draws = import_draws(write("CL,.chain,.iteration,.draw\n1,1,1,1\n2,1,2,2\n3,2,1,3\n4,2,2,4\n"))
    np.testing.assert_array_equal(draws.CL, [[1, 2], [3, 4]])
    assert list(draws) == ["CL"]


def test_csv__chains_that_cannot_be(write):
    with pytest.raises(InputError, match=r"chains=\{1: 2, 2: 1\}: all chains have the same number of draws"):
        import_draws(write("CL,chain\n1,1\n2,1\n3,2\n"))
    with pytest.raises(InputError, match=r"draws=\.iteration=1: each draw is there once\. Name the chains"):
        import_draws(write("CL,.iteration\n1,1\n2,1\n"))
    with pytest.raises(InputError, match="chain=nan: row 2 does not say where it belongs"):
        import_draws(write("CL,chain\n1,1\n2,\n"))


def test_csv__nonmem_names(write):
    text = "CL,V1,Q,V2,WT\n5,10,2,20,70\n"
    assert list(import_draws(write(text))) == ["CL", "Vc", "Q1", "Vp1", "WT"]
    assert list(import_draws(write("CL,V1,Q2,V2,Q3,V3\n1,2,3,4,5,6\n"), model="3C")) == [
        "CL",
        "Vc",
        "Q1",
        "Vp1",
        "Q2",
        "Vp2",
    ]
    with pytest.raises(InputError, match="both stand for Vc"):
        import_draws(write("CL,V1,Vc\n1,2,3\n"))
    with pytest.raises(InputError, match="a 2C model needs CL Vc Q1 Vp1; missing: Q1 Vp1"):
        import_draws(write("CL,V\n1,2\n"), model="2C")


def test_csv__columns(write):
    path = write('"theta[1]","theta[2]",AGE,note\n5,30,60,1\n6,31,61,2\n')
    draws = import_draws(path, columns={"CL": "theta[1]", "V": "theta[2]"})
    assert list(draws) == ["CL", "Vc", "AGE", "note"]
    np.testing.assert_array_equal(draws.Vc, [[30, 31]])
    assert list(import_draws(path, columns=["AGE"])) == ["AGE"]
    whole = import_draws(path)
    assert whole.theta.dims == ("chain", "draw", "theta_dim_0")
    np.testing.assert_array_equal(whole.theta[0], [[5, 30], [6, 31]])
    with pytest.raises(InputError, match=r"columns\[CL\]=thta\[1\]: there is no such column\. "):
        import_draws(path, columns={"CL": "thta[1]"})
    with pytest.raises(InputError, match=r"columns\[CL\]=theta\[3\]: there is no such column"):
        import_draws(path, columns={"CL": "theta[3]"})
    with pytest.raises(InputError, match=r"columns=AGE: columns is a list or a mapping"):
        import_draws(path, columns="AGE")


def test_csv__a_parameter_that_is_a_vector(write):
    with pytest.raises(
        SchemaError, match=r'CL=2 elements: a parameter has one value a draw\. .*{"CL": "CL\[1\]"}'
    ):
        import_draws(write('"CL[1]","CL[2]"\n5,6\n'))


@pytest.mark.parametrize(
    "names",
    [
        '"omega[1,1]","omega[2,1]","omega[1,2]","omega[2,2]"',
        "omega.1.1,omega.2.1,omega.1.2,omega.2.2",
        "omega.1.1.,omega.2.1.,omega.1.2.,omega.2.2.",
    ],
)
def test_csv__omega(write, names):
    path = write(f"CL,Vc,{names}\n5,30,0.09,0.03,0.03,0.04\n6,31,0.08,0.02,0.02,0.03\n")
    draws = import_draws(path, etas=["CL", "Vc"])
    assert draws.omega.dims == ("chain", "draw", "eta", "eta2")
    assert draws.eta.values.tolist() == draws.eta2.values.tolist() == ["CL", "Vc"]
    np.testing.assert_array_equal(draws.omega[0, 1], [[0.08, 0.02], [0.02, 0.03]])
    assert "eta" not in import_draws(path).coords
    with pytest.raises(InputError, match="etas=CL: omega has 2 rows"):
        import_draws(path, etas=["CL"])


def test_csv__omega_that_is_none(write):
    with pytest.raises(SchemaError, match=r"columns=omega\[1,1\], omega\[2,2\]: omega has all elements"):
        import_draws(write('CL,"omega[1,1]","omega[2,2]"\n5,0.1,0.1\n'))
    with pytest.raises(SchemaError, match="omega=1 indices: omega is a matrix a draw"):
        import_draws(write("CL,omega.1,omega.2\n5,0.1,0.1\n"))
    with pytest.raises(SchemaError, match=r"column=omega\[1: a name that contains a comma is in quotes"):
        import_draws(write("CL,omega[1,1]\n5,0.1,0.1\n"))
    with pytest.raises(InputError, match="omega must be symmetric"):
        import_draws(write("omega.1.1,omega.2.1,omega.1.2,omega.2.2\n0.1,0.01,0.02,0.1\n"))


def test_csv__units(write):
    path = write("CL,V,CLCR,fu\n100,20000,80,85\n")
    draws = import_draws(path, units={"CL": "mL/min", "V": "mL", "CLCR": "mL/min", "fu": "%"})
    assert draws.CL.item() == 100 * 0.06
    assert draws.Vc.item() == 20
    assert draws.fu.item() == pytest.approx(0.85)
    assert draws.CLCR.item() == 80  # not a clearance of the drug: its unit is noted
    assert [draws[name].attrs["units"] for name in draws] == ["L/h", "L", "mL/min", "1"]
    with pytest.raises(InputError, match=r"fu\[chain=0, draw=0\]=85: .*If these are percents"):
        import_draws(path)
    with pytest.raises(SchemaError, match=r"units\[CL\]=mg: it is no unit of CL"):
        import_draws(path, units={"CL": "mg"})
    with pytest.raises(InputError, match=r"units=Cl: there is no such variable\. Did you mean CL"):
        import_draws(path, units={"Cl": "mL/min"})


def test_csv__sampling(write):
    path = write("CL\n5\n6\n")
    assert import_draws(path, sampling="mcmc").attrs["sampling"] == "mcmc"
    with pytest.raises(InputError, match="sampling=bootstrap: it is mcmc or independent"):
        import_draws(path, sampling="bootstrap")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"it holds no draws"),
        ("CL,Vc\n", r"it holds no draws"),
        ("5,30\n6,31\n", r"its first line is no header of names"),
        ("CL,CL\n5,30\n", r"its header has CL more than once"),
        ("CL,Vc\n5,30\n6,31,7\n", r"draws.csv, line 3: it has 3 columns and the header 2"),
        (
            "CL,Vc\n3,5,20,1\n3,6,20,2\n",
            r"draws.csv, line 2: it has 4 columns and the header 2\. With decimal commas",
        ),
        ("CL,Vc\n5,30\n6\n", r"Vc\[chain=0, draw=1\]=nan: a volume must be finite and > 0 L"),
        ("CL,Vc\n5,30\n\n6,abc\n", r"Vc=abc: it is no number \(.*draws.csv, line 4\)"),
        ("CL,Vc\n5,50%\n6,7%\n", r"Vc=50%: it is no number \(.*line 2\)\. Write a fraction"),
        (
            "CL;Vc\n5.1;3\n6,2;4\n",
            r"CL=5.1: it is no number|CL=6,2: it is no number .* Write decimals with a point",
        ),
        ("CL,Vc\n5,30\nNA,31\n", r"CL\[chain=0, draw=1\]=nan: a clearance must be finite and > 0 L/h"),
        ("CL,Vc\n5,30\n-inf,31\n", r"CL\[chain=0, draw=1\]=-inf: a clearance"),
        ("CL,Vc\n5,30\n0,31\n", r"CL\[chain=0, draw=1\]=0: a clearance"),
        ("chain,draw\n1,1\n", r"draws=no variables"),
    ],
)
def test_csv__refused(write, text, message):
    with pytest.raises(InputError, match=message):
        import_draws(write(text))


def test_csv__a_column_of_text_is_left_out(write):
    with pytest.warns(TdmxWarning, match=r"draws\.csv: columns of text are left out: drug, site\."):
        draws = import_draws(write("drug,CL,site\nmeropenem,5,ICU\nmeropenem,6,ICU\n"))
    assert list(draws) == ["CL"]


def test_source__refused(write, tmp_path):
    with pytest.raises(StoreError, match=r"none\.csv: there is no such file"):
        import_draws(tmp_path / "none.csv")
    with pytest.raises(InputError, match="this folder is no Zarr store"):
        import_draws(tmp_path)
    with pytest.raises(InputError, match="looks like a workbook"):
        import_draws(write("PK\x03\x04 and so on"))
    with pytest.raises(InputError, match=r"this is no text and of no known format\. Save it as UTF-8"):
        import_draws(write("\ufeffCL\n5\n", encoding="utf-16-le"))
    with pytest.raises(InputError, match="this is no text in UTF-8"):
        import_draws(write("CL,größe\n5,6\n", encoding="latin-1"))
    with pytest.raises(InputError, match="format=xml: it is one of csv, parquet"):
        import_draws(write("CL\n5\n"), format="xml")
    with pytest.raises(InputError, match="2 files: csv is read from one file"):
        import_draws([write("CL\n5\n"), write("CL\n5\n", "b.csv")])
    with pytest.raises(InputError, match="there is at least one file"):
        import_draws([])
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"CL\n5\n")[:-9])
    with pytest.raises(InputError, match=r"no whole gzip file|no text in UTF-8"):
        import_draws(tmp_path / "x.csv.gz")


# CmdStan

HEAD = """\
# stan_version_major = 2
# model = pk_model
# method = sample (Default)
#   sample
#     num_samples = {n} (Default)
#     num_warmup = 2
#     save_warmup = {save}
#     thin = {thin}
# id = 1 (Default)
lp__,accept_stat__,stepsize__,treedepth__,n_leapfrog__,divergent__,energy__,CL,V,omega.1.1
"""
ADAPTED = (
    "# Adaptation terminated\n# Step size = 0.8\n# Diagonal elements of inverse mass matrix:\n# 0.5, 0.6\n"
)
TAIL = "# \n#  Elapsed Time: 0.1 seconds (Warm-up)\n#                0.2 seconds (Sampling)\n# \n"


def row(value):
    return f"-7.5,0.9,0.8,3,7,{value % 2},8.1,{5 + value / 10},30,0.1\n"


def cmdstan(n=4, save=0, thin=1, rows=None, warm=""):
    rows = rows if rows is not None else "".join(map(row, range(n)))
    return HEAD.format(n=n * thin, save=save, thin=thin) + warm + ADAPTED + rows + TAIL


def test_cmdstan__one_file_a_chain(write):
    paths = [
        write(cmdstan(rows="".join(map(row, range(each, each + 4)))), f"out-{each}.csv") for each in (0, 10)
    ]
    tree = import_tree(paths)
    posterior, stats = tree["posterior"], tree["sample_stats"]
    np.testing.assert_array_equal(posterior["CL"], [[5.0, 5.1, 5.2, 5.3], [6.0, 6.1, 6.2, 6.3]])
    assert posterior.attrs == {"sampling": "mcmc", "source": "out-0.csv, out-10.csv"}
    assert sorted(posterior.data_vars) == ["CL", "Vc", "omega"]
    assert sorted(stats.data_vars) == [
        "acceptance_rate",
        "diverging",
        "energy",
        "lp",
        "n_steps",
        "step_size",
        "tree_depth",
    ]
    np.testing.assert_array_equal(stats["diverging"], [[False, True] * 2] * 2)
    assert stats["tree_depth"].dtype == np.int64
    assert dict(import_draws(paths[0]).sizes) == {"chain": 1, "draw": 4, "eta": 1, "eta2": 1}
    assert import_draws(paths[0]).attrs["sampling"] == "mcmc"


def test_cmdstan__warm_up_is_left_out(write):
    warm = row(90) + row(91)
    draws = import_draws(write(cmdstan(save=1, warm=warm)))
    np.testing.assert_array_equal(draws.CL, [[5.0, 5.1, 5.2, 5.3]])
    fixed = cmdstan(save="true", rows=warm + "".join(map(row, range(4)))).replace(ADAPTED, "")
    np.testing.assert_array_equal(import_draws(write(fixed)).CL, [[5.0, 5.1, 5.2, 5.3]])


def test_cmdstan__thinned(write):
    assert import_draws(write(cmdstan(n=4, thin=3))).sizes["draw"] == 4


def test_cmdstan__no_adaptation_no_comments(write):
    text = cmdstan().replace(ADAPTED, "").replace(TAIL, "")
    assert import_draws(write(text)).sizes["draw"] == 4
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
    assert import_draws(write(bare)).sizes["draw"] == 4


def test_cmdstan__cut_short(write):
    whole = cmdstan()
    body = whole[: whole.index(TAIL)]
    with pytest.raises(
        InputError, match=r"draws\.csv, line 18: it has 3 of 10 columns: the file was cut short"
    ):
        import_draws(write(body[: body.rindex(",0.8") + 4]))
    with pytest.raises(
        InputError, match=r"draws\.csv, line 17: the file ends after 3 of 4 draws: it was cut short"
    ):
        import_draws(write(body[: body.rindex("-7.5")]))
    with pytest.raises(InputError, match=r"draws\.csv, line 18: the file was cut short here"):
        import_draws(write(body[:-2]))
    with pytest.raises(InputError, match="there are no draws in it"):
        import_draws(write(HEAD.format(n=4, save=0, thin=1)))


def test_cmdstan__files_that_do_not_belong_together(write):
    one, two = write(cmdstan(), "1.csv"), write(cmdstan(n=5), "2.csv")
    with pytest.raises(
        InputError, match=r"2\.csv: it has 5 draws and .*1\.csv has 4; chains are equally long"
    ):
        import_draws([one, two])
    with pytest.raises(InputError, match=r"2\.csv: it has other columns than .*1\.csv"):
        import_draws([one, write(cmdstan().replace("CL,V,", "V,CL,"), "2.csv")])


def test_cmdstan__other_methods(write):
    text = cmdstan().replace("method = sample (Default)", "method = optimize")
    with pytest.raises(InputError, match="CmdStan's method optimize gives one point, no draws"):
        import_draws(write(text))
    mean_first = cmdstan(rows=row(95) + row(0) + row(1)).replace(
        "method = sample (Default)", "method = variational"
    )
    draws = import_draws(write(mean_first))
    np.testing.assert_array_equal(draws.CL, [[5.0, 5.1]])
    assert draws.attrs["sampling"] == "independent"


def test_cmdstan__a_value_that_is_none(write):
    with pytest.raises(InputError, match="a value is no number"):
        import_draws(write(cmdstan().replace("5.2,30", "5.2.1,30")))
    with pytest.raises(InputError, match=r"CL\[chain=0, draw=2\]=nan: a clearance must be finite"):
        import_draws(write(cmdstan().replace("5.2,30", "nan,30")))


# NetCDF, Zarr, Parquet


def arviz(tmp_path, engine="h5netcdf", **extra):
    """A file as ArviZ writes it."""
    draws = make_draws(2, 20, omega=make_omega(2, 20)).rename(eta="eta_dim_0", eta2="eta_dim_1")
    posterior = draws.assign(extra).assign_coords(chain=[0, 1], draw=np.arange(20)).drop_attrs(deep=False)
    groups = {
        "posterior": posterior.drop_attrs(),
        "sample_stats": xr.Dataset({"lp": (("chain", "draw"), np.zeros((2, 20)))}, coords={"chain": [0, 1]}),
        "observed_data": xr.Dataset({"y": ("obs", [1.0, 2.0])}),
        "constant_data": xr.Dataset({"dose": ((), 1000.0), "drug": ((), "meropenem")}),
    }
    path = tmp_path / f"fit.{'zarr' if engine == 'zarr' else 'nc'}"
    tree = xr.DataTree.from_dict(groups)
    if engine == "zarr":
        tree.to_zarr(path, zarr_format=2)
    else:
        tree.to_netcdf(path, engine="h5netcdf")
    return path, draws


@pytest.mark.parametrize("engine", ["h5netcdf", "zarr"])
def test_arviz(tmp_path, engine):
    path, draws = arviz(tmp_path, engine)
    tree = import_tree(path)
    np.testing.assert_array_equal(tree["posterior/CL"], draws.CL)
    np.testing.assert_array_equal(tree["posterior/omega"], draws.omega)
    assert tree["posterior"].eta.values.tolist() == ["CL", "Vc"]
    assert tree["posterior"].attrs == {"sampling": "mcmc", "source": path.name}
    assert set(tree.children) == {"posterior", "sample_stats", "constant_data"}
    assert list(tree["constant_data"].data_vars) == ["dose"]


def test_arviz__vectors_and_units(tmp_path):
    theta = xr.DataArray(
        np.full((2, 20, 2), 3.0) + np.arange(2), dims=("chain", "draw", "p"), coords={"p": ["a", "b"]}
    )
    path, _ = arviz(tmp_path, theta=theta)
    draws = import_draws(path, columns={"Q2": "theta[2]"})
    np.testing.assert_array_equal(draws.Q2, np.full((2, 20), 4.0))
    assert "theta" not in draws
    assert import_draws(path).theta.dims == ("chain", "draw", "p")


def test_netcdf__units_are_not_converted_unless_told(tmp_path):
    draws = make_draws().assign_attrs({})
    draws.CL.attrs["units"] = "mL/min"
    draws.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(SchemaError, match=r'CL\.units=mL/min: CL is in L/h\. .*units={"CL": "mL/min"}'):
        import_draws(tmp_path / "x.nc")
    told = import_draws(tmp_path / "x.nc", units={"CL": "ml/min"})
    np.testing.assert_array_equal(told.CL, draws.CL * 0.06)
    with pytest.raises(InputError, match=r"units\[CL\]=L/day: the source itself says mL/min"):
        import_draws(tmp_path / "x.nc", units={"CL": "L/day"})


def test_netcdf__classic_and_without_chains(tmp_path):
    make_draws(1, 9).isel(chain=0).drop_attrs(deep=False).to_netcdf(tmp_path / "x.nc", engine="scipy")
    draws = import_draws(tmp_path / "x.nc", sampling="independent")
    np.testing.assert_array_equal(draws.CL, make_draws(1, 9).CL)
    assert draws.attrs["sampling"] == "independent"


def test_netcdf__refused(tmp_path):
    xr.Dataset({"y": ("obs", [1.0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(SchemaError, match="the posterior has no dimension draw"):
        import_draws(tmp_path / "a.nc")
    path, _ = arviz(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError, match="it cannot be read as netcdf"):
        import_draws(path)


def test_parquet(tmp_path):
    frame = pd.DataFrame(
        {"CL": [5.0, 6, 7, 8], "V1": np.float32([30, 31, 32, 33]), "chain": [1, 1, 2, 2], "drug": ["a"] * 4}
    )
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.warns(TdmxWarning, match="columns of text are left out: drug"):
        draws = import_draws(tmp_path / "x.parquet")
    np.testing.assert_array_equal(draws.CL, [[5, 6], [7, 8]])
    assert draws.Vc.dtype == np.float64
    assert draws.attrs["sampling"] == "mcmc"
    frame.assign(CL=[5.0, None, 7, 8]).drop(columns="drug").to_parquet(tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"CL\[chain=0, draw=1\]=nan"):
        import_draws(tmp_path / "y.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="it is no whole Parquet file"):
        import_draws(tmp_path / "x.parquet")


@pytest.mark.parametrize(("module", "file"), [("pyarrow.parquet", "x.parquet"), ("h5netcdf", "x.nc")])
def test_extra__is_named_where_it_is_absent(tmp_path, module, file):
    make_draws().to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    pd.DataFrame({"CL": [1.0]}).to_parquet(tmp_path / "x.parquet")
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from tdmx_dask.store.importing import import_draws\n"
        "try: import_draws(sys.argv[1])\nexcept ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / file], capture_output=True, text=True, check=True
    )
    assert f'this needs {module.split(".")[0]}. Install it: pip install "tdmx-dask[io]".' in done.stdout


# columns


def test_columns__mapping_and_frame():
    for columns in (
        {"CL": [5.0, 6.0], "V": np.array([30, 31])},
        pd.DataFrame({"CL": [5.0, 6.0], "V": [30, 31]}),
    ):
        draws = draws_from_columns(columns)
        assert dict(draws.sizes) == {"chain": 1, "draw": 2}
        np.testing.assert_array_equal(draws.Vc, [[30, 31]])
        assert draws.attrs["sampling"] == "independent"


def test_columns__chains_scalars_and_omega():
    omega = make_omega(2, 3).values
    draws = draws_from_columns({"CL": np.ones((2, 3)), "fu": 0.9, "omega": omega}, etas=["CL", "Vc"])
    assert draws.fu.shape == (2, 3)
    assert draws.omega.dims == ("chain", "draw", "eta", "eta2")
    assert draws.attrs["sampling"] == "mcmc"
    flat = draws_from_columns({"CL": np.ones(6), "chain": [1, 1, 1, 2, 2, 2], "fu": 0.9})
    assert dict(flat.sizes) == {"chain": 2, "draw": 3}
    single = draws_from_columns({"CL": np.ones(3), "omega": omega[0]})
    assert single.omega.shape == (1, 3, 2, 2)


def test_columns__refused():
    with pytest.raises(InputError, match=r"V=\(3,\): it begins with \(2,\), as other columns do"):
        draws_from_columns({"CL": [1.0, 2.0], "V": [1.0, 2.0, 3.0]})
    with pytest.raises(InputError, match="draws=CL: at least one column has a value a draw"):
        draws_from_columns({"CL": 5.0})
    with pytest.raises(InputError, match="CL=list: a column holds numbers"):
        draws_from_columns({"CL": ["a", "b"]})
    with pytest.raises(InputError, match=r"CL\[chain=0, draw=1\]=-2"):
        draws_from_columns({"CL": [1.0, -2.0]})
    with pytest.raises(SchemaError, match="draws=empty"):
        draws_from_columns({"CL": []})
