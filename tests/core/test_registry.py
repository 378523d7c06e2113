import dataclasses
from dataclasses import dataclass

import pytest

import pellucid as pl
from pellucid.core import registry
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import UnknownNameError, create, get, names, register, suggest


@pytest.fixture
def empty(monkeypatch):
    """A registry in which only `toy` is known, under the kind "evaluation"; everything is as before
    afterwards."""
    for kind in registry.KINDS:  # a package registers its methods when it is first imported, and never again
        names(kind)
    monkeypatch.setattr(registry, "_methods", {kind: {} for kind in registry.KINDS})
    monkeypatch.setattr(registry, "_loaded", set(registry.KINDS))

    @register("evaluation", "toy", paper="zhou2016")
    @dataclass(frozen=True)
    class Toy:
        steps: int = 3

        def __call__(self):
            return self.steps

    return Toy


def test_registering_names_the_class(empty):
    assert (empty.name, empty.paper) == ("toy", "zhou2016")
    assert names("evaluation") == ("toy",)
    assert get("evaluation", "toy") is empty


def test_create_from_name_and_from_instance(empty):
    assert create("evaluation", "toy", steps=7)() == 7
    made = empty(5)
    assert create("evaluation", made) == made
    assert create("evaluation", made, steps=9)() == 9


def test_the_same_class_may_register_again_but_no_other(empty):
    register("evaluation", "toy", paper="zhou2016")(empty)

    @dataclass(frozen=True)
    class Other:
        pass

    with pytest.raises(
        ValueError, match=r"^Expected a new evaluation name, got `toy`, which .* has; try another\.$"
    ):
        register("evaluation", "toy")(Other)
    Other.__qualname__ = empty.__qualname__
    Other.__module__ = "elsewhere"  # another distribution's class of the same name is another class
    with pytest.raises(ValueError, match=r"Expected a new evaluation name"):
        register("evaluation", "toy")(Other)


@pytest.mark.parametrize("decorate", [lambda c: c, dataclass])
def test_only_frozen_dataclasses(empty, decorate):
    class Loose:
        pass

    with pytest.raises(
        TypeError, match=r"^Expected Loose to be a frozen dataclass; try `@dataclass\(frozen=True\)`\.$"
    ):
        register("evaluation", "loose")(decorate(Loose))


def test_unknown_names_suggest_close_ones(empty):
    with pytest.raises(KeyError) as caught:
        get("evaluation", "tory")
    assert (
        str(caught.value) == "Expected the name of a method for evaluation, got `tory`; did you mean `toy`?"
    )
    with pytest.raises(ValueError, match=r"did you mean `evaluation`"):
        names("evaluations")
    with pytest.raises(UnknownNameError, match=r"there are none"):
        get("visualization", "any")


@pytest.mark.parametrize("given", ["toy", "instance"])
def test_unknown_parameters_suggest_close_ones(empty, given):
    with pytest.raises(
        TypeError, match=r"^Expected a parameter of `[Tt]oy`, got `step`; did you mean `steps`\?$"
    ):
        create("evaluation", "toy" if given == "toy" else empty(), step=2)


def test_neither_name_nor_method(empty):
    with pytest.raises(
        TypeError,
        match=r"Expected the name of a method for evaluation or an instance of one, got 3; try one of toy",
    ):
        create("evaluation", 3)
    with pytest.raises(TypeError, match=r"an instance of one"):
        create("evaluation", empty)  # the class instead of an instance


def test_a_criterion_is_no_attribution_method():
    with pytest.raises(TypeError, match=r"Expected the name of a method for attribution"):
        create("attribution", create("neurons", names("neurons")[0]))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("GradCam", "grad-cam"), ("grad_cam", "grad-cam"), ("layercan", "layercam"), ("Score CAM", "score-cam")],
)
def test_suggest_forgives_case_and_hyphens(wrong, right):
    assert suggest(wrong, ["layercam", "grad-cam", "score-cam", "lime"]).startswith(f"did you mean `{right}`")


def test_suggest_lists_a_few_when_nothing_is_close():
    assert suggest("qqq", ["a1", "b2"]) == "try one of `a1`, `b2`."
    assert suggest("qqq", [f"w{i}" for i in range(20)]).endswith("`w11` (and 8 more).")


def test_methods_of_other_distributions_are_found(empty, monkeypatch):
    class Entry:
        @staticmethod
        def load():
            @register("visualization", "foreign")
            @dataclass(frozen=True)
            class Foreign:
                pass

    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [Entry] if group == "pellucid.visualization" else []
    )
    assert pl.names("visualization") == ("foreign",)


@pytest.mark.parametrize("kind", ["attribution", "neurons", "evaluation"])
def test_every_registered_method_is_complete(kind):
    assert len(names(kind)) >= 4
    for name in names(kind):
        method = get(kind, name)
        assert method.name == name
        assert method.__doc__
        assert method.paper is None or method.paper in PAPERS
        assert dataclasses.is_dataclass(create(kind, name))


def test_suggest_names_only_those_about_as_close_as_the_best():
    assert suggest("atribute", ["contribute", "attribute"]) == "did you mean `attribute`?"
    assert suggest("resnet", ["resnet34", "resnet18"]) == "did you mean `resnet34` or `resnet18`?"
