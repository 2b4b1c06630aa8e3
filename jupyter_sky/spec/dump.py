"""Writing YAML for people: keys in their order, scripts as blocks, nothing that points elsewhere."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """PyYAML's dumper, writing scripts as blocks and repeating rather than pointing."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is PyYAML's
        return True


_TEXT_CONTROLS = str.maketrans("\n\t", "  ")


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    if not value.translate(_TEXT_CONTROLS).isprintable():
        # Unicode's own line ends, which PyYAML would write as they are and read back as something else.
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(*documents: Any) -> str:
    """Write plain data as YAML: keys in their order, scripts as blocks."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )
