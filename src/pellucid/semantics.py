"""The earlier name of `pellucid.explanation`: the same module, for scripts that import it so."""

import sys

from pellucid import explanation

sys.modules[__name__] = explanation
