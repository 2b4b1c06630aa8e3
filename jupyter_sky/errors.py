"""Every error a person can meet, in one tree.

An error is written for the person who reads it: `message` says what was asked and what was found,
`hint` says what to do next. Faces print both and nothing else; a traceback is for our own defects.
This module knows no other module, so that everything may raise from it.
"""

from __future__ import annotations


class SkyError(Exception):
    """The root: what was asked, what was found, and what to do.

    Parameters
    ----------
    message
        One or two sentences for the person.
    hint
        What to do next, often a command to type.
    """

    #: A stable word for programs: the REST interface, journals and tests use it.
    code = "error"
    #: The exit code of a command that ends with this error.
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            # A program's traceback shows it too.
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, str | None]:
        """Give the error as journals and faces carry it: code, message, hint."""
        return {"code": self.code, "message": str(self), "hint": self.hint}


class SpecError(SkyError):
    """A task, resources or config text that cannot be understood, with the place in its file."""

    code = "spec"
    exit_code = 2

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place = f"{place or '<task>'}:{self.line}"
        return f"{place}: {self.message}" if place else self.message


class UsageError(SkyError):
    """Arguments that do not fit together, or a value outside what is allowed."""

    code = "usage"
    exit_code = 2


class InvalidNameError(UsageError):
    """A cluster, job or service name that is not a DNS-1123 label."""

    code = "invalid_name"


class ConfigError(SkyError):
    """The configuration file or an environment variable of ours is wrong."""

    code = "config"
    exit_code = 2


class StateError(SkyError):
    """The state folder cannot be used: unwritable, full, or made by a newer version."""

    code = "state"


class ClusterNotFoundError(SkyError):
    """No cluster of that name is known."""

    code = "cluster_not_found"


class ClusterNotUpError(SkyError):
    """The cluster exists but is not UP, and the request needs it to be."""

    code = "cluster_not_up"


class ClusterMismatchError(SkyError):
    """The task asks for more than the existing cluster of that name has."""

    code = "cluster_mismatch"


class JobNotFoundError(SkyError):
    """The cluster has no such job."""

    code = "job_not_found"


class NoOfferError(SkyError):
    """No enabled infra can satisfy the resources; the message lists each place with its reason."""

    code = "no_offer"
    exit_code = 3


class InfraError(SkyError):
    """An infra could not do what was asked of it."""

    code = "infra"


class InfraDisabledError(InfraError):
    """The infra is unknown or not usable from here."""

    code = "infra_disabled"


class ProvisionError(InfraError):
    """Nodes could not be made; whatever had been made was removed again."""

    code = "provision"
    exit_code = 3


class LinkError(SkyError):
    """The node's agent could not be reached, or broke the protocol."""

    code = "link"


class LinkTimeoutError(LinkError):
    """The node's agent did not answer in time."""

    code = "link_timeout"


class AgentError(SkyError):
    """The agent refused a request; `code` is the agent's own word for why."""

    code = "agent"

    def __init__(self, message: str, *, code: str = "agent", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class SyncError(SkyError):
    """Files could not be copied to or from a node."""

    code = "sync"


class OperationError(SkyError):
    """An operation failed; carries the code, message and hint that its process recorded."""

    code = "operation"

    def __init__(
        self, message: str, *, code: str = "operation", hint: str | None = None, exit_code: int = 1
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = exit_code


class OperationNotFoundError(SkyError):
    """No operation of that id is known."""

    code = "operation_not_found"


class OperationCancelledError(SkyError):
    """The operation was cancelled by a person."""

    code = "cancelled"
    exit_code = 130


class OperationInterruptedError(SkyError):
    """The process of an operation ended before the operation did."""

    code = "interrupted"


class NotConfirmedError(SkyError):
    """The person answered no, or could not be asked."""

    code = "not_confirmed"


class DetachedError(SkyError):
    """The person stopped watching; the work goes on, and the hint says how to watch it again."""

    code = "detached"
    exit_code = 130
