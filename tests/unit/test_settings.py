"""Settings: none that make no sense, the same after a trip through JSON, each with its help."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial.__main__ import COMMANDS, main
from vae_tutorial.cli.settings import (
    Data,
    Evaluate,
    Sample,
    Train,
    differences,
    from_json,
    to_json,
)

KINDS = dict(zip(COMMANDS, (Train, Evaluate, Sample, Data), strict=True))
COUNTS = st.integers(1, 10**6)
POSITIVE = st.floats(1e-9, 1e9)
PATHS = st.text("ab/ é", min_size=1).map(Path)


def choices(name):
    return st.sampled_from(get_args(get_type_hints(Train)[name]))


@st.composite
def trains(draw):
    lengths = st.sampled_from([(None, None), (draw(COUNTS), None), (None, draw(COUNTS))])
    epochs, steps = draw(lengths)
    objective = draw(choices("objective"))
    weighted = objective == "elbo"
    decoder = draw(choices("decoder"))
    pixels = draw(choices("pixels").filter(lambda p: (p, decoder) != ("grey", "bernoulli")))
    return Train(
        out=draw(PATHS),
        data=draw(st.text()),
        pixels=pixels,
        latent_dim=draw(COUNTS),
        hidden=tuple(draw(st.lists(COUNTS, min_size=1, max_size=3))),
        decoder=decoder,
        variance=draw(POSITIVE),
        activation=draw(choices("activation")),
        posterior=draw(choices("posterior")),
        prior=draw(choices("prior")),
        epochs=epochs,
        steps=steps,
        batch_size=draw(COUNTS),
        objective=objective,
        num_samples=draw(COUNTS),
        beta=draw(st.floats(0, 100)) if weighted else 1.0,
        warmup=draw(st.floats(0, 100)) if weighted else 0.0,
        optimizer=draw(choices("optimizer")),
        learning_rate=draw(POSITIVE),
        seed=draw(st.integers(0, 2**63 - 1)),
        data_seed=draw(st.integers(0, 2**63 - 1)),
        precision=draw(choices("precision")),
        compile=draw(st.booleans()),
        device=draw(st.none() | st.text()),
        checkpoint_every=draw(COUNTS),
        like=draw(st.none() | PATHS),
        overwrite=draw(st.booleans()),
        quiet=draw(st.booleans()),
    )


@given(trains())
def test_settings_come_back_from_json_as_they_were(settings):
    assert from_json(to_json(settings)) == settings
    assert set(json.loads(to_json(settings))) == {f.name for f in fields(Train)}
    assert differences(settings, settings) == []


def test_a_changed_setting_is_another_model_unless_it_is_incidental():
    a = Train()
    same = replace(a, epochs=9, out=Path("x"), quiet=True, overwrite=True, checkpoint_every=7)
    assert differences(a, replace(same, device="cpu", like=Path("y"))) == []
    other = replace(a, seed=1, data_seed=1, beta=2.0, hidden=(3,), pixels="dynamic", compile=True)
    assert differences(a, other) == ["pixels", "hidden", "beta", "seed", "data_seed", "compile"]


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (Train, {"latent_dim": 0}, "latent_dim must be a whole number of at least 1, not 0"),
        (Train, {"batch_size": 1.5}, "batch_size must be a whole number"),
        (Train, {"num_samples": True}, "num_samples must be a whole number"),
        (Train, {"checkpoint_every": 0}, "checkpoint_every must be"),
        (Train, {"hidden": ()}, r"hidden must name the width of each layer, not \(\)"),
        (Train, {"hidden": 200}, "hidden must name the width of each layer, not 200"),
        (Train, {"hidden": (200, 0)}, "hidden must be a whole number of at least 1, not 0"),
        (Train, {"epochs": 0}, "epochs must be a whole number"),
        (Train, {"steps": -3}, "steps must be a whole number of at least 1, not -3"),
        (Train, {"epochs": 1, "steps": 2}, r"give epochs or steps, not both \(1 and 2\)"),
        (Train, {"variance": 0}, "variance must be a finite number above 0"),
        (Train, {"learning_rate": float("nan")}, "learning_rate must be a finite number above 0"),
        (Train, {"beta": -0.1}, "beta must be a finite number of at least 0"),
        (Train, {"warmup": float("inf")}, "warmup must be a finite number"),
        (Train, {"seed": -1}, "seed must be a whole number from 0 .*, not -1"),
        (Train, {"data_seed": 0.5}, "data_seed must be a whole number from 0 .*, not 0.5"),
        (Train, {"objective": "elbow"}, "objective must be one of 'elbo', 'iwae', not 'elbow'"),
        (Train, {"objective": "iwae", "beta": 2.0}, "beta must be 1 and warmup 0"),
        (Train, {"objective": "iwae", "warmup": 2.0}, "beta must be 1 and warmup 0"),
        (Train, {"pixels": "grey", "decoder": "bernoulli"}, "only for binary pixels"),
        (Train, {"compile": "yes"}, "compile must be true or false, not 'yes'"),
        (Train, {"out": "text"}, "out must be a path, not 'text'"),
        (Train, {"data": 3}, "data must be text, not 3"),
        (Train, {"device": 0}, "device must be text, not 0"),
        (Train, {"like": "text"}, "like must be a path"),
        (Evaluate, {"model": Path("x"), "num_samples": 1}, "one sample has no standard error"),
        (Evaluate, {"model": Path("x"), "limit": 1}, "limit must be 0 .*, or at least 2, not 1"),
        (Evaluate, {"model": Path("x"), "limit": -5}, "limit must be"),
        (Evaluate, {"model": Path("x"), "split": "all"}, "split must be one of 'test'"),
        (Evaluate, {"model": Path("x"), "pixels": "red"}, "pixels must be one of 'auto'"),
        (Evaluate, {"model": Path("x"), "data_seed": -1}, "data_seed must be"),
        (Sample, {"model": Path("x"), "num": 0}, "num must be a whole number"),
        (Sample, {"model": Path("x"), "seed": None}, "seed must be a whole number"),
        (Sample, {"model": Path("x"), "out": Path("a.gif")}, "out must end in .png, .npz, .fasta"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(kind, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        kind(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "[1, 2]", "{", '{"laten_dim": 2}', '{"hidden": 3}', '{"epochs": "ten"}']
)
def test_json_that_holds_no_settings_is_refused(text):
    with pytest.raises(ValueError, match="no settings of this version of the package"):
        from_json(text)
    assert from_json("{}") == Train()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_setting_in_a_sentence(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([command, "--help"]) == 0
    text = re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out)
    assert "examples:" in text
    for field in fields(KINDS[command]):
        option = f"--{field.name.replace('_', '-')}"
        name = {"model": "MODEL", "name": r"\[NAME\]"}.get(field.name, option)
        entry = re.search(
            rf"(?m)^ +(?:-n INT, )?{name}\b(.*?)\((?:default: |required)", text, re.S
        )
        entry = entry or re.search(rf"(?m)^ +{name}(.*?)\(default: ", text, re.S)
        assert entry, field.name
        sentence = " ".join(entry[1].split())
        assert len(sentence.split()) >= 3 and sentence.endswith("."), (field.name, sentence)
