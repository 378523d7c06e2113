"""pellucid: what a convolutional image classifier did and why, with evidence.

Public names are listed in ``__init__.pyi`` and imported on first use, so that ``import pellucid`` stays light.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _attribute(name)
    except AttributeError:
        from pellucid.core.registry import suggest

        raise AttributeError(
            f"Expected a public name of pellucid, got `{name}`; {suggest(name, __all__)}"
        ) from None
