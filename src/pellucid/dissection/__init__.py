"""What a unit detects: network dissection, exact and in one pass over the pictures."""

from pellucid.dissection.comparing import compare as compare
from pellucid.dissection.dissecting import dissect as dissect
from pellucid.dissection.exporting import to_csv as to_csv
from pellucid.dissection.exporting import write_parquet as write_parquet
from pellucid.dissection.merging import merge as merge
from pellucid.dissection.published import read_published as read_published
from pellucid.dissection.published import write_published as write_published
from pellucid.dissection.storing import load as load
from pellucid.dissection.storing import save as save
from pellucid.dissection.storing import summarized as summarized
from pellucid.dissection.table import Detection as Detection
from pellucid.dissection.table import UnitTable as UnitTable
