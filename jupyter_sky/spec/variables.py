"""The `envs` and `secrets` of a task: what its file gives, what the command line gives, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from jupyter_sky.spec.env import NAME_RULE, is_env_name
from jupyter_sky.spec.problems import Source, kind_of, quote
from jupyter_sky.spec.redact import REDACTED

if TYPE_CHECKING:
    from collections.abc import Mapping

Section = Literal["envs", "secrets"]
_OPTION: dict[Section, str] = {"envs": "--env", "secrets": "--secret"}


def _value(section: Section, name: str, value: Any, source: Source) -> str | None:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or (section == "secrets" and value == REDACTED):
        return None
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str):
        raise source.error((section, name), f"`{section}.{name}` must be a text, not {kind_of(value)}")
    if "\0" in value:
        raise source.error((section, name), f"`{section}.{name}` holds a NUL character")
    return value


def read_variables(section: Section, given: Any, source: Source) -> dict[str, str | None]:
    """Check the names and values of `envs` or `secrets`; None is a value that must still be given."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        shown = kind_of(given)
        raise source.error((section,), f"`{section}` must be a mapping ('NAME: value' lines), not {shown}")
    for name in given:
        if not isinstance(name, str) or not is_env_name(name):
            message = f"{quote(name)} in `{section}` cannot name an environment variable; {NAME_RULE}"
            raise source.error((section, name), message)
    return {name: _value(section, name, value, source) for name, value in given.items()}


def merge_variables(
    config: dict[str, Any], env: Mapping[str, Any], secrets: Mapping[str, Any], source: Source
) -> tuple[dict[str, str], dict[str, str]]:
    """Bring together what the task and the command line give.

    A name that is a secret in either place is a secret. What the command line gives wins.

    Raises
    ------
    SpecError
        If a name is in both sections of the task, or has no value anywhere.
    """
    own = {section: read_variables(section, config.get(section), source) for section in _OPTION}
    both = sorted(own["envs"].keys() & own["secrets"].keys())
    if both:
        raise source.error(
            ("secrets", both[0]),
            f"{both[0]} is in both `envs` and `secrets`",
            hint="Keep it in `secrets` only; a script sees both in the same way.",
        )
    added_env = read_variables("envs", dict(env), Source())
    added_secrets = read_variables("secrets", dict(secrets), Source())
    all_secrets = own["secrets"] | added_secrets
    all_secrets |= {
        name: value for name, value in added_env.items() if name in own["secrets"] and name not in secrets
    }
    all_envs = {name: value for name, value in (own["envs"] | added_env).items() if name not in all_secrets}
    found: dict[Section, dict[str, str]] = {}
    merged_sections: dict[Section, dict[str, str | None]] = {"envs": all_envs, "secrets": all_secrets}
    for section, merged in merged_sections.items():
        found[section] = {name: value for name, value in merged.items() if value is not None}
        missing = [name for name, value in merged.items() if value is None]
        if missing:
            option = _OPTION[section]
            kind = "environment variable" if section == "envs" else "secret"
            raise source.error(
                (section, missing[0]),
                f"the {kind} {missing[0]} has no value",
                hint=f"Give it with {' '.join(f'{option} {name}=...' for name in missing)}; "
                f"{option} {missing[0]} alone takes it from your environment.",
            )
    return found["envs"], found["secrets"]
