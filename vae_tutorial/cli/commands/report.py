"""What a person reads in the terminal: results as lines of text."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any


def train(results: dict[str, Any], out: Path) -> str:
    """The scores of a run, and what to do with it."""
    work, data = results["training"], results["data"]
    folder = shlex.quote(str(out))
    samples = "samples.fasta" if data["alphabet"] else "samples.png"
    lines = [f"{'':16}{'ELBO':>20}{'reconstruction':>20}{'KL':>18}"]
    for split in ("train", "valid", "test"):
        scores = results[split]
        columns = [_number(scores[name]) for name in ("elbo", "reconstruction", "kl")]
        size = f"{split} ({data[split]:,})"
        lines.append(f"{size:16}{columns[0]:>20}{columns[1]:>20}{columns[2]:>18}")
    return "\n".join(
        [
            *lines,
            "in nats per example, with standard errors; a higher ELBO is better",
            f"{work['steps']:,} steps ({work['epochs']:g} epochs) of {data['name']}, "
            f"{work['seconds']:.1f} s, {work['examples_per_second']:,.0f} examples/s",
            f"everything is in {folder}; next:",
            f"  vae-tutorial evaluate {folder}",
            f"  vae-tutorial sample {folder} --out {samples}",
        ]
    )


def evaluate(results: dict[str, Any]) -> str:
    """The scores of a model."""
    found, units = results["log_evidence"], results["active_units"]
    trusted = found["share_trusted"]
    lines = [
        f"{results['data']['name']}, {results['split']}: {results['examples']:,} examples, "
        f"in nats per example, with standard errors",
        f"  ELBO           {_number(results['elbo'])}",
        f"  reconstruction {_number(results['reconstruction'])}",
        f"  KL             {_number(results['kl'])}",
        f"log p(x), {found['examples']:,} of them, {found['samples_of_z']:,} samples of z each",
        f"  log p(x)       {_number(found)}",
        f"  their ELBO     {_number(found['elbo_of_these_examples'])}",
        f"  trusted for    {trusted:.0%} of the examples"
        + ("" if trusted > 0.9 else "; of the others it is likely higher: try more --num-samples"),
        f"active units: {units['count']} of {units['of']}",
        f"everything is in {results['file']}",
    ]
    return "\n".join(lines)


def sample(results: dict[str, Any]) -> str:
    """Where the samples are."""
    return f"{results['samples']:,} samples are in {results['file']}"


def data(results: dict[str, Any]) -> str:
    """All data sets, a line each; or one."""
    if "places" not in results:
        lines = [f"  {name:17}{title}" for name, title in results.items()]
        return "\n".join([*lines, "fetch and check one: vae-tutorial data NAME"])
    shape = results["image_shape"]
    kind = f"{shape[0]}×{shape[1]} pixels" if shape else f"letters {results['alphabet']}"
    return "\n".join(
        [
            f"{results['name']}: {results['title']}",
            f"  train / valid / test  {results['train']:,} / {results['valid']:,} / "
            f"{results['test']:,}, {kind}",
            f"  source                {results['citation']}",
            f"  license               {results['license']}",
            *(f"  published at          {url}" for url in results["urls"]),
            *(f"  checked               {place}" for place in results["places"]),
        ]
    )


def _number(score: dict[str, float]) -> str:
    return f"{score['mean']:.2f} ± {score['standard_error']:.2f}"
