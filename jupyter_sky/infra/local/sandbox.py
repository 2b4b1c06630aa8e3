"""Making the sandboxes of a cluster: folders, certificates, and what each agent is told.

All of it is complete for every node before the first agent starts, so that a kill in between leaves either
nothing that runs or nothing that is half made. The key that signed the certificates is forgotten with this
process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_sky.infra.base import Offer
from jupyter_sky.infra.local.layout import write_json, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_sky.infra.local.allocations import Holding
    from jupyter_sky.infra.local.facts import Gpu
    from jupyter_sky.infra.local.layout import ClusterFile, ClusterFolder


def make_sandboxes(folder: ClusterFolder, content: ClusterFile, holding: Holding) -> None:
    """Make the folders and certificates of every node, anew where an earlier attempt was cut off."""
    authority = None
    if content.num_nodes > 1:
        from jupyter_sky.link import pki

        authority = pki.make_ca(content.cluster_id)
    for rank in range(content.num_nodes):
        node = folder.node(rank)
        node.path.mkdir(mode=0o700, exist_ok=True)
        node.home.mkdir(mode=0o700, exist_ok=True)
        if authority is not None:
            certificate, key = pki.issue(authority, node.node_id, [holding.address(rank)])
            node.tls("ca").parent.mkdir(mode=0o700, exist_ok=True)
            write_private(node.tls("ca"), authority.cert_pem)
            write_private(node.tls("cert"), certificate)
            write_private(node.tls("key"), key)


def write_node_config(
    folder: ClusterFolder, content: ClusterFile, holding: Holding, gpus: Sequence[Gpu], rank: int
) -> None:
    """Write what the agent of one node is told; `gpus` are those of this machine."""
    node = folder.node(rank)
    offer = Offer.from_dict(content.offer)
    address = holding.address(rank)
    held = set(holding.gpus[rank]) if holding.gpus else set()
    several = content.num_nodes > 1
    config: dict[str, Any] = {
        "cluster_id": content.cluster_id,
        "cluster_name": content.cluster_name,
        "node_id": node.node_id,
        "rank": rank,
        "num_nodes": content.num_nodes,
        "ip": address,
        "listen": f"{address}:0" if several else None,
        "home": str(node.home),
        "cpus": offer.cpus,
        "memory_mb": int(offer.memory_gb * 1024),
        "gpus": [
            {"index": gpu.index, "name": gpu.name, "memory_mb": gpu.memory_mb}
            for gpu in gpus
            if gpu.index in held
        ],
        "tls": {what: str(node.tls(what)) for what in ("ca", "cert", "key")} if several else None,
        "cluster_info": {
            "cluster_name": content.cluster_name,
            "cloud": offer.infra,
            "region": offer.region,
            "zone": offer.zone,
        },
        "lease": None,
    }
    write_json(node.config, config)
