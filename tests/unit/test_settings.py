"""Settings: none that make no sense, the same after a trip through JSON, each with its help."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial.cli.main import main
from vae_tutorial.cli.runs import settings_of
from vae_tutorial.cli.settings import (
    Data,
    Evaluate,
    Sample,
    Train,
    differences,
    from_json,
    to_json,
)

KINDS = {"train": Train, "evaluate": Evaluate, "sample": Sample, "data": Data}
COUNTS = st.integers(1, 10**6)
POSITIVE = st.floats(1e-9, 1e9)
PATHS = st.text("ab/ é", min_size=1).map(Path)


def choices(name):
    return st.sampled_from(get_args(get_type_hints(Train)[name]))


@st.composite
def trains(draw):
    lengths = st.sampled_from([(None, None), (draw(COUNTS), None), (None, draw(COUNTS))])
    epochs, steps = draw(lengths)
    return Train(
        out=draw(PATHS),
        data=draw(st.text()),
        pixels=draw(choices("pixels")),
        latent_dim=draw(COUNTS),
        hidden=tuple(draw(st.lists(COUNTS, min_size=1, max_size=3))),
        likelihood=draw(choices("likelihood")),
        variance=draw(POSITIVE),
        activation=draw(choices("activation")),
        posterior=draw(choices("posterior")),
        prior=draw(choices("prior")),
        epochs=epochs,
        steps=steps,
        batch_size=draw(COUNTS),
        objective=draw(choices("objective")),
        num_samples=draw(COUNTS),
        beta=draw(st.floats(0, 100)),
        warmup=draw(st.floats(0, 100)),
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
    values = json.loads(json.dumps(to_json(settings)))
    assert from_json(values) == settings
    assert set(values) == {f.name for f in fields(Train)}
    assert differences(settings, settings) == []


def test_a_changed_setting_is_another_model_unless_it_is_incidental():
    a = Train()
    same = replace(a, epochs=9, out=Path("x"), quiet=True, overwrite=True, checkpoint_every=7)
    assert differences(a, replace(same, device="cpu", like=Path("y"))) == []
    other = replace(a, seed=1, data_seed=1, beta=2.0, hidden=(3,), pixels="dynamic", compile=True)
    assert differences(a, other) == ["pixels", "hidden", "beta", "seed", "data_seed", "compile"]


@pytest.mark.parametrize("text", ["", "[]", "[1, 2]", "{", '{"laten_dim": 2}', '{"hidden": 3}'])
def test_json_that_holds_no_settings_is_refused(text, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(OSError, match=re.escape(str(path))):
        settings_of(tmp_path)
    path.write_text("{}")
    assert settings_of(path) == Train()


@pytest.mark.parametrize("command", KINDS)
def test_help_names_every_setting_in_a_sentence(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out)
    assert "examples:" in text or "as in: vae-tutorial" in text
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


def test_the_choices_are_those_of_the_functions_that_take_them():
    """The command line names them again, so that its help need not wait for torch."""
    from typing import get_args, get_type_hints

    from vae_tutorial import data, families, networks
    from vae_tutorial.cli.settings import Train
    from vae_tutorial.training import loop, step

    known = {
        "likelihood": families.LIKELIHOODS,
        "posterior": families.POSTERIORS,
        "activation": networks.ACTIVATIONS,
        "pixels": data.PIXELS,
        "objective": step.OBJECTIVES,
        "optimizer": loop.OPTIMIZERS,
        "precision": step.PRECISIONS,
    }
    hints = get_type_hints(Train)
    for name, choices in known.items():
        assert set(get_args(hints[name])) - {"auto"} == set(choices), name
