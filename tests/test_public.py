"""The public surface: what is listed here stays."""

import ast
import dataclasses
import doctest
import functools
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pellucid
from pellucid.explanation.settings import ExplainSettings

SURFACE = """
    Explanation Geometry Heatmap Layer Network Preprocess Tail Target Trace Unit UnitScores __version__
    UnitTable Visualization attribute capture dissect evaluate explain load names neurons open_concepts read_image
    register visualize
    concepts decode interpret methods parts patterns propagate train
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


def public_callables():
    """Every public function and class, and the public methods of these classes, with the functions behind them."""
    for name in pellucid.__all__:
        value = getattr(pellucid, name)
        if inspect.isfunction(value):
            yield pytest.param(value, value, id=name)
        if inspect.isclass(value):
            for each, member in vars(value).items():
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) and not each.startswith("_"):
                    yield pytest.param(function, getattr(value, each), id=f"{name}.{each}")


def own_raises(function):
    """Does the function's own body raise?"""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


@pytest.mark.parametrize(("function", "bound"), list(public_callables()))
def test_docstrings_say_what_goes_in_what_comes_out_and_what_goes_wrong(function, bound):
    text = inspect.getdoc(function) or ""
    given = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    described = re.search(r"^Args:\n((?:    .*\n|\n)+)", text + "\n", re.MULTILINE)
    if given:
        assert described, "no Args"
        listed = set(re.findall(r"^    \*{0,2}(\w+):", described[1], re.MULTILINE))
        settings = {each.name for each in dataclasses.fields(ExplainSettings)} | {"changes"}
        assert listed - settings == set(given) - settings
    assert function.__annotations__["return"] == "None" or re.search(r"^Returns:\n    \S", text, re.MULTILINE)
    assert not own_raises(function) or re.search(r"^Raises:\n    \w+: \S", text, re.MULTILINE)


def test_public_properties_say_what_they_are():
    for name in pellucid.__all__:
        for each, member in vars(getattr(pellucid, name)).items() if name != "__version__" else ():
            if isinstance(member, (property, functools.cached_property)) and not each.startswith("_"):
                assert inspect.getdoc(member), f"{name}.{each}"


def public_examples():
    finder = doctest.DocTestFinder(recurse=False)
    for name in pellucid.__all__:
        value = getattr(pellucid, name)
        members = [value] if callable(value) else []
        if inspect.isclass(value):
            members += [getattr(value, each) for each in vars(value) if not each.startswith("_")]
        for member in members:
            if callable(member):
                names = vars(sys.modules[inspect.unwrap(getattr(member, "__func__", member)).__module__])
                for each in finder.find(
                    member, f"{name} {getattr(member, '__name__', name)}", globs=dict(names)
                ):
                    if each.examples:
                        yield pytest.param(each, id=each.name)


@pytest.mark.parametrize("example", list(public_examples()))
def test_examples_run(example):
    printed = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert runner.run(example, out=printed.append).failed == 0, "".join(printed)


def test_earlier_names_of_modules_lead_to_them():
    import pellucid.loading
    import pellucid.semantics
    from pellucid import explanation
    from pellucid.zoo import loading, zoos

    assert pellucid.semantics is explanation
    assert pellucid.loading.load is loading.load
    assert pellucid.loading.import_torchvision is zoos.import_torchvision
