"""Logistic regression: not conjugate, so that an update is a step uphill."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.mean_field import _doors


@dataclass(frozen=True)
class LogisticRegression:
    """z ~ N(0, prior_variance · I), p(y_n = 1|z) = 1/(1 + exp(−x_nᵀ z)); q(z) = N(m, diag(v)).

    Not closed-form: log p(y|z) = Σ_n [y_n a_n − log(1 + e^{a_n})], a_n = x_nᵀ z, and the logarithm
    makes the best factor no known family, and E_q[log(1 + e^a)] no known integral. So the factors
    are kept Gaussian by decree, the expectations are taken by quadrature (a_n is a Gaussian number
    under q, whatever J is), and a factor's update is a step uphill instead of an answer.

    Args:
        x: inputs, [N, J].
        y: outcomes 0 or 1, [N].
        prior_variance: positive.

    Raises:
        TypeError, ValueError: the shapes or dtypes do not fit, y has other values, or the variance
            is not positive; so do the methods for an m or v that is not [J].

    Source: Opper & Archambeau (2009) for the gradients; Bishop (2006), section 10.6, for a bound
    that makes the updates closed-form at the price of a lower ELBO.
    """

    x: Tensor
    y: Tensor
    prior_variance: float = 1.0

    def __post_init__(self) -> None:
        _doors.tensor("x", self.x, "N J")
        _doors.tensor("y", self.y, "N", self.x, N=len(self.x))
        if not bool(((self.y == 0) | (self.y == 1)).all()):
            raise ValueError("y must hold only 0 and 1; it says which of two classes x_n is in")
        _doors.number("prior_variance", self.prior_variance, positive=True)

    def _factors(self, m: Tensor, v: Tensor) -> None:
        J = self.x.shape[1]
        _doors.tensor("m", m, "J", self.x, J=J)
        _doors.variances("v", v, self.x, J)

    def elbo(self, m: Tensor, v: Tensor) -> Tensor:
        """E_q[log p(y|z)] − KL(q‖p) for q = N(m, diag(v)), a scalar; a lower bound of log p(y)."""
        self._factors(m, v)
        return self._elbo(m, v)

    def _elbo(self, m: Tensor, v: Tensor) -> Tensor:
        a, weight = self._activations(m, v)
        softplus = torch.nn.functional.softplus(a) @ weight  # E_q[log(1 + e^a)], [N]
        ratio = v / self.prior_variance
        kl = 0.5 * (ratio + m**2 / self.prior_variance - 1 - torch.log(ratio)).sum()
        return (self.y * (self.x @ m) - softplus).sum() - kl

    def sweep(self, m: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Updates every factor once, in order; the ELBO never falls.

        The ELBO is stationary in v_j where 1/v_j = 1/prior_variance + Σ_n x_nj² E[s'(a_n)], and
        its slope in m_j is g_j = Σ_n x_nj (y_n − E[s(a_n)]) − m_j/prior_variance, with the sigmoid
        s. Both sides depend on v_j and m_j, so this is a step and no solution: 1/v_j is moved to
        the right-hand side and m_j by v_j g_j; halved until the ELBO does not fall.
        """
        self._factors(m, v)
        for j in range(len(m)):
            m, v = self._step(m, v, j)
        return m, v

    def _step(self, m: Tensor, v: Tensor, j: int) -> tuple[Tensor, Tensor]:
        a, weight = self._activations(m, v)
        s = torch.sigmoid(a)
        x = self.x[:, j]
        slope = x @ (self.y - s @ weight) - m[j] / self.prior_variance
        precision = 1 / self.prior_variance + x**2 @ ((s * (1 - s)) @ weight)
        before, step = self._elbo(m, v), 1.0
        while step > 1e-6:
            new_m, new_v = m.clone(), v.clone()
            new_v[j] = 1 / ((1 - step) / v[j] + step * precision)
            new_m[j] = m[j] + step * new_v[j] * slope
            if self._elbo(new_m, new_v) >= before:
                return new_m, new_v
            step /= 2
        return m, v

    def _activations(self, m: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes a [N, 201] and weights [201] of the trapezoidal rule for a_n under q, which is
        N(x_nᵀ m, Σ_j x_nj² v_j); its error falls exponentially in the number of nodes."""
        eps = torch.linspace(-10, 10, 201, dtype=m.dtype, device=m.device)
        spread = torch.sqrt(self.x**2 @ v)
        a = (self.x @ m)[:, None] + spread[:, None] * eps
        return a, torch.softmax(-0.5 * eps**2, 0)
