"""What all models of the YAML share: strict keys, plain texts and numbers, and the way back to YAML.

A key that is not known is an error, null is the same as not given, numbers may be written as texts (as on a
command line), and nothing is guessed: `1.10` where a text belongs is refused rather than turned into '1.1'.
"""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from jupyter_sky.spec.problems import FieldError, kind_of, one_of, quote, spec_error, unknown_key
from jupyter_sky.spec.redact import SubstitutedStr

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_DEPTH = 64
_MAX_WHOLE = 2**53


def text(value: object) -> str:
    """Take a text; a whole number is taken as it is written, anything else is refused."""
    if isinstance(value, str):
        if "\0" in value:
            raise FieldError("holds a NUL character, which no command line or environment can carry")
        return value
    if isinstance(value, PurePath) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    hint = "Put it in quotes." if isinstance(value, (bool, float)) else None
    raise FieldError(f"must be a text, not {quote(value)}", hint=hint)


def nonempty(value: object) -> str:
    """Take a text with something in it."""
    taken = text(value)
    if not taken.strip():
        raise FieldError("must not be empty")
    return taken


def flag(value: object) -> bool:
    """Take true or false, also as the words a command line or a variable holds."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (word := value.strip().lower()) in {"true", "yes", "on", "1"}:
        return bool(word)
    if isinstance(value, str) and value.strip().lower() in {"false", "no", "off", "0"}:
        return False
    raise FieldError(f"must be true or false, not {quote(value)}")


def number(value: object) -> float:
    """Take a finite number, also written as a text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        taken = float(value) if abs(value) < _MAX_WHOLE else math.inf
    elif isinstance(value, str):
        try:
            taken = float(value)
        except ValueError:
            taken = math.nan
    else:
        raise FieldError(f"must be a number, not {quote(value)}")
    if not math.isfinite(taken):
        raise FieldError(f"must be a number, not {quote(value)}")
    return taken


def whole(value: object) -> int:
    """Take a whole number, also written as a text."""
    taken = number(value)
    if taken != int(taken):
        raise FieldError(f"must be a whole number, not {quote(value)}")
    return int(taken)


def _bounded(parse: Callable[[object], Any], low: float, high: float) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        taken = parse(value)
        if not low <= taken <= high:
            bounds = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise FieldError(f"must be {bounds}, not {quote(value)}")
        return taken

    return check


def _schema(kind: str, low: float, high: float) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": kind}
    for key, bound in (("minimum", low), ("maximum", high)):
        if not math.isinf(bound):
            schema[key] = int(bound) if bound == int(bound) else bound
    return WithJsonSchema(schema)


def whole_type(low: float = -math.inf, high: float = math.inf) -> Any:
    """Make the type of a whole number within bounds, for use in `Annotated[int, *whole_type(1)]`."""
    return PlainValidator(_bounded(whole, low, high)), _schema("integer", low, high)


def number_type(low: float = -math.inf, high: float = math.inf) -> Any:
    """Make the type of a number within bounds, for use in `Annotated[float, *number_type(0)]`."""
    return PlainValidator(_bounded(number, low, high)), _schema("number", low, high)


def word_type(*allowed: str, upper: bool = False) -> Any:
    """Make the type of a word out of a list, whatever its case; `upper` says which case it is kept in."""

    def check(value: object) -> str:
        folded = value.strip() if isinstance(value, str) else ""
        folded = folded.upper() if upper else folded.lower()
        if folded not in allowed:
            raise one_of(value, allowed)
        return folded

    return PlainValidator(check), WithJsonSchema(
        {"type": "string", "enum": list(dict.fromkeys([*allowed, *map(str.lower, allowed)]))}
    )


Text = Annotated[str, PlainValidator(text), WithJsonSchema({"type": "string"})]
NonEmpty = Annotated[str, PlainValidator(nonempty), WithJsonSchema({"type": "string", "minLength": 1})]
Flag = Annotated[bool, PlainValidator(flag), WithJsonSchema({"type": "boolean"})]


def text_or(model: type[SpecModel]) -> Any:
    """Make the type of what is either a text or the mapping `model`; told apart by what is there."""

    def kind(value: object) -> str | None:
        if isinstance(value, (str, PurePath)):
            return "text"
        return "mapping" if isinstance(value, (dict, model)) else None

    return Annotated[Annotated[NonEmpty, Tag("text")] | Annotated[model, Tag("mapping")], Discriminator(kind)]


class SpecModel(BaseModel):
    """A mapping of the YAML. Making one from Python raises `SpecError`, as reading one does."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    #: Keys that `_prepare` understands and turns into fields.
    other_keys: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise spec_error(error, data) from None

    # Tells pydantic that nested models need not be made through this __init__, so that the place of an error
    # inside them is kept; pydantic's own RootModel does the same.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def key_names(cls) -> set[str]:
        """Give every key that may be written in YAML."""
        return {field.alias or name for name, field in cls.model_fields.items()} | cls.other_keys

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for key in data:
            if key not in cls.key_names():
                raise unknown_key(key, cls.key_names())
        return cls._prepare({key: value for key, value in data.items() if value is not None})

    @classmethod
    def _prepare(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Turn older spellings into today's; the mapping given may be changed."""
        return data

    def to_yaml_config(self, *, redact: bool = True) -> dict[str, Any]:
        """Give what was set, as plain data that YAML and JSON can carry.

        Parameters
        ----------
        redact
            Whether a text that holds a secret is given as it was written, with `$NAME` in it.
        """
        return {
            field.alias or name: plain(value, redact=redact)
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set and (value := getattr(self, name)) is not None
        }

    def __hash__(self) -> int:
        return hash(repr(self.to_yaml_config()))


def _storable(value: str) -> str:
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise FieldError("holds a character that cannot be stored (NUL or half a character)")
    return value


def plain(value: object, *, redact: bool = True, depth: int = 0) -> Any:
    """Turn a value given in Python into plain data: models into mappings, tuples into lists, sets into keys.

    Raises
    ------
    FieldError
        For what YAML cannot carry, and for what is nested deeper than any task is.
    """
    if depth > _MAX_DEPTH:
        raise FieldError(f"is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, SubstitutedStr):
        return value.template if redact and value.secret else str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (str, PurePath)):
        return _storable(str(value))
    if hasattr(value, "to_yaml_config"):
        return value.to_yaml_config(redact=redact) if isinstance(value, SpecModel) else value.to_yaml_config()
    if isinstance(value, dict):
        return {
            plain(key, redact=redact) if isinstance(key, str) else str(key): plain(
                item, redact=redact, depth=depth + 1
            )
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, redact=redact, depth=depth + 1) for item in value]
    if isinstance(value, (set, frozenset)) and all(isinstance(item, str) for item in value):
        return dict.fromkeys(sorted(value))
    raise FieldError(f"cannot be {kind_of(value)}")
