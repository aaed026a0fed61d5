"""The commands: functions from settings to a dictionary of results. They parse and print nothing;
what they write is whole or not there."""

from vae_tutorial.cli.commands.evaluating import evaluate
from vae_tutorial.cli.commands.listing import data
from vae_tutorial.cli.commands.sampling import sample
from vae_tutorial.cli.commands.training import train

__all__ = ["data", "evaluate", "sample", "train"]
