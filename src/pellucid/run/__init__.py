"""Where results are kept: run directories that name everything they were made from."""

from pellucid.run.directory import RunDirectory as RunDirectory
from pellucid.run.files import fingerprint as fingerprint
from pellucid.run.files import write_arrays as write_arrays
from pellucid.run.files import write_bytes as write_bytes
from pellucid.run.files import write_json as write_json
from pellucid.run.files import write_text as write_text

__all__ = ["RunDirectory", "fingerprint", "write_arrays", "write_bytes", "write_json", "write_text"]
