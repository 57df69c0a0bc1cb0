import pytest

from perfsuite.report.html.scale import Scale, spanning, tick_text


def test_values_lie_between_the_places() -> None:
    scale = Scale(low=10.0, high=20.0, start=0.0, end=100.0)
    assert [scale(value) for value in (10.0, 15.0, 20.0)] == [0.0, 50.0, 100.0]


def test_what_lies_outside_is_put_on_the_edge() -> None:
    scale = Scale(low=10.0, high=20.0, start=0.0, end=100.0)
    assert (scale(1000.0), scale(0.0)) == (100.0, 0.0)


def test_a_logarithmic_scale_gives_every_factor_the_same_room() -> None:
    scale = Scale(low=1.0, high=100.0, start=0.0, end=100.0, is_log=True)
    assert scale(10.0) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 10.0, [0, 2, 4, 6, 8, 10]), (8.4, 9.3, [8.4, 8.6, 8.8, 9.0, 9.2]), (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low=low, high=high, start=0.0, end=1.0).ticks(5) == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_scale_are_1_2_5() -> None:
    assert Scale(low=1.0, high=60.0, start=0.0, end=1.0, is_log=True).ticks(5) == [1, 2, 5, 10, 20, 50]
    assert Scale(low=1.0, high=1e6, start=0.0, end=1.0, is_log=True).ticks(5) == [10.0**power for power in range(7)]


def test_a_logarithmic_scale_over_less_than_a_step_still_has_ticks() -> None:
    assert len(Scale(low=11.0, high=19.0, start=0.0, end=1.0, is_log=True).ticks(4)) >= 3


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [0.0], [0.0, 0.0]])
def test_a_single_value_has_room_around_it(values: list[float]) -> None:
    scale = spanning(values, 0.0, 1.0)
    assert scale.low <= values[0] < scale.high
    assert scale.low == 0 or scale.low < values[0]
    assert scale.ticks(4)


def test_a_tick_has_the_decimals_that_its_neighbours_need() -> None:
    assert [tick_text(value, [0.0, 0.5, 1.0]) for value in (0.0, 0.5, 1.0)] == ["0.0", "0.5", "1.0"]
    assert tick_text(2000.0, [1000.0, 2000.0]) == "2 000"
    assert tick_text(0.02, [0.01, 0.02]) == "0.02"
