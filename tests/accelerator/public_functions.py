"""Every public function of the package, called once on the default device.

    VAE_TUTORIAL_DEVICE=pretend python public_functions.py RESULTS

An entry calls a function or class and returns what it found. ``run`` writes for each entry the
values, on the CPU, and what went wrong: an error, a tensor that is elsewhere, a public method that
the entry of its class never called. Noise is drawn on the CPU, so that every device finds the same
values.
"""

from __future__ import annotations

import inspect
import math
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path

if os.environ.get("VAE_TUTORIAL_DEVICE") == "pretend":
    import pretend_accelerator

import sympy
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import vae_tutorial
from vae_tutorial import (
    data,
    distributions,
    evaluation,
    exact,
    families,
    gradients,
    kl,
    mean_field,
    networks,
    objectives,
    randomness,
    schedules,
    training,
)
from vae_tutorial.book import checks, figures, pretrained, seeds, tables
from vae_tutorial.book.widgets import LatentExplorer
from vae_tutorial.model import VAE
from vae_tutorial.support.devices import default_device

NOT_FOR_READERS = {"cli", "support", "__main__"}
D, J, B = 64, 2, 6


class Place:
    """What the entries start from, on the default device."""

    device = default_device()

    def put(self, values: object, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(values, dtype=dtype).to(self.device)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        rng = torch.Generator().manual_seed(len(shape))
        return torch.randn(*shape, generator=rng, dtype=dtype).to(self.device)

    def vae(self, **settings: object) -> VAE:
        return VAE.mlp(D, J, hidden=(8,), **settings)

    @cached_property
    def dataset(self) -> data.Dataset:
        return data.load("digits")

    @cached_property
    def x(self) -> Tensor:
        return self.dataset.test.x[:B]

    @cached_property
    def folder(self) -> Path:
        return Path(tempfile.mkdtemp())


def small_fit(at: Place, **settings: object) -> tuple[VAE, training.History]:
    vae = at.vae()
    history = training.fit(vae, at.dataset, steps=3, progress=False, **settings)
    return vae, history


def data_sets(at: Place) -> object:
    alignment = at.folder / "family.fasta"
    alignment.write_text("".join(f">{i}\nACD{'EFGH'[i % 4]}\n" for i in range(40)))
    family = data.load_alignment(alignment)
    grey = data.load("digits", pixels="grey")
    several = [at.dataset, family, grey.with_pixels("threshold"), grey.with_pixels("dynamic", 0)]
    assert all(repr(d) and d.dim and len(d.train) for d in several)
    moved = grey.to("cpu").to(at.device)
    return several, [d.seen("test") for d in several], family.one_hot(family.test.x), moved


def normal(p: distributions.DiagonalNormal | distributions.FullNormal, at: Place) -> object:
    eps = at.normal(3, B, J)
    z = p.from_noise(eps)
    wide = p.expand(torch.Size((3, B)))
    drawn = p.rsample((3,)).shape
    yield z, p.log_prob(z), p.detached().log_prob(z), wide.log_prob(z), drawn
    yield p.mean, p.variance, p.entropy()


def standard(at: Place) -> object:
    p = distributions.StandardNormal(at.normal(J) * 0)
    return normal(p, at)


def bernoulli(at: Place) -> object:
    p = distributions.BernoulliLogits(at.normal(B, D))
    wide = p.expand(torch.Size((3, B)))
    short = wide.log_prob_without_gradient(at.x), p.log_prob_without_gradient(at.x)
    return p.log_prob(at.x), wide.log_prob(at.x), short, p.mean, p.entropy()


def letters(at: Place) -> object:
    p = distributions.OneHotSequence(at.normal(B, 4, 3))
    x = nn.functional.one_hot(at.normal(B, 4, 3).argmax(-1), 3).float().flatten(1)
    wide = p.expand(torch.Size((2, B)))
    whole = (p.sample((5,)).sum(-1) == 4).all()
    return p.logits, p.mean, whole, p.log_prob(x), wide.log_prob(x)


def draws(at: Place) -> object:
    rng = torch.Generator().manual_seed(0)
    vae = at.vae(posterior="full", likelihood="gaussian")
    bits = distributions.draw(at.vae().decode(at.normal(B, J)), (3,), rng)
    assert bits.shape == (3, B, D)
    return [distributions.draw(p, (3,), rng) for p in (vae.prior, vae.encode(at.x))], bits * 0


def family(kind: families.DiagonalGaussian | families.FullGaussian, at: Place) -> object:
    parameters = at.normal(B, kind.num_parameters(J))
    return kind(parameters).log_prob(at.normal(3, B, J)), kind.units(parameters)


def gaussians(at: Place) -> object:
    for variance in ("predicted", "shared", "fixed"):
        p = families.Gaussian(variance).to(at.device)
        assert variance in repr(p)
        yield p(at.normal(B, p.num_parameters(D))).log_prob(at.x)


def categorical(at: Place) -> object:
    p = families.Categorical(4).to(at.device)
    x = nn.functional.one_hot(at.put(range(16), torch.int64) % 4, 4).float().reshape(1, D)
    p.check_data(x)
    assert "4" in repr(p)
    return p(at.normal(B, p.num_parameters(D))).log_prob(x)


def binary(at: Place) -> object:
    p = families.Bernoulli()
    p.check_data(at.x)
    return p(at.normal(B, p.num_parameters(D))).log_prob(at.x)


def models(at: Place) -> object:
    for settings in (
        {},
        {"posterior": "full", "prior": "learned", "likelihood": "gaussian"},
        {"likelihood": "gaussian_shared", "activation": "relu"},
        {"likelihood": "gaussian_fixed", "activation": "softplus"},
    ):
        vae = at.vae(**settings)
        assert vae.device.type == at.device.type and vae.noise_dim == J and vae.data_dim() == D
        with vae.evaluating():
            x, z = vae.check_data(at.x), at.normal(3, B, J)
            yield vae.encode(x).log_prob(z), vae.posterior_parameters(x), vae.prior.log_prob(z)
            yield vae.decode(z).mean, vae.log_likelihood(x, z), vae.log_joint(x, z)
        yield vae.theta, vae.phi, vae
    layers = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 8), nn.Flatten())
    picture = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 1, 8))
    with randomness.forked_seed(0):
        for layer in (layers[1], picture[1]):
            layer.reset_parameters()
    yield VAE(layers, picture, J).log_joint(at.x, at.normal(3, B, J))


def kept(at: Place) -> object:
    """A run that is stopped, and goes on from its checkpoint."""
    first, _ = small_fit(at, checkpoint=training.Checkpoint(at.folder / "run", every=1))
    vae = at.vae()
    again = training.Checkpoint(at.folder / "run", every=1)
    history = training.fit(vae, at.dataset, steps=5, progress=False, checkpoint=again)
    return first, vae, history


def records(at: Place) -> object:
    _, history = small_fit(at, every=1)
    history.save(at.folder / "history.json")
    assert "History" in repr(history)
    return history.epoch, training.History.load(at.folder / "history.json")


def fits(at: Place) -> object:
    free = partial(objectives.free_bits, nats=0.1)
    grey = data.load("digits", pixels="dynamic")
    for settings in (
        {"objective": "iwae", "num_samples": 3},
        {"objective": free, "optimizer": "adagrad"},
        {"beta": schedules.linear_warmup(1), "every": 1, "num_samples": 2},
    ):
        yield small_fit(at, **settings)
    _, coarse = small_fit(at, precision="bf16")  # on which devices differ
    yield math.isfinite(coarse.objective[-1])
    vae = at.vae(posterior="full", prior="learned")
    yield training.fit(vae, grey, steps=3, progress=False), vae
    yield training.fit(at.vae(), (at.x for _ in range(3)), steps=3, progress=False)


def saved(at: Place) -> object:
    training.save_model(at.vae(posterior="full"), at.folder / "model.safetensors")
    return training.load_model(at.folder / "model.safetensors")


def linear(at: Place) -> object:
    as_double = partial(at.normal, dtype=torch.float64)
    truth = exact.LinearGaussian(as_double(3, 2), as_double(3), as_double(3).exp())
    x = as_double(20, 3)
    S = torch.diag_embed(as_double(20, 2).exp())
    yield truth.covariance, truth.posterior_precision, truth.log_evidence(x)
    yield truth.posterior(x).mean, truth.elbo(x, as_double(20, 2), S), truth.best_diagonal(x)
    yield truth.best_elbo(x), truth.best_elbo(x, "diagonal"), truth.em_step(x)
    found = exact.LinearGaussian.ppca(x, 1)
    yield found.covariance, found.mean


def mixture(at: Place) -> object:
    as_double = partial(at.normal, dtype=torch.float64)
    covariances = torch.diag_embed(as_double(2, 3).exp())
    truth = exact.GaussianMixture(at.put([0.4, 0.6], torch.float64), as_double(2, 3), covariances)
    x = as_double(20, 3)
    r = truth.responsibilities(x)
    return truth.log_joint(x), truth.log_evidence(x), truth.elbo(x, r), r, truth.em_step(x)


def gaussian_target(at: Place) -> object:
    A = at.normal(J, J)
    eye = torch.eye(J, device=at.device)
    target = mean_field.GaussianTarget(at.normal(J), A @ A.T + eye)
    return target.sweep(at.normal(J)), target.elbo(at.normal(J), target.variances)


def normal_gamma(at: Place) -> object:
    model, x = mean_field.NormalGamma(0.5, 2.0), at.normal(9)
    q = model.sweep(x, model.prior())
    yield q, model.update_mu(x, q), model.update_tau(x, q), model.elbo(x, q)
    yield model.log_evidence(x), model.posterior(x)


def factors(at: Place) -> object:
    return mean_field.NormalGammaFactors(0.0, 1.0, 2.0, 4.0).tau


def logistic(at: Place) -> object:
    model = mean_field.LogisticRegression(at.normal(9, J), (at.normal(9) > 0).float())
    m, v = model.sweep(at.normal(J), at.normal(J).exp())
    return m, v, model.elbo(m, v)


def elbo_terms(at: Place) -> object:
    terms = objectives.Elbo(at.normal(B), at.normal(B).exp())
    return terms, terms.value, terms.weighted(0.5), terms.mean()


def evidence(at: Place) -> object:
    found = evaluation.log_evidence(at.vae(posterior="full"), at.x, num_samples=40, rng=0)
    return found, found.trusted


def gaps(at: Place) -> object:
    for posterior in ("diagonal", "full"):
        vae = at.vae(posterior=posterior)
        found = evaluation.gap(vae, at.x, num_samples=40, steps=3, rng=0, chunk=64)
        yield found, found.approximation, found.amortization, found.total


def units(at: Place) -> object:
    found = evaluation.active_units(at.vae(), at.x)
    return found, found.active, found.count


def explorer(at: Place) -> object:
    labels = at.dataset.test.labels[:B]
    widget = LatentExplorer(at.vae(), at.normal(B, J), labels, image_shape=(8, 8))
    assert repr(widget)
    return list(widget.still()), list(widget.weights), list(widget.points), list(widget.labels)


def verified(at: Place) -> object:
    a = at.normal(50)
    checks.verify("eq-here", checks.close(a, a), wrong=checks.close(a, a + 1))


def tabled(at: Place) -> object:
    row = [at.put(1.5), tables.about(at.put(2.0), 0.1)]
    shown = repr(tables.table({"here": row}, ["a", "b"]))
    assert not tables.differences(shown, shown)
    return shown


def seeded(at: Place) -> object:
    with randomness.forked_seed(3, at.device):
        return nn.Linear(3, 3).to(at.device)


Entry = Callable[[Place], object]
ENTRIES: dict[Callable[..., object], Entry] = {
    data.Dataset: data_sets,
    data.Split: lambda at: data.Split(at.x, at.x[:, 0].long()).to("cpu").to(at.device),
    data.binarize: lambda at: data.binarize(at.normal(B, D).sigmoid(), rng=0),
    data.load: lambda at: [data.load("digits", pixels=p, seed=1) for p in ("static", "grey")],
    data.load_alignment: data_sets,
    distributions.BernoulliLogits: bernoulli,
    distributions.DiagonalNormal: lambda at: normal(at.vae().encode(at.x), at),
    distributions.FullNormal: lambda at: normal(at.vae(posterior="full").encode(at.x), at),
    distributions.OneHotSequence: letters,
    distributions.StandardNormal: standard,
    distributions.draw: draws,
    evaluation.ActiveUnits: units,
    evaluation.Evidence: evidence,
    evaluation.Gap: gaps,
    evaluation.active_units: units,
    evaluation.aggregate_kl: lambda at: evaluation.aggregate_kl(at.vae(), at.x, rng=0),
    evaluation.best_posterior: lambda at: [
        evaluation.best_posterior(at.vae(posterior=q), at.x, steps=3, rng=0).mean
        for q in ("diagonal", "full")
    ],
    evaluation.gap: gaps,
    evaluation.log_evidence: evidence,
    evaluation.mutual_information: lambda at: evaluation.mutual_information(
        at.vae(), at.x, num_samples=3, rng=0
    ),
    evaluation.reconstructions: lambda at: evaluation.reconstructions(at.vae(), at.x),
    evaluation.sample_means: lambda at: evaluation.sample_means(at.vae(), 3, rng=0),
    exact.GaussianMixture: mixture,
    exact.LinearGaussian: linear,
    families.Bernoulli: binary,
    families.Categorical: categorical,
    families.DiagonalGaussian: lambda at: family(families.DiagonalGaussian(), at),
    families.FullGaussian: lambda at: family(families.FullGaussian(), at),
    families.Gaussian: gaussians,
    families.LearnedGaussian: lambda at: (
        families.LearnedGaussian(J).to(at.device)().log_prob(at.normal(B, J))
    ),
    families.likelihood: lambda at: families.likelihood("gaussian", D)(at.normal(B, 2 * D)).mean,
    families.posterior: lambda at: families.posterior("full")(at.normal(B, 5)).mean,
    gradients.WakeSleep: lambda at: gradients.WakeSleep(at.normal(3), at.normal(2)),
    gradients.doubly_reparameterized: lambda at: gradients.doubly_reparameterized(
        at.vae(), at.x, num_samples=3, rng=0
    ),
    gradients.flat_gradient: lambda at: gradients.flat_gradient(
        (w := at.normal(3).requires_grad_()).square().sum(), [w]
    ),
    gradients.iwae_pathwise: lambda at: gradients.iwae_pathwise(
        at.vae(), at.x, num_samples=3, rng=0
    ),
    gradients.pathwise: lambda at: gradients.pathwise(at.vae(posterior="full"), at.x, rng=0),
    gradients.score_function: lambda at: gradients.score_function(at.vae(), at.x, rng=0),
    gradients.score_function_with_baseline: lambda at: gradients.score_function_with_baseline(
        at.vae(), at.x, num_samples=3, rng=0
    ),
    gradients.wake_sleep: lambda at: gradients.wake_sleep(
        at.vae(likelihood="gaussian", prior="learned"), at.x, rng=0
    ),
    kl.gaussian_kl: lambda at: kl.gaussian_kl(at.normal(B, J), at.normal(B, J), 0.5, 0.1),
    kl.kl_to_prior: lambda at: [
        kl.kl_to_prior((vae := at.vae(posterior=q)).encode(at.x), vae.prior, at.normal(3, B, J))
        for q in ("diagonal", "full")
    ],
    VAE: models,
    networks.mlp: lambda at: networks.mlp([D, 8, J]).to(at.device)(at.x).shape,
    mean_field.GaussianTarget: gaussian_target,
    mean_field.LogisticRegression: logistic,
    mean_field.NormalGamma: normal_gamma,
    mean_field.NormalGammaFactors: factors,
    objectives.Elbo: elbo_terms,
    objectives.dataset_elbo: lambda at: objectives.dataset_elbo(at.normal(B), 100),
    objectives.elbo: lambda at: objectives.elbo(at.vae(), at.x, num_samples=3, rng=0),
    objectives.evaluate_elbo: lambda at: objectives.evaluate_elbo(at.vae(), at.x, rng=0, rows=4),
    objectives.free_bits: lambda at: objectives.free_bits(at.vae(), at.x, nats=0.1, rng=0),
    objectives.iwae_bound: lambda at: objectives.iwae_bound(at.vae(), at.x, num_samples=3, rng=0),
    objectives.log_mean_exp: lambda at: objectives.log_mean_exp(at.normal(3, B)),
    objectives.log_weights: lambda at: objectives.log_weights(
        (vae := at.vae()), at.x, vae.encode(at.x), at.normal(3, B, J)
    ),
    objectives.sample_posterior: lambda at: objectives.sample_posterior(at.vae(), at.x, 3, rng=0)[
        1
    ],
    objectives.sgvb_a: lambda at: objectives.sgvb_a(at.vae(), at.x, eps=at.normal(3, B, J)),
    objectives.sgvb_b: lambda at: objectives.sgvb_b(at.vae(), at.x, num_samples=3, rng=0),
    randomness.as_generator: lambda at: torch.randn(3, generator=randomness.as_generator(1)).sum(),
    randomness.forked_seed: seeded,
    randomness.standard_normal: lambda at: randomness.standard_normal((3, B, J), 0, like=at.x),
    schedules.constant: lambda at: schedules.constant(0.5)(1.0),
    schedules.cyclical: lambda at: schedules.cyclical(4, 2)(1.0),
    schedules.linear_warmup: lambda at: schedules.linear_warmup(4)(1.0),
    schedules.sigmoid: lambda at: schedules.sigmoid(4, 1)(1.0),
    schedules.staircase: lambda at: schedules.staircase([0, 1], [2, 2])(1.0),
    training.Checkpoint: kept,
    training.History: records,
    training.fit: fits,
    training.load_model: saved,
    training.save_model: saved,
    checks.Check: lambda at: checks.close(at.normal(3), at.normal(3)).ok,
    checks.at_most: lambda at: checks.at_most(at.normal(3), at.normal(3) + 1).ok,
    checks.close: lambda at: checks.close(at.normal(3), at.normal(3)).ok,
    checks.estimates: lambda at: checks.estimates(at.normal(90), at.put(0.0)).ok,
    checks.identical: lambda at: checks.identical(sympy.Integer(2), sympy.Integer(1) + 1).ok,
    checks.verify: verified,
    tables.About: tabled,
    tables.Table: tabled,
    tables.about: tabled,
    tables.differences: tabled,
    tables.table: tabled,
    figures.history: lambda at: figures.history(small_fit(at)[1]),
    figures.latent_scatter: lambda at: figures.latent_scatter(
        at.normal(B, J), at.dataset.test.labels[:B]
    ),
    figures.manifold: lambda at: figures.manifold(at.vae(), (8, 8), side=3),
    figures.show_images: lambda at: figures.show_images(at.x, (8, 8)),
    figures.use_style: lambda at: figures.use_style(),
    pretrained.load: lambda at: pretrained.load("mnist_2d").prior.mean,
    pretrained.names: lambda at: pretrained.names(),
    pretrained.provenance: lambda at: pretrained.provenance("mnist_2d"),
    seeds.chapter_seed: lambda at: seeds.chapter_seed(7),
    LatentExplorer: explorer,
}
WITHOUT_THE_DEVICE = {randomness.as_generator, evaluation.ActiveUnits}


def public() -> dict[str, Callable[..., object]]:
    """The public functions and classes of the package by their names: those of ``__all__`` where a
    module or folder has one, else those that it defines without an underscore."""
    found: dict[str, Callable[..., object]] = {}
    modules = ["vae_tutorial"]
    while modules:
        module = import_module(modules.pop())
        names = getattr(module, "__all__", None)
        if names is None or module is vae_tutorial:
            inner = pkgutil.iter_modules(getattr(module, "__path__", []))
            modules += [
                f"{module.__name__}.{m.name}"
                for m in inner
                if not m.name.startswith("_") and m.name not in NOT_FOR_READERS
            ]
        for name in names or [n for n in vars(module) if not n.startswith("_")]:
            value = getattr(module, name)
            callable_ = inspect.isfunction(value) or inspect.isclass(value)
            ours = callable_ and value.__module__.startswith(module.__name__)
            if (names is None and not ours) or not callable_:
                continue
            error = inspect.isclass(value) and issubclass(value, BaseException)
            if not error and not getattr(value, "_is_protocol", False):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


def methods(value: Callable[..., object]) -> dict[str, object]:
    """The code of a function, or of each public method of a class."""
    if not inspect.isclass(value):
        return {value.__name__: inspect.unwrap(value).__code__}
    found = {}
    for name, member in vars(value).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if inspect.isfunction(function) and not name.startswith("_"):
            found[name] = inspect.unwrap(function).__code__
    return found


def leaves(result: object) -> Iterator[object]:
    """The tensors, numbers and words in what an entry returned."""
    if isinstance(result, nn.Module):
        yield from result.state_dict().values()
    elif isinstance(result, Figure):
        result.canvas.draw()
        yield result.canvas.buffer_rgba().tobytes()
    elif is_dataclass(result):
        for field in fields(result):
            yield from leaves(getattr(result, field.name))
    elif isinstance(result, dict):
        yield from leaves(list(result.values()))
    elif isinstance(result, (list, tuple)) or inspect.isgenerator(result):
        for part in result:
            yield from leaves(part)
    elif isinstance(result, (Tensor, bool, int, float, str, bytes)):
        yield result


def outcome(value: Callable[..., object], entry: Entry, at: Place) -> dict[str, object]:
    """The values that an entry found, and its error or None."""
    ran = set()
    sys.setprofile(lambda frame, event, _: ran.add(frame.f_code) if event == "call" else None)
    try:
        values = list(leaves(entry(at)))
    except Exception:
        return {"values": [], "error": traceback.format_exc()}
    finally:
        sys.setprofile(None)
    tensors = [v for v in values if isinstance(v, Tensor)]
    elsewhere = {str(t.device) for t in tensors if t.device.type != at.device.type}
    silent = [name for name, code in methods(value).items() if code not in ran]
    error = None
    if elsewhere and value not in WITHOUT_THE_DEVICE:
        error = f"a result is on {', '.join(elsewhere)}, not on {at.device}"
    elif silent:
        error = f"its entry does not call {', '.join(silent)}"
    on_cpu = [v.detach().cpu() if isinstance(v, Tensor) else v for v in values]
    return {"values": on_cpu, "error": error}


def run(path: str) -> None:
    at = Place()
    results = {
        name: outcome(value, ENTRIES[value], at)
        for name, value in public().items()
        if value in ENTRIES
    }
    used = pretend_accelerator.operations if at.device.type == "pretend" else 0
    torch.save({"results": results, "operations": used}, path)


if __name__ == "__main__":
    run(sys.argv[1])
