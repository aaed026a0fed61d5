"""Encoders and decoders of one's own: layers that behave otherwise in training, layers with noise,
distributions that check their parameters."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent

from vae_tutorial import data, objectives, schedules, training
from vae_tutorial.model import VAE
from vae_tutorial.training.checkpoint import Checkpoint


def own(*layers, check=True, seed=0):
    def likelihood(logits):
        return Independent(Bernoulli(logits=logits, validate_args=check), 1, check)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(64, 20), *layers, nn.ReLU(), nn.Linear(20, 4))
        decoder = nn.Sequential(nn.Linear(2, 64))
        return VAE(encoder, decoder, 2, likelihood=likelihood, device="cpu")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", pixels="threshold", device="cpu")


def state(model):
    return copy.deepcopy(model.state_dict())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("check", [True, False])
def test_divergence_is_found_whoever_checks_the_parameters(digits, check):
    """A distribution of torch refuses logits that are not finite; without its check the objective
    is not finite. Either way the step is named, and the model is back where it was."""
    rate = schedules.staircase([1e-3, 1e30], [130 / 13, 10])
    model, stopped = own(check=check), own(check=check)
    with pytest.raises(
        training.DivergenceError,
        match=r"step 13\d in epoch 11.*back at its state after step 130: try a learning_rate",
    ) as caught:
        training.fit(model, digits, batch_size=100, learning_rate=rate, progress=False)
    assert "\n" not in str(caught.value)
    training.fit(stopped, digits, steps=130, batch_size=100, progress=False)
    assert same(state(model), state(stopped))


def test_a_model_that_is_broken_from_the_start_is_no_divergence(digits):
    model = own()
    with torch.no_grad():
        model.decoder[0].bias.fill_(math.nan)
    with pytest.raises(ValueError, match="Expected parameter logits"):
        training.fit(model, digits, progress=False)


def test_a_held_out_elbo_that_is_not_finite_stops_training(digits):
    class Fails(nn.Module):
        def __init__(self, decoder):
            super().__init__()
            self.decoder = decoder

        def forward(self, z):
            return self.decoder(z if self.training else z * math.nan)

    model = own(check=False)
    model = VAE(model.encoder, Fails(model.decoder), 2, likelihood=model.likelihood, device="cpu")
    before = state(model)
    with pytest.raises(
        training.DivergenceError, match="held-out ELBO after step 13 in epoch 1 is nan.*step 0"
    ):
        training.fit(model, digits, epochs=1, progress=False)
    assert same(state(model), before) and not model.training


def test_held_out_examples_teach_a_batchnorm_nothing(digits):
    """The same training with and without held-out examples, running means included, and the
    held-out ELBO that of the model in eval mode."""
    with_valid, without = own(nn.BatchNorm1d(20)), own(nn.BatchNorm1d(20)).eval()
    history = training.fit(with_valid, digits, epochs=3, progress=False)
    training.fit(without, digits.train.x, epochs=3, progress=False)
    assert same(state(with_valid), state(without))
    assert int(without.encoder[1].num_batches_tracked) == 39
    with torch.no_grad():
        value = objectives.elbo(without.eval(), digits.valid.x, rng=0).value.mean().item()
    assert history.valid_elbo[-1] == pytest.approx(value, rel=1e-6)


def test_divergence_puts_running_means_back_too(digits):
    model, stopped = own(nn.BatchNorm1d(20)), own(nn.BatchNorm1d(20))
    rate = schedules.staircase([1e-3, 1e36], [10, 10])
    with pytest.raises(training.DivergenceError, match="after step 130"):
        training.fit(model, digits.train.x, batch_size=100, learning_rate=rate, progress=False)
    training.fit(stopped, digits.train.x, steps=130, batch_size=100, progress=False)
    assert same(state(model), state(stopped))


def test_the_seed_decides_dropout_and_a_stopped_run_goes_on(digits, tmp_path):
    whole, other, again = (own(nn.Dropout(0.5)) for _ in range(3))
    settings = {"batch_size": 100, "progress": False}
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = training.fit(whole, digits, steps=40, **settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert training.fit(other, digits, steps=40, seed=5, **settings) != first
    kept = Checkpoint(tmp_path / "run", every=9)
    training.fit(again, digits, steps=25, checkpoint=kept, **settings)
    third = own(nn.Dropout(0.5), seed=3)
    training.fit(third, digits, steps=40, checkpoint=kept, **settings)
    assert same(state(third), state(whole))


def test_dropout_is_drawn_anew_at_every_step(digits):
    seen = []

    class Watch(nn.Dropout):
        def forward(self, x):
            out = super().forward(torch.ones_like(x))
            seen.append(out)
            return out

    training.fit(own(Watch(0.5)), digits.train.x, steps=3, batch_size=100, progress=False)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
    assert all(set(part.unique().tolist()) == {0, 2} for part in seen)


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [
        (lambda value: value.mean(), r"\[\]"),
        (lambda value: value[None], r"\[1, 100\]"),
        (lambda value: value[:, None], r"\[100, 1\]"),
    ],
)
def test_an_objective_that_is_not_one_value_per_example_is_refused(digits, wrong, shape):
    def objective(model, x, eps):
        return wrong(objectives.elbo(model, x, eps=eps).value)

    with pytest.raises(ValueError, match=rf"one value per example, shape \[100\], not {shape}"):
        training.fit(own(), digits, batch_size=100, objective=objective, progress=False)


def test_an_optimizer_of_ones_own_keeps_its_learning_rates(digits):
    def two_rates(parameters):
        first, *rest = parameters
        groups = [{"params": [first], "lr": 0.0}, {"params": rest, "lr": 0.05}]
        return torch.optim.SGD(groups, lr=7.0)

    model, before = own(), own().state_dict()
    training.fit(model, digits, steps=2, optimizer=two_rates, progress=False)
    after = model.state_dict()
    first, *rest = after
    assert torch.equal(after[first], before[first])
    assert all(not torch.equal(after[name], before[name]) for name in rest)
    given = own()
    training.fit(given, digits, steps=2, optimizer=two_rates, learning_rate=0.05, progress=False)
    assert not torch.equal(given.state_dict()[first], before[first])


@pytest.mark.parametrize("source", ["a stream", "few examples"])
def test_batches_of_full_size_are_compiled_whatever_their_size(digits, monkeypatch, source):
    sizes = []

    def compiled(module, **settings):
        def call(x, *rest):
            sizes.append(len(x))
            return module(x, *rest)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    x = digits.train.x[:200]
    batches = x.split(64) if source == "a stream" else x[:64]
    steps = None if source == "a stream" else 3
    training.fit(own(), batches, steps=steps, compile=True, progress=False)
    assert sizes == [64, 64, 64]  # not the stream's last eight examples
