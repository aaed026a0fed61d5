"""The command line: ``python -m vae_tutorial``, installed as ``vae-tutorial``."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import tyro

import vae_tutorial
from vae_tutorial.settings import Data, Evaluate, Sample, Settings, Train

DESCRIPTION = """Train, score and sample variational autoencoders.

  vae-tutorial train --data digits --pixels threshold --out runs/first

  vae-tutorial evaluate runs/first

  vae-tutorial sample runs/first --out samples.png

  vae-tutorial data

Several processes: torchrun --nproc-per-node=2 -m vae_tutorial train --out runs/first

Exit codes: 0 done, 1 unexpected error, 2 settings that cannot be, 3 training diverged, 4 a file \
is missing or cannot be written, 5 another process of the run ended, 130 interrupted. \
VAE_TUTORIAL_DEBUG=1 shows where an error came from.
"""
CODES = {"settings": 2, "diverged": 3, "files": 4, "lost": 5, "interrupted": 130}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; errors are one sentence on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"vae-tutorial {vae_tutorial.__version__}")
        return 0
    settings = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Data, tyro.conf.subcommand("data")],
        prog="vae-tutorial",
        description=DESCRIPTION,
        args=arguments or ["--help"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        _run(settings)
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("VAE_TUTORIAL_DEBUG"):
            traceback.print_exc()
        code, sentence = _verdict(error)
        print(f"vae-tutorial: {sentence}", file=sys.stderr)
        return code
    return 0


def _run(settings: Settings) -> None:
    from vae_tutorial import commands

    if isinstance(settings, Data):
        print(commands.describe(settings.name))
        return
    if isinstance(settings, Train):
        results = commands.train(settings)
        if int(os.environ.get("RANK", "0")) == 0:
            print(
                f"test ELBO {results['test_elbo']:.2f} nats per example "
                f"(KL {results['test_kl']:.2f}); everything is in {settings.out}"
            )
    else:
        results = (
            commands.evaluate(settings)
            if isinstance(settings, Evaluate)
            else commands.sample(settings)
        )
        print(json.dumps(results, indent=1, ensure_ascii=False))


def _verdict(error: BaseException) -> tuple[int, str]:
    from vae_tutorial.distributed import WorkerLostError
    from vae_tutorial.training import DivergenceError

    if isinstance(error, KeyboardInterrupt):
        return CODES["interrupted"], "interrupted; the same command goes on from its checkpoint"
    for kind, name in [
        (DivergenceError, "diverged"),
        (WorkerLostError, "lost"),
        (OSError, "files"),
        (ModuleNotFoundError, "files"),
        (ValueError, "settings"),
    ]:
        if isinstance(error, kind):
            return CODES[name], str(error)
    return 1, f"unexpected {type(error).__name__}: {error} (VAE_TUTORIAL_DEBUG=1 shows where)"


if __name__ == "__main__":
    sys.exit(main())
