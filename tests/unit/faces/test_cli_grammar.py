"""The tree of commands: found, helped and refused without running anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from jupyter_sky.cli.grammar import SkyGroup, sky
from jupyter_sky.cli.program import run

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What `--help` must never import: each of them costs more than the whole of the rest.
HEAVY = {"rich", "pydantic", "sqlalchemy", "alembic", "yaml", "cryptography", "asyncio", "IPython"}


def commands(
    group: SkyGroup = sky, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, str]]:
    for name, entry in group.entries.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), command, entry.help
        if isinstance(command, SkyGroup):
            yield from commands(command, (*path, name))


ALL = list(commands())


@pytest.mark.parametrize(("path", "command", "line"), ALL, ids=[" ".join(path) for path, *_ in ALL])
def test_the_table_says_of_each_command_what_its_own_help_says(path, command, line, capsys):
    assert command.name == path[-1]
    assert command.help is not None
    assert command.help.splitlines()[0] == line
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert " ".join(line.split()) in " ".join(shown.split())
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts} has no help"


def test_every_command_of_the_list_is_there():
    wanted = (
        "launch exec status queue logs cancel stop start autostop down cost-report check show-gpus gpus "
        "schema ops rsync ssh-config completion version"
    )
    assert set(wanted.split()) <= set(sky.entries)
    assert {" ".join(path) for path, *_ in ALL} >= {
        "gpus list",
        "ops list",
        "ops attach",
        "ops cancel",
        "ops log",
        "rsync up",
        "rsync down",
    }


def test_launch_has_the_options_that_people_know():
    command = sky.get_command(click.Context(sky), "launch")
    assert command is not None
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    wanted = (
        "-c --cluster -n --name --infra --cloud --region --zone --num-nodes --cpus --memory --gpus "
        "-t --instance-type --use-spot --no-use-spot --image-id --env --env-file --secret --secret-file "
        "--disk-size --ports --workdir -d --detach-run -i --idle-minutes-to-autostop --down "
        "-r --retry-until-up -y --yes --no-setup --dryrun --fast -o --output"
    )
    assert set(wanted.split()) <= names


def test_alone_it_helps(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert "Usage: jupyter sky" in out
    assert "cost-report" in out
    assert run(["ops"]) == 0
    assert "attach" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lunch"], "There is no command 'lunch'. Did you mean 'launch'?"),
        (["ops", "atach"], "There is no command 'atach'. Did you mean 'attach'?"),
        (["zzzz"], "There is no command 'zzzz'."),
        (["launch", "--clutser", "dev"], "--cluster"),
        (["status", "--refesh"], "--refresh"),
        (["launch", "python", "train.py", "--lr", "3"], "write -- before that command"),
        (["queue", "-o", "yaml"], "'yaml' is not one of"),
        (["launch", "--num-nodes", "0"], "0 is not in the range x>=1"),
        (["logs"], "Missing argument 'CLUSTER'"),
    ],
)
def test_words_that_do_not_fit_name_what_was_probably_meant(words, said, capsys):
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert re.search(r"hint: `jupyter sky.* --help`", captured.err)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom jupyter_sky.cli.program import run\n"
        "code = run(['--help'])\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Launch a task anywhere" in done.stdout


def test_completion_of_a_shell_comes_from_the_same_table(monkeypatch, capsys):
    monkeypatch.setenv("_JUPYTER_SKY_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", "jupyter-sky s")
    monkeypatch.setenv("COMP_CWORD", "s")
    assert run([]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("plain,")]
    offered = {line.removeprefix("plain,").split("\t")[0] for line in lines}
    assert {"status", "start", "stop", "show-gpus", "ssh-config", "ssh-proxy", "schema"} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_real_program(shell, capsys):
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_JUPYTER_SKY_COMPLETE" in out
    assert "jupyter-sky" in out


def test_completion_names_the_shells_it_knows(monkeypatch, capsys):
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def test_schema_is_json_of_a_task(capsys):
    assert run(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"run", "setup", "resources", "num_nodes"} <= set(schema["properties"])


def test_version(capsys):
    from jupyter_sky import __version__

    assert run(["version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
