"""Owns what a text names that an arm is made of: a revision, a folder, an interpreter or a requirement."""

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perfsuite.arms.git import commit_named, top_of
from perfsuite.core.errors import OptionError
from perfsuite.core.secret import masked
from perfsuite.disk import explain, user_path

REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?\s*(===|==|~=|!=|<=|>=|<|>|@).+")


class Kind(Enum):
    """What an arm differs by."""

    REVISION = "revision"
    FOLDER = "folder"
    INTERPRETER = "interpreter"
    REQUIREMENT = "requirement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`target` is the commit, the absolute path, or the requirement as pip reads it."""

    text: str
    kind: Kind
    target: str

    @property
    def label(self) -> str:
        """'main (3f2a1c9)', at most twelve digits of a commit; what is no revision as it was written."""
        if self.kind is not Kind.REVISION or self.target.startswith(self.text):
            return self.text[:12] if self.kind is Kind.REVISION else masked(self.text)
        return f"{self.text} ({self.target[:7]})"


def parse_reference(text: str, *, root: Path, where: str) -> Reference:
    """What `text` names, seen from the folder `root`; OptionError if it is none of the four."""
    path = _path(text, root, where)
    if path.is_dir() and not commit_named(root, text):
        return Reference(text=text, kind=Kind.FOLDER, target=str(path.resolve()))
    if path.is_file():
        return _of_file(text, path, where)
    commit = commit_named(root, text)
    if commit is not None:
        return Reference(text=text, kind=Kind.REVISION, target=commit)
    if REQUIREMENT.fullmatch(text):
        return Reference(text=text, kind=Kind.REQUIREMENT, target=text)
    place = top_of(root)
    revisions = f"a revision of {place}" if place else "a revision (this is no git repository)"
    raise OptionError(
        f"{where}: {masked(text)!r} is neither {revisions}, a folder, an interpreter nor a requirement like 'a==1.2'"
    )


def _path(text: str, root: Path, where: str) -> Path:
    try:
        return (root / user_path(text)).absolute()
    except OSError as error:
        if REQUIREMENT.fullmatch(text):  # as long as it likes; here it is no path
            return root / "no path"
        raise OptionError(f"{where}: {text[:80]!r}: {explain(error)}") from error


def _of_file(text: str, path: Path, where: str) -> Reference:
    if path.suffix == ".whl":
        return Reference(text=text, kind=Kind.REQUIREMENT, target=str(path))
    if os.access(path, os.X_OK):
        return Reference(text=text, kind=Kind.INTERPRETER, target=str(path))
    raise OptionError(f"{where}: {text!r} is a file, but neither a wheel nor an interpreter that can be run")
