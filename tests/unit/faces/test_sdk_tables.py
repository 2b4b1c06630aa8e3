"""How times, tables and listings look."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd
import pytest
from IPython.lib.pretty import pretty

from jupyter_sky.flows.views import ClusterView, JobView
from jupyter_sky.infra.base import InfraCheck
from jupyter_sky.sdk import views
from jupyter_sky.sdk.human import ago, amount, duration, money, size
from jupyter_sky.sdk.listing import Column, Listing
from jupyter_sky.sdk.text import cut, table, width_of

DAY = 86400


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (0, "a few secs ago"),
        (-5, "a few secs ago"),
        (12, "12 secs ago"),
        (60, "1 min ago"),
        (200, "3 mins ago"),
        (3600, "1 hr ago"),
        (2 * DAY - 1, "1 day ago"),
        (15 * DAY, "2 weeks ago"),
        (65 * DAY, "2 months ago"),
        (800 * DAY, "2 years ago"),
    ],
)
def test_ages(passed, said):
    assert ago(1e9 - passed, now=1e9) == said


def test_what_never_was_has_no_age():
    assert ago(None) == "-"
    assert duration(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "< 1s"),
        (45.9, "45s"),
        (62, "1m 2s"),
        (3720, "1h 2m"),
        (3723, "1h 2m 3s"),
        (2 * DAY + 3 * 3600 + 245, "2d 3h 4m"),
        (DAY, "1d"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_money_does_not_hide_small_sums():
    assert [money(value) for value in (0, 0.0042, 0.35, 1234.5)] == ["$0.00", "$0.0042", "$0.35", "$1,234.50"]


def test_sizes_have_three_digits_and_a_unit():
    counts = (0, 999, 999.6, 4_210, 1_300_000_000, 2e15)
    assert [size(count) for count in counts] == ["0 B", "999 B", "1 KB", "4.21 KB", "1.3 GB", "2e+03 TB"]
    assert [amount(3, "files"), amount(3, ""), amount(3e6, "bytes")] == ["3 files", "3", "3 MB"]


def test_columns_are_aligned_by_what_a_terminal_shows():
    text = table(["NAME", "N"], [["日本", "1"], ["e\u0301", "10"]], aligns=["left", "right"])
    assert [width_of(line) for line in text.splitlines()] == [8, 8, 8]


def test_no_line_ends_in_a_space_or_drives_the_terminal():
    text = table(["A", "B"], [["x\n\x1b[31my", ""]])
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_a_narrow_table_cuts_its_widest_cells():
    rows = [["dev", "a" * 100, "UP"]]
    lines = table(["NAME", "COMMAND", "STATUS"], rows, width=40).splitlines()
    assert max(map(width_of, lines)) <= 40
    assert "…" in lines[1]
    assert lines[1].endswith("UP")
    assert "..." in table(["NAME", "COMMAND", "STATUS"], rows, width=40, mark="...")
    assert cut("日本語", 4) == "日…"


def test_a_narrow_listing_goes_without_what_can_be_spared():
    columns = [
        Column[str]("STATUS", lambda row: row),
        Column[str]("LOG", lambda _: "/far/away/" * 9, spare=True),
    ]
    listing = Listing(["SUCCEEDED"], columns)
    assert listing.to_text(width=22).splitlines() == ["STATUS", "SUCCEEDED"]
    shown = listing.to_text(width=23).splitlines()
    assert shown[0].split() == ["STATUS", "LOG"]
    assert shown[1].startswith("SUCCEEDED  /far/away/")
    assert max(map(width_of, shown)) == 23
    assert "LOG" in listing.to_text()


def test_colour_is_for_states_and_keeps_the_columns():
    plain = table(["NAME", "STATUS", "X"], [["UP-town", "UP", "y"]])
    painted = table(["NAME", "STATUS", "X"], [["UP-town", "UP", "y"]], colour=True)
    assert "\x1b[32mUP\x1b[0m" in painted
    assert painted.replace("\x1b[32m", "").replace("\x1b[0m", "").replace("\x1b[1m", "") == plain


def test_a_thousand_rows_cost_milliseconds():
    rows = [[f"cluster-{i}", "local", "1x[CPU:2]", "UP", "10m (down)", "3 mins ago"] for i in range(1000)]
    begin = time.perf_counter()
    table(["NAME", "INFRA", "RESOURCES", "STATUS", "AUTOSTOP", "LAUNCHED"], rows)
    assert time.perf_counter() - begin < 0.25


@dataclass(frozen=True)
class Row:
    name: str
    size: int


COLUMNS = [
    Column[Row]("NAME", lambda row: row.name),
    Column[Row]("SIZE", lambda row: str(row.size), align="right"),
    Column[Row]("MORE", lambda row: "more", wide=True),
]


def test_a_listing_is_a_list_and_a_frame_and_a_table():
    listing = Listing([Row("a<b>", 1), Row("c", 20)], COLUMNS, before=["above"], after=["below & more"])
    assert [row.size for row in listing] == [1, 20]
    assert listing[0] == Row("a<b>", 1)
    assert listing.to_dicts() == [{"name": "a<b>", "size": 1}, {"name": "c", "size": 20}]
    for frame in (pd.DataFrame(listing), listing.to_dataframe()):
        assert list(frame.columns) == ["name", "size"]
        assert frame["size"].sum() == 21
    assert pretty(listing) == str(listing) == "above\nNAME  SIZE\na<b>     1\nc       20\nbelow & more"
    html = listing._repr_html_()
    assert "a&lt;b&gt;" in html
    assert "<b>" not in html
    assert "below &amp; more" in html
    assert "background" not in html
    assert "MORE" not in html
    assert "MORE" in Listing([Row("a", 1)], COLUMNS, wide=True)._repr_html_()


def test_an_empty_listing_says_so():
    listing = Listing([], COLUMNS, empty="No rows.")
    assert str(listing) == "No rows."
    assert "No rows." in listing._repr_html_()
    assert listing.to_dataframe().empty


def cluster(**changes):
    given = {
        "name": "dev",
        "id": "0" * 32,
        "infra": "local",
        "resources": "1x[CPU:2]",
        "num_nodes": 1,
        "status": "UP",
        "autostop": {"idle_minutes": 10, "down": True},
        "launched_at": time.time() - 200,
        "price_hourly": 0.0,
        "head_ip": "127.0.0.1",
        "command": "jupyter sky launch",
        "note": None,
        "operation_id": None,
    }
    return ClusterView(**{**given, **changes})


def test_the_columns_are_those_that_people_know():
    header = str(views.clusters([cluster()])).splitlines()[0]
    assert header.split() == ["NAME", "INFRA", "RESOURCES", "STATUS", "AUTOSTOP", "LAUNCHED"]
    header = str(views.clusters([cluster()], wide=True)).splitlines()[0]
    assert header.split()[-2:] == ["HEAD_IP", "COMMAND"]
    assert "10m (down)  3 mins ago" in str(views.clusters([cluster()]))
    job = JobView(
        "dev", 3, "train", "ada", 0.0, None, None, None, "1x[CPU:1]", "PENDING", "~/log", None, [None]
    )
    header = str(views.jobs([job])).splitlines()[0]
    assert header.split() == [
        "ID",
        "NAME",
        "USER",
        "SUBMITTED",
        "STARTED",
        "DURATION",
        "RESOURCES",
        "STATUS",
        "LOG",
    ]
    row = {"infra": "kubernetes", "gpu": "V100", "qty_per_node": [1, 2], "total": 4, "free": None}
    assert str(views.gpus([row])).splitlines()[0].split() == [
        "GPU",
        "QTY_PER_NODE",
        "TOTAL_GPUS",
        "TOTAL_FREE_GPUS",
    ]
    assert str(views.gpus([row])).splitlines()[1].split() == ["V100", "1,", "2", "4", "-"]
    two = str(views.gpus([row, {**row, "infra": "local"}]))
    assert two.splitlines()[0].startswith("INFRA")


def test_a_cluster_with_a_note_tells_it():
    shown = str(views.clusters([cluster(note="node 1 is not running", operation_id="a" * 32)]))
    assert "dev: node 1 is not running" in shown
    assert "operation aaaaaaaa works on it" in shown


def test_what_mends_an_infra_is_said():
    shown = str(
        views.checks([InfraCheck("aws", False, "no credentials", "aws configure"), InfraCheck("local", True)])
    )
    assert "disabled" in shown
    assert "aws configure" in shown
