"""Schedules at their corners, between them, and in training."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial import data, schedules, training
from vae_tutorial.model import VAE

epochs = st.floats(-10, 1000, allow_nan=False)
weights = st.floats(0, 10)


@given(epochs, weights)
def test_constant(epoch, beta):
    assert schedules.constant(beta)(epoch) == beta
    assert schedules.constant()(epoch) == 1.0


def test_linear_warmup_goes_in_a_straight_line():
    beta = schedules.linear_warmup(10)
    assert [beta(e) for e in (-1, 0, 2.5, 5, 10, 11, 1e6)] == [0, 0, 0.25, 0.5, 1, 1, 1]
    down = schedules.linear_warmup(4, start=3.0, end=0.5)
    assert [down(e) for e in (0, 1, 2, 4, 9)] == [3.0, 2.375, 1.75, 0.5, 0.5]


def test_cyclical_ramps_holds_and_repeats():
    beta = schedules.cyclical(period=10, cycles=2, ramp=0.5)
    times = (0, 2.5, 5, 9.9, 10, 12.5, 15, 19.9, 20, 22.5, 100)
    assert [beta(t) for t in times] == [0, 0.5, 1, 1, 0, 0.5, 1, 1, 1, 1, 1]
    assert beta(-3) == 0
    default = schedules.cyclical(period=10, cycles=1)
    assert [default(t) for t in (2.5, 5, 7)] == [0.5, 1, 1]
    other = schedules.cyclical(period=4, cycles=3, ramp=1.0, start=0.2, end=0.6)
    assert other(1) == pytest.approx(0.3) and other(3) == pytest.approx(0.5)
    assert other(4) == pytest.approx(0.2) and other(11) == pytest.approx(0.5)
    assert other(12) == 0.6


def test_sigmoid_is_the_logistic_function():
    beta = schedules.sigmoid(midpoint=20, width=4)
    assert beta(20) == 0.5
    assert beta(24) == pytest.approx(1 / (1 + math.exp(-1)))
    assert beta(16) == pytest.approx(1 / (1 + math.exp(1)))
    assert beta(40) > 0.993 and beta(1e9) == 1 and beta(-1e9) == 0
    scaled = schedules.sigmoid(0, 1, start=1.0, end=3.0)
    assert scaled(0) == 2.0 and scaled(50) == pytest.approx(3.0) and scaled(-50) == 1.0


@given(epochs, weights, weights)
def test_every_schedule_stays_between_its_ends(epoch, start, end):
    low, high = min(start, end), max(start, end)
    for beta in (
        schedules.linear_warmup(7, start, end),
        schedules.cyclical(5, 3, 0.4, start, end),
        schedules.sigmoid(10, 2, start, end),
    ):
        assert low - 1e-9 <= beta(epoch) <= high + 1e-9


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: schedules.constant(-1), "beta must be a finite number of at least 0, not -1"),
        (lambda: schedules.constant(math.nan), "beta must be"),
        (lambda: schedules.linear_warmup(0), "epochs must be a finite number above 0, not 0"),
        (lambda: schedules.linear_warmup(5, start=-0.1), "start must be"),
        (lambda: schedules.linear_warmup(5, end=math.inf), "end must be"),
        (lambda: schedules.cyclical(0, 2), "period must be a finite number above 0"),
        (lambda: schedules.cyclical(5, 0), "cycles must be a whole number of at least 1"),
        (lambda: schedules.cyclical(5, 2, ramp=0), "ramp must be .*above 0 and at most 1, not 0"),
        (lambda: schedules.cyclical(5, 2, ramp=1.5), "at most 1, not 1.5"),
        (lambda: schedules.cyclical(5, 2, ramp=math.nan), "^ramp must be a finite number"),
        (lambda: schedules.cyclical(5, 2, start=-1), "start must be"),
        (lambda: schedules.sigmoid(3, 0), "width must be a finite number above 0"),
        (lambda: schedules.sigmoid(math.nan, 1), "midpoint must be a finite number"),
        (lambda: schedules.sigmoid(1, 1, end=-2), "end must be"),
    ],
)
def test_nonsense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_fit_asks_the_schedule_at_every_step():
    asked = []

    def schedule(epoch):
        asked.append(epoch)
        return 0.5

    digits = data.load("digits", pixels="threshold")
    scheduled, fixed = VAE.mlp(64, seed=0), VAE.mlp(64, seed=0)
    settings = {"epochs": 2, "batch_size": 500, "progress": False}
    training.fit(scheduled, digits, beta=schedule, **settings)
    training.fit(fixed, digits, beta=0.5, **settings)
    assert asked == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    for a, b in zip(scheduled.parameters(), fixed.parameters(), strict=True):
        assert torch.equal(a, b)
