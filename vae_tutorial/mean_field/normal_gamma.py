"""A Gaussian with unknown mean and precision: conjugate, so that both updates are closed-form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vae_tutorial.mean_field import _doors

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class NormalGammaFactors:
    """q(mu) q(tau) = N(mu; m, 1/precision) Gamma(tau; shape a, rate b); all but m are positive."""

    m: float
    precision: float
    a: float
    b: float

    def __post_init__(self) -> None:
        for name in ("m", "precision", "a", "b"):
            _doors.number(name, getattr(self, name), positive=name != "m")

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
        ValueError: k0, a0 or b0 is not positive, or a number is not finite; so do the methods,
            TypeError too, where the data are not [N], finite and floating point.

    Source: Bishop (2006), section 10.1.3.
    """

    m0: float = 0.0
    k0: float = 1.0
    a0: float = 1.0
    b0: float = 1.0

    def __post_init__(self) -> None:
        for name in ("m0", "k0", "a0", "b0"):
            _doors.number(name, getattr(self, name), positive=name != "m0")

    def prior(self) -> NormalGammaFactors:
        """Factors to start from: the prior of tau, and of mu with tau at its mean."""
        return NormalGammaFactors(self.m0, self.k0 * self.a0 / self.b0, self.a0, self.b0)

    def update_mu(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """The best q(mu) given q(tau): N((k0 m0 + Σ_n x_n)/(k0 + N), 1/((k0 + N) E[tau]))."""
        k = self.k0 + len(_doors.tensor("x", x, "N"))
        m = (self.k0 * self.m0 + float(x.sum())) / k
        return replace(q, m=m, precision=k * q.tau)

    def update_tau(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """The best q(tau) given q(mu): Gamma(a0 + (N + 1)/2, b0 + ½ E[Σ_n (x_n − mu)² +
        k0 (mu − m0)²])."""
        N = len(_doors.tensor("x", x, "N"))
        return replace(q, a=self.a0 + (N + 1) / 2, b=self.b0 + 0.5 * self._squares(x, q))

    def sweep(self, x: Tensor, q: NormalGammaFactors) -> NormalGammaFactors:
        """Both updates, of mu, then of tau, for data x [N]."""
        return self.update_tau(x, self.update_mu(x, q))

    def elbo(self, x: Tensor, q: NormalGammaFactors) -> float:
        """E_q[log p(x, mu, tau) − log q(mu) − log q(tau)], exact; at most :meth:`log_evidence`,
        and less for every q of this form, since the posterior does not factorize."""
        N, a0, b0 = len(_doors.tensor("x", x, "N")), self.a0, self.b0
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
        k = self.k0 + len(_doors.tensor("x", x, "N"))
        m = (self.k0 * self.m0 + float(x.sum())) / k
        squares = float(((x - m) ** 2).sum()) + self.k0 * (m - self.m0) ** 2
        return m, k, self.a0 + len(x) / 2, self.b0 + 0.5 * squares

    def _squares(self, x: Tensor, q: NormalGammaFactors) -> float:
        """E_q[Σ_n (x_n − mu)² + k0 (mu − m0)²]."""
        at_mean = float(((x - q.m) ** 2).sum()) + self.k0 * (q.m - self.m0) ** 2
        return at_mean + (self.k0 + len(x)) / q.precision
