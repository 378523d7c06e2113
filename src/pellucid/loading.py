"""The earlier place of what makes networks, for scripts that import it from here; it lives in `pellucid.zoo`."""

from pellucid.zoo.loading import load
from pellucid.zoo.zoos import import_torchvision

__all__ = ["import_torchvision", "load"]
