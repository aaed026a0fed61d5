"""A model is scored in eval mode whatever its mode is, and is given back in the mode it was in."""

import copy

import pytest
import torch
from torch import nn

from vae_tutorial import VAE, evaluation, fit, load, log_evidence
from vae_tutorial.objectives import elbo, evaluate_elbo
from vae_tutorial.training import DivergenceError


def noisy():
    """Dropout and running means in both networks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 4)
        )
        decoder = nn.Sequential(
            nn.Linear(2, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 64)
        )
        return VAE(encoder, decoder, 2, device="cpu")


@pytest.fixture(scope="module")
def digits():
    return load("digits", pixels="threshold", device="cpu")


SCORES = {
    "log_evidence": lambda m, x: log_evidence(m, x, num_samples=30, rng=0).value,
    "gap": lambda m, x: evaluation.gap(m, x, num_samples=30, steps=3, rng=0).total,
    "best_posterior": lambda m, x: evaluation.best_posterior(m, x, steps=3, rng=0).mu,
    "active_units": lambda m, x: evaluation.active_units(m, x).activity,
    "mutual_information": lambda m, x: evaluation.mutual_information(m, x, rng=0),
    "aggregate_kl": lambda m, x: evaluation.aggregate_kl(m, x, rng=0),
    "reconstructions": evaluation.reconstructions,
    "sample_means": lambda m, x: evaluation.sample_means(m, 5, rng=0),
    "evaluate_elbo": lambda m, x: evaluate_elbo(m, x, rng=0).value,
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_eval_mode_and_change_nothing(digits, name):
    """In train mode dropout would be at work, and running means would follow what is scored."""
    model, x = noisy(), digits.test.x[:12]
    in_eval = SCORES[name](model, x)
    model.train()
    before = copy.deepcopy(model.state_dict())
    assert torch.equal(SCORES[name](model, x), in_eval)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(module.training for module in model.modules())
    assert not torch.equal(elbo(model, x, rng=0).value, elbo(model, x, rng=0).value)  # it drops


def test_every_score_of_the_package_is_here():
    functions = {n for n in evaluation.__all__ if n.islower()}
    assert functions <= SCORES.keys()


def test_fit_gives_the_model_back_in_the_mode_in_which_it_was(digits):
    seen = []

    def look(model, history):
        seen.append([module.training for module in model.modules()])

    model = noisy()
    model.encoder[3].train()  # one layer alone
    before = [module.training for module in model.modules()]
    fit(model, digits, epochs=1, callbacks=[look], progress=False)
    assert [module.training for module in model.modules()] == before and sum(before) == 1
    assert all(seen[0])
    values = [elbo(noisy(), digits.test.x, rng=0).value for _ in range(2)]
    assert torch.equal(*values)  # after training, nothing drops
    with pytest.raises(DivergenceError):
        fit(model, digits, epochs=3, learning_rate=1e30, progress=False)
    assert [module.training for module in model.modules()] == before


def test_a_network_that_was_edited_after_it_was_built_resumes_bit_by_bit(digits, tmp_path):
    """Dropout put into a model of VAE.mlp is drawn by the seed like any other."""
    from vae_tutorial import Checkpoint

    def edited(seed=0):
        model = VAE.mlp(64, 2, hidden=(20,), seed=seed, device="cpu")
        model.encoder[1] = nn.Sequential(nn.Tanh(), nn.Dropout(0.5))
        return model

    whole, first, second = edited(), edited(), edited(1)
    settings = {"batch_size": 100, "progress": False}
    torch.manual_seed(1)
    fit(whole, digits, steps=30, **settings)
    torch.manual_seed(2)
    kept = Checkpoint(tmp_path / "run", every=7)
    fit(first, digits, steps=17, checkpoint=kept, **settings)
    fit(second, digits, steps=30, checkpoint=kept, **settings)
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
