"""Where Jupyter Sky keeps its things on this machine, and what its person set once for all commands.

The home folder holds the state database, journals, locks, generated ssh configuration and local nodes; all of
it is private, so the folder is kept at mode 0700. The optional `config.yaml` in it holds the few settings
that are not worth an option on every command. This module knows nothing of clusters, tasks or the database;
reading YAML is paid for only where a `config.yaml` exists.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_sky.errors import ConfigError, StateError

if TYPE_CHECKING:
    from yaml.nodes import Node

HOME_VARIABLE = "JUPYTER_SKY_HOME"
CONFIG_FILE = "config.yaml"
#: What to do where a file of ours cannot be written.
MAKE_ROOM = f"Free space on that disk, or set {HOME_VARIABLE} to a folder that you can write."
_OTHER_PLACE = f"Set {HOME_VARIABLE} to a folder that you own and can write, on a disk with free space."


def home() -> Path:
    """Give the home folder of Jupyter Sky, made if absent, at mode 0700.

    It is `$JUPYTER_SKY_HOME`, or the platform's folder for user data. A folder that others may enter is
    closed to them with a warning in the log.

    Returns
    -------
    Path
        An absolute path.

    Raises
    ------
    StateError
        The folder cannot be made, written or closed to others; names the folder and what to do.
    """
    folder = _home_path()
    try:
        status = folder.stat()
    except FileNotFoundError:
        status = _make_private(folder)
    except OSError as error:
        raise StateError(
            f"The home folder {folder} cannot be used: {error.strerror}.", hint=_OTHER_PLACE
        ) from error
    if status.st_uid not in (os.geteuid(), 0):
        # Its owner could swap the agent's program and the database under us.
        raise StateError(f"The home folder {folder} belongs to another user.", hint=_OTHER_PLACE)
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(f"The home folder {folder} is not a folder.", hint=_OTHER_PLACE)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o777 != 0o700:  # a set-group-ID bit, inherited on some volumes, does no harm
        _close_to_others(folder, mode)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StateError(f"The home folder {folder} cannot be written.", hint=_OTHER_PLACE)
    return folder


def private_folder(*parts: str) -> Path:
    """Give a folder below the home folder, made at mode 0700 if absent.

    Raises
    ------
    StateError
        It cannot be made; names the folder and what to do.
    """
    home_folder = home()
    folder = home_folder.joinpath(*parts)
    try:
        for level in (*reversed([up for up in folder.parents if up.is_relative_to(home_folder)]), folder):
            level.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint=_OTHER_PLACE
        ) from error
    return folder


def _home_path() -> Path:
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except (RuntimeError, OSError) as error:  # an unknown ~user, or a current folder that was removed
            raise StateError(f"{HOME_VARIABLE} is {chosen!r}: {error}.", hint=_OTHER_PLACE) from error
    from platformdirs import user_data_path

    return user_data_path("jupyter-sky", appauthor=False)


def _make_private(folder: Path) -> os.stat_result:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder.stat()
    except OSError as error:
        raise StateError(
            f"The home folder {folder} cannot be made: {error.strerror}.", hint=_OTHER_PLACE
        ) from error


def _close_to_others(folder: Path, mode: int) -> None:
    try:
        folder.chmod(0o700)
        now = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise StateError(
            f"The home folder {folder} has mode {mode:04o}, which should be 0700, and it cannot be changed: "
            f"{error.strerror}.",
            hint=_OTHER_PLACE,
        ) from error
    if now & 0o077:
        raise StateError(
            f"The home folder {folder} is open to other users (mode {now:04o}); its file system keeps it so.",
            hint=_OTHER_PLACE,
        )
    import logging

    logging.getLogger(__name__).warning(
        "The home folder %s had mode %04o; it holds private things and is 0700 now.", folder, mode
    )


@dataclass(frozen=True, slots=True)
class Config:
    """What the person set in `<home>/config.yaml`; every key may be absent.

    `user` is the name that new clusters are labelled with as their owner. `allowed_clouds` lists the infras
    that may be used, by the first word of their path (`local`, `kubernetes`, `aws`, `gcp`); None allows all.
    """

    user: str | None = None
    allowed_clouds: tuple[str, ...] | None = None

    @classmethod
    def load(cls, file: Path | None = None) -> Config:
        """Read `file`, or the home folder's `config.yaml`; give the defaults where there is none.

        Raises
        ------
        ConfigError
            The file cannot be read or understood; names the line and the nearest known key.
        """
        file = file or home() / CONFIG_FILE
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file} cannot be read: {error}.", hint="Mend the file or remove it."
            ) from error
        return cls(**_parse(text, file))


def user_name() -> str:
    """Give the person's name: `user` of the configuration, else the name of the account, else its number."""
    chosen = Config.load().user
    if chosen:
        return chosen
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no account
        return f"uid-{os.getuid()}"


def _parse(text: str, file: Path) -> dict[str, Any]:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ConfigError(
            f"{place}: this is not YAML: {getattr(error, 'problem', None) or error}."
        ) from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}:1: the configuration must be a mapping of keys to values.")
    return {_key(key, file): _value(key.value, value, file) for key, value in root.value}


def _key(node: Node, file: Path) -> str:
    known = [one.name for one in fields(Config)]
    if node.value in known:
        return str(node.value)
    from difflib import get_close_matches

    near = get_close_matches(str(node.value), known, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"the known keys are {', '.join(known)}."
    raise ConfigError(f"{file}:{node.start_mark.line + 1}: unknown key {str(node.value)!r}; {meant}")


def _value(key: str, node: Node, file: Path) -> Any:
    import yaml

    place = f"{file}:{node.start_mark.line + 1}"
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if key == "allowed_clouds":
        words = node.value if isinstance(node, yaml.SequenceNode) else None
        if words is None or any(not isinstance(word, yaml.ScalarNode) for word in words):
            raise ConfigError(f"{place}: {key} must be a list of names, such as [local, kubernetes].")
        return tuple(str(word.value) for word in words)
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise ConfigError(f"{place}: {key} must be a word.")
    return str(node.value)
