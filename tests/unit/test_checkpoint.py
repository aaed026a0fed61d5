"""Runs that are killed and go on: the same bits as a run that was never stopped."""

import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from disks import run_on_a_small_disk

from vae_tutorial import data, objectives, training
from vae_tutorial.model import VAE
from vae_tutorial.training.checkpoint import Checkpoint, load_history, read

RUN = """
import os, sys
import torch
from vae_tutorial import data, training
from vae_tutorial import schedules
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.model import VAE

folder, kill_at = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
calls = 0

def binarize_or_die(x, rng):  # called once a step, and before the first step for looking
    global calls
    calls += 1
    if calls == kill_at:
        os.kill(os.getpid(), 9)
    return data.binarize(x, rng)

grey = data.load("digits", pixels="grey", device="cpu")
model = VAE.mlp(64, 2, hidden=(20,), device="cpu")
history = training.fit(
    model, grey, steps=60, batch_size=64, transform=binarize_or_die, optimizer={optimizer!r},
    beta=schedules.linear_warmup(2), learning_rate=lambda epoch: 3e-3 / (1 + epoch), every=13,
    objective="elbo", checkpoint=Checkpoint(folder + "/run", every=7), progress=False,
)
history.save(folder + "/history.json")
torch.save([p.detach() for p in model.parameters()], folder + "/parameters")
"""


def run(folder, kill_at, optimizer="adam"):
    folder.mkdir(exist_ok=True)
    code = RUN.replace("{optimizer!r}", repr(optimizer))
    command = [sys.executable, "-c", code, str(folder), str(kill_at)]
    return subprocess.run(command, capture_output=True, text=True)


def outcome(folder):
    tensors, metadata = read(folder / "run")
    bits = {name: value.numpy().tobytes() for name, value in tensors.items()}
    return (
        bits,
        metadata,
        *((folder / name).read_bytes() for name in ("history.json", "parameters")),
    )


@pytest.mark.parametrize(("optimizer", "kills"), [("adam", [4, 26]), ("adagrad", [33])])
@pytest.mark.slow
def test_kill_9_at_any_step_and_resume_gives_the_same_bits(tmp_path, optimizer, kills):
    """Also several times in one run: before the first write, between writes, across epochs. A run
    that was killed at its call 26 was at step 24 (two calls look at the data)."""
    assert run(tmp_path / "whole", 0, optimizer).returncode == 0
    for kill_at in [*kills, 0]:
        result = run(tmp_path / "killed", kill_at, optimizer)
        assert result.returncode == (-signal.SIGKILL if kill_at else 0), result.stderr
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_killed_from_outside_at_random_moments(tmp_path):
    """Also in the middle of a write: the kill comes when it comes."""
    assert run(tmp_path / "whole", 0).returncode == 0
    folder = tmp_path / "killed"
    folder.mkdir()
    code = RUN.replace("{optimizer!r}", "'adam'").replace("every=7", "every=1")
    command = [sys.executable, "-c", code, str(folder), "0"]
    written = -1
    for _ in range(2):
        process = subprocess.Popen(command)
        while process.poll() is None:  # until it has written once more
            if (folder / "run").exists() and step(folder / "run") > written:
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert read(folder / "run")  # whole, whatever was interrupted
        written = step(folder / "run")
    assert subprocess.run(command).returncode == 0
    for name in ("history.json", "parameters"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def step(path):
    return int(read(path)[1]["step"])


def small(seed=0):
    return VAE.mlp(64, 2, hidden=(10,), seed=seed, device="cpu")


def digits():
    return data.load("digits", pixels="threshold", device="cpu").train.x


def test_a_stream_goes_on_where_it_stopped(tmp_path):
    x = digits()[:60]
    whole, first, second = small(), small(), small(1)
    training.fit(whole, x.split(1), checkpoint=Checkpoint(tmp_path / "a"), progress=False)
    settings = {"checkpoint": Checkpoint(tmp_path / "b", every=5), "progress": False}
    training.fit(first, x.split(1), steps=22, **settings)
    history = training.fit(second, x.split(1), **settings)
    assert history.step == [22, 60]
    for p, q in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_finished_run_is_not_trained_again_and_a_longer_one_goes_on(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run")
    settings = {"batch_size": 64, "checkpoint": checkpoint, "progress": False}
    model, again, longer = small(), small(1), small(2)
    history = training.fit(model, digits(), epochs=2, **settings)
    assert training.fit(again, digits(), epochs=2, **settings) == history
    assert load_history(tmp_path / "run") == history
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
    assert training.fit(longer, digits(), epochs=3, **settings).epoch == [1, 2, 3]
    shorter = training.fit(small(), digits(), epochs=2, **settings)  # further already: it ends
    assert shorter.epoch == [1, 2, 3]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"batch_size": 32}, "batch_size 64, not 32"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"optimizer": "adagrad"}, "optimizer 'Adam', not 'Adagrad'"),
        ({"objective": "iwae"}, "objective 'elbo', not 'iwae'"),
        ({"precision": "bf16"}, "precision 'float32', not 'bf16'"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, other, words):
    settings = {"batch_size": 64, "epochs": 1, "progress": False}
    training.fit(small(), digits(), checkpoint=Checkpoint(tmp_path / "run"), **settings)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=words):
        training.fit(
            small(), digits(), checkpoint=Checkpoint(tmp_path / "run"), **{**settings, **other}
        )
    with pytest.raises(ValueError, match="data '1297 examples with SHA-256 .*', not '1297 exam"):
        training.fit(small(), 1 - digits(), checkpoint=Checkpoint(tmp_path / "run"), **settings)
    wide = VAE.mlp(64, 2, hidden=(11,), device="cpu")
    with pytest.raises(ValueError, match="parameters other ones"):
        training.fit(wide, digits(), checkpoint=Checkpoint(tmp_path / "run"), **settings)
    assert (tmp_path / "run").read_bytes() == before


def draw(x, rng):
    return data.binarize(x, rng)


def draw_twice(x, rng):
    return data.binarize(data.binarize(x, rng), rng)


def free(nats):
    return lambda m, x, eps: objectives.free_bits(m, x, nats=nats, eps=eps)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"objective": free(0.1)}, {"objective": free(0.2)}, "objective 'free.*lambda"),
        ({}, {"activation": "relu"}, "with layers other ones"),
        ({}, {"posterior": "full", "latent_dim": 1}, "with (parameters|layers) other ones"),
        ({"objective": partial(objectives.free_bits, nats=0.1)},
         {"objective": partial(objectives.free_bits, nats=0.2)}, "objective 'free_bits.*nats=0.1"),
        ({"objective": lambda m, x, eps: objectives.elbo(m, x, eps=eps)},
         {"objective": lambda m, x, eps: objectives.elbo(m, x, eps=2 * eps)},
         "objective '.*lambda"),
        ({"transform": draw}, {"transform": draw_twice}, "transform 'draw .*, not 'draw_twice"),
        ({"transform": draw}, {}, "transform 'draw .*, not None"),
    ],
    ids=["what a closure holds", "tanh for relu", "posterior", "free bits", "lambdas",
         "transforms", "no transform"],
)  # fmt: skip
def test_another_model_objective_or_transform_is_refused(tmp_path, first, second, words):
    """Tensors of the same names and shapes do not make the same run."""

    def start(settings):
        known = {k: v for k, v in settings.items() if k in ("objective", "transform")}
        rest = {k: v for k, v in settings.items() if k not in known}
        model = VAE.mlp(64, **{"latent_dim": 2, "hidden": (10,), **rest}, device="cpu")
        kept = Checkpoint(tmp_path / "run")
        training.fit(model, digits(), epochs=1, checkpoint=kept, progress=False, **known)

    start(first)
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=words):
        start(second)
    assert (tmp_path / "run").read_bytes() == before
    start(first)  # the same run is the same


def test_a_run_that_goes_on_and_diverges_is_back_at_its_checkpoint(tmp_path):
    """Not at the weights with which the process began."""
    settings = {"batch_size": 64, "checkpoint": Checkpoint(tmp_path / "run"), "progress": False}
    first, second = small(), small(1)
    training.fit(first, digits(), steps=50, **settings)
    with pytest.raises(training.DivergenceError, match="back at its state after step 50"):
        training.fit(second, digits(), steps=90, learning_rate=1e30, **settings)
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "run"
    settings = {"batch_size": 64, "epochs": 1, "progress": False}
    training.fit(small(), digits(), checkpoint=Checkpoint(path), **settings)
    whole = path.read_bytes()
    for broken in (b"", whole[:-100], b"\x80\x04no pickle is ever opened", whole[:8] + whole[9:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="not a whole checkpoint .*remove it to start anew"):
            training.fit(small(), digits(), checkpoint=Checkpoint(path), **settings)


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path):
    code = f"""
import torch
from vae_tutorial import data, training
from vae_tutorial.training.checkpoint import Checkpoint, read
from vae_tutorial.model import VAE
from pathlib import Path
path = Path("{tmp_path}") / "run"
x = data.load("digits", pixels="threshold", device="cpu").train.x
def fill(model, history):
    (path.parent / "ballast").write_bytes(bytes(max(0, 60_000 - path.stat().st_size)))
try:
    training.fit(VAE.mlp(64, 2, hidden=(10,), device="cpu"), x, epochs=9, callbacks=[fill],
                 checkpoint=Checkpoint(path, every=5), progress=False)
except OSError as error:
    print(error)
print(read(path)[1]["step"], sorted(p.name for p in path.parent.iterdir()))
"""
    result = run_on_a_small_disk(code, tmp_path, size=65536)
    message, state = result.stdout.splitlines()[-2:]
    assert "free some space" in message, result
    assert state.split(" ", 1) == ["10", "['ballast', 'run']"]


def test_an_unwritable_place_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written .*name a file in a folder"):
        training.fit(
            small(), digits(), checkpoint=Checkpoint(tmp_path / "file" / "run"), progress=False
        )
    with pytest.raises(ValueError, match="every must be a whole number"):
        Checkpoint(tmp_path / "run", every=0)
