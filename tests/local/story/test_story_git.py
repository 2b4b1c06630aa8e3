"""A workdir that is a git repository, also one behind a password that nobody else may see."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import subprocess
import threading
from pathlib import Path

import pytest

from jupyter_sky.errors import SkyError
from jupyter_sky.flows import launch, logs
from jupyter_sky.spec import Task

PASSWORD = "pw-" + os.urandom(6).hex()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository with two commits, which a plain web server can serve."""
    folder = tmp_path / "project"
    folder.mkdir()

    def git(*words: str) -> None:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    (folder / "answer.txt").write_text("one\n")
    git("add", "answer.txt")
    git("commit", "--quiet", "-m", "First")
    git("tag", "first")
    (folder / "answer.txt").write_text("two\n")
    git("commit", "--quiet", "-am", "Second")
    return folder


def read(cluster: str, job_id: int | None) -> str:
    pieces: list[bytes] = []
    logs.tail(cluster, job_id, write=pieces.append)
    return b"".join(pieces).decode()


def test_a_repository_is_sent_at_the_wanted_commit(sky_home: Path, repository: Path) -> None:
    for ref, expected in (("main", "two\n"), ("first", "one\n"), (None, "two\n")):
        workdir = {"url": f"file://{repository}"} | ({"ref": ref} if ref else {})
        job = launch.launch(Task(workdir=workdir, run="cat answer.txt"), "dev").job_id
        assert read("dev", job) == expected


def test_a_ref_that_is_not_there_is_told(sky_home: Path, repository: Path) -> None:
    task = Task(workdir={"url": f"file://{repository}", "ref": "nowhere"}, run="true")
    with pytest.raises(SkyError, match=r"git fetch.*nowhere"):
        launch.launch(task, "dev")


class Guarded(http.server.BaseHTTPRequestHandler):
    """Git's own server behind a password, for which it looks in all command lines meanwhile."""

    root: Path
    served = 0
    seen_in: list[str] = []  # noqa: RUF012 - one server, one test

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if PASSWORD.encode() in entry.read_bytes():
                    self.seen_in.append(entry.read_text())
        wanted = "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        request = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
        }
        done = subprocess.run(
            ["git", "http-backend"],
            env={**os.environ, **request},
            input=body,
            capture_output=True,
            check=True,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(content)
        type(self).served += 1

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_password_in_the_url_reaches_git_and_nobody_else(sky_home: Path, repository: Path) -> None:
    Guarded.root = repository.parent
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://ada:$PASSWORD@127.0.0.1:{server.server_port}/project/.git"
            task = Task(
                workdir={"url": url, "ref": "main"}, secrets={"PASSWORD": PASSWORD}, run="cat answer.txt"
            )
            job = launch.launch(task, "dev").job_id
        finally:
            server.shutdown()
            thread.join()
    assert read("dev", job) == "two\n"
    assert Guarded.served
    assert not Guarded.seen_in
    held = subprocess.run(
        ["grep", "-rl", PASSWORD, str(sky_home)], capture_output=True, text=True, check=False
    )
    assert held.stdout == ""
