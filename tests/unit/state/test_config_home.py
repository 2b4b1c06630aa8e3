"""The home folder: private, writable, or an error that says what to do."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from jupyter_sky import config
from jupyter_sky.errors import ConfigError, StateError

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_made_private_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        assert config.home() == home
        assert mode(config.private_folder("a", "b")) == 0o700
    finally:
        os.umask(before)
    assert mode(home) == 0o700


def test_an_open_folder_is_closed_with_a_word(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    home.mkdir(mode=0o700)
    home.chmod(0o755)
    config.home()
    assert mode(home) == 0o700
    assert "0755" in caplog.text
    caplog.clear()
    config.home()
    assert not caplog.text


def test_relative_and_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_SKY_HOME", "here")
    assert config.home() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_SKY_HOME", "~/there")
    assert config.home() == tmp_path / "there"


def test_default_is_the_platforms_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTER_SKY_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert tmp_path in config.home().parents
    assert config.home().name == "jupyter-sky"


def test_a_file_in_its_place(home: Path) -> None:
    home.write_text("")
    with pytest.raises(StateError, match="is not a folder") as caught:
        config.home()
    assert str(home) in caught.value.message
    assert "JUPYTER_SKY_HOME" in (caught.value.hint or "")


def test_below_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StateError, match="cannot be used"):
        config.home()


def test_an_unknown_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_SKY_HOME", "~no-such-person/home")
    with pytest.raises(StateError, match="no-such-person"):
        config.home()


def test_config_is_optional(home: Path) -> None:
    assert config.Config.load() == config.Config()


def test_config_is_read(home: Path) -> None:
    (config.home() / "config.yaml").write_text("user: ada\nallowed_clouds: [local, kubernetes]\n")
    assert config.Config.load() == config.Config(user="ada", allowed_clouds=("local", "kubernetes"))
    assert config.user_name() == "ada"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "user: ada\nalowed_clouds: [x]\n",
            "config.yaml:2: unknown key 'alowed_clouds'; did you mean 'allowed_c",
        ),
        ("zzz: 1\n", "config.yaml:1: unknown key 'zzz'; the known keys are user, allowed_clouds."),
        ("user: [a]\n", "config.yaml:1: user must be a word"),
        ("allowed_clouds: local\n", "config.yaml:1: allowed_clouds must be a list"),
        ("a: b: c\n", "config.yaml:1: this is not YAML"),
        ("user: a\n\t- x\n", "config.yaml:2: this is not YAML"),
        ("- 1\n", "config.yaml:1: the configuration must be a mapping"),
    ],
)
def test_config_errors_name_the_line(home: Path, text: str, said: str) -> None:
    (config.home() / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.Config.load()
    assert said in caught.value.message


def test_config_that_is_not_text(home: Path) -> None:
    (config.home() / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read"):
        config.user_name()


def test_the_name_of_the_account(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    assert config.user_name() == "grace"
