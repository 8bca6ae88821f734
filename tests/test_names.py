"""A name means one thing: classes, functions and type aliases of different modules have different names."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psilon_bench

PACKAGE = Path(psilon_bench.__file__).parent
CHECKED = ("machine", "records", "sweep", "tracking")  # a name of theirs is nobody else's, in the whole package
SHARED = {
    "main",  # of every command
    "load",  # of every source of data, and of records.networks: networks.load(folder)
}


def public_names(file: Path) -> Iterator[str]:
    """Yield the names that a module defines for others: classes, functions, and aliases such as Rows = list[Row]."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp | ast.Name):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name) and target.id[0].isupper())


def test_names_are_not_shared() -> None:
    """Each by one module alone, but for those in SHARED."""
    modules = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        for name in public_names(file):
            modules[name].add(file.relative_to(PACKAGE).as_posix())
    shared = {
        name: sorted(files)
        for name, files in modules.items()
        if len(files) > 1 and not name.startswith("_") and any(file.split("/")[0] in CHECKED for file in files)
    }
    assert {name for name in shared if name not in SHARED} == set(), shared
