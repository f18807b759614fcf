"""The page of a report in a browser: filtered, stepped through, themed, and given text that means harm."""

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

import filter_gameplay
from connections_env.game import GameState
from connections_env.parsing import Reply
from connections_env.play import take_reply
from connections_env.puzzles import Group, Puzzle
from connections_env.records import Cut, Message, ResumedFrom
from connections_env.rulesets import NYT, PUZZGRID
from connections_env.tokens import load_tokenizer, render
from tests import pages
from tests.rollouts import (
    REASONING,
    board,
    changed,
    invalid_at,
    lost,
    played,
    results_file,
    rollout,
    script_replies,
    scripted_reply,
    won,
)

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
)
HARM = (
    "</script><script>document.title = 'owned'</script><!-- <img src=x onerror=\"document.title = 'owned'\"> "
    "\x00 \u202ereversed\u202c \\u003c &lt; {{x}}"
)
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")


def harmful():
    """A game whose board, titles and replies hold what could run, hide or turn around."""
    groups = (
        Group("<b>THEME</b>", ("<i>one</i>", "</td>", "&amp;", "🍎"), ("tags",)),
        *board(90).groups[1:],
    )
    puzzle = Puzzle("harm", tuple(item for group in groups for item in group.members), groups, title=HARM)
    state, replies = GameState(puzzle, NYT), list[Reply]()
    for letter in "RORR":
        plain = scripted_reply(state, letter)
        replies.append(plain._replace(content=f"{HARM}\n\n{plain.content}", reasoning=HARM))
        state = take_reply(state, replies[-1])
    row = changed(rollout(puzzle, replies, rollout_id=HARM), model=HARM, reply_models=[HARM] * 4)
    row |= {"reply_finish": [HARM] * 4, "reply_unfit": [HARM] * 4}
    return json.dumps(row).replace("reversed", r"\ud800reversed")


def several(folder: Path) -> Path:
    """Sixty games and a few that are told apart by what they are."""
    cut = played(board(70), "RWWWW", rollout_id="cut")
    on = rollout(
        board(70),
        script_replies(board(70), "RWWWRR"),
        rollout_id="on",
        resumed_from=ResumedFrom(rollout_id="cut", turns=4),
        cuts=[Cut(turns=1, kept=4, truncate="last-valid")],
    )
    first = [won(board(number), rollout_id=f"game-{number}") for number in range(60)]
    special = [
        invalid_at(board(71), 2, rollout_id="invalid"),
        lost(board(72), rollout_id="lost"),
        played(board(73, groups=6, size=6), "RORRRR", rollout_id="large"),
    ]
    results_file(folder / "results_1.jsonl", [*first, cut])
    results_file(folder / "results_2.jsonl", [on, *special, harmful()])
    results_file(folder / "results_z\u202e.jsonl", [foreign(board(74))])
    return folder


def foreign(puzzle: Puzzle) -> dict:
    """A game by another tool, in whose folders such files may have any name."""
    said = [f"{REASONING}\n\n<guess>{', '.join(group.members)}</guess>" for group in puzzle.groups[:3]]
    return {
        "prompt": [{"role": "user", "content": "play"}],
        "completion": [{"role": "assistant", "content": text} for text in said],
        "info": {
            "game_id": 74,
            "shuffled_words": list(puzzle.items),
            "groups": [{"name": g.theme, "words": list(g.members)} for g in puzzle.groups],
        },
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report = folder / "report.html"
    assert (
        filter_gameplay.main([str(several(folder / "results")), "--output-dir", str(folder), "--report", str(report)])
        == 0
    )
    return report


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def shown(browser, page):
    """The page, newly opened; what it does is asked of it by `Page`."""
    browser.get("about:blank")
    browser.get(page.as_uri())
    opened = Page(browser)
    opened.until("return document.documentElement.dataset.ready === 'yes'")
    yield opened
    assert browser.get_log("browser") == []  # no error, and nothing that the policy had to stop


class Page:
    def __init__(self, browser):
        self.browser = browser

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def until(self, script, *values):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 10, poll_frequency=0.02).until(lambda _: self.run(script, *values))

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def go(self, route, ready):
        self.run("location.hash = arguments[0]", route)
        self.until("return document.querySelector(arguments[0])?.checkVisibility()", ready)

    def choose(self, name, option):
        self.browser.find_element("xpath", f"//label[span='{name}']/select/option[.='{option}']").click()

    def names(self):
        return self.texts("a.game .name")

    def open(self, rollout_id):
        """Opens a game by way of the search."""
        self.go("#games", "#search")
        self.one("#search").clear()
        self.one("#search").send_keys(rollout_id)
        self.until("return document.querySelectorAll('a.game').length === 1")
        self.one("a.game").click()
        self.until("return document.querySelector('#game-view:not([hidden]) .turns') !== null")


@pytest.fixture
def keys():
    from selenium.webdriver.common.keys import Keys

    return Keys


def test_the_overview_shows_the_figures_with_a_table_each(shown):
    assert "have a good game" in shown.texts(".headline")[0]
    titles = shown.texts(".cards h2")
    assert {"Loops over time", "Why games are bad", "Rewards", "Tokens per reply"} <= set(titles)
    charts = len(shown.texts(".cards .chart"))
    assert (
        len(shown.texts(".cards details.numbers table")) == charts == len(titles) - len(shown.texts(".cards .nothing"))
    )
    head = "return document.querySelector('.card.wide thead').innerText.trim().split(/\\s*\\t\\s*/)"
    shown.run("document.querySelector('.card.wide details').open = true")
    assert shown.run(head) == ["File", "Good", "Salvageable", "Unsalvageable", "Missing", "Games", "Newly good"]


def test_bars_are_read_out_by_arrow_keys(shown, keys):
    bars = shown.run("return [...document.querySelectorAll('.card.wide .column')]")
    shown.run("arguments[0].focus()", bars[0])
    shown.press(keys.ARROW_RIGHT)
    assert shown.run("return document.activeElement.ariaLabel").startswith("results_2.jsonl: ")
    assert shown.texts(".card.wide .readout")[0].startswith("results_2.jsonl: ")
    assert shown.run("return document.querySelectorAll('.card.wide .chart [tabindex=\"0\"]').length") >= 1


def test_games_are_filtered_by_what_they_are(shown):
    shown.go("#games", "#search")
    assert shown.texts(".summary") == ["67 games, 1 to 50"]
    shown.one("input[value=bad]").find_element("xpath", "..").click()
    assert shown.texts(".summary") == ["4 games"]
    assert shown.texts("a.game .why")[1:] == ["game lost", "invalid guess", "game lost"]
    shown.choose("Reason", "invalid guess")
    assert shown.names() == ["made-71"]
    shown.one("input[value=doctored]").find_element("xpath", "..").click()
    assert shown.names() == []
    assert shown.texts(".games .nothing") == ["No game is like that. Take a filter away."]


def test_games_are_found_by_words_of_their_board_and_of_their_replies(shown):
    shown.go("#games", "#search")
    word = board(12).items[3]
    shown.one("#search").send_keys(word.lower())
    assert shown.names() == ["made-12"]
    shown.one("#search").clear()
    shown.one("#search").send_keys("i cannot decide")
    assert shown.names() == []
    shown.one("#deep").click()
    shown.until("return document.querySelectorAll('a.game').length === 1")
    assert shown.names() == ["made-71"]


def test_games_are_sorted_and_turned_page_by_page(shown):
    shown.go("#games", "#search")
    shown.choose("Sort", "Oldest first")
    assert shown.names()[:2] == ["made-0", "made-1"]
    shown.browser.find_element("xpath", "//nav[@class='pager']/button[text()='Next']").click()
    assert shown.texts(".summary") == ["67 games, 51 to 67"]
    assert shown.names()[0] == "made-50"


def test_the_list_is_walked_and_opened_with_the_keyboard(shown, keys):
    shown.press("/")
    shown.until("return document.activeElement.id === 'search'")
    shown.press("made-7", keys.TAB)
    shown.run("document.querySelector('a.game').focus()")
    shown.press(keys.ARROW_DOWN)
    assert shown.run("return document.activeElement === document.querySelectorAll('a.game')[1]")
    shown.press(keys.ENTER)
    shown.until("return document.activeElement.id === 'game-title'")


def test_arrow_keys_step_through_a_game(shown, keys):
    shown.open("large")
    assert shown.texts(".where") == ["Opening board"]
    assert len(shown.texts(".tile")) == 36
    shown.press(keys.ARROW_RIGHT)
    assert shown.texts(".where") == ["Turn 1 of 6"]
    assert len(shown.texts(".tile")) == 30
    assert shown.texts(".banner .words strong") == ["ZONE0 of 73"]
    shown.press(keys.ARROW_RIGHT)
    assert shown.texts(".turn .pill") == ["≈ One away"]
    assert len(shown.texts(".tile.guessed")) == 6
    assert shown.texts(".lives") == ["3 mistakes left"]
    assert shown.texts("#live")[0].endswith("One away. 1 of 4 mistakes.")
    assert shown.texts(".reasoning .prose") == [REASONING]
    shown.press(keys.ARROW_LEFT, keys.ARROW_LEFT, keys.ARROW_LEFT)
    assert shown.texts(".where") == ["Opening board"]
    shown.press(keys.END)
    assert len(shown.texts(".banner .words strong")) == 6
    assert shown.texts(".ending") == ["Won: all groups found."]
    shown.press(keys.ARROW_RIGHT)
    assert shown.run("return location.hash").endswith("/6")
    shown.press(keys.ESCAPE)
    shown.until("return location.hash === '#games'")


def test_the_keyboard_stays_where_it_is_while_turns_go_by(shown, keys):
    shown.open("large")
    shown.run("document.querySelectorAll('.chip')[2].focus()")
    shown.press(keys.ENTER)
    assert shown.texts(".where") == ["Turn 2 of 6"]
    assert shown.run("return document.activeElement.ariaCurrent") == "step"
    shown.run("document.querySelector('.turn [tabindex=\"0\"]').focus()")
    shown.press(keys.END)
    assert shown.texts(".where") == ["Turn 2 of 6"]  # End scrolls the reasoning
    shown.press(keys.ARROW_RIGHT)
    assert shown.texts(".where") == ["Turn 3 of 6"]
    assert shown.run("return document.activeElement.closest('.turn') !== null")


def test_the_answer_and_the_reasoning_come_and_go_with_a_key(shown, keys):
    shown.open("lost")
    shown.press(keys.ARROW_RIGHT, "a")
    assert sorted(set(shown.texts(".tile .letter"))) == ["B", "C", "D"]
    shown.press("a")
    assert shown.texts(".tile .letter") == []
    assert shown.run("return document.querySelector('.reasoning').open")
    shown.press("r")
    assert not shown.run("return document.querySelector('.reasoning').open")
    shown.press(keys.ARROW_RIGHT)
    assert not shown.run("return document.querySelector('.reasoning').open")
    shown.press("r")


def test_a_resumed_game_says_where_it_was_cut_and_leads_to_its_parent(shown):
    shown.go("#game/61/5", ".seam")
    assert shown.texts(".lineage p") == ["Goes on from cut after turn 4. On the way to it 1 reply was cut off."]
    assert (
        shown.run("return [...document.querySelectorAll('.turns li')].findIndex((one) => one.className === 'seam')")
        == 5
    )
    shown.one(".lineage a").click()
    shown.until(
        "return document.querySelector('.lineage')?.textContent === 'Went on after turn 4 as on, which is good.'"
    )


def test_a_game_cut_more_than_once_shows_each_seam(browser, tmp_path):
    puzzle = board(1)
    row = rollout(
        puzzle,
        script_replies(puzzle, "ROORR"),
        resumed_from=ResumedFrom(rollout_id="earlier", turns=3),
        cuts=[Cut(turns=2, kept=1, truncate="last-valid"), Cut(turns=None, kept=3, truncate="last-valid")],
    )
    results_file(tmp_path / "results_1.jsonl", [row])
    shown = report_on(browser, tmp_path, "#game/0/1")
    assert shown.texts(".seam") == [
        "resumed here by an earlier game, 2 replies were cut off",
        "resumed here, some replies were cut off",
    ]
    order = "return [...document.querySelectorAll('.turns li')].map((one) => one.classList.contains('seam'))"
    assert shown.run(order) == [False, False, True, False, False, True, False, False]


def test_mistakes_that_do_not_count_yet_and_groups_that_come_by_themselves_are_said_so(browser, tmp_path):
    puzzle = board(1)
    replies = [
        *script_replies(puzzle, "WRRR", PUZZGRID),
        Reply('<themes>["zone0", "no"]</themes>', "hm, these", "stop"),
    ]
    row = changed(rollout(puzzle, replies, ruleset=PUZZGRID), simulated=True)
    results_file(tmp_path / "results_1.jsonl", [row])
    shown = report_on(browser, tmp_path, "#game/0/1", "--ruleset", "puzzgrid")
    lives, by_itself = [], []
    for turn in range(5):
        shown.run("location.hash = `#game/0/${arguments[0]}`", turn)
        shown.until(
            f"return document.querySelector('.where').textContent.startsWith('{f'Turn {turn} ' if turn else 'O'}')"
        )
        lives += shown.texts(".lives")
        by_itself += shown.texts(".turn > .hint")[:1] if turn == 4 else []
    early, late = "Mistakes do not count yet", "3 mistakes left"
    assert lives == [early, early, early, late, late]
    assert by_itself == ["That left one group, which the game completed itself."]
    assert "simulated" in shown.texts(".lead .tag")


def test_previous_and_next_follow_the_list_as_it_is_sorted(shown, keys):
    shown.go("#game/5", "#game-title")
    shown.until("return document.querySelector('#game-title').textContent === 'made-5'")
    where = "return [...document.querySelectorAll('.neighbours a')].map((one) => one.hash)"
    assert shown.run(where) == ["#game/6", "#game/4"]
    shown.go("#games", "#search")
    shown.choose("Sort", "Oldest first")
    shown.go("#game/5", "#game-title")
    shown.until("return !document.querySelector('#game-view').hidden")
    assert shown.run(where) == ["#game/4", "#game/6"]


def test_a_game_that_is_not_there_leads_to_the_list(shown):
    shown.go("#game/9999", ".games")
    assert shown.browser.title == "Games · Connections games"
    assert shown.run("return document.activeElement.id") == "games-title"


def test_headings_skip_no_level(shown):
    for route, ready in (("#overview", ".cards"), ("#games", ".games"), ("#game/5/1", ".turn-head")):
        shown.go(route, ready)
        levels = shown.run(
            "return [...document.querySelectorAll('h1, h2, h3')].filter((one) => one.checkVisibility())"
            ".map((one) => Number(one.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_mark_of_a_guess_is_over_no_word(shown):
    """The mark is drawn by the style alone, so where it lies is worked out from its tile."""
    marks = """
    return [...document.querySelectorAll('.tile.guessed')].map((tile) => {
      const box = tile.getBoundingClientRect();
      const drawn = getComputedStyle(tile, '::after');
      const border = parseFloat(getComputedStyle(tile).borderTopWidth);
      const right = box.right - border - parseFloat(drawn.right);
      const top = box.top + border + parseFloat(drawn.top);
      const dot = { left: right - parseFloat(drawn.width), right, top, bottom: top + parseFloat(drawn.height) };
      const range = document.createRange();
      range.selectNodeContents(tile.querySelector('bdi'));
      return [...range.getClientRects()].some((word) =>
        word.left < dot.right && dot.left < word.right && word.top < dot.bottom && dot.top < word.bottom);
    });
    """
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        shown.go("#game/64/2", ".tile.guessed")
        assert shown.run(marks) == [False] * 6
        shown.press("a")
        shown.until("return document.querySelector('.tile.guessed .letter') !== null")
        assert shown.run(marks) == [False] * 6
        shown.press("a")
    finally:
        shown.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_bars_are_seen_where_the_system_chooses_the_colours(shown):
    painted = """
    const clear = ['rgba(0, 0, 0, 0)', getComputedStyle(document.body).backgroundColor];
    return [...document.querySelectorAll(arguments[0])].every((one) =>
      !clear.includes(getComputedStyle(one).backgroundColor));
    """
    forced = {"features": [{"name": "forced-colors", "value": "active"}]}
    shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", forced)
    try:
        for route, ready, drawn in (
            ("#overview", ".cards", ".stack i:not(.missing), .meter i, .swatch:not(.missing), .track i"),
            ("#games", ".games", ".strip i"),
        ):
            shown.go(route, ready)
            assert shown.run("return matchMedia('(forced-colors: active)').matches")
            assert shown.run(painted, drawn)
        assert shown.run("return getComputedStyle(document.querySelector('[aria-current]')).borderTopStyle") == "solid"
    finally:
        shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def report_on(browser, folder, route, *flags):
    """The page on the results of a folder, opened at a route."""
    report = folder / "report.html"
    command = [str(folder / "results_1.jsonl"), "--output-dir", str(folder), "--report", str(report)]
    assert filter_gameplay.main([*command, *flags]) == 0
    browser.get("about:blank")
    browser.get(report.as_uri() + route)
    shown = Page(browser)
    shown.until("return document.documentElement.dataset.ready === 'yes'")
    return shown


def test_text_that_means_harm_is_shown_as_text(shown, keys):
    shown.open("harm")
    shown.press(keys.ARROW_RIGHT, keys.ARROW_RIGHT)
    shown.run("for (const one of document.querySelectorAll('details')) one.open = true")
    shown.until("return document.querySelectorAll('.said pre').length >= 3")
    seen = HARM.replace("\x00", "U+0000").replace("\u202e", "U+202E").replace("\u202c", "U+202C")
    assert shown.texts(".prose")[0].startswith(seen.partition("U+202E")[0])
    assert "reversedU+202C \\u003c &lt; {{x}}" in shown.texts(".prose")[0]
    assert shown.texts("h1#game-title")[0].startswith("</script><script>document.title = 'owned'</script>")
    assert shown.texts(".side .banner .words span bdi") == ["<i>one</i>", "</td>", "&amp;", "🍎"]
    assert shown.browser.title == f"{seen.replace('reversed', '?reversed')} · Connections games"
    steering = "return /[\\u0000\\u202e\\u202c]/.test(arguments[0])"
    assert shown.texts(".turn-head .tokens")[0].partition(", ended by ")[2].startswith("</script><script>")
    assert shown.texts(".pill.unfit")[0].startswith("unfit: </script><script>")
    assert not shown.run(steering, "".join(shown.texts(".turn-head")))
    said = """
    const own = (one) => [...one.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data);
    const all = [...document.querySelectorAll('body :not(script)')];
    return all.flatMap((one) => [one.ariaLabel, one.title, ...own(one)]);
    """
    assert not shown.run(steering, "".join(filter(None, shown.run(said))))
    labels = "return [...document.querySelectorAll('.column')].map((one) => one.ariaLabel)"
    assert any("U+202E?reversed" in text for text in shown.texts("option"))
    assert "results_zU+202E.jsonl" in shown.texts(".card.wide th")
    assert any(label.startswith("results_zU+202E.jsonl: ") for label in shown.run(labels))
    assert shown.run("return document.querySelectorAll('main img, main script, main i i, main b b').length") == 0
    assert shown.run("return document.scripts.length") == shown.run(
        "return document.querySelectorAll('body > script').length"
    )


def test_the_theme_is_toggled_and_kept(shown):
    ground = "return getComputedStyle(document.body).backgroundColor"
    shown.run("themed('auto')")
    shown.one("#theme").click()
    assert shown.one("#theme").get_attribute("aria-label") == "Theme: light"
    light = shown.run(ground)
    shown.press("t")
    assert shown.run(ground) != light
    shown.browser.refresh()
    shown.until("return document.documentElement.dataset.ready === 'yes'")
    assert shown.one("#theme").text == "Dark"
    shown.run("themed('auto')")


@pytest.mark.parametrize("route", ["#overview", "#games", "#game/64/3", "#game/65/2"])
def test_nothing_is_wider_than_a_narrow_screen(shown, route):
    ready = {"#overview": ".cards", "#games": ".games"}.get(route, ".turn")
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        shown.go(route, ready)
        assert shown.run("return document.documentElement.scrollWidth") <= 360
    finally:
        shown.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [1280, 390])
def test_the_label_of_a_limit_is_inside_of_its_chart_and_over_no_other_text(shown, width):
    draw = """
    const cols = Array.from({ length: 24 }, (_, n) => (
      { label: String(n * 1000), told: "", parts: [["plain", n + 1]] }
    ));
    const at = arguments[0].map((at) => ({ at, label: "limit 1,048,576" }));
    const drawn = columns("A chart", cols, { marks: at });
    document.querySelector('.cards').replaceChildren(el("article", { class: "card" }, drawn));
    const box = (one) => one.getBoundingClientRect().toJSON();
    const text = (selector) => [...drawn.querySelectorAll(selector)].filter((one) => one.textContent).map(box);
    return { plot: box(drawn.querySelector('.plot')), card: box(drawn.closest('.card')),
             labels: text('.limit-label span'), others: text('.line span, .tick:not(.none)') };
    """
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for at in ([0], [0.01, 0.02], [0.5], [0.98, 1], [1], [None], [0.3, None]):
            found = shown.run(draw, at)
            assert len(found["labels"]) == len(at)
            for nth, label in enumerate(found["labels"]):
                plot, card = found["plot"], found["card"]
                assert plot["left"] <= label["left"]
                assert label["right"] <= plot["right"] + 0.5 <= card["right"]
                for other in [*found["others"], *found["labels"][nth + 1 :]]:
                    apart = label["right"] <= other["left"] or other["right"] <= label["left"]
                    assert apart or label["bottom"] <= other["top"] + 0.5 or other["bottom"] <= label["top"] + 0.5
    finally:
        shown.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [390, 360])
@pytest.mark.parametrize("size", [3, 4, 5, 6])
def test_words_on_tiles_are_readable_on_a_narrow_screen(shown, width, size):
    draw = """
    const size = arguments[0];
    const long = ["TO BE OR NOT TO BE, THAT IS THE QUESTION", "PNEUMONOULTRAMICROSCOPIC", "ICE CREAM", "20,000"];
    const items = Array.from({ length: size ** 2 }, (_, n) => long[n] ?? `KALEIDOSCOPES${n}`);
    const groups = Array.from({ length: size }, (_, n) => ({ members: items.slice(n * size, (n + 1) * size) }));
    const drawn = board({ items, groups }, [], [], "", false);
    fill(byId("overview-view"), drawn);
    const tiles = [...drawn.querySelectorAll('.tile')];
    const spills = (tile) => tile.scrollWidth > tile.clientWidth || tile.scrollHeight > tile.clientHeight;
    return {
      fonts: tiles.map((tile) => parseFloat(getComputedStyle(tile.querySelector('bdi')).fontSize)),
      over: tiles.filter(spills).length,
      across: new Set(tiles.map((tile) => tile.offsetLeft)).size,
      texts: tiles.map((tile) => tile.textContent),
      items,
      wide: document.documentElement.scrollWidth,
    };
    """
    device = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    try:
        found = shown.run(draw, size)
    finally:
        shown.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert min(found["fonts"]) >= 11
    assert (found["over"], found["across"], found["wide"]) == (0, min(size, 4), width)
    assert found["texts"] == found["items"]


def test_tokens_that_were_estimated_are_called_so(browser, tmp_path):
    replies = [reply._replace(tokens=None) for reply in script_replies(board(1), "RRR")]
    results_file(tmp_path / "results_1.jsonl", [rollout(board(1), replies), won(board(2))])
    report = tmp_path / "report.html"
    command = [str(tmp_path / "results_1.jsonl"), "--output-dir", str(tmp_path), "--report", str(report)]
    assert filter_gameplay.main(command) == 0
    browser.get(report.as_uri() + "#game/0/1")
    shown = Page(browser)
    shown.until("return document.documentElement.dataset.ready === 'yes'")
    assert shown.texts(".turn-head .tokens")[0].startswith("about ")
    assert shown.texts(".turn-head .tokens")[0].endswith(" tokens (estimated)")
    assert [text.split("tokens")[1] for text in shown.texts("a.game .number") if "token" in text] == ["", ", estimated"]
    cards = dict(zip(shown.texts(".cards h2"), shown.texts(".cards .sentence"), strict=True))
    assert cards["Tokens per reply"].endswith("Of 6 replies 3 estimated.")
    assert cards["Tokens per game"].endswith("Of 2 games 1 estimated.")


def test_shares_of_less_than_one_fill_their_bars(shown):
    """Flex items whose shares sum to less than 1 would leave the rest of the bar free."""
    draw = """
    const cols = [0.06, 0.03].map((cost) => ({ label: "", told: "", parts: [["plain", cost]] }));
    const drawn = columns("A chart", cols, { format: dollars });
    document.querySelector('.cards').replaceChildren(el("article", { class: "card" }, drawn));
    const most = drawn.querySelector('.lines').clientHeight;
    return [...drawn.querySelectorAll('.stack i')].map((bar) => bar.clientHeight / most);
    """
    whole, half = shown.run(draw)
    assert whole > 0.95
    assert half == pytest.approx(whole / 2, abs=0.02)


# Ratio of the luminance of a text to that of what it stands on, by WCAG 2.2 (1.4.3).
CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
const light = (colour) => {
  const [r, g, b] = colour.map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const colour = rgba(getComputedStyle(one).backgroundColor);
    if (colour[3] > 250) return colour;
  }
  return [255, 255, 255];
};
const low = [];
for (const one of document.querySelectorAll('body *')) {
  if (!one.checkVisibility() || one.closest('.unseen, .skip, script, button:disabled, .off, .letter')) continue;
  if (![...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
  const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) low.push(`${one.className || one.tagName}: ${one.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
}
return low;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(shown, theme):
    shown.run("themed(arguments[0])", theme)
    try:
        for route, ready in (("#overview", ".cards"), ("#games", ".games"), ("#game/65/2", ".tile.guessed")):
            shown.go(route, ready)
            assert shown.run(CONTRAST) == []
        shown.press("a")
        assert shown.run(CONTRAST) == []
    finally:
        shown.run("themed('auto')")


def test_a_shortened_reply_is_shown_before_and_after(browser, tmp_path):
    import collate

    results_file(tmp_path / "results_1.jsonl", [won(board(1), rollout_id="a")])
    assert filter_gameplay.main([str(tmp_path / "results_1.jsonl"), "--output-dir", str(tmp_path)]) == 0
    row = json.loads((tmp_path / "good_examples.jsonl").read_text(encoding="utf-8"))
    long = [Message(**message).model_dump(exclude_none=True) for message in row["completion"]]
    long[0]["content"] = long[0]["content"].replace(REASONING, f"{REASONING} {REASONING}")
    row |= {"reduced": True, "reducer_models": ["small"], "original_completion": long}
    (tmp_path / "good_examples.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    report = tmp_path / "report.html"
    command = [str(tmp_path / "good_examples.jsonl"), "--no-default-exclude", "--output-dir", str(tmp_path)]
    assert collate.main([*command, "--report", str(report)]) == 0
    browser.get(report.as_uri() + "#game/0/1")
    shown = Page(browser)
    shown.until("return document.querySelector('.both') !== null")
    assert shown.texts(".both .prose") == [f"{REASONING} {REASONING}", REASONING]
    assert [text.partition(" ")[0] for text in shown.texts(".both h3")] == ["Before", "After"]
    assert all(text.endswith(" tokens") for text in shown.texts(".both h3"))
    tokens = pages.listed(report)[0]["tokens"]
    long_tokens = load_tokenizer().count(render(long))
    assert long_tokens > tokens
    assert shown.texts("a.game .number")[-1] == f"{long_tokens} → {tokens}tokens"
    assert "Most tokens before reduction" in shown.texts("option")
    assert shown.texts("a.game .verdict") == shown.texts(".lead .verdict") == ["Fit"]
    assert [text.partition(" ")[0] for text in shown.texts(".shows span")] == ["All", "Fit", "Chosen", "Reduced"]
    assert "Every game is fit." in shown.texts(".cards .nothing")
