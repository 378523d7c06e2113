"""Where results are kept: run directories that name everything they were made from."""

from pellucid.run.directory import RunDirectory as RunDirectory
from pellucid.storage import fingerprint as fingerprint
from pellucid.storage import write_arrays as write_arrays
from pellucid.storage import write_bytes as write_bytes
from pellucid.storage import write_json as write_json
from pellucid.storage import write_text as write_text

__all__ = ["RunDirectory", "fingerprint", "write_arrays", "write_bytes", "write_json", "write_text"]
