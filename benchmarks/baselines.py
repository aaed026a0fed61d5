"""What the speed of training is measured against: the loops people use, and a lower bound.

Each function returns ``run(steps)``, which trains for that many steps of one batch size and keeps
what it needs between calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

Run = Callable[[int], None]


class TextbookVAE(nn.Module):
    """The model as tutorials write it: the decoder ends in a sigmoid."""

    def __init__(self, data_dim: int, hidden: int, latent_dim: int, layers: int) -> None:
        super().__init__()

        def body(width: int) -> nn.Sequential:
            widths = [width] + [hidden] * layers
            parts = [
                nn.Sequential(nn.Linear(n, k), nn.ReLU()) for n, k in itertools.pairwise(widths)
            ]
            return nn.Sequential(*parts)

        self.encoder, self.decoder = body(data_dim), body(latent_dim)
        self.mean, self.log_var = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)
        self.out = nn.Linear(hidden, data_dim)

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.out(self.decoder(z)), mean, log_var

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, log_var = self.logits(x)
        return torch.sigmoid(logits), mean, log_var


class DecodedImages(Dataset[Tensor]):
    """Grey images [N, 28, 28] as bytes, each of which becomes a picture and then a tensor when it
    is asked for, as the image data sets of common libraries do it."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        picture: Any = Image.fromarray(self.images[index].numpy(), mode="L")
        raw = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        return raw.view(1, picture.size[1], picture.size[0]).to(torch.float32).div(255)


def forever(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def textbook(
    dataset: Dataset[Any], sizes: tuple[int, int, int, int], batch_size: int, device: torch.device
) -> Run:
    """The textbook loop: a DataLoader, sigmoid and then cross-entropy, `.item()` at every step."""
    torch.manual_seed(0)
    model = TextbookVAE(*sizes).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = forever(DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True))
    total = 0.0

    def run(steps: int) -> None:
        nonlocal total
        for _ in range(steps):
            batch = next(batches)
            x = (batch[0] if isinstance(batch, list) else batch).to(device).view(batch_size, -1)
            optimizer.zero_grad()
            seen, mean, log_var = model(x)
            cross_entropy = F.binary_cross_entropy(seen, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            loss = cross_entropy + kl
            loss.backward()
            total += loss.item()
            optimizer.step()

    return run


def bare(
    x: Tensor, sizes: tuple[int, int, int, int], batch_size: int, device: torch.device
) -> Run:
    """The fastest loop that is still written in plain PyTorch: one tensor on the device, logits,
    one fused optimizer; no history, no checks, nothing that can be set, resumed or shared."""
    torch.manual_seed(0)
    x, model = x.to(device), TextbookVAE(*sizes).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run(steps: int) -> None:
        order = torch.randint(len(x), (steps, batch_size), device=device)
        for index in order:
            batch = x[index]
            logits, mean, log_var = model.logits(batch)
            nll = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            optimizer.zero_grad()
            ((nll + kl) / batch_size).backward()
            optimizer.step()

    return run


def matrix_products(
    sizes: tuple[int, int, int, int], batch_size: int, device: torch.device
) -> Run:
    """The lower bound: the matrix products of one step, forward and backward, and nothing else."""
    data_dim, hidden, latent_dim, layers = sizes
    inner = [hidden] * layers
    shapes = [*zip([data_dim, *inner], [*inner, 2 * latent_dim], strict=True)]
    shapes += [*zip([latent_dim, *inner], [*inner, data_dim], strict=True)]
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(k, n, generator=generator).to(device) for n, k in shapes]
    inputs = [torch.randn(batch_size, n, generator=generator).to(device) for n, _ in shapes]
    grads = [torch.randn(batch_size, k, generator=generator).to(device) for _, k in shapes]
    outputs = [torch.empty(batch_size, k, device=device) for _, k in shapes]
    by_weight = [torch.empty_like(w) for w in weights]
    by_input = [torch.empty_like(x) for x in inputs]

    @torch.no_grad()
    def run(steps: int) -> None:
        for _ in range(steps):
            for x, w, y in zip(inputs, weights, outputs, strict=True):
                torch.mm(x, w.t(), out=y)
            for i in reversed(range(len(shapes))):
                torch.mm(grads[i].t(), inputs[i], out=by_weight[i])
                if i > 0:  # the data need no gradient
                    torch.mm(grads[i], weights[i], out=by_input[i])

    return run
