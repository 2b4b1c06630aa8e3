"""The manifest as it comes from a peer: unpacked within bounds, and every field checked before it is used."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any, List, NamedTuple, Union

from .errors import FilesError
from .paths import check_name, check_path
from .scan import FILE, LINK

_MAX_PIECE = 32 << 20
_INT64 = 1 << 63


class Item(NamedTuple):
    """A file (`detail` is its size) or a link (`detail` is where it points)."""

    name: str
    kind: str
    mode: int
    mtime_ns: int
    detail: Union[int, str]


class FolderPart(NamedTuple):
    """A folder, and some of what is in it."""

    path: str
    mode: int
    mtime_ns: int
    items: List[Item]


def unpack(data: bytes) -> List[FolderPart]:
    """Read one piece of a manifest; raises FilesError for anything but an honest one."""
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(data, _MAX_PIECE)
        if inflate.unconsumed_tail:
            raise FilesError("The peer sent a manifest that is too long.", code="protocol")
        return [_folder(*raw) for raw in json.loads(text)]
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise FilesError(f"The peer sent a manifest that cannot be read: {error}.", code="protocol") from None


def _folder(path: Any, mode: Any, mtime_ns: Any, items: Any) -> FolderPart:
    return FolderPart(
        check_path(path), _number(mode, 0o1000), _number(mtime_ns, _INT64), [_item(*item) for item in items]
    )


def _item(name: Any, kind: Any, mode: Any, mtime_ns: Any, detail: Any) -> Item:
    if kind == FILE:
        detail = _number(detail, _INT64)
        if detail < 0:
            raise ValueError("a negative size")
    elif kind == LINK:
        if not isinstance(detail, str) or not detail or "\0" in detail:
            raise ValueError("a link to nowhere")
        os.fsencode(detail)  # a ValueError where it is no text of this system
    else:
        raise ValueError(f"an entry of kind {kind!r:.20}")
    return Item(check_name(name), kind, _number(mode, 0o1000), _number(mtime_ns, _INT64), detail)


def _number(value: Any, below: int) -> int:
    if type(value) is not int or not -below <= value < below:
        raise ValueError(f"{value!r:.40} where a number belongs")
    return value
