"""What the options of a command line change in a task's resources; every error names the option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_sky.errors import SpecError
from jupyter_sky.spec.base import plain
from jupyter_sky.spec.infra_path import InfraPath
from jupyter_sky.spec.problems import unknown_key
from jupyter_sky.spec.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_sky.spec.base import SpecModel

M = TypeVar("M", bound="SpecModel")

#: Other words for a field.
_ALIASES = {"gpus": "accelerators", "idle_minutes_to_autostop": "autostop"}
#: The option of a field, where it is not the field's own name.
_OPTIONS = {"accelerators": "--gpus", "autostop": "--idle-minutes-to-autostop"}
_PLACES = ("infra", "cloud", "region", "zone")
#: Fields for which 'none' is a value of their own.
_HAS_NONE = frozenset({"disk_tier"})


def option_name(field: str) -> str:
    """Give the option that sets a field."""
    return _OPTIONS.get(field, "--" + field.replace("_", "-"))


def override_value(model: type[SpecModel], field: str, value: Any) -> Any:
    """Check one option's value and give it as plain data.

    Raises
    ------
    SpecError
        Naming the option.
    """
    return plain(_model_of(model, field, value), redact=False).get(field)


def _checked(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Give what each field becomes; None takes it away."""
    found: dict[str, Any] = {}
    for given, value in overrides.items():
        field = _ALIASES.get(given, given)
        if field not in Resources.key_names() - {"any_of", "ordered"}:
            raise unknown_key(given, Resources.key_names())
        if value is None:
            continue
        if isinstance(value, str) and value.strip().lower() == "none" and field not in _HAS_NONE:
            found[field] = None
        elif field in _PLACES:
            override_place(field, value)
            found[field] = value
        else:
            found[field] = override_value(Resources, field, value)
    return found


def override_place(field: str, value: Any) -> InfraPath:
    """Read one of `infra`, `cloud`, `region`, `zone`; errors name the option."""
    return _model_of(Resources, field, value).infra or InfraPath()


def _model_of(model: type[M], field: str, value: Any) -> M:
    """Make a model of one option's value; what is wrong with it is told of the option."""
    try:
        return model(**{field: value})
    except SpecError as error:
        message = error.message.replace(f"`{field}`", "", 1).strip()
        raise SpecError(f"{option_name(field)}: {message}", hint=error.hint) from None


def _place(config: dict[str, Any], places: dict[str, Any]) -> dict[str, Any]:
    """Put the given parts of a place into a configuration: `infra` replaces all, the others a part each."""
    rest = {key: value for key, value in config.items() if key not in _PLACES}
    if "infra" in places:
        old = InfraPath()
    else:
        old = (
            Resources(**{key: config[key] for key in _PLACES if config.get(key) is not None}).infra
            or InfraPath()
        )
        if places.get("cloud") is not None and override_place("cloud", places["cloud"]).cloud != old.cloud:
            old = InfraPath()  # a region of one cloud is none of another
    parts = {"cloud": old.cloud, "region": old.region, "zone": old.zone}
    for field in ("infra", "cloud", "region", "zone"):
        if field not in places:
            continue
        new = override_place(field, places[field]) if places[field] is not None else InfraPath()
        for part in parts if field == "infra" else (field,):
            value = getattr(new, part)
            if field != "infra" and places.get("infra") is not None and parts[part] not in {None, value}:
                raise SpecError(
                    f"{option_name(field)} {value} contradicts --infra {places['infra']}",
                    hint=f"Leave out {option_name(field)}.",
                )
            parts[part] = value
    path = InfraPath(**parts)
    return rest if path == InfraPath() else {"infra": str(path), **rest}


def override_resources(config: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Give the configuration of resources changed by options, in every alternative.

    Parameters
    ----------
    config
        The configuration as a task holds it; unchanged.
    overrides
        Fields and the options' texts; None is not given, 'none' takes a field away.

    Raises
    ------
    SpecError
        Naming the option that is wrong.
    """
    checked = _checked(overrides)
    places = {key: checked.pop(key) for key in _PLACES if key in checked}
    changed = {key: value for key, value in config.items() if key not in checked}
    changed |= {key: value for key, value in checked.items() if value is not None}
    for key in ("any_of", "ordered"):
        if not isinstance(changed.get(key), list):
            continue
        kept: list[dict[str, Any]] = []
        for item in changed[key]:
            stripped = {name: value for name, value in item.items() if name not in checked}
            if places:
                stripped = {name: value for name, value in stripped.items() if name not in _PLACES}
            if stripped not in kept:
                kept.append(stripped)
        changed[key] = kept
        if kept == [{}]:
            del changed[key]
    return _place(changed, places) if places else changed
