"""Clusters as hosts of OpenSSH: the generated configuration, and the bytes through the proxy command."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_sky.flows import launch, lifecycle, sshconfig
from jupyter_sky.spec import Task

if TYPE_CHECKING:
    from pathlib import Path

CLI = [sys.executable, "-m", "jupyter_sky"]


def test_openssh_reads_the_hosts_of_a_cluster(sky_home: Path, tmp_path: Path) -> None:
    ssh = shutil.which("ssh")
    assert ssh is not None, "install the OpenSSH client"
    launch.launch(Task(num_nodes=2), "dev")
    config = tmp_path / "config"
    config.write_text("Host other\n  User me\n")
    assert sshconfig.install(config)
    assert not sshconfig.install(config)
    for host, rank in (("dev", 0), ("dev-worker1", 1)):
        told = subprocess.run(
            [ssh, "-G", "-F", config, host], capture_output=True, text=True, check=True
        ).stdout
        assert f"hostkeyalias {host}\n" in told
        assert f"ssh-proxy dev --rank {rank} --port" in told
        assert str(sky_home) in told
    told = subprocess.run(
        [ssh, "-G", "-F", config, "other"], capture_output=True, text=True, check=True
    ).stdout
    assert "user me\n" in told
    lifecycle.down(["dev"])
    assert not list((sky_home / "ssh").glob("*.conf"))


@pytest.mark.parametrize("rank", [0, 1])
def test_the_proxy_command_carries_bytes_both_ways(sky_home: Path, rank: int) -> None:
    launch.launch(Task(num_nodes=2), "dev")
    from jupyter_sky.flows import clusters

    node = clusters.handle_of(clusters.require("dev")).nodes[rank]
    with socket.create_server((node.ip, 0)) as server:
        port = server.getsockname()[1]
        with subprocess.Popen(
            [*CLI, "ssh-proxy", "dev", "--rank", str(rank), "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as proxy:
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-a-server\r\n")
                assert proxy.stdout is not None
                assert proxy.stdin is not None
                assert proxy.stdout.readline() == b"SSH-2.0-a-server\r\n"
                proxy.stdin.write(b"SSH-2.0-a-client\r\n")
                proxy.stdin.flush()
                connection.settimeout(30)
                assert connection.recv(100) == b"SSH-2.0-a-client\r\n"
            assert proxy.stdout.read() == b""
            assert proxy.wait(30) == 0


def test_a_node_without_a_server_is_told(sky_home: Path) -> None:
    launch.launch(Task(), "dev")
    done = subprocess.run(
        [*CLI, "ssh-proxy", "dev", "--port", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "no ssh server on port 1" in done.stderr
