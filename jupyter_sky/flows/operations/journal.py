"""The journal: every event of an operation, one JSON line each, in a file that any face can follow.

Lines are appended whole with one write, so that readers in other processes never see two mixed, and a reader
takes a line only when its end is there. A full disk does not stop the work that is being journalled: what
could not be written waits in memory, up to a limit, and is written when there is room.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

from jupyter_sky.events import Event

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_sky.flows.operations.redaction import Redactor

#: A longer text is cut: a journal is for people, job logs are elsewhere.
MAX_TEXT = 16 * 1024
_MAX_WAITING = 1024 * 1024


class JournalWriter:
    """Appends events without secrets; safe to use from several threads."""

    def __init__(self, file: Path, redactor: Redactor) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._redactor = redactor
        self._lock = threading.Lock()
        self._waiting = bytearray()

    def write(self, event: Event) -> bool:
        """Append an event; say whether it is on disk, and every one before it."""
        text = self._redactor.text(event.text)
        if len(text) > MAX_TEXT:
            text = text[:MAX_TEXT] + " …"
        line = encode(Event(event.kind, text, self._redactor.data(event.data), event.at))
        with self._lock:
            if event.kind in {"phase", "end"} or len(self._waiting) < _MAX_WAITING:
                self._waiting += line
            return self._flush()

    def flush(self) -> bool:
        """Try again to write what waits; say whether all is on disk."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        try:
            while self._waiting:
                written = os.write(self._descriptor, self._waiting)
                del self._waiting[:written]
        except OSError:
            return False
        return True


class JournalReader:
    """Reads events from the first one on, each once; the file may not exist yet."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def read(self) -> list[Event]:
        """Give the events that are new since the last call."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        return [event for line in data[:whole].splitlines() if (event := _decode(line)) is not None]


def encode(event: Event) -> bytes:
    """Give an event as a line; whatever text there is, the line is plain ASCII."""
    return json.dumps(event.to_dict(), separators=(",", ":")).encode() + b"\n"


def append_end(file: Path, event: Event) -> None:
    """Append the end that a dead process could not write; its last line may have been cut in the middle."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\n" + encode(event))
    finally:
        os.close(descriptor)


def _decode(line: bytes) -> Event | None:
    """Give the event of a line; None for one that a killed process or a full disk left incomplete."""
    try:
        return Event.from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError):
        return None
