"""Keeping secrets out of sight.

A secret's value leaves a task in two ways only: `Task.reveal_secrets()`, and the fields into which the
person wrote `$NAME`. The latter are `SubstitutedStr`: real texts to whoever uses them, shown as they were
written to whoever prints them.
"""

from __future__ import annotations

from typing import Any

#: What stands in the place of a secret's value in everything that can be seen.
REDACTED = "<redacted>"


class SubstitutedStr(str):
    """A text with variables filled in, whose `repr` is the text before that.

    Attributes
    ----------
    template
        The text as it was written, with `$NAME` in it.
    secret
        Whether one of the values filled in is a secret.
    """

    __slots__ = ("secret", "template")

    template: str
    secret: bool

    def __new__(cls, value: str, template: str, *, secret: bool) -> SubstitutedStr:
        """Make the text `value` that came from `template`."""
        made = super().__new__(cls, value)
        made.template = template
        made.secret = secret
        return made

    def __repr__(self) -> str:
        return repr(self.template if self.secret else str(self))

    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, bool]]:
        return (str(self), self.template), {"secret": self.secret}


def redact_text(text: str, secrets: dict[str, Any]) -> str:
    """Replace every secret's value that stands in `text`; `secrets` maps names to `SecretStr` or to texts.

    Values of fewer than four characters are left, because they stand in every text by chance.
    """
    values = [
        getattr(value, "get_secret_value", lambda value=value: str(value))() for value in secrets.values()
    ]
    for value in sorted(filter(lambda value: len(value) >= 4, values), key=len, reverse=True):
        text = text.replace(value, REDACTED)
    return text
