"""Packs the agent into one zipapp that any Python 3.8 or newer runs.

The package travels as `jupyter_sky_agent`. The same sources give the same name, so a node can tell
whether it has the agent that this client speaks. Byte code for this interpreter's version travels, too:
importing from a zip keeps no cache, and compiling would be most of the agent's start.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

import jupyter_sky.agent

PACKAGE = "jupyter_sky_agent"
_MAIN = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def _sources() -> dict[str, bytes]:
    root = Path(jupyter_sky.agent.__file__).parent
    files = sorted(root.rglob("*.py"))
    sources = {f"{PACKAGE}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in files}
    return {"__main__.py": _MAIN.encode(), **sources}


@cache
def bundle_hash() -> str:
    """Give the 16 hexadecimal digits that name the agent's sources."""
    digest = hashlib.sha256()
    for name, source in _sources().items():
        digest.update(f"{name}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()[:16]


def agent_bundle(folder: Path) -> Path:
    """Give the agent's zipapp in `folder`, built there if it is not there yet.

    Several processes may build it at once: it appears whole or not at all.
    """
    path = folder / f"agent-{bundle_hash()}.pyz"
    if path.exists():
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=folder, prefix=".agent-", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            _write_zip(file)
        temporary.chmod(0o700)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _write_zip(file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, source in _sources().items():
            _add(archive, name, source)
            _add(archive, f"{name}c", _bytecode(name, source))


def _bytecode(name: str, source: bytes) -> bytes:
    # PEP 552, an unchecked hash: an interpreter of this version takes the code as it is, others compile the
    # source. Version 2 of the format holds no back references, which would differ from one build to the next.
    code = compile(source, name, "exec", dont_inherit=True)
    flags = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code, 2)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o600 << 16
    archive.writestr(info, data)
