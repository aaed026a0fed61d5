"""The model: distributions, architecture, seeds, and the door."""

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from vae_tutorial import objectives
from vae_tutorial.distributions import DiagonalNormal, StandardNormal
from vae_tutorial.kl import kl_to_prior
from vae_tutorial.model import VAE

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
    torch.testing.assert_close(ours.entropy(), torchs.entropy())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = ours.sample((50_000,))
    torch.testing.assert_close(drawn.mean(0), mu, rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.std(0), (log_var / 2).exp(), rtol=0.02, atol=0)
    wide = ours.expand((3, 2))
    assert wide.sample().shape == (3, 2, 2) and wide.entropy().shape == (3, 2)


def test_the_standard_normal_is_the_normal_without_parameters():
    z = torch.tensor([[0.1, 0.2], [3.0, -1.0]])
    zero = torch.zeros(2)
    standard, general = StandardNormal(zero), DiagonalNormal(zero, zero)
    torch.testing.assert_close(standard.log_prob(z), general.log_prob(z))
    q = DiagonalNormal(torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, -2.0]]))
    torchs = [Independent(Normal(d.mu, d.sigma), 1) for d in (q, standard)]
    exact = torch.distributions.kl_divergence(*torchs)
    for prior in (standard, general):
        torch.testing.assert_close(kl_to_prior(q, prior, z), exact)
    vae = VAE.mlp(6, 2, device="cpu")
    assert vae.prior is vae.prior and isinstance(vae.prior, StandardNormal)
    assert vae.double().prior.mu.dtype == torch.double  # made anew after a move


def test_the_decoders_score_data_as_torch_distributions_does():
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    bernoulli = VAE.mlp(6, 2, device="cpu")
    by_hand = -nn.functional.binary_cross_entropy(
        bernoulli.decode(z).mean, X, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(bernoulli.decode(z).log_prob(X), by_hand)
    fixed = VAE.mlp(6, 2, likelihood="gaussian_fixed", variance=0.2, device="cpu")
    p = Independent(Normal(fixed.decode(z).mean, 0.2**0.5), 1)
    torch.testing.assert_close(fixed.decode(z).log_prob(X), p.log_prob(X))
    learned = VAE.mlp(6, 2, likelihood="gaussian", device="cpu").decode(z)
    p = Independent(Normal(learned.mu, (learned.log_var / 2).exp()), 1)
    torch.testing.assert_close(learned.log_prob(X), p.log_prob(X))


def test_architecture_is_the_papers_appendix_c():
    vae = VAE.mlp(6, 2, hidden=(5,))
    kinds = [type(m) for m in vae.encoder]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear] == [type(m) for m in vae.decoder]
    encoder = (6 * 5 + 5) + 2 * (5 * 2 + 2)
    decoder = (2 * 5 + 5) + (5 * 6 + 6)
    assert sum(p.numel() for p in vae.parameters()) == encoder + decoder


def test_the_decoder_mirrors_the_encoder(vae):
    assert [m.out_features for m in vae.encoder if isinstance(m, nn.Linear)] == [5, 4, 4]
    assert [m.out_features for m in vae.decoder if isinstance(m, nn.Linear)] == [4, 5, 6]


def test_the_seed_decides_the_weights_and_nothing_else_changes():
    state = torch.random.get_rng_state()
    first, again, other = (VAE.mlp(6, 2, seed=s).decoder[-1].weight for s in (0, 0, 1))
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
        ({"likelihood": "gauss"}, "likelihood must be one of 'bernoulli'"),
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


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (nn.Linear(6, 5), "must return 4 parameters of DiagonalGaussian over 2 .*, not 5"),
        (nn.Unflatten(1, (2, 3)), r"one row of parameters for each of 3 examples, \[3, P\]"),
        (nn.Flatten(0), r"one row of parameters for each of 3 examples, .* not \[18\]"),
    ],
)
def test_encode_says_what_an_encoder_must_return(vae, encoder, words):
    with pytest.raises(ValueError, match=words):
        VAE(encoder, vae.decoder, 2, device="cpu").encode(X)


class Returns(nn.Module):
    """A network that makes of its input what a function says."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, rows):
        return self.function(rows)


def test_a_network_that_returns_a_distribution_is_told_where_these_are_made(vae):
    own = VAE(vae.encoder, Returns(lambda z: Normal(z, 1.0)), 2, device="cpu")
    with pytest.raises(TypeError, match="a tensor of parameters, not Normal; VAE.*likelihood="):
        own.decode(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("decoder", "likelihood", "words"),
    [  # each of these showed a plausible ELBO, and a wrong one
        (lambda z: torch.zeros(1, 6), None, r"one row for each of 3 codes, .* not \[1, 6\]"),
        (lambda z: torch.zeros(len(z) * 6), None, r"one row for each of 3 codes"),
        (
            lambda z: torch.zeros(len(z), 6),
            lambda h: Independent(torch.distributions.Bernoulli(logits=h), 2),
            r"batch shape \[1, 3\] and event shape \[D\], not \[1\] and \[3, 6\]",
        ),
        (
            lambda z: torch.zeros(len(z), 6),
            lambda h: torch.distributions.Bernoulli(logits=h),
            r"event shape \[D\], not \[1, 3, 6\] and \[\]; torch.distributions.Independent",
        ),
        (lambda z: torch.zeros(len(z), 1), None, r"shape \[B, 1\].* not \[3, 6\]"),
    ],
)
def test_a_decoder_of_another_shape_is_refused(vae, decoder, likelihood, words):
    own = VAE(vae.encoder, Returns(decoder), 2, likelihood=likelihood, device="cpu")
    with pytest.raises(ValueError, match=words):
        if likelihood is None and "codes" not in words:
            objectives.elbo(own, X)
        else:
            own.decode(torch.zeros(1, 3, 2))


def test_any_network_decodes_codes_of_any_leading_shape():
    """Convolutions know nothing of samples; the answer is that of each code by itself."""
    decoder = nn.Sequential(
        nn.Linear(2, 8), nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 2, stride=2)
    )
    vae = VAE(nn.Sequential(nn.Linear(16, 4)), decoder, 2, device="cpu")
    z = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = vae.decode(z)
        alone = torch.stack([vae.decode(row).logits for row in z.flatten(0, 1)])
    assert (whole.batch_shape, whole.event_shape) == ((5, 3), (16,))
    torch.testing.assert_close(whole.logits.flatten(0, 1), alone)
    assert vae.decode(z[0, 0]).batch_shape == () and vae.data_dim() == 16


def test_the_joint_is_the_likelihood_times_the_prior():
    vae = VAE.mlp(6, 2, prior="learned", device="cpu")
    z = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vae.prior_network.mu += 1
        likelihood = torch.distributions.Bernoulli(logits=vae.decoder(z)).log_prob(X).sum(-1)
        prior = Normal(1.0, 1.0).log_prob(z).sum(-1)
        torch.testing.assert_close(vae.log_joint(X, z), likelihood + prior)
        torch.testing.assert_close(vae.log_likelihood(X, z), likelihood)


def test_a_model_is_made_in_eval_mode_and_looked_at_in_it():
    vae = VAE(nn.Linear(6, 4), nn.Sequential(nn.Linear(2, 6), nn.Dropout(0.5)), 2, device="cpu")
    assert not any(module.training for module in vae.modules())
    vae.decoder.train()
    with vae.evaluating():
        assert not any(module.training for module in vae.modules())
        assert not torch.is_grad_enabled()
    modes = {name: module.training for name, module in vae.named_modules()}
    assert modes["decoder"] and modes["decoder.1"] and not modes["encoder"] and not modes[""]


def test_parameters_are_those_of_the_two_models():
    vae = VAE.mlp(6, 2, likelihood="gaussian_shared", prior="learned", device="cpu")
    assert [id(p) for p in [*vae.phi, *vae.theta]] == [id(p) for p in vae.parameters()]
    assert len(vae.theta) == 4 + 1 + 2 and len(vae.phi) == 4


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (X.double(), TypeError, r"x is torch.float64 and the model computes in torch.float32; "
         r"convert it with x.to\(torch.float32\)"),
        (X.half(), TypeError, "x is torch.float16 and the model"),
        (X.numpy(), TypeError, r"not ndarray; torch.as_tensor\(x, dtype=torch.float32\) makes"),
    ],
)  # fmt: skip
def test_data_of_another_type_are_refused_in_one_sentence(vae, x, error, words):
    with pytest.raises(error, match=words):
        vae.check_data(x)


def test_a_model_in_double_precision_takes_double_precision():
    vae = VAE.mlp(6, 2, device="cpu").double()
    assert objectives.elbo(vae, X.double(), rng=0).value.dtype == torch.double
    with pytest.raises(TypeError, match="x is torch.float32 and the model computes in"):
        vae.check_data(X)
    own = VAE(nn.Linear(6, 4).double(), nn.Linear(2, 6).double(), 2, device="cpu")
    assert objectives.elbo(own, X.double(), rng=0).kl.dtype == torch.double


def test_grey_pixels_are_refused_by_bernoulli_and_taken_by_gaussian(vae):
    grey = torch.full((2, 6), 0.25)
    with pytest.raises(
        ValueError, match=r"12 values that are neither 0 nor 1 \(the first is 0.25\)"
    ):
        vae.check_data(grey)
    assert VAE.mlp(6, 2, likelihood="gaussian", device="cpu").check_data(grey) is grey
