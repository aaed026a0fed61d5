"""What can be set on the command line: one dataclass for each command. The parser, its help and
the JSON files of a run are made from them, and none of them can hold nonsense."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from vae_tutorial.support import inputs


def _whole(words: Sequence[str]) -> int | None:
    try:
        return None if words[0] == "None" else int(words[0])
    except ValueError:
        raise ValueError(f"a whole number is needed, not {words[0]!r}") from None


COUNT: tyro.constructors.PrimitiveConstructorSpec[int | None] = (
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=_whole,
        is_instance=lambda value: value is None or isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )
)


def _arg(metavar: str | None = None, default: str | None = None, **more: Any) -> object:
    """How help shows an option: its kind of value, and in words what happens without it."""
    hint = None if default is None else f"(default: {default})"
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint, **more)


Folder = Annotated[Path, _arg("FOLDER")]
Model = Annotated[tyro.conf.Positional[Path], _arg("MODEL")]
Device = Annotated[str | None, _arg("NAME", "a GPU if there is one")]
AS_TRAINED = "as in training"
Pixels = Literal["auto", "static", "dynamic", "threshold", "grey"]
PIXELS_HELP = (
    "How grey pixels become binary: each drawn once before training (static), anew for every "
    "batch (dynamic), black above one half (threshold), or not at all (grey). auto: static, but "
    "grey for frey_faces; data that are not grey have no choice."
)
Decoder = Literal[
    "auto", "bernoulli", "gaussian", "gaussian_shared", "gaussian_fixed", "categorical"
]
DECODER_HELP = (
    "The distribution p(x|z). auto: bernoulli for binary pixels, gaussian_shared for grey ones, "
    "categorical for sequences."
)
LIKE_HELP = (
    "Take the settings of another run, its folder or its settings.json; options that are given "
    "here replace them."
)
LIMIT_HELP = (
    "How many examples, chosen at random, to estimate log p(x) for; 0 takes all. The ELBO and the "
    "active units are those of all examples in any case."
)
SAMPLES_HELP = (
    "Where they go. FILE.png: the means of p(x|z) as a picture (needs matplotlib); FILE.npz: the "
    "arrays z, mean and x, for NumPy; FILE.fasta: sequences x."
)


@dataclass(frozen=True)
class Train:
    """Train a VAE and keep it in a folder, with its scores and all of its settings."""

    out: Folder = Path("runs/vae")
    """Folder of the run; it is made if it is not there."""
    data: Annotated[str, _arg("NAME")] = "digits"
    """What to learn from: a name that vae-tutorial data lists, or an alignment (FASTA, A2M)."""
    pixels: Annotated[Pixels, _arg(help=PIXELS_HELP)] = "auto"
    latent_dim: int = 2
    """Dimensions of the code z."""
    hidden: tuple[int, ...] = (200,)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    decoder: Annotated[Decoder, _arg(help=DECODER_HELP)] = "auto"
    variance: float = 0.05
    """Variance of gaussian_fixed, and the first one of gaussian_shared."""
    activation: Literal["tanh", "relu", "softplus"] = "tanh"
    """Nonlinearity between the layers."""
    posterior: Literal["diagonal", "full"] = "diagonal"
    """Covariance of q(z|x)."""
    prior: Literal["standard", "learned"] = "standard"
    """The distribution p(z): N(0, I), or a Gaussian with parameters."""
    epochs: Annotated[int | None, COUNT, _arg(default="30, unless --steps")] = None
    """Passes over the training examples."""
    steps: Annotated[int | None, COUNT, _arg(default="as --epochs says")] = None
    """Optimizer steps, in place of epochs."""
    batch_size: int = 100
    """Examples in a minibatch, over all processes together."""
    objective: Literal["elbo", "iwae"] = "elbo"
    """What is maximized: the ELBO, or the importance-weighted bound."""
    num_samples: int = 1
    """Samples of z for each example: L of the ELBO, k of the importance-weighted bound."""
    beta: float = 1.0
    """Weight of the KL term; 1 is the ELBO."""
    warmup: float = 0.0
    """Epochs over which the weight of the KL term rises from 0 in a straight line."""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """How steps are made."""
    learning_rate: float = 1e-3
    """Step size of the optimizer."""
    seed: int = 0
    """Seed of the first weights, the shuffling and the noise."""
    data_seed: int = 0
    """Seed of the static draw of the pixels, and of the split where none is published."""
    precision: Literal["float32", "bf16"] = "float32"
    """Numbers in matrix products: bf16 is faster where the hardware has it, else slower."""
    compile: bool = False
    """Run the objective through torch.compile: a minute's wait, then faster steps."""
    device: Device = None
    """Where to compute: cpu, cuda or cuda:1."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints, from which a stopped run goes on."""
    like: Annotated[Path | None, _arg("RUN", "none", help=LIKE_HELP)] = None
    overwrite: bool = False
    """Start anew, whatever run the folder holds."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        _check(self, "latent_dim", "batch_size", "num_samples", "checkpoint_every")
        _check_seeds(seed=self.seed, data_seed=self.data_seed)
        sizes = self.hidden if isinstance(self.hidden, tuple) else ()
        if not sizes:
            raise ValueError(f"hidden must name the width of each layer, not {self.hidden!r}")
        for size in sizes:
            inputs.positive_int("hidden", size)
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"give epochs or steps, not both ({self.epochs} and {self.steps})")
        for name in LENGTH:
            if getattr(self, name) is not None:
                inputs.positive_int(name, getattr(self, name))
        inputs.finite_number("variance", self.variance, above=0)
        inputs.finite_number("learning_rate", self.learning_rate, above=0)
        inputs.finite_number("beta", self.beta, at_least=0)
        inputs.finite_number("warmup", self.warmup, at_least=0)
        if self.objective == "iwae" and (self.beta != 1 or self.warmup):
            raise ValueError(
                f"beta must be 1 and warmup 0 with objective 'iwae', not {self.beta} and "
                f"{self.warmup}: they weight the KL term of an ELBO"
            )
        if self.pixels == "grey" and self.decoder == "bernoulli":
            raise ValueError(
                "a Bernoulli decoder is only for binary pixels: binarize them with pixels 'static'"
                " or 'dynamic', or use decoder 'gaussian_shared'"
            )


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model: ELBO, log p(x) by importance sampling, active units."""

    model: Model
    """A run's folder, a model file, or the name of a model that ships with the package."""
    split: Literal["test", "valid", "train"] = "test"
    """Which examples to score."""
    num_samples: int = 1000
    """Samples of z for each example's log p(x)."""
    limit: Annotated[int, _arg(help=LIMIT_HELP)] = 1000
    data: Annotated[str | None, _arg("NAME", AS_TRAINED)] = None
    """Other data to score the model on."""
    pixels: Annotated[Pixels | None, _arg("NAME", AS_TRAINED)] = None
    """How grey pixels become binary: static, dynamic, threshold or grey."""
    data_seed: Annotated[int | None, COUNT, _arg(default=AS_TRAINED)] = None
    """Seed of the static draw of the pixels, and of the split where none is published."""
    seed: int = 0
    """Seed of the noise and of the choice of examples."""
    device: Device = None
    """Where to compute: cpu, cuda or cuda:1."""
    out: Annotated[Path | None, _arg("FILE", "beside the model")] = None
    """Where the result goes, as JSON."""

    def __post_init__(self) -> None:
        _check(self)
        _check_seeds(seed=self.seed, data_seed=self.data_seed or 0)
        if inputs.positive_int("num_samples", self.num_samples) < 2:
            raise ValueError(
                "num_samples must be at least 2, not 1: one sample has no standard error"
            )
        if self.limit != 0 and not (type(self.limit) is int and self.limit > 1):
            raise ValueError(
                f"limit must be 0 for all examples, or at least 2, not {self.limit!r}"
            )


@dataclass(frozen=True)
class Sample:
    """Let a trained model make up examples: a picture, arrays, or sequences."""

    model: Model
    """A run's folder, a model file, or the name of a model that ships with the package."""
    num: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    out: Annotated[Path, _arg("FILE", help=SAMPLES_HELP)] = Path("samples.png")
    seed: int = 0
    """Seed of the draws of z and x."""
    device: Device = None
    """Where to compute: cpu, cuda or cuda:1."""

    def __post_init__(self) -> None:
        _check(self, "num")
        _check_seeds(seed=self.seed)
        if self.out.suffix.lower() not in FORMATS:
            raise ValueError(f"out must end in {', '.join(FORMATS)}, not {self.out.name!r}")


@dataclass(frozen=True)
class Data:
    """List the data sets, or fetch and check one: its sizes, source, license and citation."""

    name: Annotated[tyro.conf.Positional[str], _arg("[NAME]", "list all")] = ""
    """A data set's name."""


Settings = Train | Evaluate | Sample | Data
FORMATS = (".png", ".npz", ".fasta")
LENGTH = ("epochs", "steps")  # a run may be prolonged
INCIDENTAL = ("out", "device", "checkpoint_every", "like", "overwrite", "quiet")


def to_json(settings: Train) -> str:
    """The settings as JSON, one a line."""
    return json.dumps(asdict(settings), indent=1, default=str) + "\n"


def from_json(text: str) -> Train:
    """Settings from what :func:`to_json` wrote; those that it does not name have their defaults.

    Raises:
        ValueError: the text holds no settings of this version.
    """
    try:
        values: dict[str, Any] = {**json.loads(text)}
        for name, kind in [("out", Path), ("like", Path), ("hidden", tuple)]:
            if values.get(name) is not None:
                values[name] = kind(values[name])
        return Train(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"these are no settings of this version of the package ({error})"
        ) from None


def differences(a: Train, b: Train) -> list[str]:
    """The names of the settings that make a and b different models."""
    names = [f.name for f in fields(Train) if f.name not in (*LENGTH, *INCIDENTAL)]
    return [name for name in names if getattr(a, name) != getattr(b, name)]


def _check(settings: Settings, *counts: str) -> None:
    """Refuses what is of another type, none of the choices, or a count below 1."""
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
        if value is None and type(None) in kinds:
            continue
        choices = [c for k in kinds if get_origin(k) is Literal for c in get_args(k)]
        if choices:
            inputs.one_of(name, value, choices)
        for plain, words in [(bool, "true or false"), (str, "text"), (Path, "a path")]:
            if plain in kinds and not isinstance(value, plain):
                raise ValueError(f"{name} must be {words}, not {value!r}")
    for name in counts:
        inputs.positive_int(name, getattr(settings, name))


def _check_seeds(**seeds: int) -> None:
    for name, seed in seeds.items():
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"{name} must be a whole number from 0 to 2**63 - 1, not {seed!r}")
