"""Blocks of the skinny products' kernels: how long the products of a decode step, or of a short prompt, take with each.

python docs/benchmarks/products.py [--model llama-2-7b] [--rows 1,10]      on a GPU of compute capability 9 or later

Products of one row are taken with what a pass lets them take in: a norm, a gate, a residual. Weights are cold: the
launches of one CUDA graph go over as many matrices as do not fit the cache. Kernels overlap as they do in a pass.
Microseconds are the median of seven replays of 24 launches.
"""

import argparse
import itertools
import multiprocessing
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
from torch.nn import functional

from perfsuite.core.workload import ModelSpec
from perfsuite.models.configuration import read_config
from perfsuite.strategies import _triton_products as kernels

COLD_BYTES = 300 * 10**6
LAUNCHES, REPLAYS = 24, 7
EPSILON = 1e-5
WORST_ERROR = 2e-3
"""Of a product in float16, relative to one in float32; blocks that are further off are left out."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one block of a product computes, and by how many warps; `stages` of several rows' loads are under way."""

    columns: int
    depth: int
    warps: int
    stages: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """A product of a pass: outputs, inputs, and what a product of one row does besides."""

    wide: int
    deep: int
    is_normed: bool = False
    is_gated: bool = False

    def __str__(self) -> str:
        return f"{self.wide} x {self.deep}{', normed' * self.is_normed}{', gated' * self.is_gated}"


ONE_ROW = [
    Block(columns, depth, warps)
    for columns, depth, warps in itertools.product((1, 2, 4, 8), (1024, 2048, 4096), (4, 8))
    if columns * depth <= 16384
]
SEVERAL_ROWS = [
    Block(columns, depth, warps, stages)
    for columns, depth, warps, stages in itertools.product((16, 32, 64), (128, 256), (4, 8), (3, 4, 6))
    if (columns + kernels.ROWS) * depth * 2 * stages <= 220_000  # shared memory
]


def launch(block: Block, product: Product, rows: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
    """With zeros for whatever is added, and the rows for what they are normed by."""
    zeros = nothing(product)
    more: dict[str, Any] = {"num_warps": block.warps, "launch_pdl": True}
    if len(rows) > 1:
        kernels._several_rows[(product.wide // block.columns, 1)](
            rows, weight, zeros, out, len(rows), product.wide, product.deep, product.deep,
            kernels.ROWS, block.columns, block.depth, True, num_stages=block.stages, **more,
        )  # fmt: skip
        return
    wide = product.wide // 2 if product.is_gated else product.wide
    kernels._one_row[(triton.cdiv(wide, block.columns),)](
        rows, rows, weight, zeros, out, wide, product.deep, EPSILON,
        block.columns, block.depth, product.is_normed, product.is_gated, True, **more,
    )  # fmt: skip


@cache
def nothing(product: Product) -> torch.Tensor:
    return torch.zeros(product.wide, device="cuda", dtype=torch.float16)


def expected(product: Product, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    states = rows.float()
    if product.is_normed:
        states = functional.rms_norm(states, states.shape[-1:], states[0], EPSILON)
    result = functional.linear(states, weight.float())
    if not product.is_gated:
        return result
    gate, up = result.chunk(2, dim=-1)
    return functional.silu(gate) * up


def compile_all(work: tuple[int, list[Block], list[Product]]) -> None:
    """So that kernels are in Triton's cache before anything is timed."""
    rows, blocks, shapes = work
    for product in shapes:
        weight = torch.zeros(product.wide, product.deep, device="cuda", dtype=torch.float16)
        for block in (each for each in blocks if fits(product, rows, each)):
            with suppress(triton.runtime.errors.OutOfResources):  # it is left out of the table
                launch(block, product, weight[:rows], weight, weight.new_empty(rows, product.wide))
    torch.cuda.synchronize()


def fits(product: Product, rows: int, block: Block) -> bool:
    return rows == 1 or not (product.wide % block.columns or product.deep % block.depth)


def microseconds(block: Block, product: Product, rows: torch.Tensor, matrices: list[torch.Tensor]) -> float | None:
    """`None` where the kernel cannot have such a block, or its product is wrong."""
    exact = expected(product, rows, matrices[0])
    out = rows.new_empty(exact.shape)
    try:
        launch(block, product, rows, matrices[0], out)
    except triton.runtime.errors.OutOfResources:
        return None
    if not float((out.float() - exact).norm() / exact.norm()) < WORST_ERROR:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(LAUNCHES):
            launch(block, product, rows, matrices[index % len(matrices)], out)
    return statistics.median(replays_ms(graph.replay)) * 1e3 / LAUNCHES


def replays_ms(replay: Callable[[], None]) -> Iterator[float]:
    replay()
    for _ in range(REPLAYS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        yield start.elapsed_time(end)


def products(model: str, rows: int) -> Counter[Product]:
    """A model's products, those of one input joined, and how often a pass has each."""
    config = read_config(ModelSpec(name=model))
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    is_one = rows == 1
    of_a_layer = (
        Product(heads * size, config.hidden_size, is_normed=is_one),
        Product(config.hidden_size, config.num_attention_heads * size),
        Product(2 * config.intermediate_size, config.hidden_size, is_normed=is_one, is_gated=is_one),
        Product(config.hidden_size, config.intermediate_size),
    )
    head = Product(config.vocab_size, config.hidden_size, is_normed=is_one)
    return Counter([*of_a_layer * config.num_hidden_layers, head])


def table(rows: int, blocks: list[Block], shapes: Counter[Product]) -> str:
    """Markdown: a row per block, the fastest for all products first, and what the best block of each would give."""
    found: dict[Block, dict[Product, float]] = {}
    for product in shapes:
        count = max(3, -(-COLD_BYTES // (2 * product.wide * product.deep)))
        matrices = [torch.randn(product.wide, product.deep, device="cuda").half() * 0.02 for _ in range(count)]
        states = torch.randn(rows, product.deep, device="cuda", dtype=torch.float16)
        for block in (each for each in blocks if fits(product, rows, each)):
            time = microseconds(block, product, states, matrices)
            if time is not None:
                found.setdefault(block, {})[product] = time
    whole = {block: times for block, times in found.items() if len(times) == len(shapes)}
    steps = {block: sum(times[product] * often for product, often in shapes.items()) for block, times in whole.items()}
    best = {product: min(times[product] for times in found.values() if product in times) for product in shapes}
    of_best = sum(time * shapes[product] for product, time in best.items())
    names = " | ".join(f"{product}, us" for product in shapes)
    lines = [f"| {rows} rows: columns x depth, warps, stages | {names} | a step's products, ms |"]
    lines += ["|" + "---|" * (len(shapes) + 2)]
    for block in sorted(steps, key=steps.__getitem__)[:12]:
        times = " | ".join(f"{whole[block][product]:.2f}" for product in shapes)
        name = f"{block.columns} x {block.depth}, {block.warps}, {block.stages or '-'}"
        lines.append(f"| {name} | {times} | {steps[block] / 1e3:.3f} |")
    times = " | ".join(f"{best[product]:.2f}" for product in shapes)
    return "\n".join([*lines, f"| the best of each | {times} | {of_best / 1e3:.3f} |"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="llama-2-7b")
    parser.add_argument("--rows", default="1,10", help=f"1 to {kernels.ROWS}, with commas")
    arguments = parser.parse_args()
    if not all(1 <= int(rows) <= kernels.ROWS for rows in arguments.rows.split(",")):
        parser.error(f"--rows: {arguments.rows} is not 1 to {kernels.ROWS}")
    shapes = {rows: products(arguments.model, rows) for rows in map(int, arguments.rows.split(","))}
    chosen = {rows: ONE_ROW if rows == 1 else SEVERAL_ROWS for rows in shapes}
    many = min(14, os.cpu_count() or 1)
    with ProcessPoolExecutor(many, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = [(rows, blocks[part::many], [*shapes[rows]]) for rows, blocks in chosen.items() for part in range(many)]
        list(pool.map(compile_all, work))
    sys.stdout.write(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}\n")
    for rows, blocks in chosen.items():
        sys.stdout.write(f"\n{table(rows, blocks, shapes[rows])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
