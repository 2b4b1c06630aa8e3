"""`--env`, `--secret` and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_sky.errors import SpecError
from jupyter_sky.spec import parse_env_file, parse_env_option

if TYPE_CHECKING:
    from pathlib import Path


def test_options() -> None:
    assert parse_env_option("A=b") == ("A", "b")
    assert parse_env_option("A=") == ("A", "")
    assert parse_env_option("A=b=c d") == ("A", "b=c d")
    assert parse_env_option("A", environ={"A": "x"}) == ("A", "x")


def test_an_option_takes_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JS_TEST_VALUE", "there")
    assert parse_env_option("JS_TEST_VALUE") == ("JS_TEST_VALUE", "there")


@pytest.mark.parametrize(
    "option", ["", "=x", "9=x", "a-b=hunter2", "hunter2 with spaces", "A=\0hunter2", "NOT_SET_ANYWHERE"]
)
def test_bad_options(option: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_env_option(option, environ={}, what="--secret")
    assert "--secret" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_files(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "\ufeff# a comment\r\n"
        "\n"
        "PLAIN=value\r\n"
        "  export EXPORTED = spaced out  # a comment\n"
        "HASH=a#b\n"
        "EMPTY=\n"
        "COMMENTED= # nothing\n"
        "SINGLE='a $X ${PLAIN} \\n # \"x\"' # a comment\n"
        'DOUBLE="tab\\tquote\\"dollar\\$ ${PLAIN} # kept \\q"\n'
        'LINES="one\n# two\nthree"\n'
        "KEY='-----BEGIN\nabc\n-----END'\n"
        "REF=${PLAIN}/x\n"
        "DEFAULT=${NOWHERE:-fallback}\n"
        "OUTSIDE=${OUT}\n"
        "DOLLAR=$PLAIN\n"
        "OUT\n"
        'JSON={"a": 1}\n'
        "LAST=end",
        encoding="utf-8",
    )
    assert parse_env_file(path, environ={"OUT": "outside"}) == {
        "PLAIN": "value",
        "EXPORTED": "spaced out",
        "HASH": "a#b",
        "EMPTY": "",
        "COMMENTED": "",
        "SINGLE": 'a $X ${PLAIN} \\n # "x"',
        "DOUBLE": 'tab\tquote"dollar$ value # kept \\q',
        "LINES": "one\n# two\nthree",
        "KEY": "-----BEGIN\nabc\n-----END",
        "REF": "value/x",
        "DEFAULT": "fallback",
        "OUTSIDE": "outside",
        "DOLLAR": "$PLAIN",
        "OUT": "outside",
        "JSON": '{"a": 1}',
        "LAST": "end",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nhunter2 text\n", 2),
        ("A=1\n\n9A=hunter2\n", 3),
        ("=hunter2", 1),
        ("A='x\nhunter2", 1),
        ('B=1\nA="hunter2\\"\n\n', 2),
        ("A='1'hunter2\n", 1),
        ('A="a\nb" c\n', 2),
        ("A=1\nNOT_SET_ANYWHERE\n", 2),
        ("A=1\nB=hunter2${NOT_SET_ANYWHERE}\n", 2),
        ("A=1\nB=\0hunter2\n", 2),
    ],
)
def test_bad_files(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "bad.env"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        parse_env_file(path, environ={})
    assert (caught.value.file, caught.value.line) == (str(path), line)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        parse_env_file(tmp_path / "none.env")
