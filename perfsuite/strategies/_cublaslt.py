"""Owns products by cuBLASLt with an algorithm of one's choice; torch takes whichever cuBLASLt guesses to be the best.

cuBLASLt names several algorithms for a product, and the fastest is often not its first guess. Layouts and handles live
as long as the process. It must not know who multiplies, nor which algorithm is taken.
"""

import ctypes
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

Way = Callable[[Tensor, Tensor, Tensor], None]
"""Computes rows [M, K] times a matrix [N, K] into a third tensor [M, N], or [P, M, N] that add up to it."""

ALIGNED = 16  # bytes: what rows, matrix and result have to begin at a multiple of
_MOST_GUESSES = 16
_TYPES = {torch.float16: 2, torch.bfloat16: 14}  # cudaDataType_t
_SINGLE, _SUMS_IN_SINGLE = 0, 68  # CUDA_R_32F, CUBLAS_COMPUTE_32F
_TRANSPOSE_FIRST = 3  # CUBLASLT_MATMUL_DESC_TRANSA
_PARTS, _NEXT_PART = 5, 6  # CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, _STRIDED_BATCH_OFFSET
_WORKSPACE, _ALIGNMENTS = 1, range(5, 9)  # CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, _MIN_ALIGNMENT_A_BYTES to _D_


class Shape(NamedTuple):
    """Of a product of rows [many, deep] and a matrix [wide, deep], in parts of the depth that are to be added up."""

    many: int
    deep: int
    wide: int
    dtype: torch.dtype
    device: torch.device
    parts: int = 1


class _Algorithm(ctypes.Structure):
    _fields_ = (("data", ctypes.c_uint64 * 8),)


class _Guess(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class _Plan(NamedTuple):
    """What cuBLASLt wants to know of a product; to it matrices lie column by column, so that ours are transposed."""

    handle: ctypes.c_void_p
    operation: ctypes.c_void_p
    weight: ctypes.c_void_p
    rows: ctypes.c_void_p
    out: ctypes.c_void_p


def ways(shape: Shape) -> list[Way]:
    """By each algorithm that cuBLASLt names and that needs no workspace, its best guess first; none without cuBLASLt.

    They take tensors that lie in one piece and are aligned, see `takes`.
    """
    if _library() is None or shape.device.type != "cuda" or shape.dtype not in _TYPES:
        return []
    with torch.cuda.device(shape.device):
        plan = _planned(shape)
        return [partial(_multiply, plan, guess.algorithm) for guess in _guesses(plan) if guess.status == 0]


def takes(*tensors: Tensor) -> bool:
    """Whether the ways can read and write such tensors."""
    return all(each.is_contiguous() and each.data_ptr() % ALIGNED == 0 for each in tensors)


def _planned(shape: Shape) -> _Plan:
    operation = _made("cublasLtMatmulDescCreate", ctypes.c_int(_SUMS_IN_SINGLE), ctypes.c_int(_SINGLE))
    _set("cublasLtMatmulDescSetAttribute", operation, _TRANSPOSE_FIRST, ctypes.c_int32(1))
    many, deep, wide, parts = shape.many, shape.deep, shape.wide, shape.parts
    share = deep // parts
    weight, rows, out = (
        _layout(shape, *sizes)
        for sizes in ((share, wide, deep, share), (share, many, deep, share), (wide, many, wide, many * wide))
    )
    return _Plan(_handle(shape.device), operation, weight, rows, out)


def _layout(shape: Shape, high: int, across: int, leading: int, next_part: int) -> ctypes.c_void_p:
    sizes = (ctypes.c_uint64(high), ctypes.c_uint64(across), ctypes.c_int64(leading))
    layout = _made("cublasLtMatrixLayoutCreate", ctypes.c_int(_TYPES[shape.dtype]), *sizes)
    _set("cublasLtMatrixLayoutSetAttribute", layout, _PARTS, ctypes.c_int32(shape.parts))
    _set("cublasLtMatrixLayoutSetAttribute", layout, _NEXT_PART, ctypes.c_int64(next_part))
    return layout


def _guesses(plan: _Plan) -> list[_Guess]:
    preference = _made("cublasLtMatmulPreferenceCreate")
    _set("cublasLtMatmulPreferenceSetAttribute", preference, _WORKSPACE, ctypes.c_uint64(0))
    for of_a_matrix in _ALIGNMENTS:
        _set("cublasLtMatmulPreferenceSetAttribute", preference, of_a_matrix, ctypes.c_uint32(ALIGNED))
    guesses, count = (_Guess * _MOST_GUESSES)(), ctypes.c_int(0)
    layouts = (plan.operation, plan.weight, plan.rows, plan.out, plan.out, preference)
    found = (ctypes.c_int(_MOST_GUESSES), guesses, ctypes.byref(count))
    is_none = _library().cublasLtMatmulAlgoGetHeuristic(plan.handle, *layouts, *found)
    return [] if is_none else list(guesses[: count.value])


def _multiply(plan: _Plan, algorithm: _Algorithm, rows: Tensor, weight: Tensor, out: Tensor) -> None:
    weight_at, rows_at, out_at = (ctypes.c_void_p(each.data_ptr()) for each in (weight, rows, out))
    stream = ctypes.c_void_p(torch.cuda.current_stream(rows.device).cuda_stream)
    one, nothing = ctypes.c_float(1), ctypes.c_float(0)
    inputs = (ctypes.byref(one), weight_at, plan.weight, rows_at, plan.rows, ctypes.byref(nothing))
    result = (out_at, plan.out, out_at, plan.out, ctypes.byref(algorithm))
    no_workspace = (None, ctypes.c_size_t(0))
    _do("cublasLtMatmul", plan.handle, plan.operation, *inputs, *result, *no_workspace, stream)


@cache
def _handle(device: torch.device) -> ctypes.c_void_p:
    with torch.cuda.device(device):
        return _made("cublasLtCreate")


def _made(call: str, *arguments: Any) -> ctypes.c_void_p:
    made = ctypes.c_void_p()
    _do(call, ctypes.byref(made), *arguments)
    return made


def _set(call: str, of: ctypes.c_void_p, attribute: int, value: Any) -> None:
    _do(call, of, ctypes.c_int(attribute), ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value)))


def _do(call: str, *arguments: Any) -> None:
    status = getattr(_library(), call)(*arguments)
    if status:
        raise RuntimeError(f"{call}: cuBLAS status {status}")


@cache
def _library() -> Any:
    """The library that torch has loaded; `None` where torch is without CUDA, or has cuBLAS inside itself."""
    if torch.version.cuda is None:
        return None
    try:
        return ctypes.CDLL(f"libcublasLt.so.{torch.version.cuda.partition('.')[0]}")
    except OSError:
        return None
