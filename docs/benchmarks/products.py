"""Blocks of the skinny products' kernels: how long the products of a decode step, or of a short prompt, take with each.

python docs/benchmarks/products.py [--model llama-2-7b] [--rows 1,10]      on a GPU of compute capability 9 or later

Weights are cold: the launches of one CUDA graph go over as many matrices as do not fit the cache. Kernels overlap as
they do in a pass. Microseconds are the median of seven replays of 24 launches.
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
from typing import Any

import numpy as np
import torch
import triton

from perfsuite.core.workload import ModelSpec
from perfsuite.models.configuration import read_config
from perfsuite.strategies import _triton_products as kernels

COLD_BYTES = 300 * 10**6
LAUNCHES, REPLAYS = 24, 7
WORST_ERROR = 2e-3
"""Of a product in float16, relative to one in float32; blocks that are further off are left out."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one block of a product computes, and by how many warps; `stages` of several rows' loads are under way."""

    columns: int
    depth: int
    warps: int
    stages: int = 0


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


def launch(block: Block, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, out: torch.Tensor) -> None:
    wide, deep = weight.shape
    more: dict[str, Any] = {"num_warps": block.warps, "launch_pdl": True}
    if len(rows) == 1:
        grid = (triton.cdiv(wide, block.columns),)
        kernels._one_row[grid](rows, weight, bias, out, wide, deep, block.columns, block.depth, True, **more)
        return
    kernels._several_rows[(wide // block.columns, 1)](
        rows, weight, bias, out, len(rows), wide, deep, deep,
        kernels.ROWS, block.columns, block.depth, True, num_stages=block.stages, **more,
    )  # fmt: skip


def compile_all(work: tuple[int, list[Block]]) -> None:
    """So that kernels are in Triton's cache before anything is timed."""
    rows, blocks = work
    weight = torch.zeros(4096, 4096, device="cuda", dtype=torch.float16)
    for block in blocks:
        with suppress(triton.runtime.errors.OutOfResources):  # it is left out of the table
            launch(block, weight[:rows], weight, weight[0], torch.empty_like(weight[:rows]))
    torch.cuda.synchronize()


def microseconds(block: Block, rows: torch.Tensor, matrices: list[torch.Tensor]) -> float | None:
    """`None` where the kernel cannot have such a block, or its product is wrong."""
    bias = rows.new_zeros(len(matrices[0]))
    out = rows.new_empty((len(rows), len(bias)))
    try:
        launch(block, rows, matrices[0], bias, out)
    except triton.runtime.errors.OutOfResources:
        return None
    expected = rows.float() @ matrices[0].float().t()
    if not float((out.float() - expected).norm() / expected.norm()) < WORST_ERROR:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(LAUNCHES):
            launch(block, rows, matrices[index % len(matrices)], bias, out)
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


def products(model: str) -> Counter[tuple[int, int]]:
    """Outputs and inputs of a model's products, those of one input joined, and how often a pass has each."""
    config = read_config(ModelSpec(name=model))
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    of_a_layer = (
        (heads * size, config.hidden_size),
        (config.hidden_size, config.num_attention_heads * size),
        (2 * config.intermediate_size, config.hidden_size),
        (config.hidden_size, config.intermediate_size),
    )
    return Counter([*of_a_layer * config.num_hidden_layers, (config.vocab_size, config.hidden_size)])


def table(rows: int, blocks: list[Block], shapes: Counter[tuple[int, int]]) -> str:
    """Markdown: a row per block that fits all products, the fastest first."""
    found: dict[Block, list[float]] = {}
    for wide, deep in shapes:
        count = max(3, -(-COLD_BYTES // (2 * wide * deep)))
        matrices = [torch.randn(wide, deep, device="cuda", dtype=torch.float16) * 0.02 for _ in range(count)]
        states = torch.randn(rows, deep, device="cuda", dtype=torch.float16)
        for block in blocks:
            if rows > 1 and (wide % block.columns or deep % block.depth):
                continue
            time = microseconds(block, states, matrices)
            if time is not None:
                found.setdefault(block, []).append(time)
    whole = {block: times for block, times in found.items() if len(times) == len(shapes)}
    steps = {block: float(np.dot(times, list(shapes.values()))) / 1e3 for block, times in whole.items()}
    names = " | ".join(f"{wide} x {deep}, us" for wide, deep in shapes)
    lines = [f"| {rows} rows: columns x depth, warps, stages | {names} | a step's products, ms |"]
    lines += ["|" + "---|" * (len(shapes) + 2)]
    for block in sorted(steps, key=steps.__getitem__)[:12]:
        times = " | ".join(f"{time:.2f}" for time in whole[block])
        lines.append(
            f"| {block.columns} x {block.depth}, {block.warps}, {block.stages or '-'} | {times} | {steps[block]:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="llama-2-7b")
    parser.add_argument("--rows", default="1,10", help=f"1 to {kernels.ROWS}, with commas")
    arguments = parser.parse_args()
    if not all(1 <= int(rows) <= kernels.ROWS for rows in arguments.rows.split(",")):
        parser.error(f"--rows: {arguments.rows} is not 1 to {kernels.ROWS}")
    shapes = products(arguments.model)
    chosen = {rows: ONE_ROW if rows == 1 else SEVERAL_ROWS for rows in map(int, arguments.rows.split(","))}
    many = min(14, os.cpu_count() or 1)
    with ProcessPoolExecutor(many, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = [(rows, blocks[part::many]) for rows, blocks in chosen.items() for part in range(many)]
        list(pool.map(compile_all, work))
    sys.stdout.write(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}\n")
    for rows, blocks in chosen.items():
        sys.stdout.write(f"\n{table(rows, blocks, shapes)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
