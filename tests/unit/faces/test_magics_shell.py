"""`%sky` in IPython's own shell, as a terminal runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from jupyter_sky.sdk.listing import Listing
from jupyter_sky_magics.magic import SkyCommandError


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_line_magic("load_ext", "jupyter_sky")
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def run(shell, cell):
    return shell.run_cell(cell)


def completions(shell, text):
    with provisionalcompleter():
        return [completion.text for completion in shell.Completer.completions(text, len(text))]


def test_loading_twice_is_loading_once_and_unloading_takes_all_away(shell):
    shell.run_line_magic("reload_ext", "jupyter_sky")
    assert len([matcher for matcher in shell.Completer.custom_matchers if "sky" in repr(matcher)]) == 1
    assert len(shell.ast_transformers) == 1
    shell.run_line_magic("unload_ext", "jupyter_sky")
    assert shell.find_line_magic("sky") is None
    assert shell.find_cell_magic("sky") is None
    assert not [matcher for matcher in shell.Completer.custom_matchers if "sky" in repr(matcher)]
    assert not shell.ast_transformers


def test_an_answer_is_an_object(shell, sky_home):
    result = run(shell, "rows = %sky status\nrows").result
    assert isinstance(result, Listing)
    assert result._repr_html_() == "<div>No existing clusters.</div>"
    assert run(shell, "%sky status -o json").result == []
    assert run(shell, "%sky status;").result is None
    assert run(shell, "import pandas\nlen(pandas.DataFrame(rows))").result == 0


def test_a_line_that_stands_for_itself_shows_its_answer_wherever_it_is(shell, sky_home, capsys):
    told = "No existing clusters."
    for cell in (
        "%sky status\nx = 1",
        "for _ in 'a':\n    %sky status\n",
        "if True:\n    %sky status\nx = 1",
    ):
        done = run(shell, cell)
        assert done.success
        assert done.result is None
        assert capsys.readouterr().out.count(told) == 1, cell
    for cell in ("rows = %sky status\nx = 1", "%sky status;\nx = 1", "len(get_ipython().user_ns)\nx = 1"):
        assert run(shell, cell).success
        assert told not in capsys.readouterr().out, cell
    assert isinstance(run(shell, "%sky status").result, Listing)
    assert capsys.readouterr().out.count(told) == 1
    shell.ast_node_interactivity = "all"
    run(shell, "%sky status\nx = 1")
    assert capsys.readouterr().out.count(told) == 1
    run(shell, "%sky check nowhere\nprint('never')")
    assert "never" not in capsys.readouterr().out


def test_help_is_written(shell, capsys):
    assert run(shell, "%sky --help").success
    assert "Usage: %sky" in capsys.readouterr().out
    assert run(shell, "%sky launch --help").success
    out = capsys.readouterr().out
    assert "Usage: %sky launch" in out
    assert "%sky launch -c dev task.yaml" in out
    assert "jupyter sky" not in out


@pytest.mark.parametrize(
    ("cell", "code", "said"),
    [
        ("%sky lunch", 2, "There is no command 'lunch'. Did you mean 'launch'?\nhint: `%sky --help`"),
        (
            "%sky status nope",
            1,
            "There is no cluster 'nope'.\nhint: You have no clusters; `%sky launch -c nope …`",
        ),
        ("%sky exec 'open", 2, "The line cannot be read: No closing quotation."),
        ("%%sky status\nx", 2, "%%sky takes `launch` or `exec`"),
        ("%%sky launch --dryrun\nrun: echo\nnum_node: 2\n", 2, "<cell>:3: "),
        ("%%sky launch --dryrun\nresources:\n  cpus: {a: b}\n", 2, "<cell>:3: "),
        ("%%sky exec dev x.yaml\necho", 2, "already says what to run"),
        ("%sky launch --dryrun --gpus H100:8 -- x", 3, "H100"),
    ],
)
def test_an_error_ends_the_cell_without_a_traceback(shell, sky_home, capsys, cell, code, said):
    done = run(shell, cell)
    assert isinstance(done.error_in_exec, SkyCommandError)
    assert done.error_in_exec.code == code
    assert said in str(done.error_in_exec)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert said.splitlines()[0] in captured.out + captured.err


def test_variables_of_python_are_for_the_line_and_not_for_the_body(shell, sky_home, capsys):
    run(shell, "name = 'Dev'")
    done = run(shell, "%sky status $name")
    assert "'Dev' cannot be the name of a cluster" in str(done.error_in_exec)
    run(shell, "def inner():\n    name = 'Inner'\n    get_ipython().run_line_magic('sky', 'status {name}')")
    assert "'Inner' cannot be" in str(run(shell, "inner()").error_in_exec)
    done = run(shell, "%%sky launch --dryrun -c dev\nname: '{name}'\nrun: echo $name\n")
    assert "{name}" in str(done.error_in_exec)
    assert "Dev" not in str(done.error_in_exec)


def test_a_cell_is_planned_as_yaml_or_script(shell, sky_home):
    plan = run(shell, "%%sky launch --dryrun\nnum_nodes: 2\nrun: hostname\n").result
    assert "Considered resources (2 nodes):" in str(plan)
    plan = run(shell, "%%sky launch --dryrun --num-nodes 3\n#!/usr/bin/env python3\nprint(1)\n").result
    assert "Considered resources (3 nodes):" in str(plan)
    assert plan[0].chosen
    assert "✔" in plan._repr_html_()


def test_where_an_error_comes_from_is_told_on_request(shell, sky_home, monkeypatch):
    monkeypatch.setenv("JUPYTER_SKY_DEBUG", "1")
    from jupyter_sky.errors import ClusterNotFoundError

    assert isinstance(run(shell, "%sky status nope").error_in_exec, ClusterNotFoundError)


@pytest.mark.parametrize(
    ("text", "some", "none"),
    [
        ("%sky la", {"launch"}, {"status"}),
        ("%sky ", {"launch", "status", "ops"}, set()),
        ("rows = %sky st", {"status", "stop", "start"}, {"launch"}),
        ("%%sky l", {"launch", "logs"}, set()),
        ("%sky ops a", {"attach"}, {"autostop"}),
        ("%sky launch --re", {"--region", "--retry-until-up"}, {"--gpus"}),
        ("%sky launch --gp", {"--gpus"}, set()),
        ("%sky status -o ", {"json", "table"}, set()),
        ("%sky status --output=j", {"--output=json"}, set()),
        ("x = 1\n%sky sto", {"stop"}, set()),
        ("%sky check lo", {"local"}, set()),
        ("%sky launch tra", {"train.yaml", "trash/"}, {"launch"}),
        ("%sky launch --workdir tra", {"trash/"}, {"train.yaml"}),
        ("%sky launch trash/", {"trash/inner.yml"}, set()),
    ],
)
def test_completion(shell, sky_home, tmp_path, monkeypatch, text, some, none):
    (tmp_path / "train.yaml").touch()
    (tmp_path / "trash").mkdir()
    (tmp_path / "trash" / "inner.yml").touch()
    monkeypatch.chdir(tmp_path)
    found = set(completions(shell, text))
    assert some <= found
    assert not none & found


def test_other_lines_are_completed_as_before(shell):
    run(shell, "statuesque = 1")
    assert "statuesque" in completions(shell, "statu")
    assert not {"status"} & set(completions(shell, "skyline la"))


def test_completion_never_raises(shell, monkeypatch, tmp_path):
    broken = tmp_path / "home"
    broken.write_text("not a folder")
    monkeypatch.setenv("JUPYTER_SKY_HOME", str(broken))
    for text in ("%sky down ", "%sky logs dev ", "%sky ops attach ", "%sky 'open ", "%sky launch 'op en"):
        assert isinstance(completions(shell, text), list)
    assert os.environ["JUPYTER_SKY_HOME"] == str(broken)
    assert Path(broken).is_file()
