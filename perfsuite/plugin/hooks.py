"""Owns the pytest hooks: when to read options, when to measure, and where the report goes."""

from typing import TYPE_CHECKING

import pytest
from _pytest.skipping import evaluate_skip_marks

from perfsuite.plugin.command_line import check_needs_perf, check_root
from perfsuite.plugin.stash import CAMPAIGN

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from perfsuite.plugin.campaign import Campaign
    from perfsuite.plugin.selection import Ask

FIXTURES = ("perf_cell", "perf_recording", "perf_judgement", "perf_compare", "perf_strategy")
MEASURED = ("perf_recording", "perf_judgement", "perf_compare")
"""Those that have their cell measured before the first test runs."""
INACTIVE = "needs --perf"


def is_active(config: pytest.Config) -> bool:
    """Whether this run measures."""
    return bool(config.getoption("perf") or config.getoption("perf_save_baseline"))


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; under --perf read and check everything that can be checked before measuring."""
    config.addinivalue_line(
        "markers",
        "perf(strategy, model, prompt_tokens, output_tokens, batch_size, sampling, tolerance): "
        "a performance test, run under --perf only; the arguments change the matrix for this test",
    )
    if config.option.help:
        return
    if is_active(config):
        check_root(config)
        _configure_campaign(config)
    elif not hasattr(config, "workerinput"):
        check_needs_perf(config)


def _configure_campaign(config: pytest.Config) -> None:
    from perfsuite.core.errors import PerfsuiteError
    from perfsuite.core.secret import masked
    from perfsuite.plugin.campaign import Campaign
    from perfsuite.plugin.progress import ProgressDisplay
    from perfsuite.plugin.settings import read_settings

    spread = config.getoption("numprocesses", default=None) or getattr(config.option, "dist", "no") != "no"
    if spread or hasattr(config, "workerinput"):
        raise pytest.UsageError(
            "--perf: runs side by side would disturb each other's times; leave out -n (pytest-xdist)"
        )
    try:
        argv = tuple(masked(str(argument)) for argument in config.invocation_params.args)
        config.stash[CAMPAIGN] = Campaign(read_settings(config), ProgressDisplay(config), argv)
    except PerfsuiteError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line on what a perf run measures, and what is known already to go wrong."""
    return [config.stash[CAMPAIGN].headline, *config.stash[CAMPAIGN].notes] if CAMPAIGN in config.stash else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once per cell it asks for; without --perf once, to be skipped."""
    wanted = [name for name in ("perf_cell", "perf_strategy") if name in metafunc.fixturenames]
    if not wanted:
        return
    if not is_active(metafunc.config):
        metafunc.parametrize(wanted, [[None] * len(wanted)], ids=[INACTIVE], indirect=True, scope="session")
        return
    from perfsuite.core.errors import PerfsuiteError
    from perfsuite.plugin.selection import asks_of

    try:
        asks = asks_of(metafunc.definition, metafunc.config.stash[CAMPAIGN].options)
    except PerfsuiteError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    live = metafunc.config.stash[CAMPAIGN].live_arms(asks)
    if wanted == ["perf_strategy"]:
        arms = tuple(dict.fromkeys(live))
        metafunc.parametrize("perf_strategy", arms, ids=[arm.id for arm in arms], indirect=True, scope="session")
        return
    values = {"perf_cell": asks, "perf_strategy": live}
    rows = list(zip(*(values[name] for name in wanted), strict=True))
    metafunc.parametrize(wanted, rows, ids=[ask.cell.id for ask in asks], indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --perf skip what needs it, and say so; with --perf-shard leave other shards' tests out."""
    if is_active(config):
        _leave_out_other_shards(config, items)
        return
    skip = pytest.mark.skip(reason=f"{INACTIVE}: measuring takes minutes and wants the machine for itself")
    for item in items:
        if item.get_closest_marker("perf") or set(FIXTURES) & set(getattr(item, "fixturenames", ())):
            item.add_marker(skip)


def _leave_out_other_shards(config: pytest.Config, items: list[pytest.Item]) -> None:
    campaign = config.stash.get(CAMPAIGN, None)
    if campaign is None or campaign.settings.shard is None:
        return
    from perfsuite.plugin.shard import deal

    others = deal(
        items,
        campaign,
        campaign.settings.shard,
        measured=lambda item: _measured_of(item, *MEASURED),
        gated=lambda item: _measured_of(item, "perf_judgement"),
    )
    campaign.others_have_tests = bool(others)
    config.hook.pytest_deselected(items=others)


def _measured_of(item: pytest.Item, *fixtures: str) -> "Ask | None":
    """The cell that a test wants through one of these fixtures, if it will run."""
    return _ask_of(item, *fixtures) if evaluate_skip_marks(item) is None else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Measure every cell the collected tests ask for, before the first test runs; returning None lets them run."""
    config = session.config
    stopped = session.testsfailed and not config.option.continue_on_collection_errors
    if CAMPAIGN not in config.stash or stopped or config.option.collectonly or config.getoption("setupplan", False):
        return
    from perfsuite.core.errors import PerfsuiteError
    from perfsuite.plugin import benchmarks

    asks = [ask for item in session.items if (ask := _measured_of(item, *MEASURED)) is not None]
    gated = [ask for item in session.items if (ask := _measured_of(item, "perf_judgement")) is not None]
    compared = [ask for item in session.items if (ask := _measured_of(item, "perf_compare")) is not None]
    try:
        benchmarks.check(config)
        config.stash[CAMPAIGN].measure(asks, gated, compared)
        benchmarks.hand_over(config, config.stash[CAMPAIGN])
    except PerfsuiteError as error:
        raise pytest.UsageError(str(error)) from error
    from perfsuite.plugin.properties import tell_items

    asking = [(item, ask) for item in session.items if (ask := _measured_of(item, *MEASURED)) is not None]
    tell_items(config.stash[CAMPAIGN], asking)


def _ask_of(item: pytest.Item, *fixtures: str) -> "Ask | None":
    """The cell that a test wants through one of these fixtures; `None` if it wants none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or not set(fixtures) & set(getattr(item, "fixturenames", ())):
        return None
    ask: Ask | None = callspec.params.get("perf_cell")
    return ask


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports, let no run end green with a red gate in it, and mark one that stayed inconclusive."""
    if CAMPAIGN not in session.config.stash:
        return
    from perfsuite.plugin.chronicle import append_to_history
    from perfsuite.plugin.reports import write_reports

    campaign = session.config.stash[CAMPAIGN]
    if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and campaign.others_have_tests:
        session.exitstatus = pytest.ExitCode.OK
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = _exit_status(campaign)
    write_reports(campaign)
    append_to_history(campaign)


def _exit_status(campaign: "Campaign") -> int:
    """What a run that pytest itself finds green ends with."""
    if campaign.has_failed:
        return pytest.ExitCode.TESTS_FAILED
    status, undecided = campaign.settings.inconclusive_exit, len(campaign.inconclusive)
    if not status or not undecided:
        return pytest.ExitCode.OK
    campaign.note(
        f"--perf-inconclusive-exit: nothing failed, {undecided} of {campaign.bench.gates} gates stayed inconclusive: "
        f"exit status {status}"
    )
    return status


def pytest_terminal_summary(terminalreporter: "TerminalReporter", config: pytest.Config) -> None:
    """Tables, verdicts and notes, on green runs too."""
    if CAMPAIGN in config.stash:
        from perfsuite.plugin.summary import write_summary

        write_summary(terminalreporter, config.stash[CAMPAIGN])
