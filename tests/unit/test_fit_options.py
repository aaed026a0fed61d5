"""What fit can do besides its default: streams, optimizers, schedules, callbacks, precision."""

import itertools
import math
import shutil

import pytest
import torch

from vae_tutorial import data, objectives, schedules, training
from vae_tutorial.model import VAE
from vae_tutorial.training.history import History
from vae_tutorial.training.progress import Progress, describe
from vae_tutorial.training.step import iwae


@pytest.fixture(scope="module")
def x():
    return data.load("digits", pixels="threshold", device="cpu").train.x


def small(seed=0):
    return VAE.mlp(64, 2, hidden=(20,), seed=seed, device="cpu")


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_steps_count_what_epochs_count(x):
    by_epochs, by_steps = small(), small()
    first = training.fit(by_epochs, x, epochs=2, batch_size=100, progress=False)
    second = training.fit(by_steps, x, steps=26, batch_size=100, progress=False)
    assert torch.equal(parameters(by_epochs), parameters(by_steps)) and first == second
    third = training.fit(small(), x, steps=20, batch_size=100, every=8, progress=False)
    assert third.step == [8, 16, 20] and third.epoch == [8 / 13, 16 / 13, 20 / 13]


@pytest.mark.slow
def test_a_stream_one_example_a_step_learns_and_may_be_endless(x):
    model = small()
    endless = (x[i : i + 1] for i in itertools.cycle(range(len(x))))
    history = training.fit(model, endless, steps=1200, learning_rate=3e-3, progress=False)
    assert history.step == list(range(100, 1201, 100)) and history.steps_per_epoch is None
    assert history.elbo[-1] > history.elbo[0] + 5
    assert history.epoch == history.step  # a stream has no epochs


def test_a_stream_is_the_same_training_as_its_batches_in_order(x):
    """Batches out of a DataLoader, and one optimizer step written by hand for each."""
    streamed, by_hand = small(), small()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:90]), batch_size=40)
    history = training.fit(streamed, loader, every=2, learning_rate=lambda step: 1e-3 * (1 + step),
                           beta=lambda step: step / 2, progress=False)  # fmt: skip
    assert history.step == [2, 3]  # the stream ended between two records
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(by_hand.parameters())
    values = []
    for step, batch in enumerate(x[:90].split(40)):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + step)
        terms = objectives.elbo(by_hand, batch, rng=rng)
        loss = -terms.weighted(step / 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(-loss.item())
    torch.testing.assert_close(parameters(streamed), parameters(by_hand))
    assert history.objective == pytest.approx([(values[0] + values[1]) / 2, values[2]], rel=1e-5)


def test_a_stream_that_drifts_is_followed(x):
    """First the images, then their negatives: the model is surprised, and learns again."""
    halves = x, 1 - x
    stream = [half[i : i + 50] for half in halves for _ in range(6) for i in range(0, 1200, 50)]
    model = small()
    history = training.fit(model, stream, learning_rate=5e-3, every=12, progress=False)
    drift = 144 // 12
    assert history.elbo[drift] < history.elbo[drift - 1] - 10  # the first look at the negatives
    assert history.elbo[-1] > history.elbo[drift] + 10


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        ([], ValueError, "data held no batch"),
        ([[1.0, 2.0]], TypeError, "batch 1 of the stream is float, not a torch.Tensor"),
        ([torch.zeros(2, 64), torch.zeros(2, 60)], ValueError, r"shape \[B, 64\]"),
        ([torch.full((2, 64), 0.5)], ValueError, "only for binary data"),
        (5, TypeError, "data must be a Dataset, a tensor .* or an iterable of batches"),
        ("digits", TypeError, "data must be a Dataset"),
    ],
)
def test_a_bad_stream_is_refused(stream, error, words):
    with pytest.raises(error, match=words):
        training.fit(small(), stream, progress=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": 2, "steps": 3}, "give epochs or steps, not both"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"every": -1}, "every must be"),
        ({"every": 0}, "every must be a whole number of at least 1, not 0"),
        ({"num_samples": 0}, "num_samples must be"),
        ({"objective": "elb"}, "objective must be one of 'elbo', 'iwae', not 'elb'"),
        ({"objective": "iwae", "beta": 0.5}, "beta must be 1 with objective='iwae', not 0.5"),
        ({"optimizer": "sgd"}, "optimizer must be one of 'adam', 'adagrad', not 'sgd'"),
        ({"precision": "fp16"}, "precision must be one of 'float32', 'bf16'"),
    ],
)
def test_contradictory_settings_are_refused(x, arguments, words):
    with pytest.raises(ValueError, match=words):
        training.fit(small(), x, **arguments)
    with pytest.raises(ValueError, match="a stream has no epochs; give steps"):
        training.fit(small(), [x], epochs=2)


def test_adagrad_is_torchs_and_any_optimizer_will_do(x):
    for chosen, theirs in [
        ("adagrad", lambda p: torch.optim.Adagrad(p, lr=0.1)),
        (lambda p: torch.optim.SGD(p, lr=9.0), lambda p: torch.optim.SGD(p, lr=0.1)),
    ]:
        ours, by_hand = small(), small()
        training.fit(ours, [x], optimizer=chosen, learning_rate=0.1, progress=False)
        optimizer = theirs(by_hand.parameters())
        (-objectives.elbo(by_hand, x, rng=0).value.mean()).backward()
        optimizer.step()
        torch.testing.assert_close(parameters(ours), parameters(by_hand))


def test_iwae_training_maximizes_the_bound(x):
    """One step from the same noise, and the history's terms are those of the same samples."""
    ours, by_hand = small(), small()
    history = training.fit(
        ours, [x], objective="iwae", num_samples=7, learning_rate=0.01, progress=False
    )
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    bound = objectives.iwae_bound(by_hand, x, num_samples=7, rng=0).mean()
    assert history.objective[0] == pytest.approx(bound.item(), rel=1e-5)
    assert history.elbo[0] == pytest.approx(
        objectives.sgvb_a(by_hand, x, num_samples=7, rng=0).mean().item(), rel=1e-5
    )
    (-bound).backward()
    optimizer.step()
    torch.testing.assert_close(parameters(ours), parameters(by_hand))


def test_an_objective_of_ones_own(x):
    def free(model, x, eps):
        return objectives.free_bits(model, x, nats=0.1, eps=eps)

    model = small()
    history = training.fit(model, x, epochs=3, objective=free, progress=False)
    assert history.elbo == [] and history.objective[-1] > history.objective[0]
    assert describe(history).startswith("objective -")
    weighted = training.fit(
        small(), [x], beta=0.5, progress=False,
        objective=lambda model, x, eps: objectives.elbo(model, x, eps=eps),
    )  # fmt: skip
    plain = training.fit(small(), [x], beta=0.5, progress=False)
    assert weighted == plain


def test_callbacks_see_every_record_and_may_end_training(x):
    seen = []

    def stop_after_three(model, history):
        seen.append((history.step[-1], objectives.elbo(model, x[:5], rng=0).value.shape))
        return len(seen) == 3

    history = training.fit(
        small(), x, epochs=9, batch_size=100, callbacks=[stop_after_three], progress=False
    )
    assert seen == [(13, (5,)), (26, (5,)), (39, (5,))] and history.epoch == [1, 2, 3]


def test_bf16_computes_products_in_bfloat16_and_learns_as_float32_does(x):
    seen = set()

    def watch(module, arguments, output):
        if module.training:  # not where held-out examples are scored
            seen.add(output.dtype)

    model = small()
    model.encoder.register_forward_hook(watch)
    model.posterior.register_forward_hook(lambda m, a, q: seen.add(("q", q.mu.dtype)))
    half = training.fit(model, x, epochs=15, learning_rate=5e-3, precision="bf16", progress=False)
    assert seen == {torch.bfloat16, ("q", torch.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    full = training.fit(small(), x, epochs=15, learning_rate=5e-3, progress=False)
    assert half.elbo[-1] == pytest.approx(full.elbo[-1], abs=0.3)
    assert half.elbo != full.elbo


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.slow
def test_compiled_training_is_the_same_training(x):
    eager, compiled = small(), small()
    settings = {"steps": 30, "batch_size": 100, "learning_rate": 5e-3, "progress": False}
    first = training.fit(eager, x, **settings)
    second = training.fit(
        compiled, x, compile=True, beta=schedules.linear_warmup(1e-9), **settings
    )
    assert second.objective == pytest.approx(first.objective, rel=2e-2)
    third = small()
    exact = training.fit(third, x, compile=True, **settings)
    assert exact.objective == pytest.approx(first.objective, rel=1e-4)
    torch.testing.assert_close(parameters(third), parameters(eager), rtol=1e-3, atol=1e-4)


def test_divergence_keeps_the_last_good_state(x):
    """At step 130 the learning rate explodes; the last look was at step 100."""
    model, stopped = small(), small()
    rate = schedules.staircase([1e-3, 1e30], [130, 10])
    with pytest.raises(
        training.DivergenceError, match=r"step 13\d .*after step 100: try a learning_rate below 1e"
    ):
        training.fit(model, itertools.cycle(x.split(50)), learning_rate=rate, progress=False)
    training.fit(stopped, itertools.cycle(x.split(50)), steps=100, progress=False)
    assert torch.equal(parameters(model), parameters(stopped))
    assert math.isfinite(objectives.elbo(model, x, rng=0).value.mean().item())


def test_parameters_that_are_not_finite_are_found_though_the_objective_was(x):
    class Explode(torch.optim.SGD):
        def step(self, closure=None):
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(math.nan)

    with pytest.raises(training.DivergenceError, match="no longer finite after step 1 in epoch 1"):
        training.fit(small(), x[:50], epochs=1, optimizer=Explode, progress=False)


def test_histories_are_saved_loaded_and_refused(tmp_path, x):
    history = training.fit(small(), x, epochs=2, progress=False)
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == history
    assert repr(history) == "History(2 epochs)"
    for text in ("[1]", "{", '{"elbo": [], "more": 1}'):
        (tmp_path / "other").write_text(text)
        with pytest.raises(ValueError, match=r"not a history that History.save wrote"):
            History.load(tmp_path / "other")


def test_progress_of_a_stream_counts_steps(capsys):
    history = History(objective=[-2.0], step=[1])
    with Progress(None, None) as bar:
        for step in range(100, 1700, 100):
            bar.update(step, history)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"step {n}00" for n in (1, 2, 4, 8, 16)]
    assert lines[0].endswith("objective -2.0 nats")


def test_a_staircase_goes_down_in_steps():
    rate = schedules.staircase([1.0, 0.5, 0.25], [1, 2, 4])
    assert [rate(t) for t in (0, 0.99, 1, 2.9, 3, 6.9, 7, 100)] == [1, 1, 0.5, 0.5] + [0.25] * 4
    for values, lengths in [([], []), ([1], [1, 2]), ([-1.0], [1]), ([1.0], [0])]:
        with pytest.raises(ValueError):
            schedules.staircase(values, lengths)


def in_place(x, rng):
    return x.bernoulli_(generator=rng)


@pytest.mark.parametrize("source", ["a data set", "a tensor", "a stream"])
def test_a_transform_that_works_in_place_leaves_the_data_as_they_are(source):
    """Looking at the data before the first step used to hand it views of them."""
    grey = data.load("digits", pixels="grey", device="cpu")
    before = [split.x.clone() for split in (grey.train, grey.valid)]
    given = {"a data set": grey, "a tensor": grey.train.x, "a stream": grey.train.x.split(100)}
    training.fit(small(), given[source], steps=13, transform=in_place, progress=False)
    for x, split in zip(before, (grey.train, grey.valid), strict=True):
        assert torch.equal(split.x, x)


def test_a_data_sets_own_transform_is_applied_without_being_asked_for(x):
    """Dynamic pixels: fit draws them; a model of binary data refuses the grey ones themselves."""
    dynamic, grey = (data.load("digits", pixels=p, device="cpu") for p in ("dynamic", "grey"))
    ours, by_hand = small(), small()
    history = training.fit(ours, dynamic, epochs=2, progress=False)
    training.fit(by_hand, grey.train.x, epochs=2, transform=data.binarize, progress=False)
    assert torch.equal(parameters(ours), parameters(by_hand)) and len(history.valid_elbo) == 2
    with pytest.raises(ValueError, match="only for binary data"):
        training.fit(small(), grey, progress=False)


def test_beta_is_refused_where_it_would_weight_nothing(x):
    """An objective that returns no Elbo has no KL term of its own to weight."""
    for objective in (objectives.sgvb_a, iwae):
        with pytest.raises(ValueError, match="beta must be 1 with an objective that returns"):
            training.fit(small(), x, objective=objective, beta=0.5, progress=False)
        training.fit(small(), [x], objective=objective, num_samples=2, progress=False)
