"""Owns what is wrong with a command line as a whole: flags without --perf, and values that pytest took for test paths.

It imports nothing of perfsuite but the flags' names: every pytest start that has none of them pays for this file.
"""

import inspect
import os
from pathlib import Path

import pytest
from _pytest.config.findpaths import determine_setup

from perfsuite.plugin.flags import SWITCHES, VALUES


def check_needs_perf(config: pytest.Config) -> None:
    """UsageError if flags of a run are given, but neither --perf nor --save-baseline.

    A CI job that has lost --perf would be green for ever. What the ini file or PYTEST_ADDOPTS always adds is let be.
    """
    written = {str(argument).partition("=")[0] for argument in config.invocation_params.args}
    given = [name for flag in (*VALUES, *SWITCHES) for name in (flag.option, *flag.earlier) if name in written]
    if given:
        raise pytest.UsageError(
            f"{given[0]}: nothing is measured without --perf or --save-baseline; add one of them or leave this out"
        )


def check_root(config: pytest.Config) -> None:
    """UsageError if pytest took the value of one of our flags for a test path and moved its root folder for it.

    pytest looks for its root before it knows the flags of plugins. Elsewhere there are other baselines, or none.
    """
    if config.getoption("rootdir", default=None) or config.getoption("inifilename", default=None):
        return
    named = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    root = _root(named, config.invocation_params.dir)
    if root == config.rootpath:
        return
    for flag in VALUES:
        text = config.getoption(flag.key)
        if text and os.path.exists(config.invocation_params.dir / text.split("::")[0]):
            raise pytest.UsageError(
                f"{flag.option}: pytest takes {text!r} for a test's path and moves its root folder, and with it the "
                f"baselines, from {root} to {config.rootpath}; write {flag.option}={text}"
            )


def _root(paths: list[str], folder: Path) -> Path:
    """The root folder that pytest finds for these test paths."""
    known: dict[str, object] = {"inifile": None, "override_ini": None, "rootdir_cmd_arg": None}
    wanted = inspect.signature(determine_setup).parameters  # it has got more of them from version to version
    arguments = {name: known[name] for name in wanted if name in known}
    found: Path = determine_setup(args=paths, invocation_dir=folder, **arguments)[0]  # type: ignore[arg-type]
    return found
