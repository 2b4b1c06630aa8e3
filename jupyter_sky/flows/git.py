"""A workdir that is a repository: fetched here, once a commit, and then sent like any folder.

Nodes need neither git nor the right to read the repository. Credentials in a URL reach git through its
environment alone, so that no command line, file or message holds them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from jupyter_sky.config import private_folder
from jupyter_sky.errors import SyncError

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_sky.events import Reporter

#: Seconds that one `git` command may take.
_TIMEOUT = 600
_USER, _PASSWORD = "JUPYTER_SKY_GIT_USER", "JUPYTER_SKY_GIT_PASSWORD"
#: What git runs to learn the credentials; it names only the variables that hold them.
_HELPER = f'!f() {{ echo "username=${_USER}"; echo "password=${_PASSWORD}"; }}; f'


def fetch(url: str, ref: str, report: Reporter) -> Path:
    """Keep a clone of a repository in the state folder, at the wanted commit, and give its path.

    Parameters
    ----------
    url
        Whatever git understands; `https://user:password@host/…` is taken apart.
    ref
        A branch, a tag or a commit.

    Raises
    ------
    SyncError
        There is no git, or it could not fetch; says what git said.
    """
    from filelock import FileLock

    clean, environment = _credentials(url)
    folder = private_folder("git", hashlib.sha256(f"{clean} {ref}".encode()).hexdigest()[:16])
    report.log(f"fetching {ref} of {clean}")
    with FileLock(folder.with_suffix(".lock"), mode=0o600):
        if not (folder / ".git").is_dir():
            _git(folder, environment, "init", "--quiet")
        _git(folder, environment, "fetch", "--quiet", "--depth", "1", "--", clean, ref)
        _git(folder, environment, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
        _git(folder, environment, "clean", "--quiet", "-ffdx")
    return folder


def _credentials(url: str) -> tuple[str, dict[str, str]]:
    """Part a URL into one without credentials and the environment through which git learns them."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or "@" not in parts.netloc:
        return url, {}
    user_info, _, host = parts.netloc.rpartition("@")
    user, _, password = user_info.partition(":")
    clean = SplitResult(parts.scheme, host, parts.path, parts.query, parts.fragment).geturl()
    environment = {
        _USER: unquote(user),
        _PASSWORD: unquote(password),
        "GIT_CONFIG_COUNT": "2",
        # An empty helper first: nobody else is asked, and nobody else is told to store them.
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": "credential.helper",
        "GIT_CONFIG_VALUE_1": _HELPER,
    }
    return clean, environment


def _git(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607  git is found on the PATH like everywhere
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            # Never a question on the person's terminal, behind our back.
            env={**os.environ, **environment, "GIT_TERMINAL_PROMPT": "0"},
            timeout=_TIMEOUT,
        )
    except FileNotFoundError as error:
        raise SyncError(
            "The workdir is a git repository, but there is no `git` here.", hint="Install git."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SyncError(f"`git {arguments[0]}` did not end within {_TIMEOUT} s.") from error
    if done.returncode != 0:
        raise SyncError(
            f"`git {arguments[0]}` of the workdir failed: {done.stderr.strip() or 'no message'}",
            hint="Check the url and the ref, and that git may reach it without asking for a password.",
        )
