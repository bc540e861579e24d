"""A sentence for every public name, nothing left undone, no file named for nothing."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "chiploop"
FILES = sorted(SOURCE.rglob("*.py"))
UNDONE = ("NotImplementedError", "TODO", "FIXME")
NAMELESS = {"utils", "helpers", "common", "misc", "manager", "processor"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def is_mere_field(owner: ast.AST, node: Definition) -> bool:
    """Whether a protocol only says that there is such a field, whose name is its sentence."""
    if not isinstance(owner, ast.ClassDef) or isinstance(node, ast.ClassDef):
        return False
    protocol = any(ast.unparse(base) == "Protocol" for base in owner.bases)
    return protocol and any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)


def test_every_public_name_is_documented() -> None:
    silent = []
    for path in FILES:
        module = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        names = [(owner, node) for owner in (module, *classes) for node in owner.body if isinstance(node, Definition)]
        public = [
            (owner, node) for owner, node in names if not node.name.startswith("_") and not is_mere_field(owner, node)
        ]
        silent += [f"{path.name}: {node.name}" for _, node in public if not ast.get_docstring(node)]
        silent += [] if ast.get_docstring(module) else [path.name]
    assert len(FILES) > 50
    assert silent == []


def test_nothing_is_left_undone() -> None:
    assert [f"{p.name}: {mark}" for p in FILES for mark in UNDONE if mark in p.read_text(encoding="utf-8")] == []


def test_no_file_is_named_for_nothing() -> None:
    assert [path.name for path in FILES if path.stem in NAMELESS] == []
