"""What can go wrong on the wire, from a lost connection to a refused request.

These are the words of the wire itself. The client's layers above turn them into the errors a person reads;
the agent, which has no such layers, uses them as they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class WireError(Exception):
    """The root of everything the wire raises."""


class ChannelClosed(WireError):  # noqa: N818 - tells what happened, not always a fault
    """The channel ended or broke; a session survives this and goes on with another channel."""


class ProtocolError(WireError):
    """The other end broke the protocol: what was expected and what came."""


class UnknownSession(WireError):  # noqa: N818 - tells what happened, not always a fault
    """The other end does not know the session that was to be resumed: its process is a new one."""


class SessionClosed(WireError):  # noqa: N818 - tells what happened, not always a fault
    """The session was closed on this side and carries nothing any more."""


class Refusal(WireError):  # noqa: N818 - tells what happened, not always a fault
    """A reason with a stable code for programs, a sentence for the person, and perhaps what to do."""

    def __init__(self, code: str, message: str = "", hint: Optional[str] = None) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message or code
        self.hint = hint


class StreamReset(Refusal):
    """One stream ended before its time; every other stream goes on."""


class CallError(Refusal):
    """A call was refused: handlers raise it, callers receive it."""
