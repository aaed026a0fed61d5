"""Mean-field variational inference: q(z) = prod_j q_j(z_j), improved one factor at a time.

The best factor, given the others, is log q_j(z_j) = E_{i≠j}[log p(x, z)] + const. Coordinate
ascent puts it in place, factor after factor, and the ELBO never falls. The update is closed-form
where that expectation is again a known family: for the two conjugate models here,
``GaussianTarget`` and ``NormalGamma``, but not for ``LogisticRegression``. This folder imports
nothing of the package. All densities are in nats. A tensor of another shape, dtype or device than
its model's is refused, and so is one that is empty or not finite: nothing broadcasts.

Source: Bishop (2006), section 10.1; Blei et al. (2017), section 2.4.
"""

from vae_tutorial.mean_field.gaussian import GaussianTarget
from vae_tutorial.mean_field.logistic import LogisticRegression
from vae_tutorial.mean_field.normal_gamma import NormalGamma, NormalGammaFactors

__all__ = ["GaussianTarget", "LogisticRegression", "NormalGamma", "NormalGammaFactors"]
