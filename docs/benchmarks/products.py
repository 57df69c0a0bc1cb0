"""Ways to multiply: how long the products of a decode step, or of a prompt, take by our kernels and by torch.

python docs/benchmarks/products.py [--model llama-2-7b] [--rows 1,10,100] [--libraries-only]
    on a GPU of compute capability 9 or later

Products of one row are taken by our kernel only, with what a pass lets them take in: a norm, a gate, a residual; those
of several without the head, which a prompt needs for one row, and by each algorithm that cuBLASLt names. Weights are
cold: the launches of one CUDA graph go over as many matrices as do not fit the cache. Kernels overlap as they do in a
pass. Microseconds are the median of seven replays of 24 launches. Parts are what is to be added up, which is not timed.
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
from functools import cache, partial

import torch
import triton
from torch import Tensor
from torch.nn import functional

from perfsuite.core.workload import ModelSpec
from perfsuite.models.configuration import read_config
from perfsuite.strategies import _cublaslt
from perfsuite.strategies import _triton_products as kernels

COLD_BYTES = 300 * 10**6
LAUNCHES, REPLAYS, SHOWN = 24, 7, 14
MANY = 128
"""Rows that a block of the kernel of several rows takes where they are more than sixteen."""
SHARED_BYTES = 220_000
EPSILON = 1e-5
WORST_ERROR = 2e-3
"""Of a product in float16, relative to one in float32; ways that are further off are left out."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product of a pass: outputs, inputs, and what a product of one row does besides."""

    wide: int
    deep: int
    is_normed: bool = False
    is_gated: bool = False

    def __str__(self) -> str:
        return f"{self.wide} x {self.deep}{', normed' * self.is_normed}{', gated' * self.is_gated}"


Way = Callable[[Product, Tensor, Tensor], Tensor]
"""What gives rows [M, K] times a matrix [N, K]: parts [P, M, N] that add up to it."""


def one_row(  # noqa: PLR0917
    columns: int, depth: int, warps: int, product: Product, rows: Tensor, matrix: Tensor
) -> Tensor:
    """With zeros for whatever is added, and the row for what it is normed by."""
    wide = product.wide // 2 if product.is_gated else product.wide
    out = rows.new_empty((1, 1, wide))
    kernels._one_row[(triton.cdiv(wide, columns),)](
        rows, rows, matrix, nothing(product), out, wide, product.deep, EPSILON,
        columns, depth, product.is_normed, product.is_gated, True, num_warps=warps, launch_pdl=True,
    )  # fmt: skip
    return out


def several_rows(  # noqa: PLR0917
    columns: int, depth: int, warps: int, stages: int, parts: int, product: Product, rows: Tensor, matrix: Tensor
) -> Tensor:
    share = triton.cdiv(product.deep // depth, parts) * depth
    out = rows.new_empty((parts, len(rows), product.wide))
    kernels._several_rows[(product.wide // columns, parts)](
        rows, matrix, nothing(product), out, len(rows), product.wide, product.deep, share,
        kernels.ROWS if len(rows) <= kernels.ROWS else MANY, columns, depth, True,
        num_warps=warps, num_stages=stages, launch_pdl=True,
    )  # fmt: skip
    return out


def by_cublas(parts: int, product: Product, rows: Tensor, matrix: Tensor) -> Tensor:
    out = rows.new_empty((parts, len(rows), product.wide))
    many, wide = (each.view(len(each), parts, -1) for each in (rows, matrix))
    return torch.bmm(many.transpose(0, 1), wide.permute(1, 2, 0), out=out)


def by_cublas_at_once(_: Product, rows: Tensor, matrix: Tensor) -> Tensor:
    return functional.linear(rows, matrix).unsqueeze(0)


def by_cublaslt(product: Product, rows: Tensor, matrix: Tensor) -> Tensor:
    return torch.addmm(nothing(product), rows, matrix.t()).unsqueeze(0)


def by_algorithm(way: _cublaslt.Way, parts: int, product: Product, rows: Tensor, matrix: Tensor) -> Tensor:
    out = rows.new_empty((parts, len(rows), product.wide))
    way(rows, matrix, out)
    return out


def by_algorithms(count: int, product: Product) -> dict[str, Way]:
    found: dict[str, Way] = {}
    for parts in (1, 2):
        shape = _cublaslt.Shape(count, product.deep, product.wide, torch.float16, torch.device("cuda", 0), parts)
        for place, way in enumerate(_cublaslt.ways(shape), 1):
            found[f"cuBLASLt, guess {place}{', 2 parts' * (parts > 1)}"] = partial(by_algorithm, way, parts)
    return found


@cache
def nothing(product: Product) -> Tensor:
    return torch.zeros(product.wide, device="cuda", dtype=torch.float16)


def our_ways(count: int, product: Product) -> dict[str, Way]:
    """By name: columns x depth of a block, warps, stages and parts."""
    if count == 1:
        blocks = itertools.product((1, 2, 4, 8, 16), (512, 1024, 2048, 4096), (4, 8))
        return {f"{c} x {d}, {w}": partial(one_row, c, d, w) for c, d, w in blocks if 1024 <= c * d <= 16384}
    is_many = count > kernels.ROWS
    tiles = itertools.product((64, 128, 256), (64, 128)) if is_many else itertools.product((16, 32, 64), (128, 256))
    found: dict[str, Way] = {}
    for (columns, depth), warps, stages in itertools.product(tiles, (4, 8), (3, 4, 6)):
        taken = (columns + (MANY if is_many else kernels.ROWS)) * depth * 2 * stages
        if taken <= SHARED_BYTES and not product.wide % columns and not product.deep % depth:
            for parts in (1, 2, 4, 8) if is_many else (1,):
                name = f"{columns} x {depth}, {warps}, {stages}, {parts}"
                found[name] = partial(several_rows, columns, depth, warps, stages, parts)
    return found


def ways_of_libraries(count: int, product: Product) -> dict[str, Way]:
    if count == 1:
        return {}
    found: dict[str, Way] = {"cuBLAS": by_cublas_at_once, "cuBLASLt": by_cublaslt, **by_algorithms(count, product)}
    halves = [parts for parts in (2, 4, 8) if not product.deep % parts]
    return found | {f"cuBLAS, {parts} parts": partial(by_cublas, parts) for parts in halves}


def expected(product: Product, rows: Tensor, matrix: Tensor) -> Tensor:
    states = rows.float()
    if product.is_normed:
        states = functional.rms_norm(states, states.shape[-1:], states[0], EPSILON)
    result = functional.linear(states, matrix.float())
    if not product.is_gated:
        return result
    gate, up = result.chunk(2, dim=-1)
    return functional.silu(gate) * up


def compile_some(work: tuple[int, int, int, list[Product]]) -> None:
    """So that kernels are in Triton's cache before anything is timed: every so many of them, from the first on."""
    count, first, step, products = work
    for product in products:
        matrix = torch.zeros(product.wide, product.deep, device="cuda", dtype=torch.float16)
        rows = matrix.new_zeros(count, product.deep)
        for way in [*our_ways(count, product).values()][first::step]:
            with suppress(triton.runtime.errors.OutOfResources):  # it is left out of the table
                way(product, rows, matrix)
    torch.cuda.synchronize()


def microseconds(way: Way, product: Product, rows: Tensor, matrices: list[Tensor]) -> float | None:
    """`None` where the kernel cannot have such a block, or its product is wrong."""
    exact = expected(product, rows, matrices[0])
    try:
        found = way(product, rows, matrices[0]).float().sum(0)
    except triton.runtime.errors.OutOfResources:
        return None
    if not float((found - exact).norm() / exact.norm()) < WORST_ERROR:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(LAUNCHES):
            way(product, rows, matrices[index % len(matrices)])
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


def products_of(model: str, count: int) -> Counter[Product]:
    """A model's products, those of one input joined, and how often a pass has each."""
    config = read_config(ModelSpec(name=model))
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    is_one = count == 1
    of_a_layer = (
        Product(heads * size, config.hidden_size, is_normed=is_one),
        Product(config.hidden_size, config.num_attention_heads * size),
        Product(2 * config.intermediate_size, config.hidden_size, is_normed=is_one, is_gated=is_one),
        Product(config.hidden_size, config.intermediate_size),
    )
    found = Counter(of_a_layer * config.num_hidden_layers)
    if is_one:  # of a prompt only the last position has logits
        found[Product(config.vocab_size, config.hidden_size, is_normed=True)] = 1
    return found


def table(count: int, products: Counter[Product], libraries_only: bool) -> str:
    """Markdown: a row per way, the fastest for all products first, and what the fastest of each would give."""
    found: dict[str, dict[Product, float]] = {}
    for product in products:
        copies = max(3, -(-COLD_BYTES // (2 * product.wide * product.deep)))
        matrices = [torch.randn(product.wide, product.deep, device="cuda").half() * 0.02 for _ in range(copies)]
        rows = torch.randn(count, product.deep, device="cuda", dtype=torch.float16)
        of_ours = {} if libraries_only else our_ways(count, product)
        for name, way in (of_ours | ways_of_libraries(count, product)).items():
            time = microseconds(way, product, rows, matrices)
            if time is not None:
                found.setdefault(name, {})[product] = time
    lines = [f"| {count} rows, us | {' | '.join(map(str, products))} | a pass' products, ms |"]
    lines += ["|" + "---|" * (len(products) + 2)]
    whole = {name: times for name, times in found.items() if len(times) == len(products)}
    passes = {name: sum(times[product] * often for product, often in products.items()) for name, times in whole.items()}
    for name in sorted(passes, key=passes.__getitem__)[:SHOWN]:
        times = " | ".join(f"{whole[name][product]:.2f}" for product in products)
        lines.append(f"| {name} | {times} | {passes[name] / 1e3:.3f} |")
    best = {each: min((times[each], name) for name, times in found.items() if each in times) for each in products}
    cells = " | ".join(f"{time:.2f} ({name})" for time, name in best.values())
    of_best = sum(best[product][0] * often for product, often in products.items())
    return "\n".join([*lines, f"| the fastest of each | {cells} | {of_best / 1e3:.3f} |"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="llama-2-7b")
    parser.add_argument("--rows", default="1,10", help=f"1 to {MANY}, with commas; any for libraries only")
    parser.add_argument("--libraries-only", action="store_true", help="leave out our kernels")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.rows.split(",")]
    least, most = (2, 10**6) if arguments.libraries_only else (1, MANY)
    if not all(least <= count <= most for count in counts):
        parser.error(f"--rows: {arguments.rows} is not {least} to {most}")
    products = {count: products_of(arguments.model, count) for count in counts}
    if not arguments.libraries_only:
        many = min(14, os.cpu_count() or 1)
        works = [(count, at, many, [*products[count]]) for count in counts for at in range(many)]
        with ProcessPoolExecutor(many, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(compile_some, works))
    sys.stdout.write(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}\n")
    for count in counts:
        sys.stdout.write(f"\n{table(count, products[count], arguments.libraries_only)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
