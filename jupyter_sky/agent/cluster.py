"""The nodes of a cluster as its head sees them: who they are, what they have, and how to reach them.

A single node is a cluster of one and needs nothing of the network. The head of several learns the others from
`node.configure`, asks each what it has, and writes that to `cluster.json`, so that a restarted agent knows it
again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Optional

from .node import Node, read_json, write_json
from .params import text, whole
from .placement import Capacity
from .wire import CallError

if TYPE_CHECKING:
    from .peers import Peer
    from .ranks import LocalRank, Rank

_ANSWER_LIMIT = 20.0


class Cluster:
    """All ranks of the cluster, rank 0 being this node.

    Parameters
    ----------
    node, local
        This node and its own rank.
    on_up
        Called whenever a worker is there (again).
    """

    def __init__(self, node: Node, local: LocalRank, on_up: Callable[[Peer], Awaitable[None]]) -> None:
        self._node = node
        self._on_up = on_up
        self.local = local
        self.ranks: List[Rank] = [local]
        self.capacities = [self._own_capacity()]
        self.ips = [node.ip]
        self.peers: Dict[int, Peer] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every node is known, so that jobs on several nodes can be placed."""
        return len(self.ranks) == self._node.num_nodes

    def load(self) -> None:
        """Take up what an earlier agent of this node wrote down."""
        known = read_json(self._node.path("cluster.json"))
        if isinstance(known, dict):
            self._adopt(known["peers"])

    async def configure(self, peers: List[Dict[str, Any]]) -> None:
        """Learn all nodes, prove that each worker answers, and write it down.

        Raises
        ------
        CallError
            `bad_params`: the ranks are not 0 to n - 1; `peer_unreachable` names the ranks that do not answer.
        """
        by_rank = {whole(peer, "rank"): peer for peer in peers}
        for rank, peer in by_rank.items():
            text(peer, "ip")
            if rank:
                text(peer, "host")
                whole(peer, "port", 1, 65535)
        if sorted(by_rank) != list(range(self._node.num_nodes)):
            raise CallError(
                "bad_params",
                f"the cluster has ranks 0 to {self._node.num_nodes - 1}; these were given: {sorted(by_rank)}",
            )
        wanted = [by_rank[rank] for rank in range(1, self._node.num_nodes)]
        for peer in wanted:
            if peer["rank"] in self.peers:
                # Jobs may be under way there: they go on with the same worker, wherever it listens now.
                self.peers[peer["rank"]].move(peer["host"], peer["port"])
            else:
                self.peers[peer["rank"]] = self._dial(peer)
        answers = await asyncio.gather(*(self._ask(peer["rank"]) for peer in wanted))
        silent = [
            f"{peer['rank']} ({peer['host']}:{peer['port']}: {answer})"
            for peer, answer in zip(wanted, answers)  # noqa: B905 - Python 3.8 knows no `strict`
            if isinstance(answer, str)
        ]
        if silent:
            raise CallError("peer_unreachable", f"these ranks do not answer: {', '.join(silent)}")
        known = [{"rank": 0, "ip": by_rank[0]["ip"]}]
        for peer, answer in zip(wanted, answers):  # noqa: B905 - Python 3.8 knows no `strict`
            assert not isinstance(answer, str)
            if answer["cluster_id"] != self._node.cluster_id or answer["rank"] != peer["rank"]:
                raise CallError("peer_unreachable", f"at {peer['host']}:{peer['port']} answers another node")
            known.append({**peer, "cpus": answer["cpus"], "gpus": [gpu["index"] for gpu in answer["gpus"]]})
        write_json(self._node.path("cluster.json"), {"peers": known})
        self._adopt(known)

    async def close(self) -> None:
        """Let go of all workers."""
        for peer in self.peers.values():
            await peer.close()
        self.peers.clear()

    def _adopt(self, known: List[Dict[str, Any]]) -> None:
        from .ranks import RemoteRank

        self.ips = [peer["ip"] for peer in known]
        del self.ranks[1:]
        self.capacities = [self._own_capacity()]
        for peer in known[1:]:
            rank = peer["rank"]
            if rank not in self.peers:
                self.peers[rank] = self._dial(peer)
            self.ranks.append(RemoteRank(self.peers[rank]))
            self.capacities.append(Capacity(peer["cpus"], peer["gpus"]))

    def _own_capacity(self) -> Capacity:
        return Capacity(self._node.cpus, [gpu["index"] for gpu in self._node.gpus])

    def _dial(self, peer: Dict[str, Any]) -> Peer:
        from .peers import Peer

        return Peer(self._node, peer["rank"], peer["host"], peer["port"], self._on_up)

    async def _ask(self, rank: int) -> Any:
        """Give the worker's `node.info`, or why there is none."""
        from .peers import PeerLostError

        asking = self.peers[rank].ask("node.info", {}, _ANSWER_LIMIT)
        try:
            return await asyncio.wait_for(asking, _ANSWER_LIMIT)
        except (CallError, PeerLostError) as error:
            return str(error)
        except asyncio.TimeoutError:
            return self.peers[rank].why


def find_peer(cluster: Optional[Cluster], rank: Any) -> Peer:
    """Give the worker of a rank; `CallError` says why there is none."""
    if cluster is None:
        raise CallError("not_head", "only the head of a cluster reaches the other ranks")
    if not isinstance(rank, int) or rank not in cluster.peers:
        raise CallError("no_such_rank", f"the cluster has no worker of rank {ascii(rank)[:100]}")
    return cluster.peers[rank]
