"""`sdg browse` in a real browser: filters, samples, keys, the court, hostile texts, a folder on disk."""

from urllib.parse import parse_qs

import pytest

from bench.browser import make_run
from sdg_helpers import files
from sdg_helpers.audit import labels as audit_labels
from sdg_helpers.browser.folder import write_folder
from sdg_helpers.browser.site import Site
from tests.helpers.browsing import HOSTILE, LONG, court_track, science_track, served, write_track

ROWS = "#list tr[data-position]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A server of a made run of 400 problems x 8."""
    track = make_run(tmp_path_factory.mktemp("outputs") / "olympiad-16", 400, 8, thinking=2500)
    with served(track) as server:
        yield server


def count(page):
    return int(page.locator(".count").inner_text().split()[0].replace(",", ""))


def shown(page, total):
    """Wait until the table has this many problems."""
    page.wait_for_function("n => document.querySelector('.count').innerText.split(' ')[0] === String(n)", arg=total)


def test_filters_sorts_and_search_show_what_the_server_finds(made, visit):
    seen = visit(made.url)
    page, site = seen.page, made.site
    shown(page, 400)
    assert page.locator(ROWS).count() == 50 and page.locator("#list .katex").count() > 10
    seen.shot("table")
    page.select_option("select[name=decision]", "relabel")
    shown(page, site.table({"decision": ["relabel"]})["total"])
    page.select_option("select[name=decision]", "")
    page.fill("input[name='pass_rate.max']", "50")
    page.keyboard.press("Tab")
    half = site.table({"pass_rate.max": ["0.5"], "sort": ["-tokens"]})
    shown(page, half["total"])
    page.locator("th.column-tokens button").click()
    page.locator("th.column-tokens button").click()
    page.wait_for_selector("th.column-tokens[aria-sort=descending]")
    first = "p => document.querySelector('#list tr[data-position]').dataset.position === String(p)"
    page.wait_for_function(first, arg=half["rows"][0]["position"])
    page.fill("#search", "MARBLES")
    found = site.table({"pass_rate.max": ["0.5"], "text": ["marbles"]})["total"]
    shown(page, found)
    assert 0 < found < half["total"]
    page.reload()  # the filters are in the address
    page.wait_for_selector("body[data-ready]")
    shown(page, found)
    page.click("#clear")
    shown(page, 400)
    page.locator(".bars button").last.click()
    shown(page, site.table({"pass_rate.min": ["1"]})["total"])
    page.fill("#search", "no such words")
    page.wait_for_selector(".empty")
    assert seen.trouble == [] and seen.elsewhere(made.url) == []


def test_a_sample_opens_by_click_and_by_keys(made, visit):
    seen = visit(made.url)
    page = seen.page
    page.locator(ROWS).nth(2).click()
    page.wait_for_selector("#detail .solution .katex-display")
    assert page.locator("#detail .solution").count() == 8 and page.locator("#detail h2").inner_text() == "Problem 3"
    assert "I get" not in page.locator("#detail .solution").first.inner_text()
    seen.shot("problem")
    page.keyboard.press("t")
    page.wait_for_function("() => document.querySelector('#detail .thinking .prose')?.innerText.includes('I get')")
    seen.shot("thinking")
    page.keyboard.press("j")
    page.wait_for_function("() => document.querySelector('#detail h2').innerText === 'Problem 4'")
    assert page.locator(f"{ROWS}[aria-selected=true]").get_attribute("data-position") == "3"
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelector('#detail .solution .prose').innerText.includes('\\\\sum')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.pages').innerText.includes('page 2')")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.click("#close-help")
    assert seen.trouble == []


def test_dark_and_on_a_phone(made, visit):
    dark = visit(made.url, dark=True)
    dark.page.locator(ROWS).nth(4).click()
    dark.page.wait_for_selector("#detail .solution .katex-display")
    dark.shot("dark")
    assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 26)"
    phone = visit(made.url, width=390, height=800)
    phone.shot("phone-table")
    phone.page.locator(ROWS).nth(4).click()
    phone.page.wait_for_selector("#detail .solution .katex-display")
    phone.shot("phone-problem")
    for seen in (dark, phone):
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth") and seen.trouble == []


def test_the_court_decides_by_keys(tmp_path, visit):
    track = court_track(tmp_path / "r")
    with served(track) as server:
        seen = visit(server.url)
        page = seen.page
        assert page.locator("#open-cases").inner_text() == "3"
        page.click("#to-court")
        page.wait_for_selector("#court .verdicts")
        case = "() => document.querySelector('#court .question b')?.innerText === 'Problem %d'"
        page.wait_for_function(case % 3)
        assert page.locator(".side.reference").inner_text().split("\n")[1] == "7"
        assert page.locator(".solution .badge").count() == 0  # the verdicts are not told
        seen.shot("court")
        page.keyboard.press("d")
        page.wait_for_function(case % 2)
        page.keyboard.press("2")
        page.wait_for_selector("button.side[aria-pressed=true] >> nth=0")
        assert page.locator("button.side[aria-pressed=true] .side-answer").inner_text() == "6"
        page.keyboard.press("c")
        page.wait_for_function(case % 1)
        page.keyboard.press("s")
        page.wait_for_function("() => document.querySelector('#court h2')?.innerText === 'The end of the list'")
        assert "sdg reset r relabeled" in page.locator("#court").inner_text()
        page.keyboard.press("ArrowUp")
        page.wait_for_function(case % 1)
        page.locator(".verdicts .keep").click()
        page.wait_for_function("() => document.querySelector('#court h2')?.innerText === 'All cases are decided'")
        assert page.locator("#open-cases").inner_text() == "0"
        assert audit_labels.right_labels(tmp_path / "r" / audit_labels.FILE) == {"tie": None, "open": "6", "new": "7"}
        assert seen.trouble == [] and seen.elsewhere(server.url) == []


def test_the_court_of_science_has_options_and_no_reference(tmp_path, visit):
    with served(science_track(tmp_path / "r")) as server:
        seen = visit(server.url)
        page = seen.page
        page.click("#to-court")
        page.wait_for_selector("#court .verdicts")
        assert page.locator("#court .options li").count() == 2
        assert page.locator(".side.reference").count() == 0 and page.locator(".verdicts .keep").count() == 0
        seen.shot("court-science")
        page.keyboard.press("c")
        page.wait_for_function("() => document.querySelector('#court .question b')?.innerText === 'Problem 1'")
        page.keyboard.press("k")  # nothing to keep
        page.keyboard.press("d")
        page.wait_for_function("() => document.querySelector('#court h2')?.innerText === 'All cases are decided'")
        assert "sdg reset r voted" in page.locator("#court").inner_text() and not seen.trouble


def test_code_has_no_court_and_says_why(tmp_path, visit):
    rows = [{"id": "q-python", "problem": "Print 4.", "language": "python"}]
    with served(write_track(tmp_path / "r", rows, [["```python\nprint(4)\n```"]], "code")) as server:
        page = visit(server.url).page
        page.click("#to-court")
        assert "Programs are judged by running the question's tests." in page.locator("#court").inner_text()
        page.keyboard.press("c")
        page.click("#to-table")
        page.wait_for_selector(ROWS)


def hostile_track(folder):
    """A track whose every text is hostile: problems, options, answers, sources, thinking, a line of 1 MB."""
    rows = [
        {
            "id": name,
            "problem": text,
            "expected_answer": text,
            "problem_source": text,
            "options": {"A": text},
            text: text,
        }
        for name, text in HOSTILE.items()
    ]
    texts = [[f"<think>\n{text}\n{LONG}\n</think>\n\n{text}\n{LONG}" for text in HOSTILE.values()]]
    verdicts = [[(text, None, "unreadable") for text in HOSTILE.values()]]
    labels = {
        "id": list(HOSTILE),
        "expected_answer": list(HOSTILE.values()),
        "original_expected_answer": list(HOSTILE.values()),
        "decision": "undecided",
        "reason": "unsure",
        "votes": 1,
        "seeds": 1,
        "tied": False,
        "agreement": 1.0,
        "confidence": 0.5,
    }
    track = write_track(folder, rows, texts, verdicts=verdicts, labels=labels)
    row = {"id": "script", "predicted_answer": HOSTILE["script"], "expected_answer": HOSTILE["svg"], "judgement": True}
    (track.judged / "comparisons.jsonl").write_bytes(files.dumps({**row, "reply": HOSTILE["svg"], "model": "<b>"}))
    return track


def look_at_everything(seen):
    """Open every problem and unfold every part of it, as rendered and as written."""
    page = seen.page
    for number in range(len(HOSTILE)):
        page.locator(ROWS).nth(number).click()
        page.wait_for_function(f"() => document.querySelector('#detail h2')?.innerText === 'Problem {number + 1}'")
        page.evaluate("document.querySelectorAll('#detail details').forEach((one) => { one.open = true; })")
        for part in page.locator("#detail .prose").all():
            part.scroll_into_view_if_needed()
        page.wait_for_function("() => document.querySelector('#detail .thinking .prose')")
        seen.shot(f"hostile-{list(HOSTILE)[number]}")
        page.keyboard.press("r")
        page.keyboard.press("r")
        assert page.title() != "owned" and page.locator("#detail").evaluate(
            "one => one.querySelectorAll('script, img, iframe, object, embed, a, svg a, form, [onload], [onclick], "
            "[onerror], [href], [src]').length"
        ) == 0  # fmt: skip


def test_hostile_texts_do_nothing(tmp_path, visit):
    with served(hostile_track(tmp_path / "r")) as server:
        seen = visit(server.url)
        look_at_everything(seen)
        page = seen.page
        page.locator(ROWS).nth(0).click()
        more = page.locator("#detail .solution > .long-text > .more")
        before = page.locator("#detail .solution > .long-text .prose").inner_text()
        more.click()
        longer = "n => document.querySelector('#detail .solution > .long-text .prose').innerText.length > n"
        page.wait_for_function(longer, arg=len(before) + 90_000)
        page.click("#to-court")
        for _ in HOSTILE:
            page.wait_for_selector("#court .verdicts")
            page.keyboard.press("s")
        page.wait_for_function("() => document.querySelector('#court h2')")
        assert page.title() != "owned" and seen.trouble == [] and seen.elsewhere(server.url) == []


def test_hidden_characters_are_shown_and_directions_stay_inside(tmp_path, visit):
    with served(hostile_track(tmp_path / "r")) as server:
        page = visit(f"{server.url}#position={list(HOSTILE).index('bidi')}").page
        page.wait_for_selector("#detail .question .hidden-character")
        said = page.locator("#detail .question .prose").inner_text()
        assert said == "safe U+202E txet neddih U+2066U+200B end U+0007"
        assert "\u202e" not in page.locator("body").inner_text()


def test_a_folder_opens_from_disk_and_filters_as_the_server_does(made, tmp_path, visit):
    address = write_folder(made.site, tmp_path / "out", most=400).as_uri()
    seen = visit(address)
    page = seen.page
    for parameters in (
        "",
        "pass_rate.max=0.5&sort=-tokens",
        "decision=relabel&decision=undecided",
        "dropped=incorrect&tiers=model&sort=confidence",
        "text=MARBLES&source=aops&sort=source",
        "pass_rate.min=0.200001&pass_rate.max=0.4&sort=-pass_rate&page=0",
        "sort=-characters&page=3",
    ):
        expected = made.site.table(parse_qs(parameters))
        got = page.evaluate("text => sdg.source.table(new URLSearchParams(text))", parameters)
        assert got["total"] == expected["total"]
        assert [row["position"] for row in got["rows"]] == [row["position"] for row in expected["rows"]], parameters
    page.locator(ROWS).nth(1).click()
    page.wait_for_selector("#detail .solution .katex-display")
    page.keyboard.press("t")
    page.wait_for_function("() => document.querySelector('#detail .thinking .prose')?.innerText.includes('I get')")
    assert page.evaluate("document.fonts.check('16px KaTeX_Main')")
    seen.shot("folder")
    assert seen.trouble == [] and seen.elsewhere(address.removesuffix("index.html")) == []


def test_a_folder_of_hostile_texts_does_nothing(tmp_path, visit):
    address = write_folder(Site(hostile_track(tmp_path / "r")), tmp_path / "out").as_uri()
    seen = visit(address)
    look_at_everything(seen)
    assert seen.page.title() != "owned" and seen.trouble == []
    assert seen.elsewhere(address.removesuffix("index.html")) == []
