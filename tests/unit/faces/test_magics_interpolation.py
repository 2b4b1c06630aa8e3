"""Variables of Python in a magic's line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jupyter_sky_magics.interpolation import expand

NAMES = {"cluster": "dev", "n": 3, "run": SimpleNamespace(name="bert"), "path": "train"}


@pytest.mark.parametrize(
    ("line", "expanded"),
    [
        ("logs $cluster {n}", "logs dev 3"),
        ("logs {cluster} {n * 2}", "logs dev 6"),
        ("launch -n $run.name", "launch -n bert"),
        ("launch $path.yaml", "launch train.yaml"),
        ("x {run.name!r}", "x 'bert'"),
        ("exec $cluster -- echo $SKYPILOT_NODE_RANK", "exec dev -- echo $SKYPILOT_NODE_RANK"),
        (
            "exec $cluster -- echo ${SKYPILOT_NODE_RANK} ${cluster}",
            "exec dev -- echo ${SKYPILOT_NODE_RANK} ${cluster}",
        ),
        (r"echo \$cluster $$cluster $$", "echo $cluster $cluster $"),
        ("echo '$cluster' $cluster", "echo '$cluster' dev"),
        ("""exec $cluster -- x '{"lr": 1}'""", """exec dev -- x '{"lr": 1}'"""),
        ("exec $cluster -- awk '{print $1}'", "exec dev -- awk '{print $1}'"),
        ("echo $(date) $1 50$", "echo $(date) $1 50$"),
        ("status dev-{n}-{{x}}", "status dev-3-{x}"),
        ("status", "status"),
        ("", ""),
        ("{1/0} $n", "{1/0} 3"),
    ],
)
def test_expansion(line, expanded):
    assert expand(line, NAMES) == expanded


def test_a_value_is_not_expanded_again():
    assert expand("x $a", {"a": "{b} $b", "b": 1}) == "x {b} $b"
