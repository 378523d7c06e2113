"""Sets of concepts to dissect networks with; `open_concepts` finds the layout of a folder."""

from pellucid.data.concepts.ade20k import Ade20kConcepts as Ade20kConcepts
from pellucid.data.concepts.base import Concept as Concept
from pellucid.data.concepts.base import ConceptSource as ConceptSource
from pellucid.data.concepts.base import LabelError as LabelError
from pellucid.data.concepts.base import Labels as Labels
from pellucid.data.concepts.base import Problem as Problem
from pellucid.data.concepts.broden import BrodenConcepts as BrodenConcepts
from pellucid.data.concepts.coco import CocoConcepts as CocoConcepts
from pellucid.data.concepts.cub import CubConcepts as CubConcepts
from pellucid.data.concepts.export import export_broden as export_broden
from pellucid.data.concepts.folder import FolderConcepts as FolderConcepts
from pellucid.data.concepts.opening import open_concepts as open_concepts
from pellucid.data.concepts.voc import VocConcepts as VocConcepts
