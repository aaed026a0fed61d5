"""The command line: ``python -m vae_tutorial``, installed as ``vae-tutorial``."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from typing import TYPE_CHECKING

import vae_tutorial

if TYPE_CHECKING:  # help should not wait for torch
    from vae_tutorial.cli.settings import Settings

PROG = "vae-tutorial"
HELP = """usage: vae-tutorial {train,evaluate,sample,data} …

Variational autoencoders from the command line. All scores are in nats per example.

commands:
  train      train a model and keep it in a folder, with its scores and settings
  evaluate   score a trained model: ELBO, log p(x), active units
  sample     let a trained model make up images or sequences
  data       list the data sets, or fetch and check one

Each has its own help: vae-tutorial train --help

examples:
  vae-tutorial train --data digits --latent-dim 2 --epochs 60 --out runs/first
  vae-tutorial evaluate runs/first
  vae-tutorial sample runs/first -n 64 --out samples.png
  vae-tutorial data mnist

python -m vae_tutorial does the same where the name vae-tutorial is not installed.

options for all commands:
  -h, --help   show help
  --version    show the version
  --debug      after an error, show where it came from (or VAE_TUTORIAL_DEBUG=1)

environment:
  VAE_TUTORIAL_DATA     folder with data of your own, looked at before anything is downloaded
  VAE_TUTORIAL_CACHE    folder for downloads
  VAE_TUTORIAL_DEVICE   cpu, cuda or cuda:1, where --device is not given

exit codes:
  0    success
  1    unexpected error
  2    bad usage or settings
  3    training diverged
  4    files: data missing or broken, a place that cannot be written, a full disk
  5    another process of the same run ended
  130  interrupted
"""
EXAMPLES = {
    "train": """the folder then holds:
  model.safetensors       the trained model
  results.json            its ELBO on train, valid and test data, settings, seconds, hardware
  history.json            the scores of every epoch
  settings.json           the settings alone, for --like
  checkpoint.safetensors  where the same command goes on if it was stopped, or with more --epochs

examples:
  vae-tutorial train --data mnist --latent-dim 20 --hidden 400 --epochs 10 --out runs/mnist
  vae-tutorial train --data mnist --pixels dynamic --objective iwae --num-samples 5
  vae-tutorial train --data pf00014 --latent-dim 5 --warmup 10 --out runs/kunitz
  vae-tutorial train --like runs/mnist --seed 1 --out runs/mnist-1
  torchrun --nproc-per-node=2 -m vae_tutorial train --out runs/two""",
    "evaluate": """Beside the model it leaves them as evaluation.json.

examples:
  vae-tutorial evaluate runs/mnist
  vae-tutorial evaluate runs/mnist --num-samples 5000 --limit 0
  vae-tutorial evaluate mnist_2d --data mnist --out evaluation.json""",
    "sample": """examples:
  vae-tutorial sample runs/mnist -n 64 --out samples.png
  vae-tutorial sample mnist_2d --out samples.npz
  vae-tutorial sample runs/kunitz -n 1000 --out samples.fasta""",
    "data": """examples:
  vae-tutorial data
  vae-tutorial data mnist""",
}
COMMANDS = tuple(EXAMPLES)


class UsageError(ValueError):
    """A command line that cannot be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error is one sentence on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = bool(os.environ.get("VAE_TUTORIAL_DEBUG")) or "--debug" in words
    words = [word for word in words if word != "--debug"]
    settings: Settings | None = None
    for stream in (sys.stdout, sys.stderr):  # a terminal may not know a letter
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        settings = parse(words)
        if settings is not None:
            _run(settings)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code, sentence = _verdict(error, settings)
        if sentence:
            print(f"{PROG}{_process()}: {' '.join(sentence.split())}", file=sys.stderr)
        return code
    return 0


def parse(words: list[str]) -> Settings | None:
    """The settings that the words say; None where they asked for help, which is then shown.

    Raises:
        ValueError: with a sentence, for words or settings that make no sense.
        OSError: ``--like`` names a run that is not there.
    """
    if not words:
        print(HELP, end="")
        raise UsageError("name a command: train, evaluate, sample or data")
    if words[0] in ("-h", "--help"):
        print(HELP, end="")
        return None
    if words[0] == "--version":
        print(f"{PROG} {vae_tutorial.__version__}")
        return None
    if words[0] not in COMMANDS:
        raise UsageError(
            f"the command must be one of {', '.join(COMMANDS)}, not {words[0]!r}; "
            f"see {PROG} --help"
        )
    from vae_tutorial.cli.settings import Data, Evaluate, Sample, Train

    name, rest = words[0], words[1:]
    kinds = dict(zip(COMMANDS, (Train, Evaluate, Sample, Data), strict=True))
    settings = _read(kinds[name], name, rest)
    if isinstance(settings, Train) and settings.like is not None:
        from vae_tutorial.cli.commands.runs import settings_of

        known = replace(settings_of(settings.like), overwrite=False, quiet=False)
        if settings.epochs is not None or settings.steps is not None:
            known = replace(known, epochs=None, steps=None)
        settings = _read(Train, name, rest, known)
    return settings


def _read(
    kind: type[Settings], name: str, words: list[str], default: Settings | None = None
) -> Settings | None:
    """What tyro makes of the words; its box of errors becomes one sentence."""
    import tyro

    described = f"{kind.__doc__}\n\n{EXAMPLES[name]}"
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            options = {} if default is None else {"default": default}
            return tyro.cli(  # type: ignore[call-overload]
                kind,
                prog=f"{PROG} {name}",
                description=described,
                args=words,
                config=(tyro.conf.FlagCreatePairsOff,),
                **options,
            )
    except SystemExit as end:
        if end.code in (0, None):
            return None
        raise UsageError(_sentence(errors.getvalue(), end, name)) from end


def _sentence(box: str, end: SystemExit, name: str) -> str:
    """The sentence in tyro's box: that of the settings themselves, where these were refused."""
    lines = [line.strip(" │") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("╭", "╰"))]
    parts = " ".join("\n" if set(line) == {"─"} else line for line in lines).split("\n")
    text = " ".join(parts[0].split()).rstrip(".")
    cause: BaseException | None = end
    while cause is not None:
        if type(cause) is ValueError and text.startswith(f"Error parsing {name.title()}:"):
            return str(cause)
        cause = cause.__context__
    meant = re.findall(r"--[a-z][a-z-]+", parts[1]) if "meant" in box else []
    hint = f"; perhaps you meant {meant[0]}" if meant else ""
    return f"{text}{hint}; see {PROG} {name} --help"


def _run(settings: Settings) -> None:
    from vae_tutorial.cli import commands
    from vae_tutorial.cli.commands import report
    from vae_tutorial.cli.settings import Evaluate, Sample, Train

    if isinstance(settings, Train):
        results = commands.train(settings)
        if results:  # only the first of several processes has some
            print(report.train(results, settings.out))
    elif isinstance(settings, Evaluate):
        print(report.evaluate(commands.evaluate(settings)))
    elif isinstance(settings, Sample):
        print(report.sample(commands.sample(settings)))
    else:
        print(report.data(commands.data(settings)))


def _verdict(error: BaseException, settings: Settings | None) -> tuple[int, str]:
    """The exit code of an error, and its sentence."""
    if isinstance(error, KeyboardInterrupt):
        folder = getattr(settings, "out", None)
        kept = folder is not None and (folder / "checkpoint.safetensors").exists()
        goes_on = f"; {_same(settings)} goes on from its last checkpoint" if kept else ""
        return 130, f"interrupted{goes_on}"
    if isinstance(error, BrokenPipeError):  # the reader of our lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, ""
    if isinstance(error, UsageError):
        return 2, str(error)
    from vae_tutorial.training.processes import WorkerLostError
    from vae_tutorial.training.state import DivergenceError

    for kind, code in [
        (DivergenceError, 3), (WorkerLostError, 5), (OSError, 4), (ValueError, 2),
    ]:  # fmt: skip
        if isinstance(error, kind):
            return code, str(error).replace("the same command", _same(settings))
    where = "--debug shows where"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return 1, f"out of memory ({error}); a smaller --batch-size or model needs less; {where}"
    return 1, f"unexpected {type(error).__name__}: {str(error) or 'no message'}; {where}"


def _same(settings: Settings | None) -> str:
    """The command that goes on with a run: this one, unless it starts anew."""
    anew = getattr(settings, "overwrite", False)
    return "the same command without --overwrite" if anew else "the same command"


def _process() -> str:
    """Which process speaks, where torchrun started several."""
    rank = os.environ.get("RANK", "0")
    return f" (process {rank})" if rank != "0" else ""


if __name__ == "__main__":
    sys.exit(main())
