"""The public surface: what is listed here stays."""

import subprocess
import sys
from pathlib import Path

import pytest

import pellucid

SURFACE = """
    Explanation Geometry Heatmap Layer Network Preprocess Tail Target Trace Unit UnitScores __version__
    UnitTable Visualization attribute capture dissect evaluate explain load names neurons open_concepts read_image
    register visualize
    decode interpret methods parts patterns propagate train
"""


def test_the_list_of_public_names():
    assert sorted(SURFACE.split()) == sorted(pellucid.__all__) == dir(pellucid)


@pytest.mark.parametrize("name", SURFACE.split())
def test_every_name_resolves_and_says_what_it_is(name):
    value = getattr(pellucid, name)
    assert name == "__version__" or value.__doc__


def test_unknown_names_suggest_close_ones():
    with pytest.raises(AttributeError) as caught:
        pellucid.atribute  # noqa: B018
    assert (
        str(caught.value) == "Expected a public name of pellucid, got `atribute`; did you mean `attribute`?"
    )
    assert not hasattr(pellucid, "__wrapped__")


def imported_by(code):
    """The modules a fresh interpreter holds after running some code."""
    code += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_is_light():
    heavy = {
        "torch",
        "torchvision",
        "matplotlib",
        "fastapi",
        "numpy",
        "scipy",
        "numba",
        "timm",
        "tyro",
        "PIL",
    }
    assert not imported_by("import pellucid; dir(pellucid); pellucid.__version__") & heavy


def test_the_core_needs_neither_zoo_nor_plots():
    code = "import pellucid; pellucid.load, pellucid.capture, pellucid.Heatmap, pellucid.register"
    assert not imported_by(code) & {"torchvision", "matplotlib", "fastapi", "timm", "tyro"}


def test_no_module_takes_the_place_of_a_public_name():
    """A submodule becomes an attribute of its package when it is imported, whatever stood there."""
    modules = {path.stem for path in Path(pellucid.__file__).parent.iterdir()}
    assert not modules & set(pellucid.__all__)


def test_signatures_tell_the_truth():
    """An editor completes what a function takes: no public function hides its arguments."""
    import inspect

    for name in pellucid.__all__:
        value = getattr(pellucid, name)
        if inspect.isfunction(value):
            kinds = [parameter.kind for parameter in inspect.signature(value).parameters.values()]
            assert inspect.Parameter.VAR_POSITIONAL not in kinds, name
            assert kinds != [inspect.Parameter.VAR_KEYWORD], name


def test_methods_are_listed_with_parameters_and_sources():
    listed = pellucid.methods("attribution")
    assert [each.name for each in listed] == list(pellucid.names("attribution"))
    assert all(each.summary and each.kind == "attribution" for each in listed)
    assert {each.kind for each in pellucid.methods()} == {
        "attribution",
        "neurons",
        "evaluation",
        "visualization",
    }
    with pytest.raises(ValueError, match="Expected a kind of method, got `maps`"):
        pellucid.methods("maps")


def test_train_by_name(tmp_path):
    with pytest.raises(
        ValueError, match="Expected what to train, got `clasifier`; did you mean `classifier`"
    ):
        pellucid.train("clasifier", tmp_path)
    with pytest.raises(TypeError, match="Expected a network and pictures to train a decoder on, got neither"):
        pellucid.train("decoder", tmp_path)
    assert not list(tmp_path.iterdir())
