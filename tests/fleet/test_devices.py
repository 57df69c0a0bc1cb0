"""What --perf-devices names."""

import pytest

from perfsuite.core.errors import OptionError
from perfsuite.fleet import cores
from perfsuite.fleet.devices import notes, seats
from perfsuite.measure.environment import cpu_product

H200, H100 = "NVIDIA H200", "NVIDIA H100 80GB HBM3"


def test_each_gpu_is_a_seat_with_cores_of_its_own(host) -> None:
    host(H200, H200)
    first, second = seats("0,1")
    assert (first.name, first.product, first.gpus, first.cores) == ("cuda:0", H200, ("GPU-0",), (0, 1, 2, 3))
    assert second.variables == {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert second.cores == (4, 5, 6, 7)


def test_all_are_those_that_cuda_may_see_in_its_order(host, monkeypatch) -> None:
    host(H200, H200, H200)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-0")
    first, second = seats("all")
    assert (first.gpus, first.variables["CUDA_VISIBLE_DEVICES"]) == (("GPU-2",), "2")
    assert (second.gpus, second.variables["CUDA_VISIBLE_DEVICES"]) == (("GPU-0",), "GPU-0")


def test_a_session_gets_the_gpu_that_was_looked_at_whatever_order_cuda_is_told_to_count_in(host, monkeypatch) -> None:
    host(H200, H200)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    _, second = seats("all")
    assert (second.gpus, second.variables["CUDA_DEVICE_ORDER"]) == (("GPU-1",), "PCI_BUS_ID")


def test_a_session_that_needs_two_gpus_gets_two(host) -> None:
    host(H200, H200, H200, H200)
    first, second = seats("all", gpus_each=2)
    assert (first.name, second.gpus) == ("cuda:0,cuda:1", ("GPU-2", "GPU-3"))
    assert second.variables["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_groups_of_cores_see_no_gpu(host) -> None:
    host(H200)
    first, second = seats("cpu:0,cpu:1")
    assert (first.cores, second.cores) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert (first.gpus, first.variables) == ((), {"CUDA_VISIBLE_DEVICES": ""})
    assert first.product == cpu_product(), "as it is called in what its sessions record"


@pytest.mark.parametrize(
    ("text", "products", "words"),
    [
        ("0,1", (H200, H100), "GPU 0 and GPU 1 differ in product: 'NVIDIA H200' and 'NVIDIA H100 80GB HBM3'"),
        ("0,2", (H200, H200), "there is no GPU 2; the last one that is visible is 1"),
        ("all", (), "no NVIDIA GPU is visible here"),
        ("0,0", (H200,), "'0,0' names a device twice"),
        ("0,tpu", (H200,), "'0,tpu' is not a list of devices; write GPUs ('0,1'), 'all', or groups of cores"),
        ("0,cpu:0", (H200,), "'0,cpu:0' is not a list of devices"),
        (",".join(f"cpu:{index}" for index in range(9)), (), "9 groups of cores, but this process may use 8"),
    ],
)
def test_devices_that_cannot_be_used_are_one_line(host, text, products, words) -> None:
    host(*products)
    with pytest.raises(OptionError, match=r"^--perf-devices: ") as found:
        seats(text)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_more_groups_than_the_control_group_may_keep_busy_are_one_line_that_names_it(host, monkeypatch) -> None:
    """Eight processors are there, but sessions on four of them would take turns."""
    host()
    monkeypatch.setattr(cores, "quota", lambda: 2)
    with pytest.raises(OptionError) as found:
        seats("cpu:0,cpu:1,cpu:2,cpu:3")
    assert str(found.value) == (
        "--perf-devices: 4 groups of cores, but the control group of this process may keep 2 processors busy at a "
        "time; name fewer"
    )


@pytest.mark.parametrize(
    ("allowed", "quota", "words"),
    [
        ((0, 1), None, "this process may use 2 processors"),
        (tuple(range(8)), 2, "the control group of this process may keep 2 processors busy at a time"),
    ],
)
def test_gpus_whose_sessions_have_no_cores_of_their_own_are_used_and_the_run_says_so(
    host, monkeypatch, allowed: tuple[int, ...], quota: int | None, words: str
) -> None:
    host(H200, H200, H200)
    monkeypatch.setattr(cores, "allowed", lambda: allowed)
    monkeypatch.setattr(cores, "quota", lambda: quota)
    found = seats("all")
    assert [seat.cores for seat in found] == [()] * 3
    assert notes(found) == (
        f"--perf-devices: 3 sessions at a time have no cores of their own: {words}; they may hold each other back",
    )


@pytest.mark.parametrize(("order", "said"), [("FASTEST_FIRST", 1), ("PCI_BUS_ID", 0), (None, 0)])
def test_who_has_told_cuda_another_order_hears_that_it_is_not_followed(host, monkeypatch, order, said: int) -> None:
    host(H200, H200)
    if order:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    told = notes(seats("all"))
    assert len(told) == said
    assert all("CUDA_DEVICE_ORDER=FASTEST_FIRST is not followed" in line for line in told)


def test_nothing_is_said_of_a_run_without_devices() -> None:
    assert notes(()) == ()


def test_gpus_of_one_product_with_two_power_limits_are_not_alike(host) -> None:
    host(H200, H200, limits=(700_000, 500_000))
    with pytest.raises(OptionError, match="differ in power limit: '700 W' and '500 W'"):
        seats("all")


def test_gpus_that_cannot_be_shared_out_are_one_line(host) -> None:
    host(H200, H200, H200)
    with pytest.raises(OptionError, match="sessions need 2 GPUs each, and 3 are named"):
        seats("all", gpus_each=2)
