"""What a trained VAE is worth: log p(x), the gap to the ELBO, active units, information."""

from vae_tutorial.evaluation.evidence import Evidence, log_evidence
from vae_tutorial.evaluation.gaps import Gap, best_posterior, gap
from vae_tutorial.evaluation.information import (
    ActiveUnits,
    active_units,
    aggregate_kl,
    mutual_information,
    reconstructions,
    sample_means,
)

__all__ = [
    "ActiveUnits",
    "Evidence",
    "Gap",
    "active_units",
    "aggregate_kl",
    "best_posterior",
    "gap",
    "log_evidence",
    "mutual_information",
    "reconstructions",
    "sample_means",
]
