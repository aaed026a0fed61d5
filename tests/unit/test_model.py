"""The model: distributions, architecture, seeds, and the door."""

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from vae_tutorial.model import VAE, DiagonalNormal

X = torch.ones(3, 6)


@pytest.fixture
def vae():
    return VAE.mlp(6, 2, hidden=(5, 4), device="cpu")


def test_the_three_distributions_have_their_shapes(vae):
    q, p = vae.encode(X), vae.decode(torch.zeros(7, 3, 2))
    assert (q.batch_shape, q.event_shape) == ((3,), (2,))
    assert (p.batch_shape, p.event_shape) == ((7, 3), (6,))
    assert (vae.prior.batch_shape, vae.prior.event_shape) == ((), (2,))
    assert all(isinstance(d, Distribution) for d in (q, p, vae.prior))


def test_diagonal_normal_is_torchs():
    mu, log_var = torch.tensor([0.5, -1.0]), torch.tensor([0.3, -2.0])
    z = torch.tensor([[0.1, 0.2], [3.0, -1.0]])
    torchs = Independent(Normal(mu, (log_var / 2).exp()), 1)
    ours = DiagonalNormal(mu, log_var)
    torch.testing.assert_close(ours.log_prob(z), torchs.log_prob(z))
    torch.testing.assert_close(ours.variance, log_var.exp())


def test_the_decoders_score_data_as_torch_distributions_does():
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    bernoulli = VAE.mlp(6, 2, device="cpu")
    by_hand = -nn.functional.binary_cross_entropy(
        bernoulli.decode(z).mean, X, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(bernoulli.decode(z).log_prob(X), by_hand)
    fixed = VAE.mlp(6, 2, decoder="gaussian_fixed", variance=0.2, device="cpu")
    p = Independent(Normal(fixed.decode(z).mean, 0.2**0.5), 1)
    torch.testing.assert_close(fixed.decode(z).log_prob(X), p.log_prob(X))
    learned = VAE.mlp(6, 2, decoder="gaussian", device="cpu").decode(z)
    p = Independent(Normal(learned.mu, (learned.log_var / 2).exp()), 1)
    torch.testing.assert_close(learned.log_prob(X), p.log_prob(X))


def test_learned_variance_has_a_floor():
    vae = VAE.mlp(6, 2, decoder="gaussian", device="cpu")
    vae.decoder.log_var.bias.data.fill_(-50)
    assert vae.decode(torch.zeros(1, 2)).variance.min().item() == pytest.approx(1e-3)


def test_architecture_is_the_papers_appendix_c():
    vae = VAE.mlp(6, 2, hidden=(5,))
    kinds = [type(m) for m in vae.encoder.body]
    assert kinds == [nn.Linear, nn.Tanh] == [type(m) for m in vae.decoder.body]
    encoder = (6 * 5 + 5) + 2 * (5 * 2 + 2)
    decoder = (2 * 5 + 5) + (5 * 6 + 6)
    assert sum(p.numel() for p in vae.parameters()) == encoder + decoder


def test_the_decoder_mirrors_the_encoder(vae):
    assert [m.out_features for m in vae.encoder.body if isinstance(m, nn.Linear)] == [5, 4]
    assert [m.out_features for m in vae.decoder.body if isinstance(m, nn.Linear)] == [4, 5]


def test_the_seed_decides_the_weights_and_nothing_else_changes():
    state = torch.random.get_rng_state()
    first, again, other = (VAE.mlp(6, 2, seed=s).decoder.logits.weight for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data_dim": 0}, "data_dim must be a whole number of at least 1, not 0"),
        ({"latent_dim": -2}, "latent_dim must be"),
        ({"latent_dim": 2.0}, "latent_dim must be"),
        ({"hidden": ()}, "at least one layer"),
        ({"hidden": (5, 0)}, "hidden must be a whole number of at least 1, not 0"),
        ({"decoder": "gauss"}, "decoder must be one of 'bernoulli'"),
        ({"variance": 0.0}, "variance must be a finite number above 0"),
        ({"variance": float("nan")}, "variance must be a finite number"),
    ],
)
def test_mlp_refuses_nonsense(arguments, words):
    with pytest.raises(ValueError, match=words):
        VAE.mlp(**{"data_dim": 6, **arguments})


def test_decode_refuses_a_point_of_another_latent_space(vae):
    with pytest.raises(ValueError, match=r"z must have shape \[..., 2\], not \[1, 3\]"):
        vae.decode(torch.zeros(1, 3))


def test_encode_says_what_an_encoder_must_return(vae):
    words = r"must return a DiagonalNormal or a FullNormal over 2 dimensions"
    with pytest.raises(TypeError, match=words):
        VAE(nn.Linear(6, 4), vae.decoder, 2).encode(X)


def test_grey_pixels_are_refused_by_bernoulli_and_taken_by_gaussian(vae):
    grey = torch.full((2, 6), 0.25)
    with pytest.raises(
        ValueError, match=r"12 values that are neither 0 nor 1 \(the first is 0.25\)"
    ):
        vae.check_data(grey)
    assert VAE.mlp(6, 2, decoder="gaussian", device="cpu").check_data(grey) is grey
