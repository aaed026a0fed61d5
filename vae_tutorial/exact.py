"""Models whose answers are known in closed form: the truth that estimators are scored against.

``LinearGaussian`` (factor analysis, probabilistic PCA) has a Gaussian posterior and
``GaussianMixture`` a discrete one; both know log p(x), the ELBO of any q, and EM. This module
imports nothing of the package, so that an estimator and its truth cannot share a mistake. Double
precision is kept.

Shapes: B examples x [B, D], J latent dimensions, K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(W z + mean, diag(noise)): factor analysis; with equal noise
    variances, probabilistic PCA.

    Args:
        W: loadings, [D, J].
        mean: [D].
        noise: variances, [D], all positive.

    Raises:
        ValueError: the shapes do not fit, or a noise variance is not positive.

    Source: Bishop (2006), section 12.2.
    """

    W: Tensor
    mean: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        if (
            self.W.dim() != 2
            or self.mean.shape != self.noise.shape
            or (self.mean.shape != self.W.shape[:1])
        ):
            raise ValueError(
                f"W, mean and noise must have shapes [D, J], [D] and [D], not "
                f"{list(self.W.shape)}, {list(self.mean.shape)} and {list(self.noise.shape)}"
            )
        if not bool((self.noise > 0).all()):
            raise ValueError(
                f"noise must hold positive variances, but its smallest is {self.noise.min():g}"
            )

    @property
    def covariance(self) -> Tensor:
        """C = W Wᵀ + diag(noise), the covariance of x, [D, D]."""
        return self.W @ self.W.T + torch.diag(self.noise)

    @property
    def posterior_precision(self) -> Tensor:
        """Λ = I + Wᵀ diag(noise)⁻¹ W, the inverse covariance of p(z|x), the same for all x."""
        eye = torch.eye(self.W.shape[1], dtype=self.W.dtype, device=self.W.device)
        return eye + self.W.T @ (self.W / self.noise[:, None])

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; mean, C), [B]."""
        return MultivariateNormal(self.mean, self.covariance).log_prob(x)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x) = N(Λ⁻¹ Wᵀ diag(noise)⁻¹ (x − mean), Λ⁻¹), batch shape [B], event shape [J]."""
        precision = self.posterior_precision
        projected = (x - self.mean) @ (self.W / self.noise[:, None])  # [B, J]
        mu = torch.linalg.solve(precision, projected.T).T
        return MultivariateNormal(mu, precision_matrix=precision)

    def elbo(self, x: Tensor, q_mu: Tensor, q_covariance: Tensor) -> Tensor:
        """The ELBO of any Gaussian q(z) = N(q_mu, q_covariance), in closed form, [B].

        E_q[log p(x|z)] = −½ Σ_d [log 2π noise_d + (r_d² + (W S Wᵀ)_dd) / noise_d], where
        r = x − mean − W q_mu,
        and KL(q‖p) = ½ [tr S + |q_mu|² − J − log det S].

        Args:
            q_mu: [B, J].
            q_covariance: S, [J, J] or [B, J, J].
        """
        residual = x - self.mean - q_mu @ self.W.T
        spread = torch.einsum("dj,...jk,dk->...d", self.W, q_covariance, self.W)
        log_noise = torch.log(self.noise) + LOG_2PI
        reconstruction = -0.5 * (log_noise + (residual**2 + spread) / self.noise).sum(-1)
        trace = torch.diagonal(q_covariance, dim1=-2, dim2=-1).sum(-1)
        log_det = torch.logdet(q_covariance)
        kl = 0.5 * (trace + (q_mu**2).sum(-1) - self.W.shape[1] - log_det)
        return reconstruction - kl

    def best_diagonal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean [B, J] and variances [J] of the diagonal q with the largest ELBO: the mean of
        the posterior, and 1/Λ_jj, which is at most the posterior's variance."""
        return self.posterior(x).mean, 1 / torch.diagonal(self.posterior_precision)

    def best_elbo(self, x: Tensor, family: str = "full") -> Tensor:
        """The largest ELBO over all Gaussian q (``"full"``: it is log p(x)), or over all diagonal
        ones (``"diagonal"``), [B].

        The second is smaller by ½ (Σ_j log Λ_jj − log det Λ), the same for all x.
        """
        if family == "full":
            return self.log_evidence(x)
        if family != "diagonal":
            raise ValueError(f"family must be 'full' or 'diagonal', not {family!r}")
        precision = self.posterior_precision
        gap = 0.5 * (torch.log(torch.diagonal(precision)).sum() - torch.logdet(precision))
        return self.log_evidence(x) - gap

    def em_step(self, x: Tensor, *, isotropic: bool = False) -> LinearGaussian:
        """One EM step on the data x: log p(x) never falls.

        E: the moments of p(z|x). M: W and the noise that maximize the expected log-joint; the mean
        is the data's. With ``isotropic`` the noise variances are one number (probabilistic PCA).

        Source: Bishop (2006), sections 12.2.2 (probabilistic PCA) and 12.2.4 (factor analysis).
        """
        mean = x.mean(0)
        posterior = LinearGaussian(self.W, mean, self.noise).posterior(x)
        centered, m = x - mean, posterior.mean
        zz = posterior.covariance_matrix.sum(0) + m.T @ m  # Σ_i E[z zᵀ], [J, J]
        xz = centered.T @ m  # [D, J]
        W = torch.linalg.solve(zz, xz.T).T
        noise = ((centered**2).sum(0) - (W * xz).sum(1)) / len(x)
        return LinearGaussian(W, mean, noise.mean().expand_as(noise) if isotropic else noise)

    @classmethod
    def ppca(cls, x: Tensor, latent_dim: int) -> LinearGaussian:
        """The maximum-likelihood probabilistic PCA of the data, W up to a rotation.

        noise = mean of the D − J smallest eigenvalues of the data's covariance, and
        W = U (eigenvalues − noise)^½ with the J leading eigenvectors U.

        Source: Tipping & Bishop (1999), equations 7 and 8.
        """
        if not 1 <= latent_dim < x.shape[1]:
            raise ValueError(
                f"latent_dim must be from 1 to D − 1 = {x.shape[1] - 1}, not {latent_dim!r}"
            )
        values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))  # ascending
        noise = values[:-latent_dim].mean()
        W = vectors[:, -latent_dim:] * torch.sqrt((values[-latent_dim:] - noise).clamp(min=0))
        return cls(W, x.mean(0), noise.expand(x.shape[1]))


@dataclass(frozen=True)
class GaussianMixture:
    """p(z = k) = weights_k, p(x|z = k) = N(means_k, covariances_k).

    Args:
        weights: [K], positive, with sum 1.
        means: [K, D].
        covariances: [K, D, D].

    Source: Bishop (2006), section 9.2.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        k, d = self.means.shape if self.means.dim() == 2 else (-1, -1)
        if self.weights.shape != (k,) or self.covariances.shape != (k, d, d):
            raise ValueError(
                f"weights, means and covariances must have shapes [K], [K, D] and [K, D, D], not "
                f"{list(self.weights.shape)}, {list(self.means.shape)} and "
                f"{list(self.covariances.shape)}"
            )
        if not bool((self.weights > 0).all()) or abs(float(self.weights.sum()) - 1) > 1e-6:
            raise ValueError("weights must be positive with sum 1; divide them by their sum")

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, z = k), [B, K]."""
        components = MultivariateNormal(self.means, self.covariances)
        return torch.log(self.weights) + components.log_prob(x[:, None])

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x) = log Σ_k weights_k N(x; means_k, covariances_k), [B]."""
        return torch.logsumexp(self.log_joint(x), -1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(z = k|x), [B, K]."""
        return torch.softmax(self.log_joint(x), -1)

    def elbo(self, x: Tensor, q: Tensor) -> Tensor:
        """Σ_k q_k [log p(x, k) − log q_k] for any q [B, K] on the components, [B]; it is log p(x)
        where q are the responsibilities."""
        return (q * self.log_joint(x)).sum(-1) - torch.special.xlogy(q, q).sum(-1)

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
