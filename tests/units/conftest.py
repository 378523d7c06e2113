import sys
from pathlib import Path

root = str(Path(__file__).parents[2])
if root not in sys.path:  # so that tests.reference is found whichever way pytest is started
    sys.path.insert(0, root)
