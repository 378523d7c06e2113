"""From maps, units and probabilities to one honest sentence: `explain`, and the `Explanation` it gives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
