"""The report of an explanation: one HTML file per image that needs only a browser, and an index for several.

A page holds its style, its script, its pictures and the whole document as JSON; it makes no request of any
kind and opens from disk. Maps travel as small grey pictures on the layer's own grid and are colored and
enlarged in the browser, anchored at receptive-field centers exactly as `Heatmap.upsample` does.
"""

from pellucid.report.build import SCHEMA as SCHEMA
from pellucid.report.build import render_index as render_index
from pellucid.report.build import render_page as render_page
from pellucid.report.build import write_report as write_report

__all__ = ["SCHEMA", "render_index", "render_page", "write_report"]
