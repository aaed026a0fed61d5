"""`verify` ticks what holds, and only that."""

import ast
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch

from vae_tutorial.book import checks
from vae_tutorial.book.checks import (
    VerificationError,
    at_most,
    close,
    estimates,
    identical,
    verify,
)

X = sp.symbols("x", real=True)
GOOD, BAD = close(1.0, 1.0), close(1.0, 2.0)


def test_a_tick_names_the_equation_and_what_was_done(capsys):
    verify("eq-one", GOOD, wrong=[BAD, BAD])
    assert capsys.readouterr().out == (
        "✓ eq-one: computed at 1 point, within 1e-06; 2 wrong neighbors rejected\n"
    )


@pytest.mark.parametrize(
    ("check", "how"),
    [
        (identical(sp.Integer(1), sp.Integer(1)), "proved with SymPy, for all values against X"),
        (identical(X, X, given="a ≤ b"), "proved with SymPy, given a ≤ b against X"),
        (close(np.ones(8), np.ones(8), rtol=1e-5), "computed at 8 points, within 1e-05 of X"),
        (
            close(0.01, 0.0, atol=0.1),
            "computed at 1 point, within 1e-06 relative or 0.1 absolute of X",
        ),
        (at_most(np.zeros(1000), 1.0), "computed at 1,000 points, nowhere larger than X"),
        (at_most(1.05, 1.0, atol=0.1), "computed at 1 point, nowhere 0.1 larger than X"),
        (estimates(np.arange(50.0), 24.5), "sampled with 50 draws, within 5 standard errors of X"),
        (
            estimates(np.arange(90.0).reshape(30, 3) ** 0.5, [6.2, 6.3, 6.4]),
            "sampled with 30 draws at 3 points, within 5 standard errors of X",
        ),
    ],
)  # fmt: skip
def test_a_tick_says_proved_computed_or_sampled_and_against_what(capsys, check, how):
    verify("eq-one", check, wrong=BAD, against="X")
    assert capsys.readouterr().out == f"✓ eq-one: {how}; 1 wrong neighbor rejected\n"


def test_a_false_equation_fails_with_its_numbers(capsys):
    with pytest.raises(VerificationError, match=r"✗ eq-one: not computed.*: 1\.0 against 2\.0"):
        verify("eq-one", BAD, wrong=BAD)
    assert capsys.readouterr().out == ""


# what is rejected for another reason than being wrong shows nothing

NOT_A_NUMBER = [
    close(np.nan, 1.0),
    close(1.0, np.inf),
    close([1.0, np.nan], [2.0, 1.0]),
    at_most(np.nan, 1.0),
    at_most(np.inf, 1.0),
    estimates(np.arange(50.0), np.nan),
    estimates([np.inf] * 50, 0.0),
    estimates([*np.arange(49.0), np.nan], 0.0),
]
NO_VARIANCE = [
    estimates(np.full(50, 0.1), 1.0),  # its standard deviation is 1e-17, by rounding
    estimates(np.stack([np.arange(50.0), np.ones(50)], 1), [99.0, 2.0]),
]
NOT_EVALUATED = [
    identical(X, sp.nan),
    identical(X, sp.oo),
    identical(X, sp.zoo * X),
    identical(sp.Matrix([X, X]), sp.Matrix([2 * X, sp.nan])),
    identical(X, sp.Function("f")(X)),
]


@pytest.mark.parametrize("neighbor", NOT_A_NUMBER)
def test_a_wrong_neighbor_must_be_finite(neighbor):
    with pytest.raises(VerificationError, match="wrong neighbor 2 of 2 is not finite, so its"):
        verify("eq-one", GOOD, wrong=[BAD, neighbor])


@pytest.mark.parametrize("neighbor", NO_VARIANCE)
def test_a_sampled_wrong_neighbor_must_vary(neighbor):
    with pytest.raises(VerificationError, match="wrong neighbor 1 of 1 has no variance"):
        verify("eq-one", GOOD, wrong=neighbor)


@pytest.mark.parametrize("neighbor", NOT_EVALUATED)
def test_a_symbolic_wrong_neighbor_must_have_a_value(neighbor):
    with pytest.raises(VerificationError, match="wrong neighbor 1 of 1 cannot be evaluated"):
        verify("eq-one", GOOD, wrong=neighbor)


def test_a_symbolic_wrong_neighbor_that_is_right_is_not_rejected_for_being_hard():
    """SymPy does not simplify every true identity: numbers tell that this one may be true."""
    root = sp.sqrt(5 + 2 * sp.sqrt(6)) - sp.sqrt(2) - sp.sqrt(3)  # zero, but not at first sight
    hard = checks.Check(False, "proved", "", undecided=checks._undecided([root * X]))
    with pytest.raises(VerificationError, match="is right at every point that was tried"):
        verify("eq-one", GOOD, wrong=hard)


def test_wrong_formulas_of_every_kind_are_rejected(capsys):
    s = sp.symbols("s", positive=True)
    n = sp.symbols("n", integer=True)
    wrong = [
        identical(sp.log(s**2), sp.log(s)),
        identical(sp.Matrix([X, s]), sp.Matrix([X, 2 * s])),
        identical(sp.log(X - 2), X),  # complex at the points that are tried, and finite
        identical(n, n + 1),
        close([1.0, 2.0], [1.0, 2.1]),
        at_most(1.0, [2.0, 0.0]),
        estimates(np.arange(50.0), 0.0),
    ]
    verify("eq-one", GOOD, wrong=wrong)
    assert "7 wrong neighbors rejected" in capsys.readouterr().out


def test_a_wrong_neighbor_that_passes_fails_the_check():
    with pytest.raises(VerificationError, match="wrong neighbor 2 of 2 passes"):
        verify("eq-one", GOOD, wrong=[BAD, GOOD])


def test_a_check_without_a_wrong_neighbor_is_none():
    with pytest.raises(ValueError, match="needs at least one wrong neighbor"):
        verify("eq-one", GOOD, wrong=[])
    with pytest.raises(ValueError, match="starts with 'eq-'"):
        verify("def-one", GOOD, wrong=BAD)


def test_identical_proves_and_refutes():
    x, s = sp.symbols("x", real=True), sp.symbols("s", positive=True)
    assert identical((x + 1) ** 2, x**2 + 2 * x + 1).ok
    assert identical(sp.log(s**2), 2 * sp.log(s)).ok
    assert identical(sp.Matrix([[x, s]]), sp.Matrix([[x, s]])).ok
    assert not identical((x + 1) ** 2, x**2 + 1).ok
    assert not identical(sp.Matrix([[x, s]]), sp.Matrix([[x, x]])).ok
    assert not identical(sp.sqrt(x**2), x).ok  # true only for x ≥ 0


def test_close_is_relative_and_absolute():
    assert close(1e6 + 0.5, 1e6, rtol=1e-6).ok
    assert not close(1e6 + 2, 1e6, rtol=1e-6).ok
    assert close(1e-12, 0.0).ok and not close(1e-6, 0.0).ok
    assert close(torch.ones(3), np.ones(3)).ok
    assert not close([1.0, 1.0], [1.0, 1.1]).ok


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_passes_by_not_being_a_number(bad):
    assert not close(bad, bad).ok
    assert not at_most(bad, bad).ok and not at_most(-np.inf, 1.0).ok
    assert not estimates([bad] * 50, 0.0).ok
    assert not estimates(np.arange(50.0), bad).ok


def test_at_most():
    assert at_most([1.0, 2.0], [1.0, 3.0]).ok
    assert not at_most([1.0, 2.0], [1.0, 1.9]).ok
    assert at_most(1.05, 1.0, atol=0.1).ok


def test_estimates_judges_by_the_standard_error():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=10_000)  # standard error 0.03
    assert estimates(x, 2.0).ok
    assert not estimates(x, 2.3).ok
    assert estimates(x, 2.3, standard_errors=15).ok
    columns = np.stack([x, x + 1], axis=1)
    assert estimates(columns, [2.0, 3.0]).ok and not estimates(columns, [2.0, 2.0]).ok


def test_estimates_is_calibrated():
    """Of many experiments with the right target, about 5 % miss by more than 2 standard errors."""
    rng = np.random.default_rng(1)
    misses = sum(
        not estimates(rng.normal(size=200), 0.0, standard_errors=2).ok for _ in range(1000)
    )
    assert 25 <= misses <= 75


def test_estimates_needs_spread_and_numbers():
    assert not estimates(np.ones(50), 1.0).ok  # no spread: nothing is estimated
    assert not estimates(np.full(50, 0.1), 0.1).ok
    with pytest.raises(ValueError, match="at least 30 independent samples"):
        estimates(np.ones(5), 1.0)


def test_comparisons_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="differ in shape"):
        close([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="nothing to compare"):
        close([], [])


def test_checks_imports_nothing_of_the_package():
    tree = ast.parse(Path(checks.__file__).read_text())
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ] + [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if name.startswith("vae_tutorial")]
