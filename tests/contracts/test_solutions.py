"""The folded solution of every exercise passes its exercise's own check."""

import ast
import re

import nbformat
import pytest

import chapters
from tools import grammar
from tools.execute import execute

pytestmark = pytest.mark.slow


def functions(source: str) -> dict[str, ast.FunctionDef]:
    return {
        node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)
    }


def solved(notebook: nbformat.NotebookNode) -> list[str]:
    """Puts each solution in the place of its stub; returns the ids of the exercises' cells."""
    ids = []
    for source in grammar.SOLUTION.findall(grammar.markdown(notebook.cells)):
        (name,) = functions(source)
        (cell,) = [
            c for c in notebook.cells if c.cell_type == "code" and f"def {name}(" in c.source
        ]
        stub = functions(cell.source)[name]
        lines = cell.source.splitlines()
        lines[stub.lineno - 1 : stub.end_lineno] = source.splitlines()
        cell.source = "\n".join(lines)
        ids.append(cell.id)
    return ids


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)
def test_solutions_are_right_and_stubs_are_not(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    unsolved = [c.id for c in notebook.cells if grammar.UNSOLVED in printed(c)]
    ids = solved(notebook)
    assert len(ids) >= 3 and ids == unsolved
    nbformat.write(notebook, tmp_path / path.name)
    fresh = execute(tmp_path / path.name, threads=2)
    said = {cell.id: printed(cell) for cell in fresh.cells if cell.id in ids}
    assert all(re.search(r"\bright$", text.strip()) for text in said.values()), said


def printed(cell: nbformat.NotebookNode) -> str:
    outputs = cell.get("outputs", [])
    return "".join(o.text for o in outputs if o.output_type == "stream")
