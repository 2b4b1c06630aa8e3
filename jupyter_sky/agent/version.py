"""Which agent this is: the version of the project, and the hash of its sources where it runs from a bundle.

This is the one place where the version is written, because the agent travels without the rest of the project.
"""

from __future__ import annotations

import os
from typing import Optional

VERSION = "0.1.0"


def bundle_hash() -> str:
    """Give the hash in the name of the zipapp, `agent-<hash>.pyz`; "source" outside of one."""
    archive: Optional[str] = getattr(globals().get("__loader__"), "archive", None)
    if not archive:
        return "source"
    return os.path.splitext(os.path.basename(archive))[0].rpartition("-")[2]
