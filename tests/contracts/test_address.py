"""`make address`: the project's own address changes everywhere, nobody else's anywhere."""

import nbformat
import pytest

from tools import address
from tools.fingerprint import fingerprint

FOREIGN = (
    "https://github.com/pytorch/examples, https://github.com/someone/"
    "vae-tutorial, "
    "https://github.com/example/vae-tutorial-data, https://notgithub.com/example/vae-tutorial, "
    "https://mybinder.org/v2/gh/other/book/main, https://other.github.io/book/"
)
OURS = """\
[here](https://github.com/{0}/{1}/blob/main/README.md), git+https://github.com/{0}/{1}.git,
git@github.com:{0}/{1}.git, https://mybinder.org/v2/gh/{0}/{1}/main, https://{0}.github.io/{1}/,
https://colab.research.google.com/github/{0}/{1}/blob/main/a.ipynb; at github.com/{0}/{1}.
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that moves from example/vae-tutorial to new-home/vae.book."""
    monkeypatch.setattr(address, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/new-home/vae.book"\n'
    )
    (tmp_path / "CITATION.cff").write_text(
        'repository-code: "https://github.com/example/vae-tutorial"\nlicense: MIT\n'
    )
    (tmp_path / "README.md").write_text(OURS.format("example", "vae-tutorial") + FOREIGN)
    return tmp_path


def test_own_links_are_rewritten_and_foreign_links_survive(project):
    address.main()
    assert (project / "README.md").read_text() == OURS.format("new-home", "vae.book") + FOREIGN
    assert '"https://github.com/new-home/vae.book"\n' in (project / "CITATION.cff").read_text()


def test_what_is_due_is_named_and_done_once(project, capsys):
    assert address.due() == ["CITATION.cff", "README.md"]
    address.main()
    assert capsys.readouterr().out.index("README.md") > 0 and address.due() == []
    address.main()
    assert '"changed": []' in capsys.readouterr().out


def test_the_citation_is_written_last(project, monkeypatch):
    """Else an interrupted run would forget what it has to replace."""
    done = []
    monkeypatch.setattr(address, "rewrite", lambda path: done.append(path.name))
    address.main()
    assert "README.md" in done and done[-1] == "CITATION.cff"


def test_fresh_outputs_stay_fresh(project):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell("# https://github.com/example/vae-tutorial")]
    nb.metadata["vae_tutorial"] = {"source": fingerprint(nb)}
    nbformat.write(nb, project / "a.ipynb")
    address.main()
    new = nbformat.read(project / "a.ipynb", as_version=4)
    assert "new-home/vae.book" in new.cells[0].source
    assert new.metadata.vae_tutorial.source == fingerprint(new) != fingerprint(nb)


def test_a_citation_without_an_address_is_refused(project):
    (project / "CITATION.cff").write_text("license: MIT\n")
    with pytest.raises(
        ValueError, match=r"CITATION.cff names no repository-code on GitHub; enter"
    ):
        address.main()


def test_nothing_is_due_here(root):
    assert address.due() == [] and address.written() == address.repository()
