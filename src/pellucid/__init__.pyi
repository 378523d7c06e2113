"""The public names of pellucid and where they live."""

from ._version import __version__ as __version__
from .attribution import attribute as attribute
from .core.capture import Trace as Trace
from .core.capture import capture as capture
from .core.geometry import Geometry as Geometry
from .core.layers import Layer as Layer
from .core.network import Network as Network
from .core.registry import methods as methods
from .core.registry import names as names
from .core.registry import register as register
from .core.results import Heatmap as Heatmap
from .core.results import Unit as Unit
from .core.results import UnitScores as UnitScores
from .core.tail import Tail as Tail
from .core.target import Target as Target
from .data.concepts import open_concepts as open_concepts
from .data.images import read_image as read_image
from .data.preprocess import Preprocess as Preprocess
from .dissection import UnitTable as UnitTable
from .dissection import dissect as dissect
from .evaluation import evaluate as evaluate
from .explanation import Explanation as Explanation
from .explanation import explain as explain
from .interpretable.parts.measuring import parts as parts
from .naming.book.finding import concepts as concepts
from .relevance.walk import propagate as propagate
from .trainings import train as train
from .units import neurons as neurons
from .units.patterns.mining import patterns as patterns
from .visualization import Visualization as Visualization
from .visualization import visualize as visualize
from .visualization.decoder.decoding import decode as decode
from .zoo.interpretable.wrapping import interpret as interpret
from .zoo.loading import load as load

__all__ = [
    "Explanation",
    "Geometry",
    "Heatmap",
    "Layer",
    "Network",
    "Preprocess",
    "Tail",
    "Target",
    "Trace",
    "Unit",
    "UnitScores",
    "UnitTable",
    "Visualization",
    "__version__",
    "attribute",
    "capture",
    "concepts",
    "decode",
    "dissect",
    "evaluate",
    "explain",
    "interpret",
    "load",
    "methods",
    "names",
    "neurons",
    "open_concepts",
    "parts",
    "patterns",
    "propagate",
    "read_image",
    "register",
    "train",
    "visualize",
]
