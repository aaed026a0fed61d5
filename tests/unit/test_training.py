"""Training: it learns, it is reproducible, it reports, it refuses nonsense."""

import math
import sys

import pytest
import torch
from torch import nn

from vae_tutorial import data, training
from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo
from vae_tutorial.randomness import as_generator
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.progress import describe


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", pixels="threshold")


def small(seed=0, **settings):
    return VAE.mlp(64, 2, hidden=(50,), seed=seed, **settings)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_training_raises_the_held_out_elbo_above_independent_pixels(digits):
    history = training.fit(small(), digits, epochs=40, learning_rate=5e-3, progress=False)
    p = digits.train.x.mean(0).clamp(1e-3, 1 - 1e-3)  # the best model without a latent variable
    x = digits.valid.x
    baseline = (x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean().item()
    assert history.valid_elbo[-1] > baseline + 2.5
    assert history.epoch == list(range(1, 41))
    for value, reconstruction, kl in zip(
        history.elbo, history.reconstruction, history.kl, strict=True
    ):
        assert value == pytest.approx(reconstruction - kl) and kl > 0


def test_the_seed_decides_everything_and_the_global_generator_stays(digits):
    state = torch.random.get_rng_state()
    runs = []
    for seed in (0, 0, 1):
        model = small()
        training.fit(model, digits, epochs=2, seed=seed, progress=False)
        runs.append(parameters(model))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_step_is_one_adam_step_on_the_mean_negative_elbo(digits):
    x = digits.train.x[:32]
    ours, by_hand = small(), small()
    training.fit(ours, x, epochs=1, batch_size=32, learning_rate=0.01, beta=0.5, progress=False)
    rng = torch.Generator().manual_seed(0)
    order = torch.randperm(32, generator=rng)
    terms = elbo(by_hand, x[order.to(x.device)], rng=rng)
    loss = (-terms.reconstruction + 0.5 * terms.kl).sum() / 32
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(parameters(ours), parameters(by_hand))


def test_a_last_smaller_batch_counts_by_its_examples():
    """With a model that cannot learn, the epoch's mean is that of all examples."""

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            mu = x[:, :1] + 0 * self.unused
            return torch.cat([mu, torch.zeros_like(mu)], 1)

    class Decoder(nn.Module):
        def forward(self, z):
            return torch.zeros(len(z), 2)

    def standard(mu):
        return DiagonalNormal(mu, torch.zeros_like(mu))

    vae = VAE(Encoder(), Decoder(), 1, likelihood=standard, device="cpu")
    x = torch.arange(10.0).reshape(5, 2)
    history = training.fit(vae, x, epochs=1, batch_size=2, progress=False)
    assert history.kl[0] == pytest.approx((x[:, 0] ** 2 / 2).mean().item())
    log_p = -0.5 * (x**2).sum(1) - math.log(2 * math.pi)
    assert history.reconstruction[0] == pytest.approx(log_p.mean().item(), rel=1e-5)
    assert history.valid_elbo == []


def test_dynamic_binarization_draws_anew_and_checks_what_it_yields():
    grey = data.load("digits", pixels="grey")
    seen = []

    def draw(x, rng):
        seen.append(data.binarize(x, rng))
        return seen[-1]

    training.fit(small(), grey, epochs=2, batch_size=1297, transform=draw, progress=False)
    held_out, first_look, *epochs = seen
    assert len(held_out) == 200 and len(first_look) == 1297 and len(epochs) == 2
    assert not torch.equal(epochs[0].sum(0), epochs[1].sum(0))
    with pytest.raises(ValueError, match="Bernoulli"):
        training.fit(small(), grey, transform=lambda x, rng: x / 2, progress=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, not 0"),
        ({"learning_rate": -1.0, "optimizer": torch.optim.SGD}, "learning_rate must be a finite"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"beta": -1}, "beta must be a finite number of at least 0, not -1"),
        ({"seed": -1}, "random source"),
    ],
)
def test_fit_refuses_nonsensical_settings(digits, arguments, words):
    with pytest.raises(ValueError, match=words):
        training.fit(small(), digits, **arguments)


def test_fit_refuses_bad_data_before_the_first_step(digits):
    grey = data.load("digits", pixels="grey")
    with pytest.raises(ValueError, match="use a Gaussian likelihood"):
        training.fit(small(), grey)
    with pytest.raises(ValueError, match=r"\[B, 64\]"):
        training.fit(small(), digits.train.x[:, :60])
    broken = digits.train.x.clone()
    broken[3, 4] = math.nan
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 1297"):
        training.fit(small(), broken)


def test_divergence_stops_and_says_where(digits):
    model = small()
    with torch.no_grad():
        model.encoder[-1].bias[2:] = 200.0  # exp(200) overflows float32
    with pytest.raises(
        training.DivergenceError,
        match="step 1 in epoch 1 is .*rate below 0.001",
    ):
        training.fit(model, digits, epochs=1, progress=False)


def test_progress_in_a_log_is_about_ten_lines_in_nats(digits, capsys):
    history = training.fit(small(), digits, epochs=30)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and lines[-1] == f"epoch 30/30: {describe(history)}"
    assert "nats" in lines[0] and "KL" in lines[0] and "held-out" in lines[0]


def test_progress_in_a_terminal_is_a_bar(digits, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    training.fit(small(), digits, epochs=2)
    shown = capsys.readouterr().err
    assert "2/2" in shown and "ELBO" in shown and "\r" in shown


def test_progress_can_be_off(digits, capsys):
    training.fit(small(), digits, epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_progress_in_jupyter_keeps_one_line(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    source = (
        "from vae_tutorial import data, model, training\n"
        "training.fit(model.VAE.mlp(64), data.load('digits'), epochs=3);"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.data["text/plain"].startswith("epoch 3/3 ━━━━━━━━ ELBO")


@pytest.mark.slow
def test_subnormal_numbers_leave_the_optimizer_and_no_parameter_notices():
    """Pixels that are seen once and then stay black, and the same steps written out by hand."""
    x = torch.zeros(1200, 64)
    x[:2, ::2] = 1
    x[:, 1::4] = (torch.rand(1200, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    model, by_hand = small(device="cpu"), small(device="cpu")
    kept = []

    def adam(p):
        kept.append(torch.optim.Adam(p, fused=True))
        return kept[0]

    training.fit(
        model, iter(x.split(1)), optimizer=adam, learning_rate=1e-3, seed=0, progress=False
    )
    rng, theirs = as_generator(0), torch.optim.Adam(by_hand.parameters(), fused=True)
    for batch in x.split(1):
        theirs.zero_grad()
        (-elbo(by_hand, batch, rng=rng).value.sum()).backward()
        theirs.step()

    def subnormal(optimizer):
        values = torch.cat([s["exp_avg"].flatten() for s in optimizer.state.values()])
        return int(((values != 0) & (values.abs() < torch.finfo(torch.float32).tiny)).sum())

    assert subnormal(theirs) > 100 and subnormal(kept[0]) == 0
    assert torch.equal(parameters(model), parameters(by_hand))


def test_sums_do_not_depend_on_when_they_are_taken(tmp_path):
    """A checkpoint settles them in the middle of an epoch: the history is the same to the bit."""
    x = data.load("digits", pixels="threshold", device="cpu").train.x
    often = Checkpoint(tmp_path / "run.ckpt", every=3)
    plain = training.fit(small(device="cpu"), x, epochs=2, batch_size=100, progress=False)
    kept = training.fit(
        small(device="cpu"), x, epochs=2, batch_size=100, checkpoint=often, progress=False
    )
    assert plain == kept
