"""Imports flow one way, from types to the command line; the few looks back inside functions are listed
here."""

import ast
from pathlib import Path

import pellucid

ROOT = Path(pellucid.__file__).parent

# A module may import modules of the lines above, and its own package.
ORDER = [
    {"_version"},
    {"core"},
    {"speech"},
    {"data"},
    {"world"},
    {"zoo"},
    {"relevance"},
    {"attribution", "units", "dissection"},
    {"training"},
    {"visualization", "interpretable"},
    {"evaluation", "trainings"},
    {"naming"},
    {"report"},
    {"explanation"},
    {"commands", "web", "loading", "semantics"},  # the last two: earlier names, for scripts of users
    {"cli"},
    {"__init__"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

# Looks back, inside functions: each is a convenience of the public surface, or spares an import where it is
# not needed.
BACK = {
    ("data", "world"),  # `scenes:test/0-99` among the sets of pictures
    ("core", "zoo"),  # a module, name or file wherever a network is expected
}


def imports(path):
    """(module-level?, top-level name below pellucid) of every import of pellucid in a file; type checking
    aside."""
    found = []

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((not inside, alias.name.split(".")) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                base = (child.module or "").split(".")
                found.extend((not inside, [*base, alias.name]) for alias in child.names)
            visit(child, inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return [(outside, parts[1]) for outside, parts in found if parts[0] == "pellucid" and len(parts) > 1]


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).parts[0].removesuffix(".py"), path


def backward():
    """(importing, imported, module-level?, file) of every import against the flow."""
    for here, path in modules():
        for outside, there in imports(path):
            if here != there and RANK[there] >= RANK[here]:
                yield here, there, outside, path.relative_to(ROOT)


def test_every_module_has_its_place():
    assert {here for here, _ in modules()} <= set(RANK), "say in ORDER where the new module belongs"


def test_imports_flow_one_way():
    steps = [
        f"{file}: {there}"
        for here, there, outside, file in backward()
        if outside or (here, there) not in BACK
    ]
    assert not steps, f"imports against the flow: {steps}"


def test_no_exception_is_left_over():
    used = {(here, there) for here, there, outside, _ in backward() if not outside}
    assert used == BACK


def test_a_step_back_would_be_seen(tmp_path):
    file = tmp_path / "geometry.py"
    file.write_text(
        "import pellucid.zoo.zoos\nfrom pellucid import cli\ndef f():\n    from pellucid.web import serve\n"
    )
    assert imports(file) == [(True, "zoo"), (True, "cli"), (False, "web")]


def test_no_catch_all_module():
    assert not [
        path for path in ROOT.rglob("*.py") if path.stem in ("utils", "util", "helpers", "misc", "common")
    ]


def test_no_file_is_too_long():
    assert not {
        path.name: count for path in ROOT.rglob("*.py") if (count := len(path.read_text().splitlines())) > 400
    }


# Circles of files, each closed by an import inside a function: a convenience of the public surface.
CIRCLES = [
    {
        "world.backgrounds",
        "world.dice",
        "world.render",
        "world.scene",
        "world.stuff",
    },  # a scene paints itself
    {"core.network", "zoo.loading"},  # a name wherever a network is expected
]


def arrows():
    """Module → modules of the package it imports, inside functions too; type checking aside."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    found = {}
    for name, path in modules.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        targets = set()

        def visit(node, package=package, targets=targets):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                    continue
                if isinstance(child, ast.ImportFrom):
                    base = (child.module or "").removeprefix("pellucid").strip(".")
                    if child.level:
                        above = package[: len(package) - child.level + 1]
                        base = ".".join([*above, *filter(None, [child.module])])
                    elif not (child.module or "").startswith("pellucid"):
                        continue
                    for alias in child.names:
                        full = f"{base}.{alias.name}".strip(".")
                        targets.add(full if full in modules else base)
                visit(child, package, targets)

        visit(ast.parse(path.read_text(encoding="utf-8")))
        found[name] = (targets & modules.keys()) - {name}
    return found


def test_no_circle_of_files():
    import networkx

    graph = networkx.DiGraph((here, there) for here, targets in arrows().items() for there in targets)
    circles = [part for part in networkx.strongly_connected_components(graph) if len(part) > 1]
    assert sorted(map(sorted, circles)) == sorted(map(sorted, CIRCLES))
