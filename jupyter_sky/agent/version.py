"""Which agent this is: the version of the project, and the hash of its sources where it runs from a bundle.

The version is written here once more because the agent travels without the rest of the project; a test keeps the
two equal.
"""

from __future__ import annotations

import os

VERSION = "0.1.0"


def bundle_hash() -> str:
    """Give the hash in the name of the zipapp, `agent-<hash>.pyz`; "source" where the agent runs from a folder."""
    archive = getattr(globals().get("__loader__"), "archive", None)
    if not archive:
        return "source"
    return os.path.splitext(os.path.basename(archive))[0].rpartition("-")[2]
