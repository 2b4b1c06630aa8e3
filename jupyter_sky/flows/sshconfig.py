"""An OpenSSH configuration in which every cluster that is UP is a host.

One file a cluster lies under the state folder; `install` makes the person's own configuration include them,
once and only when asked. A host is reached through `jupyter sky ssh-proxy`, over the cluster's link, so
that no address of a node need be reachable from here.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path

from jupyter_sky.config import home, private_folder
from jupyter_sky.errors import StateError
from jupyter_sky.names import check_name
from jupyter_sky.state import State


def folder() -> Path:
    """Give the folder that holds one file a cluster."""
    return home() / "ssh"


def _proxy_command() -> str:
    """Give the command that OpenSSH runs; absolute, because ssh starts it with another PATH."""
    beside = Path(sys.executable).with_name("jupyter-sky")
    found = str(beside) if beside.exists() else shutil.which("jupyter-sky")
    words = [found] if found else [sys.executable, "-m", "jupyter_sky"]
    return shlex.join([*words, "ssh-proxy"])


def entry(name: str, num_nodes: int) -> str:
    """Write the hosts of one cluster: `name` is its head, `name-worker1` the node of rank 1, and so on."""
    check_name(name)
    known_hosts = folder() / "known_hosts" / name
    hosts = []
    for rank in range(num_nodes):
        alias = name if rank == 0 else f"{name}-worker{rank}"
        hosts.append(
            f"Host {alias}\n"
            f"  HostKeyAlias {alias}\n"
            f'  UserKnownHostsFile "{known_hosts}"\n'
            "  StrictHostKeyChecking accept-new\n"
            "  ForwardAgent no\n"
            f"  ProxyCommand env JUPYTER_SKY_HOME={shlex.quote(str(home()))} "
            f"{_proxy_command()} {name} --rank {rank} --port %p\n"
        )
    return "\n".join(hosts)


def write_entry(name: str) -> Path | None:
    """Write or renew the file of a cluster; give its path, None where the cluster is unknown."""
    record = State.open().clusters.get(name)
    if record is None:
        return None
    private_folder("ssh", "known_hosts")
    path = folder() / f"{name}.conf"
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.touch(mode=0o600)
    draft.write_text(entry(name, record.num_nodes))
    draft.replace(path)
    return path


def remove_entry(name: str) -> None:
    """Remove what `write_entry` wrote, and the pinned host keys."""
    check_name(name)
    (folder() / f"{name}.conf").unlink(missing_ok=True)
    (folder() / "known_hosts" / name).unlink(missing_ok=True)


def install(config: Path | None = None) -> bool:
    """Make the person's OpenSSH configuration include ours; False where it does already.

    Parameters
    ----------
    config
        The file to change; `~/.ssh/config` by default.
    """
    path = config or Path.home() / ".ssh" / "config"
    line = f'Include "{folder()}/*.conf"'
    try:
        present = path.read_text() if path.exists() else ""
        if line in present.splitlines():
            return False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(path.name + ".jupyter-sky-draft")
        draft.touch(mode=0o600)
        # An Include counts for all hosts only before the first Host line.
        draft.write_text(f"# Clusters of Jupyter Sky\n{line}\n\n{present}")
        if path.exists():
            with contextlib.suppress(OSError):
                draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path.resolve() if path.is_symlink() else path)
    except OSError as error:
        raise StateError(
            f"{path} could not be changed: {error.strerror}.",
            hint=f"Add this line at its top yourself: {line}",
        ) from error
    return True
