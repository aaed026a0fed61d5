"""What a notebook's outputs depend on, as one hash: its code, and the package's files behind it.

The files are found by reading imports, never by running them: the modules that the cells import,
what these import, and the data that lie beside a used module (scripts, weights, tables). A change
of the command line makes no chapter stale.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

from tools import grammar

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "vae_tutorial"
DATA = {".js", ".css", ".safetensors", ".json"}


def fingerprint(nb: NotebookNode, root: Path = ROOT) -> str:
    """sha256 over the code cells and every file of the package that they use."""
    digest = hashlib.sha256()
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    for source in code:
        digest.update(source.encode() + b"\0")
    for path in files(code, root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def files(code: list[str], root: Path = ROOT) -> list[Path]:
    """The package's files that these sources use, directly or through other modules."""
    waiting = [module for text in code for module in _imports(grammar.python(text), "", root)]
    used: set[Path] = set()
    while waiting:
        path = _file(waiting.pop(), root)
        if path is None or path in used:
            continue
        used.add(path)
        waiting += _imports_of(path, root)
    folders = {path.parent for path in used if path.parent != root / PACKAGE}
    beside = {p for folder in folders for p in folder.iterdir() if p.suffix in DATA}
    return sorted(used | beside)


@cache
def _imports_of_version(path: Path, root: Path, _changed: int) -> tuple[str, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parent = ".".join(path.relative_to(root).parent.parts)
    return tuple(_imports(tree, parent, root))


def _imports_of(path: Path, root: Path) -> tuple[str, ...]:
    return _imports_of_version(path, root, path.stat().st_mtime_ns)


def _imports(tree: ast.Module, parent: str, root: Path) -> Iterator[str]:
    """The package's modules that a source imports, also within functions; with their parents."""
    skipped = {id(inner) for node in _type_checking(tree) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, parent)
            names = [_home(module, alias.name, root) for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE:
                yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _absolute(node: ast.ImportFrom, parent: str) -> str:
    if not node.level:
        return node.module or ""
    above = parent.split(".")[: len(parent.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _home(module: str, name: str, root: Path) -> str:
    """The module that ``from module import name`` loads.

    A lazy package names the homes of its names below ``if TYPE_CHECKING``, where type checkers
    read them too.
    """
    if module.split(".")[0] != PACKAGE:
        return module
    if _file(f"{module}.{name}", root):
        return f"{module}.{name}"
    init = _file(module, root)
    if init is not None and init.name == "__init__.py":
        for guarded in _type_checking(ast.parse(init.read_text(encoding="utf-8"))):
            for node in ast.walk(guarded):
                if isinstance(node, ast.ImportFrom) and name in [a.name for a in node.names]:
                    return _absolute(node, module)
    return module


def _type_checking(tree: ast.Module) -> list[ast.If]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]


def _file(module: str, root: Path) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None
