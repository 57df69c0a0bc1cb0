"""Owns what one pass of a model has to read and compute at least; what is left out only makes the least smaller."""

from dataclasses import dataclass, field

from perfsuite.core.codec import ADDED_LATER


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Layers that attend alike: `layers` of them, each over at most `window` positions (`None`: over all).

    `kv_bytes` is what one layer keeps of one position (keys and values of all heads), `pair_flops` the work of
    one layer for one query and one key: 2 * head size * query heads for the score and as much for the weighted value.
    """

    layers: int
    kv_bytes: int
    pair_flops: int
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A model split over `ranks` devices, and what its passes add up over all of them, as bytes of whole vectors.

    `token_bytes` for each new token, `row_bytes` in the last layer, which is computed for the last token of each row;
    `gathered_bytes` are the logits of each row, which the ranks put together.
    """

    ranks: int
    token_bytes: int
    row_bytes: int
    gathered_bytes: int

    def link_bytes(self, *, rows: int, new: int) -> float:
        """Bytes that each rank sends at least in a pass over `new` tokens of each row.

        A sum of S bytes over n ranks makes each of them send 2 (n - 1) / n * S at least, a gathering (n - 1) / n * S
        (Patarasuk and Yuan 2009, Bandwidth optimal all-reduce algorithms; nccl-tests, PERFORMANCE.md).
        """
        share = (self.ranks - 1) / self.ranks
        return rows * share * (2 * (new * self.token_bytes + self.row_bytes) + self.gathered_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWork:
    """What every pass of a model needs, whoever runs it; of a `split` model all of it, whichever rank does it.

    `weight_bytes` are read by each pass: all weights once, without embedding tables, of which a pass reads a few rows;
    a table that is the output head as well counts. `token_flops` are 2 * weights of the linear layers, for each new
    token; `head_flops` those of the output head and of the last layer, which only the last token of each row needs.
    """

    weight_bytes: int
    token_flops: int
    head_flops: int
    attention: tuple[Attention, ...] = ()
    split: Split | None = field(default=None, metadata={ADDED_LATER: True})

    @property
    def ranks(self) -> int:
        """How many devices share the work."""
        return self.split.ranks if self.split else 1

    def pass_bytes(self, *, rows: int, past: int) -> int:
        """Bytes that a pass reads: the weights once, and of each row what the cache holds of `past` positions."""
        return self.weight_bytes + self.cache_bytes(rows=rows, past=past)

    def cache_bytes(self, *, rows: int, past: int) -> int:
        """Bytes of what the cache holds of `past` positions of each row."""
        return rows * sum(kind.layers * kind.kv_bytes * _kept(past, kind.window) for kind in self.attention)

    def pass_flops(self, *, rows: int, past: int, new: int) -> int:
        """Operations of a pass that takes in `new` tokens of each row after `past`; attention is causal."""
        attending = sum(kind.layers * kind.pair_flops * _pairs(past, new, kind.window) for kind in self.attention)
        return rows * (new * self.token_flops + self.head_flops + attending)


def _kept(past: int, window: int | None) -> int:
    """Cached positions that the next token sees; it is one of its window itself."""
    return past if window is None else min(past, window - 1)


def _pairs(past: int, new: int, window: int | None) -> int:
    """Pairs of query and key when `new` tokens come after `past`, each seeing itself and what lies before it."""
    growing = new if window is None else min(max(window - past, 0), new)
    return growing * past + growing * (growing + 1) // 2 + (new - growing) * (window or 0)
