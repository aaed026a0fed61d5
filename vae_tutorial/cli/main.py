"""The command line: words in, an exit code out."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import tyro

import vae_tutorial
from vae_tutorial.cli.settings import Settings, Train

HELP = """Variational autoencoders from the command line. All scores are in nats per example.

options for all commands:
  --version    show the version
  --debug      after an error, show where it came from (or VAE_TUTORIAL_DEBUG=1)

environment:
  VAE_TUTORIAL_DATA     folder with data of your own, looked at before anything is downloaded
  VAE_TUTORIAL_CACHE    folder for downloads
  VAE_TUTORIAL_DEVICE   cpu, cuda or cuda:1, where --device is not given

exit codes:
  0  success                 3  training diverged
  1  unexpected error        4  files that are missing, broken or cannot be written
  2  bad usage or settings   5  another process of the run ended   130  interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error is one sentence on stderr. Help, and
    words that make no command, end the process with 0 and 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = bool(os.environ.get("VAE_TUTORIAL_DEBUG")) or "--debug" in words
    for stream in (sys.stdout, sys.stderr):  # a terminal may not know a letter
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if words[:1] == ["--version"]:
        return _show(f"vae-tutorial {vae_tutorial.__version__}")
    settings: Settings | None = None
    try:
        settings = read([word for word in words if word != "--debug"])
        if device := getattr(settings, "device", None):
            os.environ["VAE_TUTORIAL_DEVICE"] = device
        command = import_module(f"vae_tutorial.cli.{type(settings).__name__.lower()}")
        text = command.run(settings)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code, sentence = _verdict(error, settings)
        rank = os.environ.get("RANK", "0")  # torchrun may have started several processes
        process = f" (process {rank})" if rank != "0" else ""
        print(f"vae-tutorial{process}: {' '.join(sentence.split())}", file=sys.stderr)
        return code
    return _show(text)


def read(words: Sequence[str]) -> Settings:
    """What the words say, on top of the settings of another run where they say ``--like``."""
    options: Any = {"description": HELP, "config": (tyro.conf.FlagCreatePairsOff,)}
    settings: Settings = tyro.cli(Settings, prog="vae-tutorial", args=words, **options)
    if not isinstance(settings, Train) or settings.like is None:
        return settings
    from vae_tutorial.cli.runs import settings_of  # which waits for torch, as help should not

    known = replace(settings_of(settings.like), overwrite=False, quiet=False)
    if settings.epochs is not None or settings.steps is not None:
        known = replace(known, epochs=None, steps=None)
    return tyro.cli(Train, args=words[1:], default=known, **options)


def _show(text: str) -> int:
    """Prints to a reader who may have left: ``vae-tutorial data | head -1``."""
    try:
        print(text, end="\n" if text else "", flush=True)  # of several processes, one has text
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _verdict(error: BaseException, settings: Settings | None) -> tuple[int, str]:
    """The exit code of an error, and its sentence."""
    from vae_tutorial.training import DivergenceError, processes

    again, where = "the same command", "--debug shows where"
    if isinstance(settings, Train) and settings.overwrite:  # with it, the run would start anew
        again += " without --overwrite"
    if isinstance(error, KeyboardInterrupt):
        kept = isinstance(settings, Train) and (settings.out / "checkpoint.safetensors").exists()
        return 130, "interrupted" + f"; {again} goes on from its last checkpoint" * kept
    kinds = DivergenceError, processes.WorkerLostError, OSError, ValueError
    for kind, code in zip(kinds, (3, 5, 4, 2), strict=True):
        if isinstance(error, kind):
            return code, str(error).replace("the same command", again)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return 1, f"out of memory ({error}); a smaller --batch-size or model needs less; {where}"
    return 1, f"unexpected {type(error).__name__}: {str(error) or 'no message'}; {where}"
