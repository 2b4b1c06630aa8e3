"""Logs: whole, in order, from anywhere, however much and whatever a job prints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jupyter_sky.agent.wire import CallError


def rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_a_log_can_be_read_from_an_offset_or_its_last_lines(client):
    job_id = client.submit("for i in 1 2 3 4 5; do echo line $i; done; printf half")
    client.ended(job_id)
    everything = b"".join(b"line %d\n" % number for number in range(1, 6)) + b"half"
    assert client.log_with_head(job_id) == ({"job_id": job_id, "offset": 0}, everything)
    assert client.log_with_head(None, offset=10) == ({"job_id": job_id, "offset": 10}, everything[10:])
    assert client.log_with_head(job_id, tail=3) == ({"job_id": job_id, "offset": 21}, everything[21:])
    assert client.log(job_id, tail=1) == b"half"
    assert client.log(job_id, tail=0) == b""
    assert client.log(job_id, tail=1000) == everything
    assert client.log_with_head(job_id, offset=10**9) == ({"job_id": job_id, "offset": len(everything)}, b"")


def test_a_follower_waits_for_a_job_that_waits(client):
    blocker = client.submit("sleep 0.3", cpus=4)
    job_id = client.submit("echo here", cpus=4)
    assert client.log(job_id) == b""
    assert client.log(job_id, follow=True) == b"here\n"
    assert client.status(blocker) == "SUCCEEDED"


def test_the_log_of_a_job_cancelled_in_the_queue_is_empty(client):
    client.submit("sleep 1000", cpus=4)
    job_id = client.submit("true", cpus=4)
    client.call("job.cancel", ids=[job_id])
    assert client.log(job_id, follow=True) == b""


@pytest.mark.parametrize(("job_id", "rank", "code"), [(9, None, "job_not_found"), (1, 3, "rank_not_found")])
def test_the_log_of_nothing_is_refused(client, job_id, rank, code):
    client.ended(client.submit("true"))
    with pytest.raises(Exception, match=r"no job 9|no rank 3") as refused:
        client.log(job_id, rank=rank)
    assert refused.value.code == code


def test_an_offset_below_nothing_is_refused(client):
    client.ended(client.submit("true"))
    with pytest.raises(Exception, match="offset") as refused:
        client.log(None, offset=-1)
    assert refused.value.code == "bad_params"


def test_ten_megabytes_without_a_newline_and_any_bytes_arrive_whole(node, client, tmp_path):
    data = os.urandom(10_000_000).replace(b"\n", b"")
    (tmp_path / "data").write_bytes(data)
    before = rss_kib(node.pid)
    job_id = client.submit(f"cat {tmp_path}/data")
    assert client.log(job_id, follow=True) == data
    assert client.log(job_id, tail=1) == data
    assert rss_kib(node.pid) - before < 16_000, "the agent held the log in memory"


def test_a_million_lines_at_full_speed_arrive_in_order(node, client):
    before = rss_kib(node.pid)
    job_id = client.submit("seq 1000000")
    data = client.log(job_id, follow=True)
    assert data == b"".join(b"%d\n" % number for number in range(1, 1_000_001))
    assert rss_kib(node.pid) - before < 16_000


def test_a_gang_that_prints_anything_is_merged_line_by_line(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    script = (
        "import os, sys; rank = os.environ['SKYPILOT_NODE_RANK'].encode()\n"
        "out = sys.stdout.buffer\n"
        "out.write(b'progress 1\\rprogress 2\\r\\nlong ' + rank * 150000 + b'\\n')\n"
        "out.write(bytes(range(256)).replace(b'\\n', b'').replace(b'\\r', b'') + b'\\nno end')\n"
    )
    job_id = client.submit(f"cat > script.py <<'END'\n{script}END\npython3 script.py", num_nodes=2)
    merged = client.log(job_id, follow=True)
    assert client.ended(job_id)["status"] == "SUCCEEDED"
    lines = merged.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert lines.pop() == b""
    for rank in range(2):
        own = [line.split(b") ", 1)[1] for line in lines if b"rank=%d," % rank in line[:40]]
        assert own[:2] == [b"progress 1", b"progress 2"]
        assert b"".join(own[2:5]) == b"long " + b"%d" % rank * 150000
        assert [len(line) for line in own[2:4]] == [65536, 65536]
        assert own[5] == bytes(byte for byte in range(256) if byte not in b"\r\n")
        assert own[6:] == [b"no end"]


def test_a_full_disk_of_the_jobs_ends_them_and_not_the_agent(node, client):
    limit = "ulimit -f 1"  # a write beyond it fails like one on a full disk
    job = client.ended(client.submit(f"{limit}; trap '' XFSZ; head -c 100000 /dev/zero || exit 28"))
    assert job["status"] == "FAILED"
    assert client.ended(client.submit("true"))["status"] == "SUCCEEDED"
    assert json.loads((node.root / "ready.json").read_text())["pid"] == node.pid


def _what_stops(client) -> str:
    """Submit jobs until one is refused or cannot be driven; give the word why."""
    while True:
        try:
            job = client.ended(client.submit("echo hello"))
        except CallError as refused:
            return refused.code
        if job["status"] == "FAILED_DRIVER":
            return job["reason"].rpartition("] ")[2].split(":")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_of_the_node_is_told_and_survived(make_cluster, make_node, tmp_path):
    import subprocess

    disk = tmp_path / "n0"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this machine allows no mounts")
    try:
        node = make_node()
        node.serve()
        client = node.client()
        full = client.ended(client.submit("head -c 3000000 /dev/zero > ballast; true"))
        assert full["status"] in {"SUCCEEDED", "FAILED_DRIVER"}
        assert _what_stops(client) in {"disk", "No space left on device"}
        (node.home / "sky_workdir" / "ballast").unlink()
        assert client.ended(client.submit("echo hello"))["status"] == "SUCCEEDED"
    finally:
        node.clean()
        subprocess.run(["umount", str(disk)], check=True)
