"""The environment that an agent of this machine is given: an allow-list, never the caller's own.

A notebook's environment is full of tokens. What a node may see is written here by name; everything else a
task needs, it declares. The folder of the running interpreter comes first in PATH, so that `python` and
`pip` in a task are those of the notebook that launched it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_sky.agent.node import NODE_MARK

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PLAIN = frozenset(
    {
        "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC",
        "LC_TIME", "TERM", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR",
        "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT",
    }
)  # fmt: skip

#: Ways out of a closed network; left out where the address carries a password.
_ADDRESSES = frozenset(
    {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "UV_INDEX_URL",
    }
)


def node_environment(node_id: str, home: Path) -> dict[str, str]:
    """Give the whole environment of a node's agent."""
    kept = {name: value for name, value in os.environ.items() if _may_pass(name, value)}
    return {
        **kept,
        "PATH": _search_path(),
        "HOME": str(home),
        NODE_MARK: node_id,
        # GPUs are counted as nvidia-smi counts them, and a job sees those it was given: by default none.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _may_pass(name: str, value: str) -> bool:
    if name in _PLAIN:
        return True
    # No parsing: a password may hold what ends a host for a parser, and an address may be none at all.
    return name.upper() in _ADDRESSES and "@" not in value


def _search_path() -> str:
    own = str(Path(sys.executable).parent)
    others = [
        part for part in os.environ.get("PATH", _DEFAULT_PATH).split(os.pathsep) if part and part != own
    ]
    return os.pathsep.join([own, *others])
