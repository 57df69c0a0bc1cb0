"""Owns the names of strategies: which exist, and where each one's class is. It imports no strategy and no engine."""

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from perfsuite.core.errors import OptionError

ENTRY_POINT_GROUP = "perfsuite.strategies"

BUILTIN: Mapping[str, str] = MappingProxyType(
    {
        "cuda-graph": "perfsuite.strategies.cuda_graph:CudaGraphStrategy",
        "eager": "perfsuite.strategies.eager:EagerStrategy",
        "fake": "perfsuite.strategies.fake:FakeStrategy",
        "jit": "perfsuite.strategies.jit:JitStrategy",
        "jit-cuda-graph": "perfsuite.strategies.jit_cuda_graph:JitCudaGraphStrategy",
        "openai": "perfsuite.strategies.openai:OpenAIStrategy",
        "tensorrt": "perfsuite.strategies.tensorrt:TensorRTStrategy",
        "tensorrt-llm": "perfsuite.strategies.tensorrt_llm:TensorRTLLMStrategy",
        "vllm": "perfsuite.strategies.vllm:VllmStrategy",
    }
)

_NOT_IN_ALL = frozenset({"fake"})  # scripted latencies say nothing about this machine


def references() -> dict[str, str]:
    """'module:Class' by name: the built-in strategies, then those that installed packages bring.

    OptionError if a package takes a name that is already taken.
    """
    found = dict(BUILTIN)
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value)):
        if found.setdefault(point.name, point.value) != point.value:
            raise OptionError(
                f"strategy {point.name!r}: an installed package wants it to be {point.value!r}, but it already is "
                f"{found[point.name]!r}; uninstall that package, or name its class: --perf-strategy {point.value}"
            )
    return found


def resolve(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The strategies meant by `names`, each once, in order; `where` names the flag in the OptionError.

    'all' stands for every real strategy; 'module:Class' and 'file.py:Class' pass as they are.
    """
    known = references()
    expanded = (name for asked in names for name in (_all_of(known) if asked == "all" else (asked,)))
    chosen = tuple(dict.fromkeys(expanded))
    for name in chosen:
        if name not in known and not _is_reference(name):
            choices = ", ".join(sorted(known))
            raise OptionError(f"{where}: {name!r} is not a strategy; choose from {choices}, all or module:Class")
    return chosen


def _all_of(known: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in known if name not in _NOT_IN_ALL)


def _is_reference(name: str) -> bool:
    place, colon, attribute = name.rpartition(":")
    return bool(colon and place and attribute.isidentifier())
