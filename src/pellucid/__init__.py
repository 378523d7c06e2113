"""pellucid: what a convolutional image classifier did and why, with evidence.

Public names are resolved on first use, so that ``import pellucid`` stays light.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pellucid._version import __version__ as __version__

if TYPE_CHECKING:
    from pellucid.attribution import attribute as attribute
    from pellucid.capture import Tail as Tail
    from pellucid.capture import capture as capture
    from pellucid.data.concepts import open_concepts as open_concepts
    from pellucid.data.images import read_image as read_image
    from pellucid.data.preprocess import Preprocess as Preprocess
    from pellucid.dissection import UnitTable as UnitTable
    from pellucid.dissection import dissect as dissect
    from pellucid.evaluation import evaluate as evaluate
    from pellucid.network import Network as Network
    from pellucid.network import load as load
    from pellucid.neurons import neurons as neurons
    from pellucid.registry import names as names
    from pellucid.registry import register as register
    from pellucid.semantics import Explanation as Explanation
    from pellucid.semantics import explain as explain
    from pellucid.types import Geometry as Geometry
    from pellucid.types import Heatmap as Heatmap
    from pellucid.types import Layer as Layer
    from pellucid.types import Target as Target
    from pellucid.types import Trace as Trace
    from pellucid.types import Unit as Unit
    from pellucid.types import UnitScores as UnitScores
    from pellucid.visualization import Visualization as Visualization
    from pellucid.visualization import visualize as visualize

_HOME = {
    "attribute": "attribution",
    "Tail": "capture",
    "capture": "capture",
    "read_image": "data.images",
    "Preprocess": "data.preprocess",
    "open_concepts": "data.concepts",
    "UnitTable": "dissection",
    "dissect": "dissection",
    "evaluate": "evaluation",
    "Explanation": "semantics",
    "explain": "semantics",
    "Network": "network",
    "load": "network",
    "neurons": "neurons",
    "names": "registry",
    "register": "registry",
    "Geometry": "types",
    "Heatmap": "types",
    "Layer": "types",
    "Target": "types",
    "Trace": "types",
    "Unit": "types",
    "UnitScores": "types",
    "Visualization": "visualization",
    "visualize": "visualization",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from pellucid.registry import suggest

        raise AttributeError(f"Expected a public name of pellucid, got `{name}`; {suggest(name, _HOME)}")
    module = importlib.import_module(f"pellucid.{_HOME[name]}")
    value = module if _HOME[name] == name and callable(module) else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Surface(ModuleType):
    """Keeps ``pellucid.capture`` the function, though a module of that name exists.

    Importing a submodule sets it as an attribute of its package, in the way of the public name. The package
    ``pellucid.neurons`` may be set: it can be called itself.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType) and not callable(value)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Surface
