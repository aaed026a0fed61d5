"""What can be set on the command line: one dataclass for each command. Parser, help and the JSON
files of a run are made from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Path_ = Annotated[Path, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True)
class Train:
    """Train a VAE and keep it in a folder, together with its scores and all settings.

    If the folder holds a run with the same settings that was stopped, it goes on from its last
    checkpoint; with more --epochs or --steps, a finished run is trained further.
    """

    out: Path_ = Path("runs/vae")
    """folder of the run: model.safetensors, results.json, history.json, settings.json"""
    data: str = "digits"
    """data set by name (see: vae-tutorial data), or the path of a FASTA or A2M alignment"""
    pixels: Literal["static", "dynamic", "threshold", "grey"] = "static"
    """how images become binary: one draw before training, a new draw for every batch, black above
    one half, or not at all; sequences ignore it"""
    latent_dim: int = 2
    """dimensions of the code z"""
    hidden: tuple[int, ...] = (200,)
    """widths of the encoder's hidden layers; the decoder mirrors them"""
    decoder: Literal[
        "auto", "bernoulli", "gaussian", "gaussian_shared", "gaussian_fixed", "categorical"
    ] = "auto"
    """p(x|z); auto takes bernoulli for binary pixels, gaussian_shared for grey ones, categorical
    for sequences"""
    activation: Literal["tanh", "relu", "softplus"] = "tanh"
    """nonlinearity between the layers"""
    posterior: Literal["diagonal", "full"] = "diagonal"
    """covariance of q(z|x)"""
    prior: Literal["standard", "learned"] = "standard"
    """p(z): N(0, I), or a Gaussian with parameters"""
    epochs: int | None = None
    """passes over the training data; 30 if neither epochs nor steps are given"""
    steps: int | None = None
    """optimizer steps, in place of epochs"""
    batch_size: int = 100
    """examples in a minibatch, over all processes together"""
    objective: Literal["elbo", "iwae"] = "elbo"
    """what is maximized: the ELBO, or the importance-weighted bound"""
    num_samples: int = 1
    """samples of z for each example; k of the importance-weighted bound"""
    beta: float = 1.0
    """weight of the KL term; 1 is the ELBO"""
    warmup: float = 0.0
    """epochs over which beta rises from 0 in a straight line"""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """how steps are made"""
    learning_rate: float = 1e-3
    """step size of the optimizer"""
    seed: int = 0
    """seed of the weights, the split, the binarization, the shuffling and the noise"""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 computes matrix products in bfloat16"""
    compile: bool = False
    """run the objective through torch.compile: a minute's wait, then faster steps"""
    device: str | None = None
    """cpu, cuda or cuda:1; by default a GPU if there is one"""
    checkpoint_every: int = 1000
    """steps between two checkpoints"""
    overwrite: bool = False
    """start anew, whatever the folder holds"""
    quiet: bool = False
    """no progress bar"""


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model on test data: ELBO, log p(x) by importance sampling, active units.

    The result is printed, and written as evaluation.json beside the model.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """a run's folder, or its model.safetensors"""
    num_samples: int = 1000
    """samples of z for each example's log p(x)"""
    limit: int = 1000
    """how many test examples to score; 0 takes all"""
    seed: int = 0
    """seed of the noise"""
    device: str | None = None
    """cpu, cuda or cuda:1; by default a GPU if there is one"""


@dataclass(frozen=True)
class Sample:
    """Let a trained model make up examples: a picture, an array, or sequences."""

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """a run's folder, or its model.safetensors"""
    out: Path_ = Path("samples.npz")
    """.png (a mosaic of means of p(x|z); needs matplotlib), .npz (means and draws), or .fasta"""
    num: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """how many"""
    seed: int = 0
    """seed of the noise"""
    device: str | None = None
    """cpu, cuda or cuda:1; by default a GPU if there is one"""


@dataclass(frozen=True)
class Data:
    """List the data sets, or fetch and check one: sizes, source, license."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")] = ""
    """a data set's name; without one, all names"""


Settings = Train | Evaluate | Sample | Data
LENGTH = ("epochs", "steps")  # a run may be prolonged
INCIDENTAL = ("out", "device", "checkpoint_every", "overwrite", "quiet")


def to_json(settings: Train) -> str:
    """The settings as JSON, one a line."""
    return json.dumps(asdict(settings), indent=1, default=str) + "\n"


def from_json(text: str) -> Train:
    """Settings from what :func:`to_json` wrote.

    Raises:
        ValueError: the text holds no settings of this version.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        return Train(**{**values, "out": Path(values["out"]), "hidden": tuple(values["hidden"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"these are no settings of this version of vae_tutorial: {error}"
        ) from None


def differences(a: Train, b: Train) -> list[str]:
    """The names of the settings that make a and b different models."""
    names = [f.name for f in fields(Train) if f.name not in (*LENGTH, *INCIDENTAL)]
    return [name for name in names if getattr(a, name) != getattr(b, name)]
