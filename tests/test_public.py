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
