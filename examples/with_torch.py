"""torch: training with a DataLoader whose workers make the batches.

    python examples/with_torch.py [--library multiprocessing] [--method spawn] [--epochs 2]

Workers draw images of shapes, with noise, and a small network learns to tell the shapes apart.
`multiprocessing_context` is all there is to it; the batches are torch's own shared tensors, and the
indices and messages go through the queues of `zeroipc.mp`. A worker that is killed ends the
epoch with torch's RuntimeError.
"""

from __future__ import annotations

import argparse
import importlib
import time
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE = 24
SHAPES = ("disc", "square", "cross")


class Shapes(Dataset[tuple[torch.Tensor, int]]):
    """Images of SIZE x SIZE with a shape somewhere; the same ones every time."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        random = torch.Generator().manual_seed(index)
        kind = index % len(SHAPES)
        row, column = torch.randint(6, SIZE - 6, (2,), generator=random).tolist()
        rows = torch.arange(SIZE)[:, None] - row
        columns = torch.arange(SIZE)[None, :] - column
        shape = (
            rows**2 + columns**2 <= 20,
            torch.maximum(rows.abs(), columns.abs()) <= 4,
            torch.minimum(rows.abs(), columns.abs()) + (rows.abs() + columns.abs() > 7) < 1,
        )[kind]
        noise = 0.3 * torch.randn(SIZE, SIZE, generator=random)
        return (shape.float() + noise)[None], kind


def train(loader: Any, epochs: int) -> float:
    """Return the share of the last epoch's images that were told right."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, len(SHAPES)),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    right = seen = 0
    for _ in range(epochs):
        right = seen = 0
        for images, kinds in loader:
            scores = network(images)
            optimizer.zero_grad()
            nn.functional.cross_entropy(scores, kinds).backward()
            optimizer.step()
            right += int((scores.argmax(1) == kinds).sum())
            seen += len(kinds)
    return right / seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", default="zeroipc.mp")
    parser.add_argument("--method", default="fork")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    multiprocessing = importlib.import_module(options.library)
    loader = DataLoader(
        Shapes(options.images),
        batch_size=50,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=multiprocessing.get_context(options.method),
    )
    start = time.perf_counter()
    right = train(loader, options.epochs)
    print(f"{right:.3f} of {options.images} images told right")
    print(f"{options.library}, {options.method}: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
