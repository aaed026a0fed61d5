"""The commands: what they write is true, whole, and nobody else's."""

import json
import math
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from safetensors import safe_open

from vae_tutorial import data, evaluation, objectives, schedules, training
from vae_tutorial.cli.data import run as tell
from vae_tutorial.cli.evaluate import run as score
from vae_tutorial.cli.sample import run as sample
from vae_tutorial.cli.settings import Data, Evaluate, Sample, Train, from_json
from vae_tutorial.cli.train import run as learn
from vae_tutorial.data import CATALOG
from vae_tutorial.distributions import draw
from vae_tutorial.model import VAE
from vae_tutorial.randomness import as_generator
from vae_tutorial.training.checkpoint import load_history
from vae_tutorial.training.history import History
from vae_tutorial.training.saving import load_model


@pytest.fixture(autouse=True, scope="module")
def _one_device():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAE_TUTORIAL_DEVICE", "cpu")
        yield


def train(settings):
    """What results.json holds after training."""
    learn(settings)
    return json.loads((settings.out / "results.json").read_text())


def evaluate(settings):
    """What the scores' file holds."""
    place = score(settings).rpartition("everything is in ")[2]
    return json.loads(Path(place).read_text())


def tiny(out, **settings):
    settings = {"hidden": (10,), "epochs": 2, "quiet": True, **settings}
    return Train(out=out, **settings)


def shipped(**settings):
    return Evaluate(model=Path("mnist_2d"), **settings)


def content(folder):
    """What is in a model file, bit by bit; the order of a file's header is nobody's promise."""
    with safe_open(folder / "model.safetensors", "np") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
        return (*sorted(tensors.items()), *sorted(file.metadata().items()))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on the digits: its folder and its results."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, train(tiny(folder, warmup=1.0, seed=3))


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """A finished run on an alignment of one's own, over the letters A, C and the gap."""
    folder = tmp_path_factory.mktemp("family")
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("AC-"), 6, p=[0.8, 0.15, 0.05])) for _ in range(200)]
    path = folder / "own.fasta"
    path.write_text("".join(f">s{i}\n{row}\n" for i, row in enumerate(rows)))
    settings = tiny(folder / "run", data=str(path), epochs=80, learning_rate=0.02)
    return folder / "run", train(settings)


def test_results_are_those_of_the_saved_model(run):
    folder, results = run
    model, digits = (
        load_model(folder / "model.safetensors", "cpu"),
        data.load("digits"),
    )
    for split in ("train", "valid", "test"):
        x = getattr(digits, split).x
        with torch.no_grad():
            terms = objectives.elbo(model, x, rng=0)
        value = terms.value.double()
        assert results[split]["elbo"]["mean"] == pytest.approx(value.mean().item(), rel=1e-6)
        error = value.std().item() / math.sqrt(len(x))
        assert results[split]["elbo"]["standard_error"] == pytest.approx(error, rel=1e-5)
        assert results[split]["kl"]["mean"] == pytest.approx(terms.kl.mean().item(), rel=1e-5)
        reconstruction = terms.reconstruction.mean().item()
        assert results[split]["reconstruction"]["mean"] == pytest.approx(reconstruction, rel=1e-5)
        assert results["data"][split] == len(x)
    assert results["test"]["elbo"]["mean"] < 0 < results["test"]["kl"]["mean"]
    assert results["unit"].startswith("nats per example") and "higher is better" in results["unit"]
    assert results["parameters"] == sum(p.numel() for p in model.parameters())


def test_results_say_how_they_came_about(run):
    folder, results = run
    assert from_json(results["settings"]) == tiny(folder, warmup=1.0, seed=3)
    assert (folder / "settings.json").read_text() == json.dumps(
        results["settings"], indent=1
    ) + "\n"
    work = results["training"]
    assert (work["steps"], work["epochs"], work["resumed_after_step"]) == (26, 2.0, 0)
    assert work["examples_per_second"] == pytest.approx(2 * 1297 / work["seconds"], rel=0.1)
    assert results["data"]["name"] == "digits" and results["data"]["pixels"] == "static"
    assert results["device"] == "cpu" and "threads" in results["hardware"]
    assert results["versions"]["torch"] == torch.__version__ and results["processes"] == 1
    history = History.load(folder / "history.json")
    assert history == load_history(folder / "checkpoint.safetensors") and history.epoch == [1, 2]
    names = {"model.safetensors", "results.json", "history.json", "settings.json"}
    assert {p.name for p in folder.iterdir()} >= names | {"checkpoint.safetensors"}


def test_every_setting_reaches_the_training(tmp_path):
    """Each of these alone gives another model; what is incidental does not."""
    base = {"steps": 3, "epochs": None}

    def model(**changes):
        folder = tmp_path / "run"
        train(tiny(folder, overwrite=True, **{**base, **changes}))
        return content(folder)

    first = model()
    assert model(checkpoint_every=1) == first
    changes = [
        {"seed": 1}, {"data_seed": 1}, {"batch_size": 50}, {"num_samples": 2}, {"beta": 0.5},
        {"warmup": 2.0}, {"optimizer": "adagrad"}, {"learning_rate": 2e-3}, {"latent_dim": 3},
        {"hidden": (11,)}, {"activation": "relu"}, {"posterior": "full"}, {"prior": "learned"},
        {"pixels": "threshold"}, {"pixels": "dynamic"}, {"precision": "bf16"}, {"steps": 4},
        {"objective": "iwae", "num_samples": 2}, {"likelihood": "gaussian_fixed"},
        {"likelihood": "gaussian_fixed", "variance": 0.1}, {"pixels": "grey"},
    ]  # fmt: skip
    models = [model(**change) for change in changes]
    assert len({first, *models}) == len(changes) + 1


def test_training_is_what_fit_does_with_the_same_settings(run):
    folder, _ = run
    model = VAE.mlp(64, 2, hidden=(10,), seed=3)
    beta = schedules.linear_warmup(1.0)
    digits = data.load("digits")
    training.fit(model, digits, epochs=2, beta=beta, seed=3, progress=False)
    tensors = {k: v.numpy().tobytes() for k, v in model.state_dict().items()}
    assert content(folder)[: len(tensors)] == tuple(sorted(tensors.items()))


def test_dynamic_pixels_are_scored_on_one_draw(tmp_path):
    static = data.load("digits", pixels="static", seed=5)
    results = train(tiny(tmp_path / "run", pixels="dynamic", data_seed=5))
    model = load_model(tmp_path / "run" / "model.safetensors", "cpu")
    with torch.no_grad():
        value = objectives.elbo(model, static.valid.x, rng=0).value.mean().item()
    assert results["valid"]["elbo"]["mean"] == pytest.approx(value, rel=1e-6)
    history = History.load(tmp_path / "run" / "history.json")
    assert history.valid_elbo[-1] == pytest.approx(value, rel=1e-6)


def test_a_finished_run_and_another_run_are_left_alone(run):
    folder, _ = run
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    settings = {"warmup": 1.0, "seed": 3}
    with pytest.raises(
        ValueError, match="finished after 26 steps; train it further .*--overwrite"
    ):
        train(tiny(folder, **settings))
    with pytest.raises(ValueError, match="finished after 26 steps"):
        train(tiny(folder, **settings, steps=26, **{"epochs": None}))
    with pytest.raises(ValueError, match=r"a run with seed 3, not 4; name another --out"):
        train(tiny(folder, warmup=1.0, seed=4))
    with pytest.raises(
        ValueError, match="a run with likelihood 'auto', activation 'tanh', not 'g"
    ):
        train(tiny(folder, **settings, likelihood="gaussian", activation="relu"))
    with pytest.raises(ValueError, match="has already 26 steps, more than 13"):
        train(tiny(folder, **{**settings, "epochs": 1}))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_with_foreign_files_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_text("somebody's work")
    with pytest.raises(ValueError, match="holds model.safetensors without the settings.json"):
        train(tiny(tmp_path))
    assert (tmp_path / "model.safetensors").read_text() == "somebody's work"


def test_overwrite_starts_anew_and_leaves_other_files_alone(tmp_path):
    train(tiny(tmp_path))
    evaluate(Evaluate(model=tmp_path, num_samples=5, limit=2))
    (tmp_path / "notes.txt").write_text("mine")
    results = train(tiny(tmp_path, seed=1, overwrite=True))
    assert results["training"]["resumed_after_step"] == 0
    assert not (tmp_path / "evaluation.json").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 1


def test_a_finished_run_is_trained_further_as_if_at_once(tmp_path):
    train(tiny(tmp_path / "once", epochs=3))
    train(tiny(tmp_path / "twice", epochs=2))
    old = (tmp_path / "twice" / "results.json").read_bytes()
    results = train(tiny(tmp_path / "twice", epochs=3))
    assert results["training"]["resumed_after_step"] == 26
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert content(once) == content(twice)
    assert (once / "history.json").read_bytes() == (twice / "history.json").read_bytes()
    # stopped after the last checkpoint and before the results: not finished
    (tmp_path / "twice" / "results.json").write_bytes(old)
    assert train(tiny(tmp_path / "twice", epochs=3))["training"]["steps"] == 39
    (tmp_path / "twice" / "checkpoint.safetensors").unlink()
    with pytest.raises(ValueError, match="finished after 39 steps"):
        train(tiny(tmp_path / "twice", epochs=4))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"likelihood": "categorical"}, "likelihood must be bernoulli or a gaussian one"),
        ({"data": "nothing"}, "data must be one of digits, mnist, .*, not 'nothing'"),
        ({"pixels": "grey", "data": "binarized_mnist"}, "no grey pixels .*leave pixels out"),
        ({"pixels": "grey", "likelihood": "bernoulli"}, "only for binary data"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        train(tiny(tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings", [{"pixels": "grey", "likelihood": "categorical"}, {"data": "a"}]
)
def test_what_is_refused_claims_no_folder(tmp_path, settings):
    """So that the corrected command finds the folder free."""
    with pytest.raises(ValueError):
        train(tiny(tmp_path / "run", **settings))
    train(tiny(tmp_path / "run", epochs=1))


def test_a_run_on_an_alignment_is_evaluated_from_any_folder(family, tmp_path, monkeypatch):
    results = family[1]
    path = Path(results["settings"]["data"])
    monkeypatch.chdir(path.parent)
    train(tiny(tmp_path / "run", data=path.name))
    monkeypatch.chdir(tmp_path)
    scores = evaluate(Evaluate(model=tmp_path / "run", num_samples=5, limit=2))
    assert scores["data"]["name"] == results["data"]["name"]


def test_a_run_that_torchrun_starts_again_is_not_overwritten(tmp_path, monkeypatch):
    train(tiny(tmp_path, epochs=1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    results = train(tiny(tmp_path, epochs=2, overwrite=True))
    assert results["training"]["resumed_after_step"] == 13


def test_a_familys_decoder_must_be_categorical(family):
    folder, results = family
    settings = from_json(results["settings"])
    with pytest.raises(ValueError, match="likelihood must be categorical for these data"):
        train(tiny(folder.parent / "other", data=settings.data, likelihood="bernoulli"))
    assert results["data"]["alphabet"] == "-ACDEFGHIKLMNPQRSTVWY"
    assert results["data"]["image_shape"] is None and results["data"]["dimensions"] == 6 * 21


def test_evaluate_agrees_with_log_evidence(run):
    folder, trained = run
    results = evaluate(Evaluate(model=folder, num_samples=50, limit=40, seed=0))
    assert results == json.loads((folder / "evaluation.json").read_text())
    for name in ("elbo", "kl", "reconstruction"):
        assert results[name] == trained["test"][name]  # of all examples, as in results.json
    model = load_model(folder / "model.safetensors", "cpu")
    x = data.load("digits").test.x
    chosen = torch.randperm(300, generator=as_generator(0))[:40].sort().values
    found = evaluation.log_evidence(model, x[chosen], num_samples=50, rng=0)
    log_p = results["log_evidence"]
    assert log_p["mean"] == pytest.approx(found.value.mean().item())
    error = found.value.std().item() / math.sqrt(40)
    assert log_p["standard_error"] == pytest.approx(error)
    sampling_error = found.standard_error.square().sum().sqrt().item() / 40
    assert log_p["standard_error_of_sampling"] == pytest.approx(sampling_error)
    assert log_p["share_trusted"] == pytest.approx(found.trusted.float().mean().item())
    assert (log_p["examples"], log_p["samples_of_z"]) == (40, 50)
    active = evaluation.active_units(model, x)
    assert results["active_units"]["count"] == active.count
    assert results["active_units"]["variances"] == pytest.approx(
        active.activity.tolist(), abs=1e-6
    )
    with torch.no_grad():
        value = objectives.elbo(model, x, rng=0).value[chosen].mean().item()
    assert log_p["elbo_of_these_examples"]["mean"] == pytest.approx(value)
    assert log_p["mean"] > value


def test_evaluate_scores_what_it_is_told(run, tmp_path):
    folder, trained = run
    base = {"model": folder / "model.safetensors", "num_samples": 3}
    whole = evaluate(Evaluate(**base, limit=0, split="valid", out=tmp_path / "a" / "e.json"))
    assert whole["log_evidence"]["examples"] == 200 and whole["split"] == "valid"
    assert whole["elbo"] == trained["valid"]["elbo"] and (tmp_path / "a" / "e.json").exists()
    other = evaluate(Evaluate(**base, limit=2, pixels="threshold", out=tmp_path / "e.json"))
    assert other["data"]["pixels"] == "threshold" and other["elbo"] != trained["test"]["elbo"]
    again = evaluate(Evaluate(**base, limit=2, data_seed=1, out=tmp_path / "e.json"))
    assert again["elbo"] != trained["test"]["elbo"]


def test_evaluate_needs_data_and_a_model_that_can_explain_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nothing beside the model mnist_2d .*--data"):
        evaluate(shipped())
    with pytest.raises(ValueError, match=r"\[B, 784\]"):
        evaluate(shipped(data="digits"))
    with pytest.raises(FileNotFoundError, match=r"no model file nowhere.*\(mnist_2d\)"):
        evaluate(Evaluate(model=Path("nowhere")))
    (tmp_path / "model.safetensors").write_bytes(b"half a model")
    with pytest.raises(OSError, match="is not a whole model file"):
        evaluate(Evaluate(model=tmp_path, data="digits"))
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def test_a_run_that_has_not_finished_has_no_model_yet(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="the run has not finished"):
        evaluate(Evaluate(model=tmp_path))


@pytest.mark.parametrize("name", ["settings.json", "results.json", "checkpoint.safetensors"])
def test_broken_files_of_a_run_are_named(tmp_path, name):
    train(tiny(tmp_path, epochs=1))
    (tmp_path / name).write_text("[1, 2")
    with pytest.raises(OSError, match=name):
        train(tiny(tmp_path))


def test_arrays_are_what_the_model_makes_of_its_prior(run, tmp_path):
    folder, _ = run
    settings = Sample(model=folder, num=5, out=tmp_path / "s.npz", seed=2)
    assert sample(settings) == f"5 samples are in {tmp_path}/s.npz"
    arrays = np.load(tmp_path / "s.npz")
    model = load_model(folder / "model.safetensors", "cpu")
    z = draw(model.prior, (5,), as_generator(2))
    assert np.array_equal(arrays["z"], z.numpy())
    with torch.no_grad():
        assert np.allclose(arrays["mean"], model.decode(z).mean.numpy())
    assert arrays["x"].shape == (5, 64) and set(np.unique(arrays["x"])) == {0, 1}
    again = Sample(model=folder, num=5, out=tmp_path / "t.npz", seed=3)
    sample(again)
    assert not np.array_equal(np.load(tmp_path / "t.npz")["z"], arrays["z"])


def test_a_picture_shows_the_means_in_a_grid(run, tmp_path):
    folder, _ = run
    sample(Sample(model=folder, num=5, out=tmp_path / "s.npz"))
    sample(Sample(model=folder, num=5, out=tmp_path / "s.PNG"))
    picture = matplotlib.image.imread(tmp_path / "s.PNG")[..., 0]
    assert picture.shape == (2 * 58, 3 * 58)  # 5 in 3 columns; 8 pixels of 7, and a border
    mean = np.load(tmp_path / "s.npz")["mean"].reshape(5, 8, 8)
    shown = 1 - picture[4 : 4 + 56 : 7, 58 + 4 : 58 + 4 + 56 : 7]  # the second; ink is dark
    assert np.allclose(shown, mean[1], atol=0.01)
    assert (picture[59:115, 2 * 58 + 1 : 3 * 58 - 1] == 1).all()  # nothing in the sixth place


def test_a_picture_needs_matplotlib_and_a_shape(run, family, tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes((family[0] / "model.safetensors").read_bytes())
    settings = Sample(model=tmp_path, out=tmp_path / "s.png")
    with pytest.raises(ValueError, match="126 values make an image; name a FILE.npz"):
        sample(settings)
    monkeypatch.setitem(sys.modules, "matplotlib.image", None)
    with pytest.raises(ValueError, match="needs matplotlib: install it, or name a FILE.npz"):
        sample(settings)
    sample(Sample(model=run[0], out=tmp_path / "s.npz"))
    assert not (tmp_path / "s.png").exists()


def test_sequences_look_like_their_family(family, tmp_path, run):
    folder, _ = family
    out = tmp_path / "s.fasta"
    sample(Sample(model=folder, num=400, out=out))
    lines = out.read_text().splitlines()
    assert lines[0] == ">sample_1" and lines[-2] == ">sample_400" and len(lines) == 800
    letters = "".join(lines[1::2])
    assert {len(line) for line in lines[1::2]} == {6}
    assert letters.count("A") / len(letters) == pytest.approx(0.8, abs=0.08)
    assert letters.count("C") > letters.count("-") > 0
    with pytest.raises(ValueError, match="must be one of '.fasta', '.npz', not '.png'"):
        sample(Sample(model=folder, out=tmp_path / "s.png"))
    with pytest.raises(ValueError, match="must be one of '.png', '.npz', not '.fasta'"):
        sample(Sample(model=run[0], out=out))
    scores = evaluate(Evaluate(model=folder, num_samples=20, limit=0))
    entropy = -sum(p * math.log(p) for p in (0.8, 0.15, 0.05)) * 6
    assert scores["log_evidence"]["mean"] == pytest.approx(-entropy, abs=1.5)


def test_data_are_listed_and_one_is_described():
    names = [line.split()[0] for line in tell(Data()).splitlines()]
    assert names == list(CATALOG) and "8×8" in tell(Data())
    digits = tell(Data("digits"))
    for words in ("1,297 / 200 / 300", "scikit-learn", "source: Alpaydin", "license: CC BY 4.0"):
        assert words in digits
    with pytest.raises(ValueError, match="name must be one of 'digits'"):
        tell(Data("nothing"))


def test_data_of_ones_own_folder_are_described(data_folder):
    frey = tell(Data("frey_faces"))
    assert "28×20" in frey and "license: none stated" in frey
    assert frey.endswith(f"\n  checked {data_folder / 'frey_face' / 'frey_rawface.mat'}")
    assert "published at https://" in frey
    fixed = tell(Data("binarized_mnist"))
    assert f"checked {data_folder / CATALOG['binarized_mnist'].packed.place}" in fixed
    assert "53 columns" in tell(Data("pf00014"))
