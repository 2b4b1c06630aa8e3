"""Finding infras by name, ours and those that other packages bring.

Ours are known by name here, so that the common command never scans the installed packages; everything else
comes from the entry-point group `jupyter_sky.infra`, of which only the one that is asked for is loaded. A
plugin that cannot be loaded is a place that is disabled, with the reason: never a traceback in a command
that did not need it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from typing import TYPE_CHECKING

from jupyter_sky.errors import InfraDisabledError, SkyError
from jupyter_sky.infra.base import Infra, InfraCheck

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "jupyter_sky.infra"

#: Infras of this package; an entry point of the same name does not replace them.
BUILT_IN = {"local": "jupyter_sky.infra.local:LocalInfra"}


def infra_names() -> list[str]:
    """Give the name of every infra that is installed, ours first, without loading any."""
    return [*BUILT_IN, *sorted(set(_plugins()) - set(BUILT_IN))]


@functools.cache
def get_infra(name: str) -> Infra:
    """Give the infra of that name; one object per process.

    Raises
    ------
    InfraDisabledError
        Nothing of that name is installed, or its plugin could not be loaded.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        infra: Infra = getattr(importlib.import_module(module), attribute)()
        return infra
    plugin = _plugins().get(name)
    if plugin is None:
        known = infra_names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"Did you mean {near[0]!r}?" if near else "`jupyter sky check` lists what can be used from here."
        )
        raise InfraDisabledError(f"There is no infra {name!r}; installed are: {', '.join(known)}.", hint=hint)
    return _load(name, plugin)


def check_infra(name: str) -> InfraCheck:
    """Say whether one infra can be used from here; a plugin that fails is disabled, with what it said."""
    try:
        return get_infra(name).check()
    except SkyError as error:
        return InfraCheck(infra=name, enabled=False, reason=str(error), hint=error.hint or "")
    except Exception as error:  # noqa: BLE001 -- a stranger's plugin may raise anything, and check is where that is told
        return InfraCheck(
            infra=name,
            enabled=False,
            reason=f"its check failed: {type(error).__name__}: {error}",
            hint="Upgrade or uninstall the package that brings it.",
        )


def enabled_infras(names: list[str] | None = None) -> list[Infra]:
    """Give the infras (all, or those named) that can be used from here."""
    wanted = infra_names() if names is None else names
    return [get_infra(name) for name in wanted if check_infra(name).enabled]


def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str, plugin: EntryPoint) -> Infra:
    package = plugin.dist.name if plugin.dist else plugin.module
    try:
        infra = plugin.load()()
    except Exception as error:
        raise InfraDisabledError(
            f"The infra {name!r} of {package!r} could not be loaded: {type(error).__name__}: {error}",
            hint=f"Upgrade or uninstall it: pip uninstall {package}",
        ) from error
    if not isinstance(infra, Infra):
        raise InfraDisabledError(
            f"The infra {name!r} of {package!r} is a {type(infra).__name__}, not an Infra.",
            hint="Its entry point must name a subclass of jupyter_sky.infra.base.Infra.",
        )
    return infra
