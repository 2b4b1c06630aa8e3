"""File sync: one tree of files made equal to another over one stream.

Both ends run this code: the client sends for a push and receives for a pull, the agent the reverse. It needs
a stream (`read`, `write`, `write_eof`, `reset`, `close`) and knows no task, cluster or link. The idle agent
imports this file and nothing below it.

The protocol, from the side that has the files (the sender) to the side that wants them (the receiver)::

    sender                                   receiver
    HELLO, TREE…, TREE_END         ->        compares each entry with its disk while more arrive
                                   <-        WANT / WANT_BLOCKS for what may differ
    FILE / SAME / GONE             ->        small files, each in one frame
    OPEN, (BLOCK|ZERO|KEEP)…, CLOSE ->       large files, by fixed blocks
                                   <-        FIN when every request was answered
    DONE {notes, failed}           ->        sets what is left of directory modes and times
                                   <-        RESULT

What is decided, where there was a choice: nothing is ever deleted at the receiver except to make way; a file
or a link in the way of a directory is replaced, so is an empty directory in the way of a file, and a
directory that holds something is an error. Links are kept as links and never written through. Hard links,
owners, access lists and the setuid, setgid and sticky bits do not travel. The mode and time of the target
directory itself are set only if the sync made it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .pipe import StreamLike


async def serve(stream: StreamLike, home: str) -> None:
    """Serve one stream of kind `files.push` or `files.pull` until it ends.

    Parameters
    ----------
    stream
        Its header holds `kind` and `path`; `~` and a relative path start at `home`.
    home
        The absolute home folder of the node.
    """
    from .service import handle

    await handle(stream, home)
