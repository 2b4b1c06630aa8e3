"""`import jupyter_sky` costs next to nothing and still gives every name."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import jupyter_sky
import jupyter_sky.sdk
from jupyter_sky.sdk import Launched


def test_every_name_is_there():
    for name in jupyter_sky.__all__:
        assert getattr(jupyter_sky, name) is not None
        assert name in dir(jupyter_sky)
    for name in jupyter_sky.sdk.__all__:
        assert getattr(jupyter_sky, name) is getattr(jupyter_sky.sdk, name)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lunch'"):
        _ = jupyter_sky.lunch  # type: ignore[attr-defined]


def test_type_checkers_see_what_programs_see():
    source = Path(inspect.getsourcefile(jupyter_sky) or "").read_text()
    seen = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jupyter_sky.")
        for alias in node.names
    }
    own = {"load_ipython_extension", "unload_ipython_extension"}
    assert set(jupyter_sky.__all__) - own <= seen


def test_importing_imports_nothing_else():
    code = (
        "import sys\nbefore = set(sys.modules)\nimport jupyter_sky\n"
        "new = sorted(set(sys.modules) - before)\n"
        "print([name for name in new if name.split('.')[0] not in sys.stdlib_module_names])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(
        ["jupyter_sky", "jupyter_sky._version", "jupyter_sky.agent", "jupyter_sky.agent.version"]
    )


def test_a_launch_unpacks_as_job_and_handle():
    job_id, handle = Launched("dev", 3, None)
    assert (job_id, handle) == (3, None)


@pytest.mark.parametrize("name", sorted({*jupyter_sky.sdk.__all__} - {"Launched", "Listing"}))
def test_every_function_is_documented(name):
    function = getattr(jupyter_sky, name)
    assert inspect.getdoc(function)


def test_the_main_parameters_are_those_of_skypilot():
    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(jupyter_sky.launch)[:2] == ["task", "cluster_name"]
    assert {"retry_until_up", "idle_minutes_to_autostop", "dryrun", "down", "no_setup", "fast"} <= set(
        names(jupyter_sky.launch)
    )
    assert names(jupyter_sky.exec)[:2] == ["task", "cluster_name"]
    assert names(jupyter_sky.queue)[:2] == ["cluster_name", "skip_finished"]
    assert names(jupyter_sky.tail_logs)[:4] == ["cluster_name", "job_id", "follow", "tail"]
    assert names(jupyter_sky.autostop)[:2] == ["cluster_name", "idle_minutes"]
    assert names(jupyter_sky.status)[:2] == ["cluster_names", "refresh"]
