"""Which object part every filter means, and how steadily it points there: part interpretability and location instability.

source = open_parts("scenes:test/0-499")
table = parts(net, "features.28", source)       # or several layers: {layer: PartTable}
table.summary(); table.meaning(7); save_parts({table.layer: table}, "out"); load_parts("out")
"""

from pellucid.data.parts.opening import open_parts as open_parts
from pellucid.data.parts.source import Part as Part
from pellucid.data.parts.source import PartedImage as PartedImage
from pellucid.data.parts.source import PartKey as PartKey
from pellucid.data.parts.source import PartSource as PartSource
from pellucid.interpretable.parts.filters import FilterHere as FilterHere
from pellucid.interpretable.parts.filters import LayerTemplates as LayerTemplates
from pellucid.interpretable.parts.filters import filters_of as filters_of
from pellucid.interpretable.parts.filters import layer_templates as layer_templates
from pellucid.interpretable.parts.filters import template_cells as template_cells
from pellucid.interpretable.parts.measuring import parts as parts
from pellucid.interpretable.parts.settings import PartSettings as PartSettings
from pellucid.interpretable.parts.storing import load_parts as load_parts
from pellucid.interpretable.parts.storing import save_parts as save_parts
from pellucid.interpretable.parts.table import PartTable as PartTable
from pellucid.interpretable.parts.table import change as change
