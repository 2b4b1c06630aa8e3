"""What `launch` and `exec` were asked to run."""

from __future__ import annotations

import subprocess

import pytest

from jupyter_sky.cli.entrypoint import command_text, environment, is_task_yaml, script_text, task_of
from jupyter_sky.cli.face import without_secrets
from jupyter_sky.errors import SkyError, SpecError, UsageError


def task(*words, cell=None, env=None, secrets=None):
    return task_of(words, cell=cell, env=env or {}, secrets=secrets or {})


def test_a_yaml_path_is_a_task_file(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("name: train\nenvs:\n  EPOCHS: null\nrun: echo $EPOCHS\n")
    found = task(str(file), env={"EPOCHS": "3"})
    assert (found.name, found.run, found.envs) == ("train", "echo $EPOCHS", {"EPOCHS": "3"})


def test_a_task_file_may_come_through_a_pipe(monkeypatch, tmp_path):
    source = tmp_path / "task"
    source.write_text("run: hostname\n")
    with source.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert task("-").run == "hostname"


def test_a_missing_task_file_names_the_one_beside_it(tmp_path):
    (tmp_path / "train.yaml").write_text("run: a")
    with pytest.raises(SpecError, match="there is no such file") as caught:
        task(str(tmp_path / "trian.yaml"))
    assert "train.yaml" in (caught.value.hint or "")
    with pytest.raises(SpecError, match="no such file"):
        task(str(tmp_path / "nowhere" / "x.yml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SpecError, match="it is a folder"):
        task(str(tmp_path / "folder.yaml"))


def test_a_missing_task_file_does_not_name_one_that_only_ends_alike(tmp_path):
    (tmp_path / "gang.yaml").write_text("run: echo")
    with pytest.raises(SpecError) as caught:
        task_of([str(tmp_path / "nosuch.yaml")], cell=None, env={}, secrets={})
    assert "gang" not in str(caught.value.hint)


def test_a_folder_is_no_task(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        task_of([str(tmp_path)], cell=None, env={}, secrets={})


def test_words_behind_a_task_file_are_refused(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("run: a")
    with pytest.raises(UsageError, match="stands behind it"):
        task(str(file), "more")


def test_one_text_is_a_script_and_stays_as_it_is():
    text = 'echo "$HOME" && for i in 1 2; do echo $i; done'
    assert task(text).run == text
    assert task("cat config.yaml").run == "cat config.yaml"


def test_nothing_is_a_task_without_a_command():
    assert task().run is None


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["printf", "%s|", "a b", "c"], "a b|c|"),
        (["printf", "%s|", "", "it's"], "|it's|"),
        (["python3", "-c", "print(1);print('x y')"], "1\nx y\n"),
        (["echo", "$FRUIT", "${FRUIT}s"], "pear pears\n"),
        (["echo", "a$b(c)"], "a$b(c)\n"),
        (["echo", "one", "&&", "echo", "two", "|", "tr", "a-z", "A-Z"], "one\nTWO\n"),
        (["echo", "*", "a;b", "`x`", "$(x)"], "* a;b `x` $(x)\n"),
        (["echo", "~/x"], "/home/me/x\n"),
    ],
)
def test_words_stay_words_for_the_shell_on_the_node(words, printed):
    text = command_text(words)
    done = subprocess.run(
        ["bash", "-c", text or ""],
        capture_output=True,
        text=True,
        check=True,
        env={"FRUIT": "pear", "HOME": "/home/me", "PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    assert done.stdout == printed


@pytest.mark.parametrize(
    "body",
    [
        "run: echo hi",
        "# a comment\n---\nname: x\nrun: |\n  echo\n",
        "resources:\n  cpus: 2\n",
        "run: [broken",
        "nam: typing-error\nrun: echo\n",
        '"run": echo',
    ],
)
def test_a_cell_that_begins_like_a_task_is_one(body):
    assert is_task_yaml(body)


@pytest.mark.parametrize(
    "body",
    [
        "echo run: me",
        "python train.py",
        "#!/bin/sh\nrun: no",
        "key: value",
        "cat > t.yaml <<E\nrun: x\nE",
        "for i in 1 2; do\n  run $i\ndone",
        "",
        "x: [",
    ],
)
def test_any_other_cell_is_a_script(body):
    assert not is_task_yaml(body)


def test_an_error_in_a_cell_names_the_line_of_the_cell():
    with pytest.raises(SpecError) as caught:
        task(cell="name: x\nresources:\n  cpus: 2\n  gpuz: 1\nrun: echo\n")
    assert str(caught.value).startswith("<cell>:5: ")
    with pytest.raises(SpecError) as caught:
        task(cell="nam: x\nrun: echo\n")
    assert str(caught.value).startswith("<cell>:2: ")


def test_a_cell_is_the_task_alone():
    assert task(cell="echo hi\n").run == "echo hi\n"
    with pytest.raises(UsageError, match="already says what to run"):
        task("x.yaml", cell="echo hi")
    with pytest.raises(UsageError, match="empty"):
        task(cell=" \n")


@pytest.mark.parametrize(
    ("body", "printed", "code"),
    [
        ("echo $0 | grep -q . && echo plain", "plain\n", 0),
        ("#!/bin/bash\necho bash", "bash\n", 0),
        ("#!/bin/bash -eu\nfalse\necho never", "", 1),
        ("#!/usr/bin/env python3\nimport sys\nprint('python')\nsys.exit(3)", "python\n", 3),
        (
            "#!/usr/bin/env python3\nprint('''\nJUPYTER_SKY_CELL_END\n$HOME''')\n",
            "\nJUPYTER_SKY_CELL_END\n$HOME\n",
            0,
        ),
    ],
)
def test_the_first_line_of_a_script_says_who_runs_it(body, printed, code):
    done = subprocess.run(["bash", "-c", script_text(body)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (printed, code), done.stderr


@pytest.mark.parametrize("first", ["#!", "#! 'open"])
def test_a_first_line_that_names_no_program_is_refused(first):
    with pytest.raises(SkyError):
        script_text(f"{first}\necho")


def test_options_win_over_files(tmp_path, monkeypatch):
    file = tmp_path / "env"
    file.write_text("A=1\nB=2\n")
    monkeypatch.setenv("MINE", "here")
    assert environment(["B=3", "MINE"], [str(file)], "--env") == {"A": "1", "B": "3", "MINE": "here"}
    with pytest.raises(SpecError, match="--secret"):
        environment(["NOT_SET_ANYWHERE"], [], "--secret")


def test_secrets_are_not_remembered():
    typed = [
        "launch",
        "--secret",
        "TOKEN=abc",
        "--secret=KEY=def",
        "--secret",
        "NAME",
        "--env",
        "A=1",
        "x.yaml",
    ]
    assert without_secrets(typed) == [
        "launch",
        "--secret",
        "TOKEN=***",
        "--secret=KEY=***",
        "--secret",
        "NAME",
        "--env",
        "A=1",
        "x.yaml",
    ]
