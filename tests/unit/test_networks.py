"""Every decoder, posterior and prior against torch.distributions."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, MultivariateNormal, Normal

from vae_tutorial import training
from vae_tutorial.distributions import DiagonalNormal, OneHotSequence, draw
from vae_tutorial.families import FullGaussian, Gaussian
from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo, sample_posterior
from vae_tutorial.training.saving import load_model, save_model

KINDS = [
    {"likelihood": "bernoulli"},
    {"likelihood": "gaussian"},
    {"likelihood": "gaussian_shared"},
    {"likelihood": "gaussian_fixed"},
    {"likelihood": "categorical", "letters": 3},
    {"posterior": "full"},
    {"prior": "learned"},
    {"activation": "relu", "hidden": (5, 4, 3)},
    {"activation": "softplus"},
]


def sequences(n=40, positions=2, letters=3):
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randint(letters, (n, positions), generator=rng)
    return nn.functional.one_hot(numbers, letters).flatten(1).float(), numbers


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_model_trains_saves_and_comes_back(kind, tmp_path):
    vae = VAE.mlp(6, 2, **{"hidden": (8,), **kind}, device="cpu")
    x, _ = sequences()
    before = elbo(vae, x, num_samples=50, rng=0).value.mean().item()
    training.fit(vae, x, epochs=30, batch_size=20, learning_rate=1e-2, progress=False)
    terms = elbo(vae, x, num_samples=50, rng=0)
    assert terms.value.mean().item() > before and (terms.kl >= 0).all()
    save_model(vae, tmp_path / "model")
    back = elbo(load_model(tmp_path / "model", device="cpu"), x, num_samples=50, rng=0)
    assert torch.equal(back.value, terms.value)


def test_a_full_posterior_is_torchs_multivariate_normal():
    q = VAE.mlp(6, 3, posterior="full", device="cpu").encode(torch.ones(2, 6))
    covariance = q.scale_tril @ q.scale_tril.mT
    assert (
        covariance - torch.diag_embed(torch.diagonal(covariance, dim1=1, dim2=2))
    ).abs().max() > 0.01
    z = torch.tensor([[0.1, -0.4, 2.0]])
    expected = MultivariateNormal(q.mu, covariance).log_prob(z)
    torch.testing.assert_close(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)


def test_reparameterized_samples_have_the_posteriors_moments():
    for posterior in ("diagonal", "full"):
        q = VAE.mlp(6, 2, posterior=posterior, device="cpu").encode(torch.ones(1, 6))
        eps = torch.randn(100_000, 1, 2, generator=torch.Generator().manual_seed(0))
        z = q.from_noise(eps)[:, 0]
        covariance = q.covariance_matrix if posterior == "full" else torch.diag_embed(q.variance)
        torch.testing.assert_close(z.mean(0), q.mu[0], rtol=0, atol=0.02)
        torch.testing.assert_close(torch.cov(z.T), covariance[0], rtol=0.02, atol=0.02)


def test_detached_distributions_are_equal_and_carry_no_gradient():
    for posterior in ("diagonal", "full"):
        q = VAE.mlp(6, 2, posterior=posterior, device="cpu").encode(torch.ones(1, 6))
        z = torch.tensor([[0.3, 0.4]])
        assert torch.equal(q.detached().log_prob(z), q.log_prob(z))
        assert q.log_prob(z).requires_grad and not q.detached().log_prob(z).requires_grad


def test_a_shared_variance_is_one_number_and_learns_the_noise():
    rng = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(2000, 4, generator=rng)  # nothing to encode: the best variance is 0.09
    vae = VAE.mlp(4, 1, hidden=(4,), likelihood="gaussian_shared", device="cpu")
    assert vae.decode(torch.zeros(1, 1)).variance[0, 0].item() == pytest.approx(0.05)
    training.fit(vae, x, epochs=40, batch_size=200, learning_rate=2e-2, progress=False)
    variance = vae.decode(torch.zeros(3, 1)).variance
    assert (variance == variance[0, 0]).all()
    assert variance[0, 0].item() == pytest.approx(0.09, rel=0.1)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_shared"])
def test_a_learned_variance_has_a_floor(likelihood):
    vae = VAE.mlp(6, 2, likelihood=likelihood, device="cpu")
    u = vae.decoder[-1].bias if likelihood == "gaussian" else vae.likelihood.u
    with torch.no_grad():
        u.fill_(-50)
    assert vae.decode(torch.zeros(1, 2)).variance.min().item() == pytest.approx(1e-3)


@pytest.mark.parametrize("kind", ["predicted", "shared"])
def test_at_the_floor_a_variance_that_is_too_small_is_still_pulled_up(kind):
    """An error of 3 with a variance of 0.0011 costs 4,000 nats: the gradient has to say so."""
    likelihood = Gaussian(kind)
    u = torch.tensor([[0.0001]]).log().requires_grad_()
    if kind == "shared":
        likelihood.u.data.copy_(u[0, 0])
        u = likelihood.u
    parameters = torch.zeros(1, 1) if kind == "shared" else torch.cat([torch.zeros(1, 1), u], 1)
    p = likelihood(parameters)
    p.log_prob(torch.tensor([[3.0]])).backward()
    variance = 1e-3 + 1e-4
    by_hand = (9 / variance - 1) / 2 / variance * 1e-4  # d log p / d variance · d variance / du
    assert u.grad.item() == pytest.approx(by_hand, rel=1e-4) and by_hand > 300


def test_a_first_variance_below_the_floor_is_refused():
    with pytest.raises(ValueError, match="initial variance must be a finite number above 0.001"):
        Gaussian("shared", 1e-4)
    with pytest.raises(ValueError, match="initial variance must be a finite number above 0.001"):
        VAE.mlp(4, 1, likelihood="gaussian_shared", variance=1e-4)
    assert Gaussian("fixed", 1e-4)(torch.zeros(1, 1)).variance.item() == pytest.approx(1e-4)


def test_a_one_hot_sequence_scores_as_categoricals_do():
    logits = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
    x, numbers = sequences(5)
    p = OneHotSequence(logits)
    expected = Categorical(logits=logits).log_prob(numbers).sum(-1)
    torch.testing.assert_close(p.log_prob(x), expected)
    torch.testing.assert_close(p.mean, torch.softmax(logits, -1).flatten(1))
    drawn = p.sample((20_000,))
    assert drawn.shape == (20_000, 5, 6)
    assert (drawn.unflatten(-1, (2, 3)).sum(-1) == 1).all()
    torch.testing.assert_close(drawn.mean(0), p.mean, rtol=0, atol=0.02)
    assert p.sample().shape == (5, 6)
    assert (p.batch_shape, p.event_shape) == ((5,), (6,))
    wide = p.expand((4, 5)).log_prob(x)
    torch.testing.assert_close(wide, p.log_prob(x).expand(4, 5))


def test_probabilities_of_all_sequences_sum_to_one():
    vae = VAE.mlp(6, 2, likelihood="categorical", letters=3, device="cpu")
    numbers = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    x = nn.functional.one_hot(numbers, 3).flatten(1).float()
    z = torch.randn(1, 2, generator=torch.Generator().manual_seed(0))
    total = vae.decode(z).log_prob(x).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "row",
    [[1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0], [1, 0, 0, 0.5, 0.5, 0], [1, 0, 0, 2, -1, 0]],
)
def test_sequences_that_are_not_one_hot_are_refused(row):
    vae = VAE.mlp(6, 2, likelihood="categorical", letters=3, device="cpu")
    x = torch.tensor([[1, 0, 0, 0, 1, 0], row]).float()
    with pytest.raises(
        ValueError, match=r"x\[1\] has no single 1 among the 3 letters of position 1"
    ):
        vae.check_data(x)


def test_a_learned_prior_starts_standard_and_moves():
    vae = VAE.mlp(6, 2, prior="learned", device="cpu")
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        vae.prior.log_prob(z), VAE.mlp(6, 2, device="cpu").prior.log_prob(z)
    )
    training.fit(vae, sequences()[0], epochs=2, progress=False)
    assert vae.prior.mu.abs().sum() > 0 and vae.prior.log_var.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activation": "gelu"}, "activation must be one of 'tanh', 'relu', 'softplus'"),
        ({"posterior": "mean field"}, "posterior must be one of 'diagonal', 'full'"),
        ({"prior": "flat"}, "prior must be one of 'standard', 'learned'"),
        ({"likelihood": "categorical"}, "letters must be .* divides data_dim=6 .*, not None"),
        ({"likelihood": "categorical", "letters": 4}, "divides data_dim=6"),
        ({"likelihood": "categorical", "letters": 1}, "at least 2"),
    ],
)
def test_nonsense_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        VAE.mlp(6, **arguments)


def test_expanding_repeats_the_batch():
    for posterior in ("diagonal", "full"):
        q = VAE.mlp(6, 2, posterior=posterior, device="cpu").encode(torch.ones(1, 6))
        z = torch.tensor([[0.3, 0.4], [1.0, -2.0]])
        expanded = q.expand((2,))
        assert expanded.batch_shape == (2,) and type(expanded) is type(q)
        assert torch.equal(expanded.log_prob(z), q.log_prob(z))


def test_a_likelihood_says_what_it_is():
    """Checkpoints compare models by what they say of themselves."""
    shown = {repr(Gaussian("fixed", v)) for v in (0.1, 0.2)} | {repr(Gaussian("shared", 0.1))}
    assert len(shown) == 3 and "Gaussian('fixed', initial=0.1, floor=0.001)" in shown


def test_draws_come_from_the_generator_alone():
    peaks = Normal(torch.tensor([-1.0, 2.0]), 0.5)
    own = DiagonalNormal(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 0.5]).log() * 2)
    state = torch.random.get_rng_state()
    for p in (peaks, own):
        first, again, other = (
            draw(p, (50_000,), torch.Generator().manual_seed(s)) for s in (0, 0, 1)
        )
        assert torch.equal(first, again) and not torch.equal(first, other)
        torch.testing.assert_close(first.mean(0), p.mean, rtol=0, atol=0.02)
        torch.testing.assert_close(first.std(0), p.stddev, rtol=0, atol=0.02)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_parameters_of_a_full_posterior_are_mean_diagonal_and_what_is_below_it():
    parameters = torch.tensor([[1.0, 2.0, 3.0, 0.2, -0.4, 0.6, 7.0, 8.0, 9.0]])
    q = FullGaussian()(parameters)
    sigma = torch.exp(0.5 * parameters[0, 3:6])
    L = torch.tensor([[0.0, 0, 0], [7, 0, 0], [8, 9, 0]]) + torch.diag(sigma)
    assert torch.equal(q.scale_tril[0], L) and torch.equal(q.mu, parameters[:, :3])
    with pytest.raises(ValueError, match=r"J \(J \+ 3\) / 2 numbers .* such as 9 for 3, not 8"):
        FullGaussian()(parameters[:, :8])


def test_a_full_posterior_moves_noise_in_full_precision_whatever_the_networks_compute_in():
    """In bfloat16, L eps would have three digits."""
    seen = []

    def objective(model, x, eps):
        q, z = sample_posterior(model, x, len(eps), eps=eps)
        seen.append((q, z, eps))
        return model.log_joint(x, z).mean(0)

    vae = VAE.mlp(6, 4, posterior="full", device="cpu")
    settings = {"steps": 1, "num_samples": 300, "precision": "bf16", "progress": False}
    training.fit(vae, torch.ones(2, 6), objective=objective, **settings)
    ((q, z, eps),) = seen
    exact = q.mu.double() + torch.einsum("bij,lbj->lbi", q.scale_tril.double(), eps.double())
    assert (z - exact).abs().max() < 1e-5 and z.dtype == torch.float32
    assert vae.precision == "float32"
