"""A discrete latent variable: which of K Gaussians an example comes from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_tutorial.exact import _doors


@dataclass(frozen=True)
class GaussianMixture:
    """p(z = k) = weights_k, p(x|z = k) = N(means_k, covariances_k).

    Args:
        weights: [K], positive, with sum 1.
        means: [K, D].
        covariances: [K, D, D], symmetric and positive definite.

    Source: Bishop (2006), section 9.2.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        K, D = _doors.tensor("means", self.means, "K D").shape
        _doors.tensor("weights", self.weights, "K", self.means, K=K)
        _doors.distribution("weights", self.weights, "positive", self.weights > 0)
        _doors.tensor("covariances", self.covariances, "K D D", self.means, K=K, D=D)
        _doors.covariance("covariances", self.covariances)

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, z = k), [B, K]."""
        _doors.tensor("x", x, "B D", self.means, D=self.means.shape[1])
        L = torch.linalg.cholesky(self.covariances)
        components = MultivariateNormal(self.means, scale_tril=L)
        return torch.log(self.weights) + components.log_prob(x[:, None])

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) = log Σ_k weights_k N(x; means_k, covariances_k), [B]."""
        return torch.logsumexp(self.log_joint(x), -1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(z = k|x), [B, K]."""
        return torch.softmax(self.log_joint(x), -1)

    def elbo(self, x: Tensor, q: Tensor) -> Tensor:
        """Σ_k q_k [log p(x, k) − log q_k] for any q [B, K] on the components, [B]: its entries are
        at least 0 and sum to 1. It is log p(x) where q are the responsibilities."""
        log_joint = self.log_joint(x)
        _doors.tensor("q", q, "B K", x, B=len(x), K=len(self.weights))
        _doors.distribution("q", q, "at least 0", q >= 0)
        return (q * log_joint).sum(-1) - torch.special.xlogy(q, q).sum(-1)

    def em_step(self, x: Tensor) -> GaussianMixture:
        """One EM step on the data x: log p(x) never falls, short of a component that collapses.

        Source: Bishop (2006), equations 9.23 to 9.27.
        """
        r = self.responsibilities(x)
        count = r.sum(0)  # [K]
        means = (r.T @ x) / count[:, None]
        centered = x[:, None] - means  # [B, K, D]
        covariances = torch.einsum("bk,bkd,bke->kde", r, centered, centered) / count[:, None, None]
        return GaussianMixture(count / len(x), means, covariances)
