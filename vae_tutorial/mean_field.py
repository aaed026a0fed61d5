"""Mean-field variational inference: q(z) = prod_j q_j(z_j), improved one factor at a time.

The best factor, given the others, is log q_j(z_j) = E_{i≠j}[log p(x, z)] + const. Coordinate
ascent puts it in place, factor after factor, and the ELBO never falls. The update is closed-form
where that expectation is again a known family: for the two conjugate models here,
``GaussianTarget`` and ``NormalGamma``, but not for ``LogisticRegression``. This module imports
nothing of the package. All densities are in nats.

Source: Bishop (2006), section 10.1; Blei et al. (2017), section 2.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


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
        ValueError: the shapes do not fit, or the precision is not symmetric positive definite.

    Source: Bishop (2006), section 10.1.2.
    """

    mean: Tensor
    precision: Tensor

    def __post_init__(self) -> None:
        J = self.mean.shape[-1] if self.mean.dim() == 1 else -1
        if self.precision.shape != (J, J):
            raise ValueError(
                f"mean and precision must have shapes [J] and [J, J], not "
                f"{list(self.mean.shape)} and {list(self.precision.shape)}"
            )
        symmetric = torch.allclose(self.precision, self.precision.T)
        if not symmetric or bool(torch.linalg.cholesky_ex(self.precision).info):
            raise ValueError(
                "precision must be symmetric and positive definite; it is the inverse of a "
                "covariance matrix"
            )

    @property
    def variances(self) -> Tensor:
        """1/Λ_jj, the variances of the best factors, [J]."""
        return 1 / torch.diagonal(self.precision)

    def sweep(self, m: Tensor) -> Tensor:
        """Updates every factor's mean once, in order, [J]:
        m_j ← mean_j − Σ_{i≠j} Λ_ji (m_i − mean_i) / Λ_jj, with the new m_i for i < j."""
        m = m.clone()
        for j in range(len(m)):
            pull = self.precision[j] @ (m - self.mean)
            m[j] -= pull / self.precision[j, j]
        return m

    def elbo(self, m: Tensor, variances: Tensor) -> Tensor:
        """E_q[log p(z) − log q(z)] for q = N(m, diag(variances)), a scalar: −KL(q‖p), since p is
        normalized. At most ½ (log det Λ − Σ_j log Λ_jj), reached at the fixed point."""
        d = m - self.mean
        quadratic = d @ self.precision @ d + torch.diagonal(self.precision) @ variances
        log_ratio = torch.logdet(self.precision) + torch.log(variances).sum()
        return 0.5 * (log_ratio + len(m) - quadratic)


@dataclass(frozen=True)
class NormalGammaFactors:
    """q(mu) q(tau) = N(mu; m, 1/precision) Gamma(tau; shape a, rate b)."""

    m: float
    precision: float
    a: float
    b: float

    @property
    def tau(self) -> float:
        """E[tau] = a/b."""
        return self.a / self.b


@dataclass(frozen=True)
class NormalGamma:
    """x_n ~ N(mu, 1/tau), mu ~ N(m0, 1/(k0 tau)), tau ~ Gamma(shape a0, rate b0): a Gaussian with
    unknown mean and precision.

    Closed-form: log p(x, mu, tau) is quadratic in mu and linear in tau and log tau, so q(mu) is
    Gaussian and q(tau) a Gamma, and each needs only E[tau], E[mu] and E[mu²] of the other. The
    exact posterior is known too, and does not factorize: given x, mu is wide where tau is small.
    At the fixed point E[mu] and E[tau] are exact, and both factors are too narrow.

    Raises:
        ValueError: k0, a0 or b0 is not positive.

    Source: Bishop (2006), section 10.1.3.
    """

    m0: float = 0.0
    k0: float = 1.0
    a0: float = 1.0
    b0: float = 1.0

    def __post_init__(self) -> None:
        for name in ("k0", "a0", "b0"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be a finite number above 0, not {getattr(self, name)!r}"
                )

    def prior(self) -> NormalGammaFactors:
        """Factors to start from: the prior of tau, and of mu with tau at its mean."""
        return NormalGammaFactors(self.m0, self.k0 * self.a0 / self.b0, self.a0, self.b0)

    def update_mu(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """The best q(mu) given q(tau): N((k0 m0 + Σ_n x_n)/(k0 + N), 1/((k0 + N) E[tau]))."""
        k = self.k0 + len(x)
        m = (self.k0 * self.m0 + float(x.sum())) / k
        return replace(q, m=m, precision=k * q.tau)

    def update_tau(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """The best q(tau) given q(mu): Gamma(a0 + (N + 1)/2, b0 + ½ E[Σ_n (x_n − mu)² +
        k0 (mu − m0)²])."""
        return replace(q, a=self.a0 + (len(x) + 1) / 2, b=self.b0 + 0.5 * self._squares(x, q))

    def sweep(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """Both updates, of mu, then of tau, for data x [N]."""
        return self.update_tau(x, self.update_mu(x, q))

    def elbo(self, x: Tensor, q: NormalGammaFactors) -> float:
        """E_q[log p(x, mu, tau) − log q(mu) − log q(tau)], exact; at most :meth:`log_evidence`,
        and less for every q of this form, since the posterior does not factorize."""
        N, a0, b0 = len(x), self.a0, self.b0
        log_tau = float(torch.digamma(torch.tensor(q.a, dtype=torch.double))) - math.log(q.b)
        normals = (N + 1) * (log_tau - LOG_2PI) + math.log(self.k0) - q.tau * self._squares(x, q)
        of_tau = a0 * math.log(b0) - math.lgamma(a0) + (a0 - 1) * log_tau - b0 * q.tau
        entropy_mu = 0.5 * (1 + LOG_2PI - math.log(q.precision))
        entropy_tau = q.a - (q.a - 1) * log_tau - q.a * math.log(q.b) + math.lgamma(q.a)
        return 0.5 * normals + of_tau + entropy_mu + entropy_tau

    def log_evidence(self, x: Tensor) -> float:
        """log p(x), exact, from the normalizers of the prior and of the exact posterior."""
        k, a, b = self.posterior(x)[1:]
        normalizers = math.lgamma(a) - math.lgamma(self.a0) + 0.5 * math.log(self.k0 / k)
        return normalizers + self.a0 * math.log(self.b0) - a * math.log(b) - 0.5 * len(x) * LOG_2PI

    def posterior(self, x: Tensor) -> tuple[float, float, float, float]:
        """m, k, a and b of the exact posterior, N(mu; m, 1/(k tau)) Gamma(tau; a, b)."""
        k = self.k0 + len(x)
        m = (self.k0 * self.m0 + float(x.sum())) / k
        squares = float(((x - m) ** 2).sum()) + self.k0 * (m - self.m0) ** 2
        return m, k, self.a0 + len(x) / 2, self.b0 + 0.5 * squares

    def _squares(self, x: Tensor, q: NormalGammaFactors) -> float:
        """E_q[Σ_n (x_n − mu)² + k0 (mu − m0)²]."""
        at_mean = float(((x - q.m) ** 2).sum()) + self.k0 * (q.m - self.m0) ** 2
        return at_mean + (self.k0 + len(x)) / q.precision


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
        ValueError: the shapes do not fit, y has other values, or the variance is not positive.

    Source: Opper & Archambeau (2009) for the gradients; Bishop (2006), section 10.6, for a bound
    that makes the updates closed-form at the price of a lower ELBO.
    """

    x: Tensor
    y: Tensor
    prior_variance: float = 1.0

    def __post_init__(self) -> None:
        if self.x.dim() != 2 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"x and y must have shapes [N, J] and [N], not {list(self.x.shape)} and "
                f"{list(self.y.shape)}"
            )
        if not bool(((self.y == 0) | (self.y == 1)).all()):
            raise ValueError("y must hold only 0 and 1; it says which of two classes x_n is in")
        if not 0 < self.prior_variance < math.inf:
            raise ValueError(
                f"prior_variance must be a finite number above 0, not {self.prior_variance!r}"
            )

    def elbo(self, m: Tensor, v: Tensor) -> Tensor:
        """E_q[log p(y|z)] − KL(q‖p) for q = N(m, diag(v)), a scalar; a lower bound of log p(y)."""
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
        for j in range(len(m)):
            m, v = self._step(m, v, j)
        return m, v

    def _step(self, m: Tensor, v: Tensor, j: int) -> tuple[Tensor, Tensor]:
        a, weight = self._activations(m, v)
        s = torch.sigmoid(a)
        x = self.x[:, j]
        slope = x @ (self.y - s @ weight) - m[j] / self.prior_variance
        precision = 1 / self.prior_variance + x**2 @ ((s * (1 - s)) @ weight)
        before, step = self.elbo(m, v), 1.0
        while step > 1e-6:
            new_m, new_v = m.clone(), v.clone()
            new_v[j] = 1 / ((1 - step) / v[j] + step * precision)
            new_m[j] = m[j] + step * new_v[j] * slope
            if self.elbo(new_m, new_v) >= before:
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
