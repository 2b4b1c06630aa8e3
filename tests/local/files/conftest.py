"""Makes the fixtures of `files_fixtures` known to the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from files_fixtures import node, tree

__all__ = ["node", "tree"]
