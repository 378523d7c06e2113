import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def documents():
    """The module that makes up documents."""
    spec = importlib.util.spec_from_file_location("report_documents", Path(__file__).parent / "documents.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
