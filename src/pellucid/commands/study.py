"""``pellucid study NAME``: run an experiment of the repository's ``studies/`` folder.

The studies are scripts beside the package, not in it: an installed package without its repository has none, and says so.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pellucid
from pellucid.commands.console import say
from pellucid.core.registry import suggest


def run(arguments: Sequence[str]) -> int:
    """List the studies, or run one with the arguments that follow its name."""
    found = studies()
    if not arguments or arguments[0] in ("-h", "--help"):
        say(_usage(found))
        return 0
    name = arguments[0]
    if name not in found:
        raise ValueError(f"Expected a study, got `{name}`; {suggest(name, found)}")
    process = subprocess.Popen([sys.executable, str(found[name]), *arguments[1:]])
    stopped = False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt:  # the study got it too, and is left the time to save what it has
            stopped = True
    if stopped:
        raise KeyboardInterrupt(f"So was the study `{name}`.")
    return process.returncode


def studies() -> dict[str, Path]:
    """Every study by name: the scripts that can be run on their own. Raises ValueError where there are none."""
    for base in (Path(pellucid.__file__).resolve().parents[2], Path.cwd()):
        folder = base / "studies"
        if (folder / "results").is_dir() and (folder / "shallow_cam.py").is_file():
            scripts = [file for file in sorted(folder.glob("*.py")) if _is_script(file)]
            return {file.stem.replace("_", "-"): file for file in scripts}
    raise ValueError(
        "Expected the folder `studies` of pellucid's repository, got an installation without it; try again in a checkout."
    )


def _is_script(file: Path) -> bool:
    return '__name__ == "__main__"' in file.read_text(encoding="utf-8")


def _usage(found: dict[str, Path]) -> str:
    width = max(map(len, found))
    lines = [f"  {name:<{width}}  {_title(file)}" for name, file in found.items()]
    return "\n".join(["usage: pellucid study NAME [options]        pellucid study NAME --help", "", *lines])


def _title(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.strip().splitlines()[0].replace("`", "") if text else ""
