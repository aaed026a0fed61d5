"""Published numbers, reproduced: ``python benchmarks/reproduce.py [NAME …] [--seeds 0 1 2]``.

Each run trains by ``fit`` from a checkpoint that survives a stop, scores the test set, and writes
its result into ``benchmarks/ledger.json``, beside the published value and every difference in
set-up. Everything is nats per test image, as a *negative* log-likelihood or a bound of it: lower
is better. Results that miss stay in the ledger; ``reproduce.py --table`` prints it and writes it
into the book's page.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_tutorial import data, evaluation, families, objectives, schedules, training
from vae_tutorial.model import VAE
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files
from vae_tutorial.training import saving
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.history import History

LEDGER = Path(__file__).with_name("ledger.json")
PAGE = Path(__file__).resolve().parents[1] / "chapters" / "appendix_reproductions.md"
RUNS = Path(__file__).resolve().parents[1] / "_build" / "reproduce"
BURDA = "Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders, table 1"
IWAE_SETUP = (
    "784-200-200-50-200-200-784, tanh, dynamic binarization of the 60,000 training images, batch "
    "20, Adam with eps 1e-4, learning rate 1e-3 · 10^(-i/7) for 3^i epochs, i = 0 … 7"
)


class CrossEntropy(families.Bernoulli):
    """The common misuse under its own name: the cross-entropy of grey pixels, which is no
    likelihood, since p(x|z) does not integrate to one over [0, 1]."""

    def check_data(self, x: Tensor) -> None:
        """Accepts grey values."""
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueError("x must hold grey values from 0 to 1")


def all_training_images(pixels: str) -> tuple[Tensor, data.Dataset]:
    mnist = data.load("mnist", pixels=pixels)
    return torch.cat([mnist.train.x, mnist.valid.x]), mnist


def grey(seed: int, checkpoint: Checkpoint, epochs: int) -> tuple[VAE, dict[str, Any]]:
    """The ELBO's formula on grey pixels, as the best-known example code trains it."""
    x, mnist = all_training_images("grey")
    made = VAE.mlp(784, 20, hidden=(400,), activation="relu", seed=seed)
    model = VAE(made.encoder, made.decoder, 20, likelihood=CrossEntropy())
    training.fit(model, x, epochs=epochs, batch_size=128, seed=seed, checkpoint=checkpoint)
    terms = objectives.evaluate_elbo(model, mnist.test.x, rng=seed, rows=10_000)
    return model, {"value": -float(terms.value.mean()), "standard_error": None}


class KeepBest:
    """A callback that keeps the model with the best held-out ELBO, beside the checkpoint, so that
    it survives a stop as the run does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, model: VAE, history: History) -> None:
        if history.valid_elbo[-1] >= max(history.valid_elbo):
            saving.save_model(model, self.path)


def static(seed: int, checkpoint: Checkpoint, epochs: int) -> tuple[VAE, dict[str, Any]]:
    """A VAE on the fixed binarization of Larochelle & Murray (2011), with the learning rates and
    the choice of the model that Pythae's script has."""
    binarized = data.load("binarized_mnist")
    model = VAE.mlp(784, 40, hidden=(400,), activation="relu", seed=seed)
    best = KeepBest(checkpoint.path.with_suffix(".safetensors"))
    rates = [1e-4 * 10 ** (-i / 5) for i in range(3)]
    history = training.fit(
        model, binarized, epochs=epochs, batch_size=100, seed=seed, checkpoint=checkpoint,
        learning_rate=schedules.staircase(rates, [200, 150, 150]), callbacks=[best],
    )  # fmt: skip
    chosen = 1 + history.valid_elbo.index(max(history.valid_elbo))
    score = nll(saving.load_model(best.path), binarized.test.x, num_samples=200)
    last = nll(model, binarized.test.x, num_samples=200)["value"]
    return model, score | {"chosen_epoch": chosen, "value_of_the_last_model": last}


def burda(k: int, seed: int, checkpoint: Checkpoint, epochs: int) -> tuple[VAE, dict[str, Any]]:
    """The VAE (k = 1) and the IWAE of Burda et al., with one stochastic layer."""
    x, mnist = all_training_images("grey")
    model = VAE.mlp(784, 50, hidden=(200, 200), seed=seed)
    stairs = [1e-3 * 10 ** (-i / 7) for i in range(8)]
    training.fit(
        model, x, epochs=epochs, batch_size=20, seed=seed, checkpoint=checkpoint,
        objective="elbo" if k == 1 else "iwae", num_samples=k, transform=data.binarize,
        optimizer=lambda p: torch.optim.Adam(p, eps=1e-4, fused=True),
        learning_rate=schedules.staircase(stairs, [3**i * epochs / 3280 for i in range(8)]),
    )  # fmt: skip
    test = data.binarize(mnist.test.x, rng=0)
    return model, nll(model, test, num_samples=5000, subset=1000)


def nll(model: VAE, x: Tensor, num_samples: int, subset: int | None = None) -> dict[str, Any]:
    """The mean of −log p̂(x) over all images, by importance sampling.

    With ``subset``, by two estimates: all images with 50 samples, plus the mean difference that
    more samples make on ``subset`` images that are drawn at random (the first images of MNIST's
    test set are easier than the others). Its standard error is that of the second part, which is
    all that differs from scoring every image with ``num_samples``.
    """
    if subset is None:
        value = evaluation.log_evidence(model, x, num_samples=num_samples, rng=0).value
        return {"value": -float(value.mean()), "standard_error": None, "num_samples": num_samples}
    coarse = evaluation.log_evidence(model, x, num_samples=50, rng=0).value
    chosen = torch.randperm(len(x), generator=as_generator(2))[:subset].to(x.device)
    fine = evaluation.log_evidence(model, x[chosen], num_samples=num_samples, rng=1).value
    gain = fine - coarse[chosen]
    return {
        "value": -float(coarse.mean() + gain.mean()),
        "standard_error": float(gain.std() / math.sqrt(subset)),
        "num_samples": num_samples,
        "estimator": f"all {len(x):,} images with 50 samples, plus the mean gain of "
        f"{num_samples:,} samples on {subset:,} of them, drawn at random",
    }


ENTRIES: dict[str, dict[str, Any]] = {
    "grey-784-400-20": {
        "run": grey,
        "published": [105.56, 105.59],
        "source": "logs of the VAE of pytorch/examples after 10 epochs",
        "what": "test −ELBO with the cross-entropy of grey pixels: not a likelihood",
        "setup": "784-400-20-400-784, ReLU, grey pixels, 60,000 images, Adam 1e-3, batch 128",
        "epochs": 10,
        "differences": ["torch's default initialization in both, other seeds"],
    },
    "static-40-400": {
        "run": static,
        "published": [89.8],
        "source": "reproducibility table of Pythae, Chadebec, Vincent & Allassonnière (2022): "
        "89.78, after 89.9 in Rezende & Mohamed (2015)",
        "what": "−log p(x), importance sampling with 200 samples",
        "setup": "784-400-40-400-784, ReLU, fixed binarization, 50,000 images, batch 100, Adam at "
        "1e-4, divided by 10^(1/5) after epochs 200 and 350; the model of the epoch with the best "
        "held-out ELBO",
        "epochs": 500,
        "differences": [
            "torch's default initialization in both, other seeds",
            "theirs is the mean of five estimates with 200 samples each, ours is one",
            "in their script a second layer of 400 units is commented out; it is not said whether "
            "the number was obtained without it",
        ],
    },
    **{
        f"burda-k{k}": {
            "run": lambda *arguments, k=k: burda(k, *arguments),
            "published": [published],
            "source": BURDA,
            "what": "−log p(x), importance sampling with 5,000 samples",
            "setup": IWAE_SETUP + f", k = {k}",
            "epochs": 3280,
            "differences": [
                "torch's default initialization",
                "the test images are binarized once, with seed 0",
                "where training is shorter, its schedule of learning rates is compressed",
                "5,000 samples for 1,000 test images (each result says which), "
                "whose mean gain over 50 samples is added to "
                "the estimate for all images with 50",
            ],
        }
        for k, published in [(1, 86.76), (5, 85.54), (50, 84.78)]
    },
}


def run(name: str, seed: int, epochs: int | None) -> dict[str, Any]:
    entry = ENTRIES[name]
    epochs = epochs or entry["epochs"]
    checkpoint = Checkpoint(RUNS / f"{name}-{epochs}-{seed}.ckpt", every=20_000)
    began, resumed = time.process_time(), checkpoint.path.exists()
    _, score = entry["run"](seed, checkpoint, epochs)
    return {
        "seed": seed,
        "epochs": epochs,
        **score,
        "minutes": round((time.process_time() - began) / 60, 1),
        "resumed": resumed,
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "torch": torch.__version__.split("+")[0],
        "command": f"python benchmarks/reproduce.py {name} --seeds {seed} --epochs {epochs}",
    }


def facts(name: str) -> dict[str, Any]:
    """What the ledger says of an entry, beside its results."""
    known = {key: value for key, value in ENTRIES[name].items() if key != "run"}
    return {**known, "unit": "nats per image, lower is better"}


def enter(name: str, result: dict[str, Any]) -> None:
    """Puts a result into the ledger; the same seed and length of training replace an older one,
    unless that one has a note of what else differed."""
    ledger = json.loads(LEDGER.read_text()) if LEDGER.exists() else {}
    results = ledger.get(name, {}).get("results", [])
    key = (result["epochs"], result["seed"], None)
    results = [r for r in results if (r["epochs"], r["seed"], r.get("note")) != key]
    results = sorted([*results, result], key=lambda r: (r["epochs"], r["seed"]))
    ledger[name] = {**facts(name), "results": results}
    files.write(LEDGER, (json.dumps(ledger, indent=1, ensure_ascii=False) + "\n").encode())


def table() -> str:
    """The ledger as a table in Markdown: a line for each length of training and each note, and for
    what was not run."""
    lines = ["| entry | published | ours, mean ± sd (seeds) | epochs | CPU minutes each |"]
    lines.append("| --- | --- | --- | --- | --- |")
    ledger = json.loads(LEDGER.read_text())
    for name, entry in ENTRIES.items():
        done = ledger.get(name, {}).get("results", [])
        if not done:
            shown = " / ".join(f"{p:g}" for p in entry["published"])
            lines.append(f"| {name} | {shown} | not run yet | 0 of {entry['epochs']:,} | |")
        for epochs, note in sorted({(r["epochs"], r.get("note", "")) for r in done}):
            results = [r for r in done if (r["epochs"], r.get("note", "")) == (epochs, note)]
            values = torch.tensor([r["value"] for r in results], dtype=torch.double)
            spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
            published = " / ".join(f"{p:g}" for p in entry["published"])
            minutes = f"{sum(r['minutes'] for r in results) / len(results):.1f}"
            if any(r["resumed"] for r in results):  # the time before the stop is not known
                minutes = f"more than {minutes}"
            lines.append(
                f"| {name} | {published} | {values.mean():.2f}{spread} ({len(values)}) | "
                f"{epochs:,} of {entry['epochs']:,}{note and ', ' + note} | {minutes} |"
            )
    return "\n".join(lines)


def onto_the_page() -> None:
    """Writes the table into the book's page."""
    before, _, rest = PAGE.read_text().partition("<!-- ledger -->\n")
    _, mark, after = rest.partition("<!-- /ledger -->")
    text = f"{before}<!-- ledger -->\n\n{table()}\n\n{mark}{after}"
    files.write(PAGE, text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ENTRIES)}; all without a name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help="fewer than published, labelled as such")
    parser.add_argument("--table", action="store_true", help="no training, only the ledger")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ENTRIES):
        parser.error(f"{sorted(unknown)} are not among {', '.join(ENTRIES)}")
    if not options.table:
        for name in options.names or ENTRIES:
            for seed in options.seeds:
                result = run(name, seed, options.epochs)
                enter(name, result)
                print(f"{name}, seed {seed}: {result['value']:.2f} nats")
    onto_the_page()
    print(table())


if __name__ == "__main__":
    main()
