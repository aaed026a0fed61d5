"""What can be set on the command line: one dataclass for each command. The parser, its help (the
comments) and the JSON files of a run are made from them; who uses a value says if it is nonsense.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

Pixels = Literal["auto", "static", "dynamic", "threshold", "grey"]
Likelihood = Literal[
    "auto", "bernoulli", "gaussian", "gaussian_shared", "gaussian_fixed", "categorical"
]
Model = Annotated[Positional[Path], arg(metavar="MODEL")]
INCIDENTAL = ("out", "device", "checkpoint_every", "like", "overwrite", "quiet")
LENGTH = ("epochs", "steps")  # a run may be prolonged


@dataclass(frozen=True)
class Train:
    """Train a VAE and keep it in a folder: the model, its scores (results.json), those of
    every epoch (history.json), the settings (settings.json, for --like), and a checkpoint.
    The same command goes on if it was stopped, or with more --epochs.

    examples:
      vae-tutorial train --data mnist --pixels dynamic --hidden 400 --out runs/mnist
      vae-tutorial train --like runs/mnist --seed 1 --out runs/mnist-1
      torchrun --nproc-per-node=2 -m vae_tutorial train --out runs/two
    """

    out: Path = Path("runs/vae")  # Folder of the run; it is made if it is not there.
    data: str = "digits"  # A name that vae-tutorial data lists, or an alignment (FASTA, A2M).
    # How grey pixels become binary: each drawn once before training (static), anew for every batch
    # (dynamic), 1 above one half (threshold), or not at all (grey). auto: grey for frey_faces,
    # static for others.
    pixels: Pixels = "auto"
    latent_dim: int = 2  # Dimensions of the code z.
    hidden: tuple[int, ...] = (200,)  # Widths of the encoder's layers; the decoder mirrors them.
    # The distribution p(x|z). auto: bernoulli for binary pixels, gaussian_shared for grey ones,
    # categorical for sequences.
    likelihood: Likelihood = "auto"
    variance: float = 0.05  # Variance of gaussian_fixed, and the first one of gaussian_shared.
    activation: Literal["tanh", "relu", "softplus"] = "tanh"  # Nonlinearity between the layers.
    posterior: Literal["diagonal", "full"] = "diagonal"  # Covariance of q(z|x).
    prior: Literal["standard", "learned"] = "standard"  # p(z): N(0, I), or with parameters.
    epochs: int | None = None  # Passes over the training examples; 30, unless --steps is given.
    steps: int | None = None  # Optimizer steps, in place of epochs.
    batch_size: int = 100  # Examples in a minibatch, over all processes together.
    objective: Literal["elbo", "iwae"] = "elbo"  # The ELBO, or the importance-weighted bound.
    num_samples: int = 1  # Samples of z for each example: L of the ELBO, k of the bound.
    beta: float = 1.0  # Weight of the KL term; 1 is the ELBO.
    warmup: float = 0.0  # Epochs over which that weight rises from 0 in a straight line.
    optimizer: Literal["adam", "adagrad"] = "adam"  # How steps are made.
    learning_rate: float = 1e-3  # Step size of the optimizer.
    seed: int = 0  # Seed of the first weights, the shuffling and the noise.
    data_seed: int = 0  # Seed of the static draw of the pixels, and of a random split.
    precision: Literal["float32", "bf16"] = "float32"  # Of matrix products; bf16 may be faster.
    compile: bool = False  # Use torch.compile: a minute's wait, then faster steps.
    device: str | None = None  # Where to compute: cpu, cuda or cuda:1; a GPU if there is one.
    checkpoint_every: int = 1000  # Steps between two checkpoints.
    like: Path | None = None  # A run, or its settings.json, to take the other settings from.
    overwrite: bool = False  # Start anew, whatever run the folder holds.
    quiet: bool = False  # Show no progress.


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model: ELBO, log p(x), active units, as in:
    vae-tutorial evaluate runs/mnist --num-samples 5000"""

    model: Model  # A run's folder, a model file, or the name of a model in the package.
    split: Literal["test", "valid", "train"] = "test"  # Which examples to score.
    num_samples: int = 1000  # Samples of z for each example's log p(x).
    # How many examples, chosen at random, to estimate log p(x) for; 0 takes all. The ELBO and the
    # active units are those of all examples in any case.
    limit: int = 1000
    data: str | None = None  # Other data to score the model on than those of its training.
    pixels: Pixels | None = None  # How grey pixels become binary, where not as in training.
    data_seed: int | None = None  # Seed of the data, where not as in training.
    seed: int = 0  # Seed of the noise and of the choice of examples.
    device: str | None = None  # Where to compute: cpu, cuda or cuda:1; a GPU if there is one.
    out: Path | None = None  # Where the result goes, if not to evaluation.json beside the model.


@dataclass(frozen=True)
class Sample:
    """Let a trained model make up examples, as in: vae-tutorial sample runs/mnist -n 64"""

    model: Model  # A run's folder, a model file, or the name of a model in the package.
    num: Annotated[int, arg(aliases=["-n"])] = 64  # How many of them.
    # Where they go. FILE.png: the means of p(x|z) as a picture (needs matplotlib); FILE.npz: the
    # arrays z, mean and x, for NumPy; FILE.fasta: sequences x.
    out: Path = Path("samples.png")
    seed: int = 0  # Seed of the draws of z and x.
    device: str | None = None  # Where to compute: cpu, cuda or cuda:1; a GPU if there is one.


@dataclass(frozen=True)
class Data:
    """List the data sets, or fetch and check one, as in: vae-tutorial data mnist"""

    # The data set to fetch and to describe; without a name, all are listed.
    name: Annotated[Positional[str], arg(metavar="[NAME]")] = ""


Settings = Train | Evaluate | Sample | Data


def to_json(settings: Settings) -> dict[str, Any]:
    """The settings as JSON knows them: paths are text."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()}


def from_json(values: dict[str, Any]) -> Train:
    """Settings of ``train`` from what :func:`to_json` gave; a TypeError for anything else."""
    kinds = {"out": Path, "like": Path, "hidden": tuple}
    known = {name: kinds[name](values[name]) for name in kinds if values.get(name) is not None}
    return Train(**values | known)


def differences(a: Train, b: Train) -> list[str]:
    """The names of the settings that make a and b different models."""
    names = [f.name for f in fields(Train) if f.name not in (*LENGTH, *INCIDENTAL)]
    return [name for name in names if getattr(a, name) != getattr(b, name)]
