"""Train one logistic regression on several nodes, with nothing but numpy and TCP between them.

Everything a node must know to find the others is in three environment variables that every task gets:
`SKYPILOT_NODE_IPS`, `SKYPILOT_NUM_NODES` and `SKYPILOT_NODE_RANK`. Rank 0 listens, the others connect; after
each step every rank sends its gradient, rank 0 averages them and sends the average back. At the end the ranks
compare their weights: they must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import struct
import sys
import time

import numpy as np
from sklearn.datasets import load_digits

CLASSES = 10
PATIENCE = 60.0  # seconds that a rank waits for another


def connect(ips: list[str], rank: int, port: int) -> list[socket.socket]:
    """Give rank 0 a connection to each other rank, in order, and the others one to rank 0."""
    if rank == 0:
        with socket.create_server((ips[0], port)) as server:
            server.settimeout(PATIENCE)
            by_rank = {}
            while len(by_rank) < len(ips) - 1:
                peer, _ = server.accept()
                peer.settimeout(PATIENCE)
                by_rank[struct.unpack("!I", receive(peer))[0]] = peer
        return [by_rank[other] for other in sorted(by_rank)]
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            head = socket.create_connection((ips[0], port), timeout=PATIENCE)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # rank 0 does not listen yet
        else:
            send(head, struct.pack("!I", rank))
            return [head]


def send(peer: socket.socket, data: bytes) -> None:
    """Send one message: its length, then its bytes."""
    peer.sendall(struct.pack("!Q", len(data)) + data)


def receive(peer: socket.socket) -> bytes:
    """Receive what `send` sent."""

    def exactly(count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = peer.recv(count - len(data))
            if not piece:
                sys.exit("the connection to another rank was lost")
            data += piece
        return bytes(data)

    return exactly(struct.unpack("!Q", exactly(8))[0])


def average(gradient: np.ndarray, rank: int, peers: list[socket.socket]) -> np.ndarray:
    """Give every rank the same mean of all their gradients."""
    if rank == 0:
        for peer in peers:
            gradient = gradient + np.frombuffer(receive(peer)).reshape(gradient.shape)
        gradient = gradient / (len(peers) + 1)
        for peer in peers:
            send(peer, gradient.tobytes())
        return gradient
    send(peers[0], gradient.tobytes())
    return np.frombuffer(receive(peers[0])).reshape(gradient.shape)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn scores into probabilities, row by row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def main() -> None:
    """Train on this rank's share, then prove that every rank holds the same weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--port", type=int, default=8471)
    options = parser.parse_args()

    ips = os.environ["SKYPILOT_NODE_IPS"].split()
    ranks = int(os.environ["SKYPILOT_NUM_NODES"])
    rank = int(os.environ["SKYPILOT_NODE_RANK"])

    images, labels = load_digits(return_X_y=True)
    pixels = np.hstack([images / 16.0, np.ones((len(images), 1))])
    order = np.random.default_rng(0).permutation(len(pixels))
    train, test = order[: len(order) * 3 // 4], order[len(order) * 3 // 4 :]
    mine = train[rank::ranks]
    targets = np.eye(CLASSES)[labels[mine]]
    print(f"rank {rank} of {ranks} on {ips[rank]}: {len(mine)} of {len(train)} images", flush=True)

    peers = connect(ips, rank, options.port)
    weights = np.zeros((pixels.shape[1], CLASSES))
    for step in range(1, options.steps + 1):
        probabilities = softmax(pixels[mine] @ weights)
        gradient = pixels[mine].T @ (probabilities - targets) / len(mine)
        weights -= 2.0 * average(gradient, rank, peers)
        if step % (options.steps // 5 or 1) == 0:
            loss = -np.log(probabilities[targets.astype(bool)]).mean()
            print(f"step {step:>4}  loss {loss:.4f}", flush=True)

    digest = hashlib.sha256(weights.tobytes()).digest()
    for peer in peers:
        send(peer, digest)
    if any(receive(peer) != digest for peer in peers):
        sys.exit(f"rank {rank}: another rank ended with other weights")
    accuracy = (softmax(pixels[test] @ weights).argmax(axis=1) == labels[test]).mean()
    print(f"rank {rank}: weights {digest.hex()[:16]}, test accuracy {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
