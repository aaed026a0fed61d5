"""Two gloo processes train what one process trains; a killed one ends the run with a sentence."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from vae_tutorial import data, training
from vae_tutorial.model import VAE
from vae_tutorial.training.checkpoint import Checkpoint, read
from vae_tutorial.training.processes import ProcessGroup, Workers, workers

RUN = """
import json, os, sys
from functools import partial
import torch
from vae_tutorial import data, objectives, training
from vae_tutorial.training import processes
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.model import VAE

folder, settings = sys.argv[1], json.loads(sys.argv[2])
kill_at, stop_at = settings.pop("kill_at", 0), settings.pop("stop_at", 0)
own = "/" + os.environ.get("RANK", "0") if settings.pop("apart", False) else ""
calls = 0

def binarize(x, rng):
    global calls
    calls += 1
    if kill_at and calls == kill_at and os.environ.get("RANK") == "1":
        os.kill(os.getpid(), 9)
    return data.binarize(x, rng)

with processes.workers() as w:
    grey = data.load("digits", pixels="grey", device="cpu")
    model = VAE.mlp(64, 2, hidden=(30,), device="cpu")
    if settings.pop("batchnorm", False):
        model.encoder.insert(2, torch.nn.BatchNorm1d(30))
    if "nats" in settings:
        settings["objective"] = partial(objectives.free_bits, nats=settings.pop("nats"))
    history = training.fit(
        model, grey, transform=binarize, workers=w, progress=False,
        callbacks=[lambda model, history: len(history.step) == stop_at],
        checkpoint=Checkpoint(folder + own + "/run", every=10), **settings,
    )
    rank = w.rank
norm = torch.cat([p.detach().flatten() for p in model.parameters()]).norm().item()
with open(f"{folder}/result-{rank}.json", "w") as file:
    json.dump({"norm": norm, "objective": history.objective, "valid": history.valid_elbo,
               "kl": history.kl, "step": history.step}, file)
"""


@pytest.fixture
def launch(tmp_path):
    """Runs the code above in so many processes; the results of each, or the failed process."""
    script = tmp_path / "run.py"
    script.write_text(RUN)

    def start(name, processes, **settings):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        command = [sys.executable, str(script)]
        if processes > 1:
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command += [f"--nproc-per-node={processes}", str(script)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "VAE_TUTORIAL_DEVICE": "cpu"}
        result = subprocess.run(
            [*command, str(folder), json.dumps(settings)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=240,
        )
        if result.returncode:
            return result
        return [json.loads(p.read_text()) for p in sorted(folder.glob("result-*.json"))]

    return start


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 100},
        # odd sizes: parts of 51 and 50, a last batch of 1 example, of which one process gets none
        {"batch_size": 81, "objective": "iwae", "num_samples": 5, "optimizer": "adagrad"},
        # which dimension is charged is decided by the mean over the whole batch
        {"batch_size": 81, "nats": 0.6},
    ],
)
@pytest.mark.slow
def test_two_processes_give_the_result_of_one(launch, settings):
    settings = {**settings, "steps": 50, "every": 10, "learning_rate": 5e-3}
    (one,) = launch("one", 1, **settings)
    first, second = launch("two", 2, **settings)
    assert first == second  # both know the whole history
    assert first["norm"] == pytest.approx(one["norm"], rel=1e-5)
    assert first["step"] == one["step"] == [10, 20, 30, 40, 50]
    for key in ("objective", "valid", "kl"):
        assert first[key] == pytest.approx(one[key], rel=1e-5), key


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_its_checkpoint_goes_on(launch, tmp_path):
    settings = {"batch_size": 100, "steps": 50, "every": 10}
    failed = launch("killed", 2, kill_at=36, **settings)  # at step 34: two calls look at the data
    assert failed.returncode != 0
    assert "start the same command again" in failed.stderr
    step = int(read(tmp_path / "killed" / "run")[1]["step"])
    assert step in (20, 30)
    first, _ = launch("killed", 2, **settings)
    (one,) = launch("one", 1, **settings)
    assert first["step"] == one["step"] and first["norm"] == pytest.approx(one["norm"], rel=1e-5)
    assert first["objective"] == pytest.approx(one["objective"], rel=1e-5)


@pytest.mark.slow
def test_machines_without_a_common_folder_cannot_resume(launch, tmp_path):
    """The first process alone writes; the others would begin anew beside it."""
    launch("apart", 2, batch_size=100, steps=20, apart=True)
    before = (tmp_path / "apart" / "0" / "run").read_bytes()
    failed = launch("apart", 2, batch_size=100, steps=40, apart=True)
    assert "found checkpoints of different steps [20, 0]" in failed.stderr
    assert "a folder that all machines share" in failed.stderr
    assert (tmp_path / "apart" / "0" / "run").read_bytes() == before


@pytest.mark.slow
def test_processes_agree_on_what_layers_keep_beside_parameters(launch):
    first, second = launch("kept", 2, batch_size=100, steps=30, every=10, batchnorm=True)
    assert first == second and len(first["valid"]) == 3


@pytest.mark.slow
def test_a_callback_of_the_first_process_stops_all(launch):
    results = launch("stopped", 2, batch_size=100, steps=50, every=10, stop_at=2)
    assert [result["step"] for result in results] == [[10, 20], [10, 20]]


def test_one_process_without_torchrun_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with workers() as found:
        assert found == Workers(0, 1) and type(found) is Workers


def test_a_group_of_one_trains_as_no_group_does(monkeypatch, tmp_path):
    """In this process, with a real gloo group of size one."""
    for name, value in [("RANK", 0), ("WORLD_SIZE", 1), ("MASTER_ADDR", "127.0.0.1")]:
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", "0")
    monkeypatch.setenv("VAE_TUTORIAL_DEVICE", "cpu")
    x = data.load("digits", pixels="threshold", device="cpu").train.x
    models = [VAE.mlp(64, 2, hidden=(10,), device="cpu") for _ in range(2)]
    settings = {"steps": 12, "every": 4, "progress": False, "callbacks": [lambda m, h: False]}
    alone = training.fit(models[0], x, **settings)
    with workers() as group:
        assert group == ProcessGroup(0, 1) and group.first
        kept = Checkpoint(tmp_path / "run", every=5)
        shared = training.fit(models[1], x, workers=group, checkpoint=kept, **settings)
        assert isinstance(group.share(nn.Linear(2, 2)), nn.Module)
    assert shared.objective == pytest.approx(alone.objective, rel=1e-6)
    with pytest.raises(RuntimeError, match="not about processes"), workers():
        raise RuntimeError("not about processes")


def test_parts_are_as_equal_as_can_be_and_weigh_one_batch():
    x = torch.arange(7)
    parts = [ProcessGroup(rank, 3).part(x) for rank in range(3)]
    few = [ProcessGroup(rank, 3) for rank in range(3)]
    assert [w.part(x[:2]).tolist() for w in few] == [[0], [1], [1]]
    assert [w.scale(2) for w in few] == [1.5, 1.5, 0] and few[2].scale(6) == 0.5
    assert torch.equal(torch.cat(parts), x) and [len(p) for p in parts] == [3, 2, 2]
    assert ProcessGroup(1, 3).part(x.view(1, 7), dim=1).tolist() == [[3, 4]]
