"""A real PostgreSQL server of the tests' own: started in a folder, reached through a socket in it, stopped again."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "ge:heim/%40 5"  # noqa: S105 - of a server that lives as long as a test
QUOTED = "ge%3Aheim%2F%2540%205"
TOOLS = ("initdb", "pg_ctl", "createdb")


@dataclass(frozen=True, slots=True)
class Server:
    """A server whose superuser is 'perf'; its only door is a socket in `folder`."""

    folder: Path

    def url(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql://perf:{password}@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """The URL of a new, empty database."""
        self.run("createdb", "--host", str(self.folder), "--username", "perf", database)
        return self.url(database)

    def start(self) -> None:
        quiet = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", quiet)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.folder / "data"))

    def run(self, *command: str) -> None:
        """A tool of PostgreSQL, which refuses to run as root."""
        user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        result = subprocess.run(
            [*user, *command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def start_server() -> Server:
    """A new server; the test is skipped where there is no PostgreSQL, or no user to run it as."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'perfsuite[history]'")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"PostgreSQL's {missing[0]} is not on the PATH")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (folder, secret):
            shutil.chown(path, "nobody")
    server = Server(folder)
    server.run("initdb", "-D", str(folder / "data"), "-U", "perf", "-A", "scram-sha-256", "--pwfile", str(secret), "-N")
    server.start()
    return server


def remove(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)
