"""The file: made by many at once, migrated, damaged, too new, forked, removed under us."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from jupyter_sky import config
from jupyter_sky.errors import StateError
from jupyter_sky.state import ClusterRecord, State
from jupyter_sky.state.tables import HEAD

if TYPE_CHECKING:
    from pathlib import Path

ADD = """
import os, sys
from jupyter_sky.state import ClusterRecord, State
State.open().clusters.add(ClusterRecord(name=sys.argv[1], id=os.urandom(16).hex(), infra="local"))
sys.exit(3 if "alembic" in sys.modules else 0)
"""


def schema(file: Path) -> set[tuple[str, str]]:
    """Give what the file holds, column by column, so that only the meaning is compared."""
    with sqlite3.connect(file) as connection:
        found = {
            (table, repr(column[1:]))
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for column in connection.execute(f"PRAGMA table_info({table})")
        }
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"
        )
        found |= set(indexes)
        found |= {
            ("foreign keys", repr(row)) for row in connection.execute("PRAGMA foreign_key_list(intervals)")
        }
    connection.close()
    return found


def make_ancient(file: Path) -> None:
    """Make a database that no migration has touched yet."""
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.commit()
    connection.close()


def test_twenty_processes_open_a_fresh_state_at_once(home: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", ADD, f"c{number}"]) for number in range(20)]
    assert [process.wait(60) for process in started] == [0] * 20  # 3 would be: alembic was imported
    assert len(State.open().clusters.list()) == 20
    assert not (home / "state.new").exists()


def test_four_processes_migrate_at_once(home: Path) -> None:
    make_ancient(config.home() / "state.db")
    started = [subprocess.Popen([sys.executable, "-c", ADD, f"c{number}"]) for number in range(4)]
    assert {process.wait(60) for process in started} <= {0, 3}
    assert len(State.open().clusters.list()) == 4


def test_migrations_lead_to_the_schema_of_a_new_file(home: Path, tmp_path: Path) -> None:
    State.open().close()
    older = tmp_path / "100% older"
    older.mkdir()
    make_ancient(older / "state.db")
    State.open(older).close()
    assert schema(older / "state.db") == schema(home / "state.db")


def test_head_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from jupyter_sky.state.migrate import MIGRATIONS

    options = Config()
    options.set_main_option("script_location", str(MIGRATIONS))
    options.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(options).get_current_head() == HEAD


def test_a_kill_in_the_middle_of_making_or_migrating(home: Path) -> None:
    """Kill openers at many moments; whatever is there then, the next one gets a whole database."""
    for number, delay in enumerate((0.12, 0.2, 0.25, 0.3, 0.35, 0.5)):
        if number % 2:
            (config.home() / "state.db").unlink(missing_ok=True)
            make_ancient(home / "state.db")
        process = subprocess.Popen([sys.executable, "-c", ADD, "x"])
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(State.open().clusters.list()) <= 1
        State.open().clusters.remove("x")
        State.open().close()


def test_a_newer_database(home: Path) -> None:
    State.open().close()
    with sqlite3.connect(home / "state.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code = "from jupyter_sky.state import State; State.open()"
    process = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    said = next(line for line in process.stderr.splitlines() if "StateError: " in line)
    assert "newer version" in said
    assert "9999" in said


@pytest.mark.parametrize(
    "content", [b"not a database, for sure" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file(home: Path, content: bytes) -> None:
    (config.home() / "state.db").write_bytes(content)
    with pytest.raises(StateError, match="is damaged") as caught:
        State.open()
    assert str(home / "state.db") in caught.value.message
    assert f"mv {home}/state.db* {home}/damaged/" in (caught.value.hint or "")


def test_the_way_out_of_damage_works(home: Path) -> None:
    (config.home() / "state.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StateError) as caught:
        State.open()
    command = (caught.value.hint or "").removeprefix("Move it away with: ").partition(" — ")[0]
    subprocess.run(["sh", "-c", command], check=True)
    assert State.open().clusters.list() == []


def test_the_log_of_a_lost_database_does_not_flow_into_a_new_one(home: Path) -> None:
    code = ADD.replace("sys.exit", "os._exit")  # dies with its changes in the write-ahead log
    subprocess.run([sys.executable, "-c", code, "lost"], check=True)
    assert (home / "state.db-wal").stat().st_size > 0
    (home / "state.db").unlink()
    assert State.open().clusters.list() == []


def test_damage_in_the_middle(home: Path) -> None:
    state = State.open()
    for number in range(200):
        state.clusters.add(cluster(f"c{number}"))
    state.close()
    file = home / "state.db"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(8192)
        stream.write(b"\x5a" * (size - 8192))
    with pytest.raises(StateError, match="is damaged"):
        State.open().clusters.list()


def test_damaged_json(home: Path) -> None:
    state = State.open()
    state.clusters.add(cluster("dev"))
    with sqlite3.connect(home / "state.db") as connection:
        connection.execute("UPDATE clusters SET handle = '{'")
    connection.close()
    with pytest.raises(StateError, match="is damaged"):
        state.clusters.list()
    state.close()


def test_another_programs_database(home: Path) -> None:
    with sqlite3.connect(config.home() / "state.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StateError, match="no such table"):
        State.open()


def test_a_folder_in_its_place(home: Path) -> None:
    (config.home() / "state.db").mkdir()
    (home / "state.db" / "x").mkdir()
    with pytest.raises(StateError) as caught:
        State.open()
    assert str(home / "state.db") in caught.value.message


def test_an_empty_file_is_a_new_state(home: Path) -> None:
    (config.home() / "state.db").touch()
    assert State.open().clusters.list() == []


def test_one_state_per_process_and_home(home: Path, tmp_path: Path) -> None:
    assert State.open() is State.open(home)
    (tmp_path / "other").mkdir()
    assert State.open(tmp_path / "other") is not State.open()


def test_a_home_removed_and_made_anew(home: Path) -> None:
    State.open().clusters.add(cluster("dev"))
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    assert State.open().clusters.list() == []


def test_a_closed_state_can_be_used_again(state: State) -> None:
    state.clusters.add(cluster("dev"))
    state.close()
    assert state.clusters.get("dev") is not None


def test_a_forked_child_has_its_own(state: State) -> None:
    state.clusters.add(cluster("before"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            mine = State.open()
            mine.clusters.add(cluster("child"))
            code = int(mine is state)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    state.clusters.add(cluster("after"))
    assert len(state.clusters.list()) == 3


def test_threads_write_at_once(state: State) -> None:
    def add(first: int) -> None:
        for number in range(first, first + 20):
            state.clusters.add(cluster(f"c{number}"))

    threads = [threading.Thread(target=add, args=(100 * number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(state.clusters.list()) == 160


def cluster(name: str) -> ClusterRecord:
    return ClusterRecord(name=name, id=os.urandom(16).hex(), infra="local")
