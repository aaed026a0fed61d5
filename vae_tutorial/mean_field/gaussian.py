"""A correlated Gaussian: every factor's update is closed-form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.mean_field import _doors


@dataclass(frozen=True)
class GaussianTarget:
    """p(z) = N(mean, Λ⁻¹), a correlated Gaussian, approximated by independent ones.

    Closed-form: log p is quadratic, so E_{i≠j}[log p(z)] is quadratic in z_j, and the best factor
    is N(m_j, 1/Λ_jj). Its variance needs no iteration. At the fixed point m is the exact mean, and
    1/Λ_jj is at most the exact variance (Λ⁻¹)_jj, less wherever z_j is correlated with the rest.

    Args:
        mean: [J].
        precision: Λ, [J, J], symmetric and positive definite.

    Raises:
        TypeError, ValueError: the shapes or dtypes do not fit, or the precision is not symmetric
            positive definite.

    Source: Bishop (2006), section 10.1.2.
    """

    mean: Tensor
    precision: Tensor

    def __post_init__(self) -> None:
        J = len(_doors.tensor("mean", self.mean, "J"))
        P = _doors.tensor("precision", self.precision, "J J", self.mean, J=J)
        skew = (P - P.T).abs().max()
        if bool(skew > 1e-5 * P.abs().max()) or bool(torch.linalg.cholesky_ex(P).info):
            raise ValueError(
                f"precision must be symmetric and positive definite, but differs from its "
                f"transpose by {skew:.3g} and has an eigenvalue of "
                f"{torch.linalg.eigvalsh(P).min():.3g}; it is the inverse of a covariance matrix"
            )

    @property
    def variances(self) -> Tensor:
        """1/Λ_jj, the variances of the best factors, [J]."""
        return 1 / torch.diagonal(self.precision)

    def sweep(self, m: Tensor) -> Tensor:
        """Updates every factor's mean once, in order, [J]:
        m_j ← mean_j − Σ_{i≠j} Λ_ji (m_i − mean_i) / Λ_jj, with the new m_i for i < j."""
        m = _doors.tensor("m", m, "J", self.mean, J=len(self.mean)).clone()
        for j in range(len(m)):
            pull = self.precision[j] @ (m - self.mean)
            m[j] -= pull / self.precision[j, j]
        return m

    def elbo(self, m: Tensor, variances: Tensor) -> Tensor:
        """E_q[log p(z) − log q(z)] for q = N(m, diag(variances)), a scalar: −KL(q‖p), since p is
        normalized. At most ½ (log det Λ − Σ_j log Λ_jj), reached at the fixed point."""
        J = len(self.mean)
        d = _doors.tensor("m", m, "J", self.mean, J=J) - self.mean
        _doors.variances("variances", variances, self.mean, J)
        quadratic = d @ self.precision @ d + torch.diagonal(self.precision) @ variances
        log_ratio = torch.logdet(self.precision) + torch.log(variances).sum()
        return 0.5 * (log_ratio + J - quadratic)
