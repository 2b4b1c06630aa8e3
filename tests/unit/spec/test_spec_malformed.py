"""Texts broken in every way we can think of give a task or an error with a line, and never anything else."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import Task, load_pipeline, parse_pipeline
from jupyter_sky.spec.loader import load_documents

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

DATA = Path(__file__).parent / "data"
GOOD = [path.read_text() for path in sorted(DATA.glob("*.yaml"))]
# fmt: off
ODD = [
    "\t", "\0", "\u0085", "\u2028", "\ufeff", "{", "}", "[", "]", ":", ": ", "- ", "&a ", "*a",
    "!!set ", "!x ", "|", ">", "'", "\"", "\\", "%", "@", "`", "<<: ", "? ", "---\n", "...\n",
    "\n", "  ", "null", "~", ".nan", "-1", "1e999", "9" * 400, "yes", "$X", "${", "#", "\r",
    "\u00e9", "\U0001f600", "\\uD800",
]
# fmt: on

VALUES = ["[1, 2]", "{a: b}", "3.5", "true", "null", "x", "-1", "2020-01-01", "!!binary aGk="]


def broken(seed: int) -> str:
    """Take a good text and do a few things to it that hands, editors and templates do."""
    rng = random.Random(seed)
    text = rng.choice(GOOD)
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        place = rng.randrange(len(text) + 1)
        match rng.randrange(11):
            case 0:
                text = text[:place] + rng.choice(ODD) + text[place:]
            case 1:
                text = text[:place] + text[place + rng.randint(1, 5) :]
            case 2:
                text = text[:place]
            case 3:
                lines[at] = " " * rng.randint(0, 7) + lines[at].lstrip()
                text = "\n".join(lines)
            case 4:
                lines.insert(at, lines[rng.randrange(len(lines))])
                text = "\n".join(lines)
            case 5:
                lines[at] = lines[at].replace(":", rng.choice([" :", ":x", "", "::", ": ["]), 1)
                text = "\n".join(lines)
            case 6:
                key, _, _ = lines[at].partition(":")
                lines[at] = f"{key}: {rng.choice(VALUES)}"
                text = "\n".join(lines)
            case 7:
                word = rng.choice(text.split() or ["x"])
                text = text.replace(word, "".join(rng.choices(string.printable, k=rng.randint(0, 6))))
            case 8:
                del lines[at]
                text = "\n".join(lines)
            case 9:
                text = text[:place] + text[place:].swapcase()
            case _:
                text = text[:place] + rng.choice(GOOD)[: rng.randint(0, 200)] + text[place:]
    return text


def refusal(make: Callable[[], object]) -> SpecError | None:
    """Give the error that making a task raises, if it raises one; any other exception passes."""
    try:
        make()
    except SpecError as error:
        return error
    return None


def test_500_broken_texts() -> None:
    accepted = 0
    for seed in range(500):
        text = broken(seed)
        error = refusal(lambda text=text: parse_pipeline(text, "x.yaml"))
        if error is None:
            accepted += 1
            continue
        assert error.line is not None, f"seed {seed}: {error}"
        assert 1 <= error.line <= text.count("\n") + text.count("\r") + 2, f"seed {seed}: {error}"
        assert error.file == "x.yaml"
        assert len(str(error)) < 1000, f"seed {seed}"
    assert accepted < 250, "the texts are not broken enough to test anything"


yaml_text = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from([*ODD, "name", "run", "envs", "resources", "any_of", "a", "1"]), max_size=25
    ).map("".join),
)


@given(yaml_text)
@settings(max_examples=300, deadline=None)
def test_any_text(text: str) -> None:
    error = refusal(lambda: parse_pipeline(text, "x.yaml"))
    assert error is None or error.line is not None


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_file(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "raw.yaml"
    path.write_bytes(raw)
    error = refusal(lambda: load_pipeline(path))
    assert error is None or error.line is not None


value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_any_value_at_any_key(data: st.DataObject) -> None:
    config = load_documents(data.draw(st.sampled_from(GOOD)))[-1].data
    place = config
    while True:
        if isinstance(place, dict) and place:
            key: object = data.draw(st.sampled_from(sorted(place)))
        elif isinstance(place, list) and place:
            key = data.draw(st.integers(0, len(place) - 1))
        else:
            break
        if data.draw(st.booleans()) or not isinstance(place[key], (dict, list)):
            place[key] = data.draw(value)
            break
        place = place[key]
    try:
        task = Task.from_yaml_config(config)
    except SpecError:
        return
    assert Task.from_yaml_str(task.to_yaml(redact=False)) == task
