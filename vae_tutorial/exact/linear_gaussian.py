"""A Gaussian latent variable, seen through a linear map and noise: factor analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae_tutorial.exact import _doors

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
        TypeError, ValueError: the shapes or dtypes do not fit, or a noise variance is not
            positive.

    Source: Bishop (2006), section 12.2.
    """

    W: Tensor
    mean: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        W = _doors.tensor("W", self.W, "D J")
        _doors.tensor("mean", self.mean, "D", W, D=len(W))
        if not bool((_doors.tensor("noise", self.noise, "D", W, D=len(W)) > 0).all()):
            raise ValueError(
                f"noise must hold positive variances, but its smallest is {self.noise.min():g}; "
                f"leave out the values of x that have none"
            )

    def _data(self, x: object) -> Tensor:
        return _doors.tensor("x", x, "B D", self.W, D=len(self.W))

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
        return MultivariateNormal(self.mean, self.covariance).log_prob(self._data(x))

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x) = N(Λ⁻¹ Wᵀ diag(noise)⁻¹ (x − mean), Λ⁻¹), batch shape [B], event shape [J]."""
        precision = self.posterior_precision
        projected = (self._data(x) - self.mean) @ (self.W / self.noise[:, None])  # [B, J]
        mu = torch.linalg.solve(precision, projected.T).T
        return MultivariateNormal(mu, precision_matrix=precision)

    def elbo(self, x: Tensor, q_mu: Tensor, q_covariance: Tensor) -> Tensor:
        """The ELBO of any Gaussian q(z) = N(q_mu, q_covariance), in closed form, [B].

        E_q[log p(x|z)] = −½ Σ_d [log 2π noise_d + (r_d² + (W S Wᵀ)_dd) / noise_d], where
        r = x − mean − W q_mu,
        and KL(q‖p) = ½ [tr S + |q_mu|² − J − log det S].

        Args:
            q_mu: [B, J].
            q_covariance: S, symmetric and positive definite, [J, J] or [B, J, J].
        """
        B, J = len(self._data(x)), self.W.shape[1]
        _doors.tensor("q_mu", q_mu, "B J", x, B=B, J=J)
        shape = "J J" if getattr(q_covariance, "ndim", 0) == 2 else "B J J"
        _doors.tensor("q_covariance", q_covariance, shape, x, B=B, J=J)
        _doors.covariance("q_covariance", q_covariance)
        residual = x - self.mean - q_mu @ self.W.T
        spread = torch.einsum("dj,...jk,dk->...d", self.W, q_covariance, self.W)
        log_noise = torch.log(self.noise) + LOG_2PI
        reconstruction = -0.5 * (log_noise + (residual**2 + spread) / self.noise).sum(-1)
        trace = torch.diagonal(q_covariance, dim1=-2, dim2=-1).sum(-1)
        log_det = torch.logdet(q_covariance)
        kl = 0.5 * (trace + (q_mu**2).sum(-1) - J - log_det)
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
        mean = self._data(x).mean(0)
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
        D = _doors.tensor("x", x, "B D").shape[1]
        whole = isinstance(latent_dim, int) and not isinstance(latent_dim, bool)
        if not whole or not 1 <= latent_dim < D:
            raise ValueError(
                f"latent_dim must be a whole number from 1 to D − 1 = {D - 1}, not {latent_dim!r}"
            )
        values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))  # ascending
        noise = values[:-latent_dim].mean()
        if noise <= D * torch.finfo(x.dtype).eps * values[-1]:
            raise ValueError(
                f"x varies in no more than latent_dim = {latent_dim} directions, which leaves no "
                f"noise; take a smaller latent_dim, or more than {len(x)} examples"
            )
        W = vectors[:, -latent_dim:] * torch.sqrt((values[-latent_dim:] - noise).clamp(min=0))
        return cls(W, x.mean(0), noise.expand(x.shape[1]))
