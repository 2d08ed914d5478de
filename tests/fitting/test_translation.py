from tdmx_dask.fitting import translation
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import Batch
from tests.fitting.stan_programs import nothing, task


def test_translation__comes_back_from_the_first_child_and_changes_no_draw(monkeypatch):
    program = Program("once", "parameters { real x; } model { x ~ normal(3, 1); }")
    assert translation.known_translation(program.digest) is None
    (first,) = run_batch(Batch((task(program),)), nothing)
    text = translation.known_translation(program.digest)
    assert text
    (second,) = run_batch(Batch((task(program),)), nothing)
    assert first.draws.tobytes() == second.draws.tobytes()
    other = Program("other", "parameters { real x; } model { x ~ normal(-3, 1); }")
    translation.remember_translation(other.digest, text)  # a child uses what it is given
    (found,) = run_batch(Batch((task(other),)), nothing)
    assert found.draws.tobytes() == first.draws.tobytes()
    translation._known.pop(other.digest)


def test_translation__programs_of_one_batch_may_differ():
    one, other = (
        Program("p", f"parameters {{ real x; }} model {{ x ~ normal({mean}, 1); }}") for mean in (50, -50)
    )
    found = run_batch(Batch((task(one), task(other), task(one))), nothing)
    assert [round(result.draws.mean() / 50) for result in found] == [1, -1, 1]


def test_translation__the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(translation, "_known", type(translation._known)())
    for at in range(33):
        translation.remember_translation(str(at), "text")
        translation.known_translation("0")
    assert translation.known_translation("0") == "text"
    assert translation.known_translation("1") is None
