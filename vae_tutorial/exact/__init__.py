"""Models whose answers are known in closed form: the truth that estimators are scored against.

``LinearGaussian`` (factor analysis, probabilistic PCA) has a Gaussian posterior and
``GaussianMixture`` a discrete one; both know log p(x), the ELBO of any q, and EM. This folder
imports nothing of the package, so that an estimator and its truth cannot share a mistake. Double
precision is kept.

Shapes: B examples x [B, D], J latent dimensions, K components. A tensor of another shape, dtype or
device than its model's is refused, and so is one that is empty or not finite: nothing broadcasts.
"""

from vae_tutorial.exact.linear_gaussian import LinearGaussian
from vae_tutorial.exact.mixture import GaussianMixture

__all__ = ["GaussianMixture", "LinearGaussian"]
