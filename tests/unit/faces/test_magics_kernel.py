"""`%sky` in a real kernel, over the Jupyter protocol, with a real cluster on `local`."""

from __future__ import annotations

import os
import queue
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

if TYPE_CHECKING:
    from jupyter_client.blocking import BlockingKernelClient


LIMIT = 60


@dataclass
class Done:
    """What a cell did: its output as text, its displays, its result and its error."""

    text: str = ""
    displays: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Kernel:
    """A kernel and a person who types into it."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(self, code, *, answer=None, until=None, interrupt=False):
        """Run a cell; press interrupt when `until` was written."""
        message_id = self.client.execute(code, allow_stdin=answer is not None)
        done, deadline = Done(), time.monotonic() + LIMIT
        while True:
            if answer is not None:
                try:
                    asked = self.client.get_stdin_msg(timeout=0.02)
                except queue.Empty:
                    pass
                else:
                    done.text += asked["content"]["prompt"]
                    self.client.input(answer)
            try:
                message = self.client.get_iopub_msg(timeout=0.05)
            except queue.Empty:
                assert time.monotonic() < deadline, f"the cell does not end: {done}"
                continue
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                done.text += content["text"]
            elif kind in {"display_data", "update_display_data"}:
                name = content.get("transient", {}).get("display_id", "")
                done.displays.setdefault(name, []).append(content["data"])
            elif kind == "execute_result":
                done.result = content["data"]
            elif kind == "error":
                done.error = content
            elif kind == "status" and content["execution_state"] == "idle":
                return done
            if interrupt and until is not None and until in done.text + repr(done.displays):
                interrupt = False
                self.manager.interrupt_kernel()

    def complete(self, code):
        self.client.complete(code)
        while True:
            reply = self.client.get_shell_msg(timeout=LIMIT)
            if reply["msg_type"] == "complete_reply":
                return reply["content"]


@pytest.fixture
def kernel(sky_home, tmp_path):
    manager = KernelManager()
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=LIMIT)
    typist = Kernel(manager, client)
    assert typist.run("%load_ext jupyter_sky").error is None
    yield typist
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_notebook_launches_a_cluster_and_everything_is_seen_there(kernel):
    done = kernel.run("%sky launch -c dev -- echo hi", answer="y")
    assert done.error is None, done
    assert "Launching a new cluster 'dev'. Proceed? [Y/n]: " in done.text
    assert done.text.endswith("hi\n✓ Job 1 on cluster 'dev' ended: SUCCEEDED.\n")
    tables = [data["text/html"] for shown in done.displays.values() for data in shown]
    assert any("Considered resources (1 node):" in html and "<table" in html for html in tables)
    (progress,) = [shown for shown in done.displays.values() if "provision" in shown[0]["text/html"]]
    assert len(progress) > 1
    assert "✓ provision" in progress[-1]["text/html"]
    assert "✓ provision" in progress[-1]["text/plain"]
    assert done.result is not None
    assert "job 1 on cluster dev: SUCCEEDED" in done.result["text/plain"]

    done = kernel.run("rows = %sky status\nrows")
    assert done.result is not None
    assert "<table" in done.result["text/html"]
    assert "dev" in done.result["text/plain"]
    done = kernel.run("import pandas as pd\npd.DataFrame(rows)[['name', 'status']].values.tolist()")
    assert done.result == {"text/plain": "[['dev', 'UP']]"}

    done = kernel.run("cluster = 'dev'\n%sky exec $cluster -- echo rank $SKYPILOT_NODE_RANK of {1 + 1}")
    assert done.error is None, done
    assert "rank 0 of 2\n" in done.text
    done = kernel.run("%%sky exec {cluster}\nfor i in 1 2; do\n  echo line ${i} {cluster}\ndone\n")
    assert "line 1 {cluster}\nline 2 {cluster}\n" in done.text
    done = kernel.run("%%sky exec dev\n#!/usr/bin/env python3\nprint('grüße', 6 * 7)\n")
    assert "grüße 42\n" in done.text
    done = kernel.run("%%sky launch -c dev\nname: train\nenvs:\n  A: b\nrun: echo $A\n")
    assert "b\n" in done.text
    assert "Proceed" not in done.text

    done = kernel.run("%sky exec dev -- 'echo bad; exit 3'\nprint('never')")
    assert "bad\n" in done.text
    assert "never" not in done.text
    assert done.error is not None
    assert done.error["ename"] == "SkyCommandError"
    assert "ended: FAILED" in done.error["evalue"]
    assert not any("File" in line for line in done.error["traceback"])
    assert "bad\n" in kernel.run("%sky logs dev --no-follow").text

    assert kernel.complete("%sky exec de")["matches"] == ["dev"]
    assert set(kernel.complete("%sky logs dev ")["matches"]) >= {"1", "2", "train"}
    content = kernel.complete("%sky queue --skip-f")
    assert content["matches"] == ["--skip-finished"]
    assert (content["cursor_start"], content["cursor_end"]) == (11, 19)
    assert "launch" in kernel.complete("%%sky la")["matches"]

    done = kernel.run(
        "import jupyter_sky\njob, handle = jupyter_sky.exec(jupyter_sky.Task(run='echo sdk'), 'dev')"
    )
    assert done.error is None, done
    assert "sdk\n" in kernel.run("code = jupyter_sky.tail_logs('dev', job)").text
    assert kernel.run("code, handle.name").result == {"text/plain": "(0, 'dev')"}

    done = kernel.run("%sky down dev -y")
    assert done.error is None, done
    assert "Cluster 'dev' is gone" in done.text


def test_where_nobody_can_be_asked_the_cell_says_so(kernel):
    done = kernel.run("%sky launch -c dev -- echo hi")
    assert done.error is not None
    assert "Add -y" in done.error["evalue"]
    done = kernel.run("%sky launch -c dev -- echo hi", answer="n")
    assert done.error is not None
    assert "was not launched" in done.error["evalue"]
    done = kernel.run("%sky status")
    assert done.result is not None
    assert done.result["text/plain"] == "No existing clusters."


def test_an_interrupt_leaves_the_job_and_the_operation(kernel):
    from jupyter_sky.flows import operations

    with operations.cluster_lock("dev"):
        done = kernel.run("%sky launch -c dev -y -- 'echo up; sleep 600'", until="wait", interrupt=True)
    assert done.error is not None
    found = re.search(r"`%sky ops attach ([0-9a-f]+)`", done.error["evalue"])
    assert found is not None, done
    assert not any("File" in line for line in done.error["traceback"])
    done = kernel.run(f"%sky ops attach {found[1]}")
    assert done.error is None, done

    done = kernel.run("%sky logs dev", until="up", interrupt=True)
    assert done.error is not None
    assert "job on cluster 'dev' goes on" in done.error["evalue"]
    assert "`%sky logs dev`" in done.error["evalue"]
    done = kernel.run("%sky cancel dev 1 -y")
    assert "✓ Cancelled: 1" in done.text
    done = kernel.run("%sky queue dev")
    assert done.result is not None
    assert "CANCELLED" in done.result["text/plain"]


def test_a_failed_command_ends_a_notebook(sky_home, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = ["%load_ext jupyter_sky", "%sky status nope", "print('never')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError, match="There is no cluster 'nope'"):
        NotebookClient(notebook, kernel_name="python3", timeout=LIMIT).execute()
    assert notebook.cells[2].outputs == []
