"""Streams to and from an agent, over any duplex pipe of bytes, that survive the pipe.

From below: a `Channel` carries bytes and may break; a `Resumable` carries numbered records over one channel
after another; a `Mux` carries many streams in records; a `Session` (client) and a `SessionHost` (server)
put these together. Both ends import the same code, the agent from its zipapp.
"""

from .bridge import bridge_socket, bridge_streams
from .calls import call, serve_calls
from .channel import Channel, FdChannel
from .errors import (
    CallError,
    ChannelClosed,
    ProtocolError,
    SessionClosed,
    StreamReset,
    UnknownSession,
    WireError,
)
from .host import SessionHost
from .mux import Mux
from .resumable import Resumable
from .session import Session
from .stream import Stream
from .tls import TlsChannel, client_context, dial_tls, listen_tls, server_context

__all__ = [
    "CallError",
    "Channel",
    "ChannelClosed",
    "FdChannel",
    "Mux",
    "ProtocolError",
    "Resumable",
    "Session",
    "SessionClosed",
    "SessionHost",
    "Stream",
    "StreamReset",
    "TlsChannel",
    "UnknownSession",
    "WireError",
    "bridge_socket",
    "bridge_streams",
    "call",
    "client_context",
    "dial_tls",
    "listen_tls",
    "serve_calls",
    "server_context",
]
