import math

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.core.options import DEFAULT_PROMPT_LENGTHS, Options
from perfsuite.core.shard import Shard, names_of, parse_shard, place_of
from tests.builders import make_cell


def test_a_shard_is_written_as_its_number_of_how_many() -> None:
    assert parse_shard("2/3", where="--perf-shard") == Shard(index=2, count=3)
    assert Shard(index=2, count=3).label == "2/3"


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", "1.0/3", " /", "01/3", "1/3000000"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not a shard; write its number and how many there are, '1/3' to '3/3'"):
        parse_shard(text, where="--perf-shard")


def test_where_a_name_goes_is_fixed_for_ever() -> None:
    """Another rule would move the cells of every matrix, and refuse to merge what two versions of perfsuite dealt."""
    names = (("tiny", "p10-o32"), ("tiny", "p50-o32"), ("llama-2-7b", "p100-o16"))
    assert [place_of(name, 3) for name in names] == [3, 2, 1]
    assert [place_of(name, 4) for name in names] == [2, 1, 3]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_name_is_in_exactly_one_shard(count: int) -> None:
    shards = [Shard(index=index, count=count) for index in range(1, count + 1)]
    for length in range(1, 200):
        assert sum(shard.holds(names_of(make_cell(prompt=length))) for shard in shards) == 1


def test_cells_spread_over_all_shards() -> None:
    places = [place_of(names_of(make_cell(prompt=length)), 4) for length in range(1, 401)]
    assert all(75 <= places.count(index) <= 125 for index in range(1, 5))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("model", ["tiny", "llama-2-7b", "./my-model"])
def test_the_default_prompt_lengths_spread_evenly(model: str, count: int) -> None:
    cells = [make_cell(model=model, prompt=length, output=Options().output_tokens) for length in DEFAULT_PROMPT_LENGTHS]
    places = [place_of(names_of(cell), count) for cell in cells]
    assert max(map(places.count, places)) == math.ceil(len(cells) / count)


def test_strategies_of_one_model_and_workload_stay_together() -> None:
    assert names_of(make_cell("eager")) == names_of(make_cell("jit")) == ("tiny", "p100-o4")
    assert names_of(make_cell()) != names_of(make_cell(prompt=101))
    assert names_of(make_cell()) != names_of(make_cell(model="llama-2-7b"))
