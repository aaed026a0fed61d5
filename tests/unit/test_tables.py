"""Numbers that pages show: printed alike everywhere, compared within what they state."""

import ast
import configparser
import re
from pathlib import Path

import pytest
import torch

from vae_tutorial.book import tables
from vae_tutorial.book.tables import about, differences, table

SANITIZE = Path(__file__).parents[1] / "sanitize.cfg"
SCORES = {"64 fair coins": -44.36142, "the VAE": about(torch.tensor(-20.93), 0.5)}


def test_a_table_is_text():
    assert repr(table(SCORES, "nats per image", digits=1)).replace("\N{NO-BREAK SPACE}", " ") == (
        "                  nats per image\n"
        "64 fair coins              −44.4\n"
        "the VAE              −20.9 ± 0.5\n"
        "±: by how much another machine may differ"
    )


def test_a_table_is_html_with_headers_for_rows_and_columns():
    shown = table({"a < b": [1, "none"]}, ["x", "y"], digits=[0, 2])._repr_html_()
    assert shown == (
        '<div class="numbers"><table><thead><tr><td></td><th scope="col">x</th>'
        '<th scope="col">y</th></tr></thead><tbody><tr><th scope="row">a &lt; b</th>'
        "<td>1</td><td>none</td></tr></tbody></table></div>"
    )


@pytest.mark.filterwarnings("error")
def test_a_number_may_have_a_gradient():
    x = torch.tensor(1.5, requires_grad=True)
    assert repr(table({"a": x, "b": about(2 * x, 0.1)})).split()[:4] == ["a", "1.50", "b", "3.00"]


def test_a_column_without_a_name_has_no_header():
    assert repr(table({"one": 1.0, "twelve": 12.0})) == "one       1.00\ntwelve   12.00"
    assert "<thead>" not in table({"one": 1.0})._repr_html_()


def test_digits_are_rounded_and_zero_has_no_sign():
    shown = repr(table({"a": -0.0004, "b": 12345.678, "c": -0.006}, digits=2))
    assert shown.split() == ["a", "0.00", "b", "12,345.68", "c", "−0.01"]


@pytest.mark.parametrize(
    ("rows", "columns", "digits", "message"),
    [
        ({}, "", 2, "a table needs a row"),
        ({"a": [1.0, 2.0]}, "x", 2, "has 2 values for 1 columns"),
        ({"a": 1.0}, "x", [1, 2], "digits for each column"),
        ({"a": float("nan")}, "", 2, "is not a number that a table can show"),
        ({"a": about(1.0, 0.05)}, "", 1, "1 digits hide a tolerance of 0.05"),
    ],
)
def test_a_table_refuses_what_it_cannot_show(rows, columns, digits, message):
    with pytest.raises(ValueError, match=message):
        table(rows, columns, digits=digits)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("inf"), float("nan")])
def test_a_tolerance_is_positive(tolerance):
    with pytest.raises(ValueError, match="is not a positive number"):
        about(1.0, tolerance)


def both(rows, digits=1):
    """The texts that a notebook stores of one table."""
    made = table(rows, "nats", digits=digits)
    return repr(made), made._repr_html_()


@pytest.mark.parametrize("moved", [-20.93, -20.5, -21.4, -21.43])
def test_a_number_within_its_tolerance_passes(moved):
    fresh = both({**SCORES, "the VAE": about(moved, 0.5)})
    assert [differences(a, b) for a, b in zip(both(SCORES), fresh, strict=True)] == [[], []]


@pytest.mark.parametrize(
    "changed",
    [
        {"the VAE": about(-20.3, 0.5)},
        {"the VAE": about(20.93, 0.5)},
        {"the VAE": about(-20.93, 0.6)},  # a tolerance is part of the claim
        {"the VAE": -20.93},
        {"64 fair coins": -44.26},  # a plain number is compared as printed
        {"another row": 1.0},
    ],
)
def test_a_number_beyond_its_tolerance_fails(changed):
    fresh = both({**SCORES, **changed})
    assert all(differences(a, b) for a, b in zip(both(SCORES), fresh, strict=True))


def test_two_far_numbers_are_named():
    old, new = both({"a": about(1.0, 0.1)})[0], both({"a": about(9.0, 0.1)})[0]
    assert differences(old, new) == ["1.0 ± 0.1 is now 9.0 ± 0.1"]


def test_nbval_leaves_numbers_with_a_tolerance_to_the_fresh_run():
    """nbval compares characters: what it replaces must be these numbers, and nothing else."""
    rules = configparser.ConfigParser(interpolation=None)
    rules.read(SANITIZE)
    rule = rules["tolerance"]

    def sanitized(rows):
        return [re.sub(rule["regex"], rule["replace"], text) for text in both(rows)]

    same = {**SCORES, "the VAE": about(-9.1, 0.5)}  # one character less
    assert sanitized(SCORES) == sanitized(same)
    assert sanitized(SCORES) != sanitized({**SCORES, "64 fair coins": -44.26})
    assert sanitized(SCORES) != sanitized({**SCORES, "the VAE": about(-20.9, 0.6)})


def test_tables_imports_nothing_of_the_package():
    tree = ast.parse(Path(tables.__file__).read_text())
    imported = {
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))
    }
    assert not [line for line in imported if "vae_tutorial" in line]
