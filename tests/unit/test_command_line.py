"""The command line as a user meets it: every exit code, one sentence for every error, runs that
are killed, interrupted and shared by processes."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from disks import run_on_a_small_disk
from safetensors import safe_open

import vae_tutorial
from vae_tutorial.cli import train
from vae_tutorial.cli.main import main, read
from vae_tutorial.cli.settings import Data, Evaluate, Sample, Train
from vae_tutorial.data import CATALOG
from vae_tutorial.training.processes import WorkerLostError
from vae_tutorial.training.saving import load_model

TINY = ["--hidden", "10", "--device", "cpu", "--quiet"]
COMMANDS = ("train", "evaluate", "sample", "data")
MODULE = [sys.executable, "-m", "vae_tutorial"]


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_DEVICE", "cpu")  # and give back what --device sets
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def said(capfd):
    """Runs main; the exit code, what it printed, and its one line of error, if any, or the
    parser's box in one line."""

    def call(*words):
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
            boxed = False
        except SystemExit as end:
            code, boxed = end.code, True
        out, err = capfd.readouterr()
        assert "Traceback" not in err and (boxed or code == 0 or err.count("\n") == 1), err
        return code, out, " ".join(re.sub("[│╭╮╰╯─]", " ", err).split()) if boxed else err

    return call


def content(folder):
    """What is in a model file, bit by bit; the order of a file's header is nobody's promise."""
    with safe_open(folder / "model.safetensors", "np") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


def test_a_run_from_first_to_last_command(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = said("train", *TINY, "--epochs", 1, "--out", "runs/first run")
    assert code == 0 and re.search(r"test \(300\): elbo -\d+\.\d\d ± \d", out)
    assert "in nats per example" in out and "vae-tutorial evaluate 'runs/first run'" in out
    code, out, _ = said("evaluate", "runs/first run", "--num-samples", 5, "--limit", 3)
    assert code == 0 and re.search(r"log p\(x\) +-\d+\.\d\d ±", out) and "trusted for" in out
    code, out, _ = said("sample", "runs/first run", "-n", 3)
    assert code == 0 and out == "3 samples are in samples.png\n"
    code, out, _ = said("data")
    assert code == 0 and "\nmnist " in out
    code, out, _ = said("data", "digits")
    assert code == 0 and "1,297 / 200 / 300" in out and "CC BY 4.0" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "samples.png"]


def test_help_and_version(said):
    code, out, err = said("--help")
    assert code == 0 and err == "" and max(map(len, out.splitlines())) <= 100
    for word in (*COMMANDS, "--version", "--debug", "VAE_TUTORIAL_DATA", "examples:"):
        assert word in out
    for code_ in (0, 1, 2, 3, 4, 5, 130):
        assert re.search(rf"(?m)(^|  ) *{code_}  \w", out), code_
    assert said("-h")[1] == out
    assert said("--version") == (0, f"vae-tutorial {vae_tutorial.__version__}\n", "")


def test_the_examples_in_help_can_be_read():
    text = "\n".join(kind.__doc__ for kind in (Train, Evaluate, Sample, Data))
    lines = re.findall(r"(?m)(?:vae-tutorial|-m vae_tutorial) (\w+ .*)$", text)
    assert [line.split()[0] for line in lines] == ["train"] * 3 + list(COMMANDS[1:])
    for line in lines:
        assert read(line.replace("--like runs/mnist ", "").split()), line


def test_help_waits_for_nothing_heavy():
    code = """
import sys, vae_tutorial.cli
from vae_tutorial.cli.main import main
for words in ["--help"], ["train", "--help"], ["train", "--epochs", "x"]:
    try:
        main(words)
    except SystemExit:
        pass
print({"torch", "numpy", "matplotlib", "sklearn", "scipy", "pooch"} & sys.modules.keys())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Expected one of {train, evaluate, sample, data}"),
        (["trian"], "Unrecognized options: trian .*Available subcommands: train, evaluate"),
        (["train", "--epoch", "3"], "Unrecognized options: --epoch.*Perhaps you meant: --epochs"),
        (["train", "--epochs", "ten"], "Error parsing --epochs: .*'ten'"),
        (["train", "--epochs", "0"], "epochs must be a whole number of at least 1, not 0"),
        (["train", "--latent-dim", "two"], "Error parsing --latent-dim.*'two'"),
        (["train", "--likelihood", "magic"], "invalid choice 'magic' for argument '--likelihood'"),
        (["train", "--learning-rate", "-1"], "learning_rate must be a finite number above 0"),
        (["train", "--beta", "nan"], "beta must be a finite number of at least 0, not nan"),
        (["train", "--hidden"], "hidden must name at least one layer"),
        (["train", "--batch-size", "0"], "batch_size must be a whole number of at least 1"),
        (["train", "--seed", "-1"], "whole number from 0 .*, not -1"),
        (["train", "--data-seed", "-1"], "whole number from 0 .*, not -1"),
        (["train", "--checkpoint-every", "0"], "every must be a whole number of at least 1"),
        (["train", "--epochs", "1", "--steps", "2"], "give epochs or steps, not both"),
        (["train", "--objective", "iwae", "--beta", "2"], "beta must be 1"),
        (["train", "--objective", "iwae", "--warmup", "2"], "beta must be 1"),
        (["train", "--pixels", "grey", "--likelihood", "bernoulli"], "only for binary data"),
        (["train", "--data", "nothing", "--quiet"], "data must be one of digits, mnist"),
        (["train", "--device", "abacus"], "'abacus' cannot be used"),
        (["evaluate", "mnist_2d", "--data", "digits", "--device", "abacus"], "'abacus' cannot"),
        (["train", "extra"], "Unrecognized options: extra"),
        (["evaluate"], "Missing from vae-tutorial evaluate: MODEL"),
        (["evaluate", "mnist_2d"], "nothing beside the model mnist_2d names"),
        (["sample", "mnist_2d", "--num", "0"], "num must be a whole number of at least 1"),
        (
            ["sample", "mnist_2d", "--out", "x.gif"],
            "the ending of out must be one of '.png', .*'.gif'",
        ),
        (["data", "nothing"], "name must be one of 'digits'"),
        (["data", "digits", "mnist"], "Unrecognized options: mnist"),
    ],
)
def test_code_2_for_usage_and_settings(said, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(*words)
    assert code == 2 and out == "" and re.search(sentence, err), err
    assert list(tmp_path.iterdir()) == []


def test_code_2_for_a_finished_run(said, tmp_path):
    words = ["train", *TINY, "--steps", 2, "--out", tmp_path]
    assert said(*words)[0] == 0
    code, _, err = said(*words)
    assert code == 2 and "finished after 2 steps" in err
    assert said(*words, "--overwrite")[0] == 0


def test_code_3_when_training_diverges_and_the_last_good_model_is_kept(said, tmp_path):
    code, _, err = said("train", *TINY, "--learning-rate", "1e30", "--out", tmp_path)
    assert code == 3 and "the model is back at its state after step" in err
    assert "last_good.safetensors" in err and "learning_rate below" in err
    model = load_model(tmp_path / "last_good.safetensors", "cpu")
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "model.safetensors").exists()


def test_code_4_for_a_place_that_not_even_root_can_write(said, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for words in (
        ["train", *TINY, "--steps", 1, "--out", tmp_path / "file" / "run"],
        ["train", *TINY, "--steps", 1, "--out", tmp_path / "file"],
        ["sample", "mnist_2d", "--out", tmp_path / "file" / "s.npz"],
    ):
        code, out, err = said(*words)
        assert code == 4 and out == "" and "cannot be written" in err, err
    assert (tmp_path / "file").read_text() == "in the way"


def test_code_4_for_data_that_are_nowhere_or_broken(said, tmp_path, monkeypatch):
    record = CATALOG["frey_faces"]
    away = replace(record, files=tuple(replace(f, urls=()) for f in record.files))
    monkeypatch.setitem(CATALOG, "frey_faces", away)
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.setenv("VAE_TUTORIAL_CACHE", str(tmp_path / "cache"))
    train = ["train", *TINY, "--data", "frey_faces", "--out", tmp_path / "run"]
    for words in (train, ["data", "frey_faces"]):
        code, _, err = said(*words)
        assert code == 4 and "folder named frey_face, and set" in err, err
    (tmp_path / "frey_face").mkdir()
    (tmp_path / "frey_face" / "frey_rawface.mat").write_text("something else")
    code, _, err = said(*train)
    assert code == 4 and "is not the published file" in err and not (tmp_path / "run").exists()


def test_code_4_for_a_model_that_is_missing_or_broken(said, tmp_path):
    (tmp_path / "half.safetensors").write_bytes(b"half")
    for name, words in [("none", "there is no model file"), ("half.safetensors", "not a whole")]:
        for command in ("evaluate", "sample"):
            more = ["--data", "digits"] if command == "evaluate" else []
            code, _, err = said(command, tmp_path / name, *more)
            assert code == 4 and words in err, err
    code, _, err = said("train", "--like", tmp_path / "none")
    assert code == 4 and "name the folder of a run" in err


def test_code_4_for_a_full_disk(tmp_path):
    code = f"""
from vae_tutorial.cli.main import main
words = "train --hidden 200 --steps 2 --device cpu --quiet --out".split() + ["{tmp_path}/run"]
print("code", main(words))
"""
    result = run_on_a_small_disk(code, tmp_path, size=65536)
    assert result.stdout == "code 4\n", result
    assert result.stderr.count("\n") == 1 and "free some space" in result.stderr


def test_code_1_for_what_nobody_expected(said, monkeypatch, capfd):
    def fail(error):
        def command(settings):
            raise error

        monkeypatch.setattr(train, "run", command)
        return said("train")

    code, _, err = fail(RuntimeError("two\nlines"))
    assert (code, err) == (
        1, "vae-tutorial: unexpected RuntimeError: two lines; --debug shows where\n",
    )  # fmt: skip
    assert fail(TypeError())[2] == (
        "vae-tutorial: unexpected TypeError: no message; --debug shows where\n"
    )
    code, _, err = fail(torch.OutOfMemoryError("tried to allocate 9 GiB"))
    assert code == 1 and "smaller --batch-size" in err
    assert fail(WorkerLostError("another process of this run ended"))[0] == 5
    assert fail(OSError(errno.EIO, "bad luck"))[0] == 4
    assert fail(KeyboardInterrupt())[0] == 130
    for words, variable in ((["train", "--debug"], ""), (["train"], "1")):
        monkeypatch.setenv("VAE_TUTORIAL_DEBUG", variable)
        monkeypatch.setattr(train, "run", lambda settings: 1 / 0)
        assert main(words) == 1
        err = capfd.readouterr().err
        assert "Traceback" in err and err.endswith("--debug shows where\n")


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = f"'{sys.executable}' -m vae_tutorial data | true; echo ${{PIPESTATUS[0]}}"
    for _ in range(2):
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert (result.stdout, result.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors", "checkpoint.safetensors", "results.json", "history.json",
        "settings.json",
    ],
)  # fmt: skip
def test_a_result_is_never_written_over_what_training_wrote(said, tmp_path, name):
    run, copy = tmp_path / "run", tmp_path / "copy.safetensors"
    assert said("train", *TINY, "--steps", 2, "--out", run)[0] == 0
    copy.write_bytes((run / "model.safetensors").read_bytes())
    (tmp_path / "link.json").symlink_to(run / name)
    before = {p: p.read_bytes() for p in [copy, *run.iterdir()]}
    few = ["--num-samples", 2, "--limit", 2]
    for model, out in [(run, run / name), (run, tmp_path / "link.json"), (copy, copy)]:
        code, _, err = said("evaluate", model, "--data", "digits", *few, "--out", out)
        assert code == 2 and "out must be no file that training wrote" in err and str(out) in err
    assert {p: p.read_bytes() for p in before} == before
    assert sorted(run.iterdir()) == sorted(p for p in before if p != copy)


def test_settings_of_another_run_with_changes(said, tmp_path):
    assert said("train", *TINY, "--epochs", 1, "--latent-dim", 3, "--out", tmp_path / "a")[0] == 0
    like = ["train", "--like", tmp_path / "a", "--out", tmp_path / "b"]
    assert said(*like, "--seed", 1, "--steps", 2)[0] == 0
    a, b = (json.loads((tmp_path / run / "settings.json").read_text()) for run in "ab")
    changed = {"seed": 1, "steps": 2, "epochs": None}
    changed |= {"out": str(tmp_path / "b"), "like": str(tmp_path / "a"), "quiet": False}
    assert b == {**a, **changed}
    again = ["train", "--like", tmp_path / "a" / "settings.json", "--out", tmp_path / "c"]
    assert said(*again)[0] == 0 and content(tmp_path / "c") == content(tmp_path / "a")
    code, _, err = said("train", "--like", tmp_path / "a")
    assert code == 2 and "finished after 13 steps" in err


def long_run(folder, steps=1000):
    words = ["--steps", steps, "--batch-size", 20, "--checkpoint-every", 40, "--pixels", "dynamic"]
    return [str(w) for w in [*MODULE, "train", *TINY, *words, "--out", folder]]


def stopped(command, folder, number):
    """Runs the command and sends a signal when it has written a checkpoint."""
    path = folder / "checkpoint.safetensors"

    def written():
        return path.stat().st_mtime_ns if path.exists() else 0

    before = written()
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while written() == before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.slow
def test_killed_and_interrupted_runs_go_on_to_the_same_model(tmp_path):
    """kill -9, then Ctrl-C, then the same command: the bits of a run that was never stopped."""
    subprocess.run(long_run(tmp_path / "whole"), check=True, capture_output=True)
    folder = tmp_path / "stopped"
    code, _ = stopped(long_run(folder), folder, signal.SIGKILL)
    assert code == -signal.SIGKILL and not (folder / "results.json").exists()
    code, err = stopped(long_run(folder), folder, signal.SIGINT)
    assert code == 130 and "Traceback" not in err
    assert err.startswith("vae-tutorial: interrupted") and err.count("\n") == 1
    assert "; the same command goes on from its last checkpoint" in err
    result = subprocess.run(long_run(folder), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    work = json.loads((folder / "results.json").read_text())["training"]
    assert 0 < work["resumed_after_step"] < 1000 == work["steps"]
    assert content(folder) == content(tmp_path / "whole")
    whole = (tmp_path / "whole" / "history.json").read_bytes()
    assert (folder / "history.json").read_bytes() == whole


@pytest.mark.slow
def test_a_run_that_began_by_overwriting_goes_on_without(tmp_path, said, monkeypatch):
    code, err = stopped([*long_run(tmp_path), "--overwrite"], tmp_path, signal.SIGINT)
    assert code == 130 and "; the same command without --overwrite goes on" in err

    def lost(settings):
        raise WorkerLostError("start the same command again")

    monkeypatch.setattr(train, "run", lost)
    err = said("train", "--out", tmp_path, "--overwrite")[2]
    assert "start the same command without --overwrite again" in err


@pytest.mark.slow
def test_two_processes_share_a_run_and_one_of_them_writes(tmp_path):
    words = ["train", *TINY, "--steps", "20", "--out", str(tmp_path / "two")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*launch, "-m", "vae_tutorial", *words], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("everything is in") == 1
    assert main([*words[:-1], str(tmp_path / "one")]) == 0
    one, two = (
        json.loads((tmp_path / run / "results.json").read_text()) for run in ("one", "two")
    )
    assert (one["processes"], two["processes"]) == (1, 2)
    for split in ("train", "valid", "test"):
        assert two[split]["elbo"]["mean"] == pytest.approx(one[split]["elbo"]["mean"], rel=1e-5)


def test_another_process_of_the_run_says_which_it_is(said, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert said("data", "no")[2].startswith("vae-tutorial (process 1): name must be one of")
