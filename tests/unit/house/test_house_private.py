"""What is private stays so: modes, owners, secrets in commands, and what may drive a terminal."""

from __future__ import annotations

import io
import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from jupyter_sky import config
from jupyter_sky.cli.terminal import TerminalFace, tame
from jupyter_sky.errors import StateError, UsageError
from jupyter_sky.flows.operations.redaction import Redactor
from jupyter_sky.flows.operations.starting import refuse_secrets
from jupyter_sky.names import is_name

if TYPE_CHECKING:
    from pathlib import Path


def test_every_level_of_a_private_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(tmp_path / "home"))
    before = os.umask(0)
    try:
        made = config.private_folder("ssh", "known_hosts")
    finally:
        os.umask(before)
    assert {oct(level.stat().st_mode & 0o777) for level in (made, made.parent, made.parent.parent)} == {
        "0o700"
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    os.chown(tmp_path / "home", 12345, 12345)
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(tmp_path / "home"))
    with pytest.raises(StateError, match="belongs to another user"):
        config.home()


def test_what_could_drive_a_terminal_is_shown_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)
    face = TerminalFace([])
    face.note("a\x1b]0;title\x07b\nsecond\tline")
    face.complain("the node said: \x1b[2J\r\x9b31m")
    assert said.getvalue() == ("a\\x1b]0;title\\x07b\nsecond\tline\nthe node said: \\x1b[2J\\x0d\\x9b31m\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", tame("".join(map(chr, range(256)))))


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "A", "a\nb", "x" * 64])
def test_what_is_no_name_is_no_part_of_a_path(name: str) -> None:
    assert not is_name(name)


def test_a_secret_is_hidden_however_it_is_spelled() -> None:
    secret = 'p"ass\\w\u00f6rd/ 1'
    redactor = Redactor([secret])
    for shown in (secret, repr(secret), json.dumps(secret), "https://u:p%22ass%5Cw%C3%B6rd%2F%201@h"):
        assert "***" in redactor.text(shown), shown


def test_a_command_with_a_secret_in_it_is_not_kept() -> None:
    with pytest.raises(UsageError, match="TOKEN") as caught:
        refuse_secrets({"task": {"run": "curl -H hunter2hunter2"}}, {"TOKEN": "hunter2hunter2"})
    assert "hunter2" not in caught.value.message
