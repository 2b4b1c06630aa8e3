"""Several nodes: gangs over real TLS, the merged log, lost workers, and passing streams on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal

import pytest
from agent_nodes import lives, wait_until

from jupyter_sky.agent import process
from jupyter_sky.agent.wire import CallError

LINE = re.compile(r"\((head|worker\d+), rank=(\d+), pid=(\d+)\) (.*)")


def test_a_gang_runs_on_every_node_and_its_log_is_merged(make_cluster):
    cluster = make_cluster(3)
    client = cluster.up()
    job_id = client.submit(
        "echo run $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES pid $PPID; echo $SKYPILOT_NODE_IPS; echo $HOME",
        setup="echo setup $SKYPILOT_SETUP_NODE_RANK pid $PPID",
        num_nodes=3,
    )
    text = client.log(job_id, follow=True).decode()
    job = client.ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("SUCCEEDED", [0, 0, 0])
    ips = " ".join(peer["ip"] for peer in cluster.peers())
    for rank, node in enumerate(cluster.nodes):
        name = "head" if rank == 0 else f"worker{rank}"
        lines = [LINE.fullmatch(line) for line in text.splitlines() if f"rank={rank}," in line]
        assert [line[1] for line in lines] == [name] * 4
        assert [line[4] for line in lines] == [
            f"setup {rank} pid {lines[0][3]}",
            f"run {rank} of 3 pid {lines[1][3]}",
            ips,
            str(node.home),
        ]
        own = client.log(job_id, rank=rank, follow=True).decode()
        assert own == "".join(line[4] + "\n" for line in lines)
    assert client.log(job_id, rank=2, tail=1) == f"{cluster.nodes[2].home}\n".encode()
    assert job["log_path"] == str(cluster.head.root / "jobs" / str(job_id) / "merged.log")


def test_one_rank_that_fails_ends_the_others(make_cluster, tmp_path):
    client = make_cluster(3).up()
    job_id = client.submit(
        f"echo $$ > {tmp_path}/pid-$SKYPILOT_NODE_RANK\n"
        f"while [ ! -e {tmp_path}/pid-2 ]; do sleep 0.02; done\n"
        '[ "$SKYPILOT_NODE_RANK" = 1 ] && exit 9\nsleep 1000',
        num_nodes=3,
    )
    job = client.ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("FAILED", [137, 9, 137])
    assert "rank 1" in job["reason"]
    for rank in range(3):
        assert not lives((tmp_path / f"pid-{rank}").read_text())


def test_a_setup_that_fails_on_a_worker_fails_the_job_before_run(make_cluster):
    client = make_cluster(2).up()
    job = client.ended(client.submit("echo never", setup="exit $SKYPILOT_SETUP_NODE_RANK", num_nodes=2))
    assert job["status"] == "FAILED_SETUP"
    assert job["exit_codes"] in ([0, 1], [137, 1])  # the head may not have been done yet
    assert client.log(job["job_id"], follow=True) == b""


def test_cancel_reaches_every_node(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    job_id = client.submit("sleep 1000", num_nodes=2, secrets={"A": "b"})
    client.wait_status(job_id, "RUNNING")
    client.call("job.cancel", ids=[job_id])
    assert client.call("job.get", job_id=job_id)["exit_codes"] == [137, 137]
    for node in cluster.nodes:
        # the keeper of the secret was killed a moment ago
        wait_until(lambda node=node: node.processes() == {node.pid}, what="only the agent being left")


def test_a_job_of_a_worker_killed_and_replaced_goes_on(make_cluster, tmp_path):
    cluster = make_cluster(2)
    client = cluster.up()
    gate = tmp_path / "gate"
    job_id = client.submit(
        f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after",
        num_nodes=2,
    )
    wait_until(lambda: client.log(job_id).count(b"before") == 2)
    worker = cluster.nodes[1]
    port = worker.ready["port"]
    worker.kill()
    fields = json.loads((worker.root / "node.json").read_text())
    fields["listen"] = f"{fields['ip']}:{port}"
    (worker.root / "node.json").write_text(json.dumps(fields))
    worker.serve()
    gate.touch()
    job = client.ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("SUCCEEDED", [0, 0])
    text = client.log(job_id, follow=True)
    assert text.count(b"before") == text.count(b"after") == 2


def test_a_worker_that_is_lost_fails_the_job_and_is_cleaned_when_it_is_back(make_cluster):
    cluster = make_cluster(2, lost_after=0.5)
    client = cluster.up()
    job_id = client.submit("sleep 1000", num_nodes=2)
    client.wait_status(job_id, "RUNNING")
    worker = cluster.nodes[1]
    wait_until(lambda: len(worker.processes()) >= 2)
    fields = json.loads((worker.root / "node.json").read_text())
    fields["listen"] = f"{fields['ip']}:{worker.ready['port']}"
    (worker.root / "node.json").write_text(json.dumps(fields))
    worker.kill()
    job = client.ended(job_id)
    assert (job["status"], job["exit_codes"]) == ("FAILED_DRIVER", [137, None])
    assert "worker 1" in job["reason"]
    assert job["reason"].encode() in client.log(job_id, follow=True)
    worker.serve()
    wait_until(lambda: worker.processes() == {worker.pid}, what="the end of the job given up")
    wait_until(lambda: _answers(client, 1), what="the worker being back")
    assert client.ended(client.submit("true", num_nodes=2))["status"] == "SUCCEEDED"


def test_a_head_killed_and_replaced_drives_its_gang_on_and_merges_every_line_once(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    job_id = client.submit(
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; sleep 0.5; echo end", num_nodes=2
    )
    merged = cluster.head.root / "jobs" / str(job_id) / "merged.log"
    for size in (1, 100_000, 300_000):
        wait_until(lambda size=size: merged.exists() and merged.stat().st_size > size, what=f"{size} bytes")
        cluster.head.kill()
        cluster.head.serve()
    client = cluster.head.client()
    text = client.log(job_id, follow=True).decode()
    assert client.ended(job_id)["status"] == "SUCCEEDED"
    expected = [f"line {number}" for number in range(1, 20001)] + ["end"]
    for rank in range(2):
        assert [match[4] for match in LINE.finditer(text) if match[2] == str(rank)] == expected
    assert len(text.splitlines()) == 2 * len(expected)


def test_streams_pass_through_the_head_to_a_worker(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    assert client.call("node.info", rank=1)["rank"] == 1
    with pytest.raises(CallError) as refused:
        client.call("job.list", rank=1)
    assert refused.value.code == "unknown_method"
    with pytest.raises(CallError) as refused:
        client.call("node.info", rank=5)
    assert refused.value.code == "no_such_rank"

    async def echo_through_worker():
        async def echo(reader, writer):
            writer.write(await reader.read())  # answers only after the half-close
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        stream = await client.session.open({"kind": "dial", "rank": 1, "host": "127.0.0.1", "port": port})
        data = os.urandom(3_000_000)
        await stream.write(data)
        await stream.write_eof()
        back = await stream.readexactly(len(data))
        assert await stream.read() == b""
        server.close()
        return back == data

    assert client.run(echo_through_worker())


def test_a_worker_refuses_who_has_no_certificate_of_the_cluster(make_cluster, tmp_path):
    import ssl

    from jupyter_sky.agent.wire import WireError, client_context, dial_tls
    from jupyter_sky.agent.wire.records import greeting
    from jupyter_sky.link import pki

    cluster = make_cluster(2)
    cluster.up()
    peer = cluster.peers()[1]
    stranger = pki.make_ca("another")
    folder = tmp_path / "stranger"
    folder.mkdir()
    cert, key = pki.issue(stranger, "another-0", ["127.0.0.1"])
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    ca = json.loads((cluster.head.root / "node.json").read_text())["tls"]["ca"]

    async def knock(context):
        channel = await dial_tls(peer["host"], peer["port"], context)
        try:
            await channel.send([greeting({"session": "0" * 32, "new": True})])
            return bytes(await channel.recv())
        except WireError:
            return b""
        finally:
            channel.close()
            await channel.wait_closed()

    bare = ssl.create_default_context(cafile=ca)
    for context in (client_context(ca, str(folder / "cert.pem"), str(folder / "key.pem")), bare):
        assert asyncio.run(knock(context)) == b""


def test_configure_names_the_ranks_that_do_not_answer(make_cluster):
    cluster = make_cluster(3, lost_after=0.5)
    for node in cluster.nodes:
        node.serve()
    client = cluster.head.client()
    peers = cluster.peers()
    peers[2]["port"] = 9
    with pytest.raises(CallError) as refused:
        client.call("node.configure", peers=peers)
    assert refused.value.code == "peer_unreachable"
    assert "2 (" in refused.value.message
    assert "1 (" not in refused.value.message
    with pytest.raises(CallError) as refused:
        client.submit("true", num_nodes=3)
    assert refused.value.code == "not_configured"
    client.call("node.configure", peers=cluster.peers())
    assert client.ended(client.submit("true", num_nodes=3))["status"] == "SUCCEEDED"


def test_shutdown_of_the_head_ends_every_node(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    job_id = client.submit("setsid sleep 1000 & sleep 1000", num_nodes=2)
    client.wait_status(job_id, "RUNNING")
    assert client.call("node.shutdown", reason="stop") == {}
    for node in cluster.nodes:
        wait_until(lambda node=node: not node.processes(), what=f"the end of {node.node_id}")
        assert json.loads((node.root / "ended.json").read_text())["reason"] == "stop"


def test_a_worker_that_does_not_answer_while_it_is_stopped_is_waited_for(make_cluster):
    cluster = make_cluster(2)
    client = cluster.up()
    worker = cluster.nodes[1]
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        job_id = client.submit("echo here", num_nodes=2)
        client.wait_status(job_id, "RUNNING")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert client.ended(job_id)["status"] == "SUCCEEDED"
    assert process.is_alive(worker.pid, worker.ready["start_time"])


def _answers(client, rank: int) -> bool:
    try:
        return client.call("node.info", rank=rank)["rank"] == rank
    except CallError:
        return False
