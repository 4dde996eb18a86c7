"""report.html: whole, self-contained, escaped, in order, and a pure function of the run's two files."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gamekeeper.analysis.flags import FLAGS
from gamekeeper.engine.pictures import Pictures, keep
from gamekeeper.errors import BadConfig
from gamekeeper.metrics import wilson
from gamekeeper.results import Evasion, FollowOn, Inversion, Membership, Results, Row
from gamekeeper.surfaces.report.album import Album
from gamekeeper.surfaces.report.page import page, target_facts, write_pngs, write_report
from gamekeeper.surfaces.report.standards import ENTRIES, VERSIONS
from gamekeeper.surfaces.report.words import seconds
from tests.surfaces.report import example

pytestmark = pytest.mark.thorough

VOID = {"meta", "br", "wbr", "img"}
WIDE = {"table", "svg"}
"""What may be wider than a phone."""


class Page(HTMLParser):
    """Tags, ids, addresses and words; fails on a tag that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.boxes: list[set[str]] = []
        self.unboxed: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src", "xlink:href")]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag in WIDE and not any({"scroll", "card"} & classes for classes in self.boxes):
            self.unboxed.append(tag)
        if tag not in VOID:
            self.open.append(tag)
            self.boxes.append(set((dict(attrs).get("class") or "").split()))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()
            self.boxes.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.boxes.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


WHOLE = page(example.run(), example.rows())


def test_whatever_is_wider_than_a_phone_scrolls_inside_its_own_box():
    rows = [followed(row) if row.budget == 2500 else example.shifted(row) for row in example.rows()]
    rows[0] = example.failed(rows[0], "Unreachable: no answer")
    whole = page(example.run(), rows, Album("none", "knockoff", 2500, (0, 1), (("the copy", ("data:,", "data:,")),)))
    found = Page(whole)
    assert (found.tags["table"] > 10, found.tags["svg"] > 2, found.unboxed) == (True, True, [])
    for name in ("card", "scroll"):
        assert re.search(rf"\n\.{name} {{[^}}]*overflow-x: auto", whole)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    """The page of some rows without its figures, which take most of the time."""
    monkeypatch.setattr("gamekeeper.surfaces.report.page.drawings", lambda summary: {})
    return lambda rows: page(example.run(), rows)


def test_the_page_is_well_formed_and_its_ids_are_unique():
    ids = Page(WHOLE).ids
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_and_runs_nothing():
    found = Page(WHOLE)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert all(address.startswith("#") for address in found.addresses)
    assert "@import" not in WHOLE
    assert not re.findall(r"url\((?!#)", WHOLE)
    assert set(re.findall(r"https?://[^\s\"<]*", WHOLE)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_every_link_on_the_page_leads_somewhere():
    found = Page(WHOLE)
    assert {address[1:] for address in found.addresses} <= set(found.ids)


def test_the_page_is_a_pure_function_of_its_input():
    assert page(example.run(), example.rows()) == WHOLE


def test_the_page_answers_in_the_promised_order():
    headings = [
        "Price to steal", "What each defense is worth", "What honest users pay", "How far answers are moved",
        "All cells", "What the thief was assumed to know", "Flags", "Run it again", "In the terms of the standards", "About this run",
    ]  # fmt: skip
    places = [WHOLE.index(f">{heading}</h") for heading in headings]
    assert WHOLE.index("<h1>") < places[0]
    assert places == sorted(places)


def test_names_from_outside_are_escaped():
    evil = "<script>alert(1)</script>"
    rows = [
        replace(row, defense=evil if row.defense == "label" else row.defense, attack=f"{row.attack}{evil}", target=evil)
        for row in example.rows()
    ]
    rows[0] = example.failed(rows[0], f"{evil}\x1b[31m")
    run = replace(
        example.run(rows),
        target={"name": evil, evil: {evil: evil}},
        command=f"gamekeeper {evil}",
        assumptions=[evil],
        started=evil,
        version=evil,
    )
    text = page(run, rows)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_every_raised_flag_stands_beside_a_number_and_is_explained():
    for name in ("same-architecture", "labels-beat-posteriors", "utility-spent", "no-adaptive-thief"):
        assert f'<a class="flag" href="#flag-{name}">' in WHOLE
        text = Page(WHOLE).text
        assert FLAGS[name].means in text
        assert FLAGS[name].do in text


def test_flags_that_were_not_raised_are_not_explained():
    assert "flag-leaked-test" not in WHOLE


def test_each_defense_line_carries_floor_eta_and_the_strongest_thief():
    lines = re.findall(r'<tr class="with-flags">.*?</tr>', WHOLE, re.DOTALL)
    mad = next(line for line in lines if "mad:" in line)
    values = re.findall(r'<td class="n[^"]*"[^>]*>(?:<span class="v">)?([\d.]+)', mad)
    assert values == ["0.914", "92", "0.95", "0.643", "0.766", "0.901", "3.92"]
    assert "knockoff+<wbr>labels" in mad


def test_prices_that_were_not_reached_say_by_how_many_queries():
    assert Page(WHOLE).text.count("not reached by 2,500") == 5


def test_a_failed_cell_is_shown_with_its_error(report):
    rows = example.rows()
    text = Page(report([example.failed(rows[0], "Unsuited: needs gradients"), *rows[1:]])).text
    assert "1 cell of 72 failed" in text
    assert text.count("Unsuited: needs gradients") == 2


def test_an_unfinished_run_says_so(report):
    assert "The run is not finished: 20 of 72 cells are done." in Page(report(example.rows()[:20])).text


def test_every_cell_has_a_line():
    details = WHOLE[WHOLE.index("<details>") : WHOLE.index("</details>")]
    assert details.count("<tr>") == 1 + 72


def test_an_empty_run_has_a_report_too():
    found = Page(page(example.run(), []))
    assert "Nothing has been measured yet." in found.text
    assert "svg" not in found.tags


def test_money_appears_only_with_a_price():
    free = Page(page(example.run(), [replace(row, price=0.0) for row in example.rows()])).text
    assert "in money" not in free
    assert "costing" not in free
    assert "0.36 in money" in Page(WHOLE).text
    assert "costing" in Page(WHOLE).text


def test_published_numbers_stand_beside_ours(report):
    rows = example.rows()
    assert "Published" not in Page(WHOLE).text
    text = Page(report([replace(rows[0], paper=0.694), *rows[1:]])).text
    assert "Published" in text
    assert "0.694" in text


def test_the_page_names_command_seeds_version_and_data():
    text = Page(WHOLE).text
    assert "gamekeeper audit mnist --attack knockoff" in text.replace(" - ", "-")
    for fact in ("0.1.0", "2026-11-03 09:12 UTC", "0, 1", "250 ; 1,000 ; 2,500 queries", "1 × 28 × 28", "9f6a0c1be2d4"):
        assert fact in text or fact.replace(" ;", ";") in text


def test_facts_of_the_target_are_spelt_out():
    target = {"shape": [1, 28, 28], "range": [0.0, 1.0], "sizes": {"pool": 10_000}, "remote": False, "price": 0.001}
    assert target_facts(target) == [
        ("shape", "1 × 28 × 28"),
        ("range", "0.0 to 1.0"),
        ("sizes, pool", "10,000"),
        ("remote", "no"),
        ("price", "0.001"),
    ]


def test_standards_carry_ids_and_their_version():
    text = Page(WHOLE).text
    for wanted in (
        "AML.T0024.002",
        "AML.M0002",
        "AML.M0004",
        "AML.M0024",
        "ML05:2023",
        "C11.5.1",
        "C11.5.4",
        *VERSIONS,
    ):
        assert wanted in text


def test_standards_claim_nothing_that_an_audit_does_not_show():
    covered = {entry.id for entry in ENTRIES if entry.evidence == "measured"}
    assert covered == {"AML.T0024.002", "AML.M0002", "ML05:2023"}


def test_light_dark_and_paper_are_provided_for():
    assert "prefers-color-scheme: dark" in WHOLE
    assert "@media print" in WHOLE


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0 µs"), (4.1e-5, "41 µs"), (2.3e-3, "2.3 ms"), (4.07, "4.1 s"), (62.0, "62 s")],
)
def test_times_come_in_the_unit_that_suits(value: float | None, text: str):
    assert seconds(value) == text.replace(" ", "\u00a0")


def folder_of(rows: list[Row], folder: Path) -> Path:
    results = Results(folder)
    results.write_header(example.run())
    for row in rows:
        results.append(row)
    return folder


def test_report_is_written_from_the_folder_and_replaces_the_old(tmp_path: Path):
    folder = folder_of(example.rows(), tmp_path)
    (folder / "report.html").write_text("old")
    assert write_report(folder) == folder / "report.html"
    assert (folder / "report.html").read_text(encoding="utf-8") == WHOLE
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "results.jsonl", "run.json"]


def test_pngs_are_written_on_request(tmp_path: Path):
    written = write_pngs(folder_of(example.rows(), tmp_path))
    assert [path.name for path in written] == ["price-to-steal.png", "utility.png", "perturbation.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(BadConfig, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


RATE = wilson(400, 500)


def followed(row: Row) -> Row:
    """The row of a run with --follow-on, all of whose rates are 0.800."""
    found = FollowOn(
        Evasion(0.3, RATE, RATE, RATE, RATE, wilson(5, 500), wilson(1, 500)),
        Inversion(0.91, wilson(9, 10), 0.62, wilson(8, 10)),
        Membership(RATE, RATE, RATE, RATE, RATE, RATE),
        [],
    )
    bare = FollowOn(None, None, found.membership, ["it has <b>no gradients</b>"])
    return replace(row, follow_on=replace(found, itself=bare))


def test_what_the_copy_is_good_for_is_shown_with_noise_and_what_is_missing(report):
    assert "What the copy is good for" not in WHOLE
    rows = [followed(row) if row.budget == 2500 else row for row in example.rows()]
    text = Page(report(rows)).text
    start = text.index("What the copy is good for")
    section = text[start : text.index("All cells", start)]
    assert section.count("0.910") == 4, "one line a defense, over seeds"
    assert "0.010" in section
    assert "Not measured: it has <b>no gradients</b> (the model itself)." in section
    assert section.count("not measured") == 2


def test_pictures_of_the_classes_are_inside_the_page(tmp_path: Path):
    rows = [followed(row) if row.budget == 2500 and row.defense == "none" else row for row in example.rows()]
    folder = folder_of(rows, tmp_path)
    shades = np.arange(2 * 5 * 5, dtype=np.uint8).reshape(2, 5, 5, 1)
    strongest = next(row for row in rows if row.follow_on and row.attack == "knockoff")
    keep(folder, strongest.cell, Pictures(np.array([3, 7]), shades, shades[::-1].copy()))
    text = write_report(folder).read_text(encoding="utf-8")
    found = Page(text)
    pictures = [address for address in found.addresses if not address.startswith("#")]
    assert found.tags["img"] == len(pictures) == 4
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    assert pictures[0] == pictures[3], "the copy's pictures were the averages in reverse order"
    assert "img-src data:" in text
    image = Image.open(io.BytesIO(base64.b64decode(pictures[1].partition(",")[2])))
    assert np.array_equal(np.asarray(image), shades[1, :, :, 0])


def test_the_clone_that_asked_nothing_has_a_row_in_both_tables_and_no_line_of_its_own():
    rows = example.rows()
    free = [
        replace(row, cell=f"free {row.seed}", attack="names_only", budget=0, queries=0, reads="nothing")
        for row in rows
        if (row.defense, row.attack, row.budget) == ("none", "knockoff", 250)
    ]
    found = page(example.run(free + rows), free + rows)
    assert found.count('<th scope="row">without asking') == 2
    assert "what the classes are called" in Page(found).text
    assert found.count("<code>names_only</code>") == len(free)  # only in the list of cells
    assert "without asking" not in WHOLE


def test_every_shift_has_its_accuracy_loss_and_confident_errors_and_the_worst_stands_in_the_table(report):
    text = Page(report([example.shifted(row) for row in example.rows()])).text
    assert "Worst loss under shift" in text
    assert "−31 thinner" in text
    assert re.search(r"no defense 0.980 0.980 0.980", text)
    assert re.search(r"mad:\s*eps=0.95 0.970 −1.0 \(\S+ to \S+\) 0.670 −31 \(−35 to −27\) 0.960 −2.0", text)
    assert re.search(r"mad:\s*eps=0.95 2\s% 32\s% 3\s%", text)
    assert "harms-shifted-users" in text


def test_a_run_from_before_shifts_has_no_column_for_them(report):
    text = Page(report(example.rows())).text
    assert "under shift" not in text
    assert "Confident errors" not in text
