"""Train a multi-layer perceptron on handwritten digits and write what came out of it.

The 1,797 images of 8 x 8 pixels come inside the scikit-learn package, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def main() -> None:
    """Train, print one line an epoch, and write the metrics as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--metrics", type=Path, default=Path("metrics.json"))
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / 16.0, labels, test_size=0.25, stratify=labels, random_state=0
    )
    print(f"{len(train_x)} images to learn from, {len(test_x)} kept for the test", flush=True)

    model = MLPClassifier(hidden_layer_sizes=(64,), batch_size=32, random_state=0)
    history = []
    began = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        model.partial_fit(train_x, train_y, classes=np.unique(labels))
        loss = log_loss(train_y, model.predict_proba(train_x))
        accuracy = model.score(test_x, test_y)
        history.append({"epoch": epoch, "loss": loss, "test_accuracy": accuracy})
        print(f"epoch {epoch:>3}  loss {loss:.4f}  test accuracy {accuracy:.4f}", flush=True)

    metrics = {"test_accuracy": accuracy, "seconds": time.monotonic() - began, "history": history}
    options.metrics.write_text(json.dumps(metrics, indent=2))
    print(f"test accuracy: {accuracy:.4f} after {options.epochs} epochs in {metrics['seconds']:.1f} s")


if __name__ == "__main__":
    main()
