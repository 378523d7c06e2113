from .explaining import explain as explain
from .explanation import Explanation as Explanation
from .facts import Clause as Clause
from .facts import Quantity as Quantity
from .facts import Region as Region
from .settings import ExplainSettings as ExplainSettings

__all__ = ["Clause", "ExplainSettings", "Explanation", "Quantity", "Region", "explain"]
