"""Every public function of the package on a device that is not the CPU: it runs there, its results
are there, and they are the CPU's."""

import os
import subprocess
import sys
from pathlib import Path

import public_functions
import pytest
import torch

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent
PUBLIC = public_functions.public()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the entries found, on the CPU and on the pretend device, each in a process of its own:
    a device is registered once and for all."""
    folder = tmp_path_factory.mktemp("found")
    processes = {}
    for device in ("cpu", "pretend"):
        command = [sys.executable, HERE / "public_functions.py", folder / device]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "VAE_TUTORIAL_DEVICE": device,
            "MPLBACKEND": "agg",
        }
        processes[device] = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    for process in processes.values():
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return {device: torch.load(folder / device) for device in processes}


def test_every_public_function_has_an_entry():
    missing = [name for name, value in PUBLIC.items() if value not in public_functions.ENTRIES]
    assert not missing, f"write an entry in {public_functions.__file__} for {missing}"


def test_every_entry_is_of_a_public_function():
    assert {*public_functions.ENTRIES} == {*PUBLIC.values()}


def test_what_a_reader_may_call_counts_as_public():
    names = {name.removeprefix("vae_tutorial.") for name in PUBLIC}
    assert {"model.VAE", "training.loop.fit", "book.seeds.chapter_seed"} <= names
    assert not any("._" in name or name.startswith(("cli.", "support.")) for name in names)


@pytest.mark.parametrize(
    "name", [name for name, value in PUBLIC.items() if value in public_functions.ENTRIES]
)
def test_it_runs_on_the_device_and_finds_what_the_cpu_finds(found, name):
    cpu, pretend = (found[device]["results"][name] for device in ("cpu", "pretend"))
    assert cpu["error"] is None, cpu["error"]
    assert pretend["error"] is None, pretend["error"]
    assert len(cpu["values"]) == len(pretend["values"])
    for ours, theirs in zip(pretend["values"], cpu["values"], strict=True):
        if isinstance(theirs, float):
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
        elif isinstance(theirs, torch.Tensor):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        else:
            assert ours == theirs


def test_the_device_did_the_work(found):
    assert found["pretend"]["operations"] > 10_000 and found["cpu"]["operations"] == 0
