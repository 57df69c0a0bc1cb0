"""The suite that comes with the package, under this repository's test ids."""

from perfsuite.suite.test_sampling import (
    test_a_row_of_a_batch_ends_where_it_should_and_the_others_go_on,
    test_a_sequence_ends_where_it_should_and_only_there,
    test_draws_are_what_the_parameters_ask_for,
    test_draws_of_a_batch_are_what_the_parameters_ask_for,
    test_logits_are_those_of_eager_in_float32,
)

__all__ = [
    "test_a_row_of_a_batch_ends_where_it_should_and_the_others_go_on",
    "test_a_sequence_ends_where_it_should_and_only_there",
    "test_draws_are_what_the_parameters_ask_for",
    "test_draws_of_a_batch_are_what_the_parameters_ask_for",
    "test_logits_are_those_of_eager_in_float32",
]
