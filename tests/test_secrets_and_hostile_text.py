"""What endpoints and files say: the key is written nowhere, and no text steers a terminal or leaves its folder."""

import contextlib
import html
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

import collate
import doctor_gameplay
import filter_gameplay
import generate_rollouts
import iterative_generate
import prep_doctoring
import reduce_tokens
from connections_env.parsing import Reply
from connections_env.puzzles import Group, Puzzle
from tests.rollouts import (
    REASONING,
    board,
    boards,
    changed,
    guess_text,
    hub_row,
    lost,
    puzzle_file,
    results_file,
    rollout,
    won,
)
from tests.scripted import Seen, Sent, Server, Step, completion, refusal, winner
from tests.test_broken_files import contents, one_line, ran

KEY = "sk-te/st+0123=4567&89abcdef~ghij"
SECRET = "hunter2-Pa55/w0rd"
FORMS = {
    "as it is": KEY,
    "for a URL": quote(KEY, safe=""),
    "for a form": quote_plus(KEY),
    "for a URL in small letters": re.sub("%..", lambda match: match[0].lower(), quote(KEY, safe="")),
    "for JSON": KEY.replace("/", "\\/"),
    "for JSON in letters of its own": "".join(f"\\u{ord(c):04x}" if c in "/+=&~" else c for c in KEY),
    "for HTML": html.escape(KEY),
}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key in the environment, no long pauses, all that is written below the temporary folder."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    monkeypatch.setattr("connections_env.patience.FIRST_BACKOFF", 0.001)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")


def shows_nothing(secret: str, where: Path, *said: str) -> None:
    """The secret is in no file below and in nothing said, in any of the forms in which it may be spelled."""
    written = {name: data.decode("utf-8", "replace") for name, data in contents(where).items()}
    decoded = {
        f"{name}, unescaped": re.sub(r"\\u00(..)", lambda m: chr(int(m[1], 16)), text) for name, text in written.items()
    }
    for name, text in {**written, **decoded, **{f"said {n}": text for n, text in enumerate(said)}}.items():
        for form in (secret, quote(secret, safe=""), secret.replace("/", "\\/"), html.escape(secret), secret[4:-4]):
            assert form.lower() not in text.lower(), f"{form} in {name}: {text[:3000]}"


def flags(server: Server, count: int = 3, **more: object) -> list[object]:
    made = puzzle_file(Path("puzzles.jsonl"), boards(count))
    return ["--puzzles", made, "--results-dir", "results", "-b", server.url, "-c", 1, "--max-retries", 1, *more]


# What the endpoint says of the key


def page(text: str) -> bytes:
    return f"<html><title>{text}</title>{text}</html>".encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("later", [False, True], ids=["at first", "later"])
def test_a_key_repeated_in_an_error_is_shown_in_no_form(tmp_path: Path, form: str, later: bool) -> None:
    play, echoed = winner(*boards(3)), FORMS[form]
    errors: list[Step] = [refusal(status, f"bad key {echoed}!") for status in (400, 401, 402, 403, 404, 422, 500, 503)]
    errors += [Sent(status, page(echoed), {"Content-Type": "text/html"}) for status in (200, 403, 502)]
    errors.append(Sent(400, f'{{"error": {{"message": "the key {echoed} and"}}}}'.encode()))
    errors.append(Sent(401, {"detail": [{"loc": ["header", echoed], "msg": echoed, "input": echoed}]}))
    errors.append(Sent(429, {"error": {"message": echoed}}, {"Retry-After": "0", "X-Request-Id": KEY}))
    errors.append(Sent(200, {"error": {"message": echoed, "code": echoed, "type": echoed}}))
    errors.append(Sent(302, b"", {"Location": f"/elsewhere?key={echoed}"}))
    for error in errors:
        with Server(lambda seen, error=error: error if seen.nth >= 4 * later else play(seen)) as server:  # type: ignore[misc]
            status, out, err = ran(generate_rollouts, *flags(server), "--give-up-after", "0.01")
            assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
        assert status in (0, 1), err
        shows_nothing(KEY, tmp_path, out, err)


@pytest.mark.parametrize("place", ["content", "reasoning", "model", "finish", "refusal", "id", "usage", "header"])
def test_a_key_repeated_in_an_answer_is_written_to_no_file(tmp_path: Path, place: str) -> None:
    play = winner(*boards(3))

    def step(seen: Seen) -> Step:
        body = json.loads(json.dumps(play(seen)))
        message = body["choices"][0]["message"]
        match place:
            case "content":
                message["content"] = f"Your key is {KEY}, Bearer {KEY}. " + message["content"]
            case "reasoning":
                message["reasoning_content"] = f"The key is {KEY}."
            case "finish":
                body["choices"][0]["finish_reason"] = KEY
            case "usage":
                body["usage"] |= {"prompt_tokens_details": {"cached_tokens": KEY}, KEY: KEY}
            case "header":
                return Sent(body=body, headers={"X-Echo": KEY, "Set-Cookie": f"key={KEY}"})
            case _:
                body[place] = message[place] = KEY
        return body

    with Server(step) as server:
        status, out, err = ran(iterative_generate, *flags(server), "--loop", 2, "-v")
    assert (Path("results") / "results_1.jsonl").exists()
    assert status == 0
    shows_nothing(KEY, tmp_path, out, err)


def long_game(number: int) -> Any:
    replies = [Reply(guess_text(group.members), REASONING * 200, "stop", 3000) for group in board(number).groups[:3]]
    return rollout(board(number), replies)


def echoing_reducer(seen: Seen) -> Step:
    guess = re.findall(r"<guess>.*?</guess>", seen.messages[-1]["content"], re.DOTALL)[-1]
    if seen.nth % 3 == 1:
        return refusal(500, f"no {KEY}")
    return completion(f"<think>\nThe key {KEY} fits.\n</think>\n\n{guess}", thought=KEY, model=KEY)


def test_a_key_repeated_by_the_reducer_is_written_to_no_file(tmp_path: Path) -> None:
    results_file(Path("in/results_1.jsonl"), [long_game(n) for n in range(3)])
    assert ran(filter_gameplay, "in")[0] == 0
    with Server(echoing_reducer) as server:
        told = ran(reduce_tokens, "-b", server.url, "-v", "-c", 2, "-S", json.dumps({"user": KEY}))
    assert len(server.seen) >= 3
    shows_nothing(KEY, tmp_path, *told[1:])


def test_a_key_does_not_follow_a_redirection_to_another_host(tmp_path: Path) -> None:
    with Server(winner(*boards(3))) as other:
        away = f"http://localhost:{other.port}/v1/chat/completions"
        with Server([Sent(307, b"", {"Location": away})]) as server:
            told = ran(generate_rollouts, *flags(server))
    for seen in other.seen:
        assert KEY not in json.dumps(dict(seen.headers)) + seen.raw.decode()
    shows_nothing(KEY, tmp_path, *told[1:])


OTHERS = {
    "OPENAI_API_KEY": "sk-of-somebody-else",
    "OPENAI_ADMIN_KEY": "sk-admin-of-somebody-else",
    "OPENAI_ORG_ID": "org-of-somebody-else",
    "OPENAI_PROJECT_ID": "project-of-somebody-else",
    "OPENAI_WEBHOOK_SECRET": "secret-of-somebody-else",
    "OPENAI_CUSTOM_HEADERS": "X-Secret: header-of-somebody-else",
    "HF_TOKEN": "hf_of-somebody-else",
}


@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
def test_no_other_secret_of_the_environment_goes_along(monkeypatch: pytest.MonkeyPatch, keyed: bool) -> None:
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    if not keyed:
        monkeypatch.delenv("DEEPSEEK_API_KEY")
    with Server(winner(*boards(1))) as server:
        assert ran(generate_rollouts, *flags(server, 1))[0] == 0
    for seen in server.seen:
        assert "somebody-else" not in json.dumps(dict(seen.headers)) + seen.raw.decode()


# Secrets in the base URL and odd keys


@pytest.mark.parametrize("script", [generate_rollouts, iterative_generate])
@pytest.mark.parametrize("answer", ["plays", "refuses", "fails", "nobody"])
@pytest.mark.parametrize(
    "shape", ["http://user:{secret}@{host}/v1", "http://{host}/v1?key={secret}", "http://{secret}@{host}/v1/"]
)
def test_secrets_in_the_base_url_are_shown_nowhere(tmp_path: Path, script: Any, answer: str, shape: str) -> None:
    play, secret = winner(*boards(3)), quote(SECRET, safe="")

    def step(seen: Seen) -> Step:
        if answer == "refuses" and seen.nth > 2:
            return refusal(403, f"not for {seen.path}")
        return refusal(500, "down") if answer == "fails" and seen.nth > 2 else play(seen)

    with Server(step) as server:
        url = shape.format(secret=secret, host=f"127.0.0.1:{1 if answer == 'nobody' else server.port}")
        argv = [word if word != server.url else url for word in flags(server)]
        told = ran(script, *argv, "--give-up-after", "0.01", *(["--loop", 2] if script is iterative_generate else []))
    assert "Traceback" not in told[2]
    Path("puzzles.jsonl").unlink()
    shows_nothing(SECRET, tmp_path, *told[1:])


@pytest.mark.parametrize("script", [generate_rollouts, iterative_generate, doctor_gameplay, reduce_tokens])
@pytest.mark.parametrize("stray", ["\n", "\r\n", "\u200b", "é", "\x1b[2J", "\ud800", "\u2028"])
def test_a_key_with_odd_characters_inside_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Any, stray: str
) -> None:
    # A lone surrogate is what Python makes of a byte that is not UTF-8.
    key = KEY[:9] + stray.replace("\ud800", "\udcff") + KEY[9:]
    monkeypatch.setenv("DEEPSEEK_API_KEY", key)
    results_file(Path("in/results_1.jsonl"), [long_game(0), lost(board(1))])
    assert ran(filter_gameplay, "in")[0] == ran(prep_doctoring)[0] == 0
    with Server(winner(*boards(3))) as server:
        argv = flags(server) if script in (generate_rollouts, iterative_generate) else ["-b", server.url]
        argv += ["--results-dir", "results"] if script is doctor_gameplay else []
        status, out, err = ran(script, *argv)
    assert (status, out, len(server.seen)) == (2, "", 0)
    assert "DEEPSEEK_API_KEY" in one_line(err)
    shows_nothing(KEY[9:], tmp_path, err)
    assert KEY[:9] not in err


# Errors that nobody expects


@pytest.mark.parametrize("script", [generate_rollouts, iterative_generate])
@pytest.mark.parametrize("where", ["connections_env.play.take_reply", "connections_env.play.make_rollout"])
def test_an_error_that_nobody_expects_shows_its_place_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Any, where: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        header = f"Bearer {KEY}"
        raise RuntimeError(f"cannot send {header}") from ValueError({"authorization": header})

    with Server(winner(*boards(3))) as server:
        argv = flags(server)
        monkeypatch.setattr(where, broken)
        with contextlib.suppress(RuntimeError):
            status, out, err = ran(script, *argv)
            assert status == 1
            assert "RuntimeError" in err
            assert "please report it" in err
            shows_nothing(KEY, tmp_path, out, err)
            return
    pytest.fail("the error came through")


def test_an_error_that_nobody_expects_in_a_reduction_shows_its_place_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results_file(Path("in/results_1.jsonl"), [long_game(0)])
    assert ran(filter_gameplay, "in")[0] == 0

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"cannot send Bearer {KEY}")

    monkeypatch.setattr("connections_env.reduction.accepted", broken)
    with Server(echoing_reducer) as server:
        status, out, err = ran(reduce_tokens, "-b", server.url)
    assert (status, "RuntimeError" in err, "please report it" in err) == (1, True, True)
    shows_nothing(KEY, tmp_path, out, err)


# Text that would steer a terminal


HOSTILE = {
    "clear screen": "\x1b[2J",
    "clipboard": "\x1b]52;c;ZWNobw==\x07",
    "eight-bit CSI": "\x9b2J",
    "carriage return": "\rSPOOF",
    "backspace": "\b\b\b",
    "right to left": "\u202eSPOOF\u202c",
    "isolate": "\u2066SPOOF\u2069",
    "marks": "\u200f\u061c\u200e",
    "line separators": "\u2028\u2029\x85",
    "nul and delete": "\0\x7f",
    "surrogate": "\ud800",
    "a line of its own": "\nSPOOF",
}
STEERS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]|^SPOOF|\rSPOOF",
    re.MULTILINE,
)


def steers_nothing(*said: str) -> None:
    for text in said:
        found = STEERS.search(text)
        assert not found, f"{found[0]!r} in {text!r}"
        assert "Traceback" not in text


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_and_errors_reach_no_terminal(kind: str) -> None:
    evil = HOSTILE[kind]
    play = winner(*boards(4), model=evil)

    def step(seen: Seen) -> Step:
        body = json.loads(json.dumps(play(seen)))
        choice = body["choices"][0]
        choice["message"]["reasoning_content"] = f"So {evil} it is. " * 3
        if seen.nth in (2, 3):
            choice["message"]["content"] = f"{evil}<guess>[`{evil}`, `A`]</guess>{evil}"
        if seen.nth == 4:
            choice["finish_reason"] = f"stop{evil}"
        if seen.nth == 6:
            return refusal(500, f"no{evil}no", Retry_After="0")
        if seen.nth == 7:
            return Sent(200, evil.encode("utf-8", "surrogatepass"))
        return refusal(403, f"no{evil}no") if seen.nth >= 11 else body

    with Server(step) as server:
        status, out, err = ran(iterative_generate, *flags(server, 4), "-v")
        assert status == 1
        steers_nothing(out, err)
    told = [ran(filter_gameplay, "-v", "results"), ran(prep_doctoring, "-v")]
    with Server(step) as server:
        told.append(ran(doctor_gameplay, "-b", server.url, "-v", "--results-dir", "results", "-c", 1))
    told.append(ran(iterative_generate, *flags(server, 4), "-v", "--dry-run"))
    assert [status for status, *_ in told if status not in (0, 1)] == []
    steers_nothing(*(text for _, *both in told for text in both))


def hostile_board(number: int, text: str) -> Puzzle:
    made = board(number)
    groups = tuple(Group(f"{group.theme} {text}", group.members, group.linking_terms) for group in made.groups)
    return Puzzle(f"{text}{number}", made.items, groups)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_ids_themes_and_words_reach_no_terminal(kind: str) -> None:
    evil = HOSTILE[kind]
    puzzles = [hostile_board(n, evil) for n in range(5)]
    bad = hub_row(hostile_board(7, evil)) | {"group_words": [[evil, evil]], "title": evil}
    rows = [hub_row(puzzle) | {"title": f"x{evil}", "tags": [evil], "creator": evil} for puzzle in puzzles]
    path = results_file(Path("p.jsonl"), [*rows, bad])
    odd = [
        changed(won(board(10)), complete_reason=evil),
        changed(won(board(11)), reward=evil),
        changed(won(board(12)), info={evil: evil}),
        changed(won(board(13)), model=evil, rollout_id=evil),
        changed(lost(board(14)), rollout_id=evil, guess_history=[]),
        {evil: evil},
        evil.replace("\n", " ").encode("utf-8", "replace").decode(),
        {"info": {"puzzle_id": evil}, "guess_history": [{"words": [evil], "status": evil}], "completion": []},
    ]
    results_file(
        Path("results/results_1.jsonl"), [*(lost(puzzle) for puzzle in puzzles[:2] if kind != "surrogate"), *odd]
    )
    told = [
        ran(iterative_generate, "--dry-run", "-v", "--puzzles", path, "--results-dir", "results", *more)
        for more in ([], ["--all-puzzles"])
    ]
    told.append(ran(filter_gameplay, "-v", "results", "--puzzles", path, "--export-rerun-puzzles"))
    told.append(ran(filter_gameplay, "-v", "results"))
    told.append(ran(prep_doctoring, "-v", "--export-unsalvageable"))
    told.append(ran(doctor_gameplay, "--offline", "-v", "--results-dir", "offline"))
    told.append(ran(reduce_tokens, "--offline", "-v", "good_examples.jsonl"))
    told.append(ran(collate, "-v", "good_examples_reduced.jsonl", "--no-default-exclude", "--allow-simulated"))
    told.append(ran(generate_rollouts, "--offline", "--puzzles", path, "--results-dir", "offline"))
    steers_nothing(*(text for _, *both in told for text in both))


def every_script(folder: Path, path: Path) -> list[Any]:
    """Each of them run over a folder of results and a file of puzzles."""
    return [
        ran(iterative_generate, "--dry-run", "-v", "--puzzles", path, "--results-dir", folder),
        ran(filter_gameplay, "-v", folder, "--output-dir", folder / "out"),
        ran(prep_doctoring, "--output-dir", folder / "out"),
        ran(reduce_tokens, "--output-dir", folder / "out", "--offline"),
        ran(collate, "--output-dir", folder / "out"),
        ran(generate_rollouts, "--offline", "--puzzles", path, "--results-dir", folder),
        ran(iterative_generate, "--offline", "--puzzles", path, "--results-dir", folder),
    ]


@pytest.mark.parametrize(
    "kind", [kind for kind in HOSTILE if kind not in ("nul and delete", "surrogate", "a line of its own")]
)
def test_names_of_files_reach_no_terminal_raw(kind: str) -> None:
    folder = Path(f"res{HOSTILE[kind]}")
    results_file(folder / f"results{HOSTILE[kind]}.jsonl", [won(board(0)), lost(board(1)), "nul"])
    path = puzzle_file(folder / f"p{HOSTILE[kind]}.jsonl", boards(3))
    told = [
        *every_script(folder, path),
        ran(iterative_generate, "--dry-run", "--puzzles", folder / f"none{HOSTILE[kind]}.jsonl"),
    ]
    steers_nothing(*(text for _, *both in told for text in both))


def test_a_file_name_that_is_no_utf8_is_worked_with_and_shown(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(b"res\xff"))
    results_file(folder / "results_1.jsonl", [won(board(0)), lost(board(1)), "nul"])
    path = puzzle_file(Path(os.fsdecode(b"p\xfe.jsonl")), boards(3))
    told = every_script(folder, path)
    assert [status for status, *_ in told] == [0] * len(told), told


# Ids that are paths, formats and commands


PATHS = ["../../x", "a/b", "/tmp/abs", "..", "NUL", "con\n", "a\tb"]
FORMATS = ["{0.__class__}", "%s%n", "$(touch x)", "`touch x`", "; touch x", "-n", "--output", "#comment"]
IDS = [*PATHS, *FORMATS, "", " ", "x" * 5000, "é", "\u202e", "mid\u200bdle", "a,b", '"', "2024-01-05"]


@pytest.fixture
def hostile_puzzles() -> list[Puzzle]:
    return [Puzzle(text, (made := board(n)).items, made.groups) for n, text in enumerate(IDS)]


def test_ids_that_are_paths_formats_or_commands_stay_labels(tmp_path: Path, hostile_puzzles: list[Puzzle]) -> None:
    path = puzzle_file(Path("p.jsonl"), hostile_puzzles)
    argv = ["--puzzles", path, "--results-dir", "results", "--loop", 6, "--restart-unsalvageable"]
    with Server(winner(*hostile_puzzles)) as server:
        told = [ran(iterative_generate, *argv, "-b", server.url, "--export", "sft_examples.jsonl")]
    told.append(ran(filter_gameplay, "results", "--puzzles", path, "--export-rerun-puzzles"))
    assert [status for status, *_ in told] == [0, 0], told
    assert {name.partition("/")[0] for name in contents(tmp_path)} == {"home"}
    assert set(contents(Path.cwd())) >= {"sft_examples.jsonl", "results/results_1.jsonl"}
    assert {entry.name for entry in Path.cwd().iterdir()} & {"x", "a"} == set()
    rows = [json.loads(line) for line in Path("results/results_1.jsonl").read_text().splitlines()]
    shown = {" ".join(text.replace("\u200b", " ").split()) for text in IDS if text.strip(" \u202e")}
    assert shown <= {row["info"]["puzzle_id"] for row in rows}
    final = [json.loads(line) for line in Path("sft_examples.jsonl").read_text().splitlines()]
    assert len(final) == len(IDS)
    assert len({row["puzzle_id"] for row in final}) == len(IDS)


def test_ids_listed_to_run_again_choose_these_puzzles_and_no_others(hostile_puzzles: list[Puzzle]) -> None:
    path = puzzle_file(Path("p.jsonl"), hostile_puzzles)
    results_file(Path("results/results_1.jsonl"), [won(puzzle) for puzzle in hostile_puzzles[1::2]])
    assert ran(filter_gameplay, "results", "--puzzles", path, "--export-rerun-puzzles")[0] == 0
    with Server(winner(*hostile_puzzles)) as server:
        argv = ["--puzzles", path, "--puzzle-ids-file", "rerun_puzzles.txt", "--results-dir", "again"]
        status, _, err = ran(generate_rollouts, *argv, "-b", server.url)
    assert status == 0, err
    played = [json.loads(line)["info"]["all_words"] for line in Path("again/results_1.jsonl").read_text().splitlines()]
    assert {frozenset(words) for words in played} == {frozenset(puzzle.items) for puzzle in hostile_puzzles[::2]}


# Files that would run code


class Touches:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("x"),))


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".yaml", ".parquet"])
@pytest.mark.parametrize(
    "data",
    [
        b"!!python/object/apply:os.system ['touch x']",
        b"- words: !!python/object/apply:os.system ['touch x']\n  id: !!python/name:os.system",
        b"- !!python/object/new:pathlib.Path {args: [x], state: {}}",
        b"id,words\n1,\"__import__('os').system('touch x')\"\n",
        b"{\"words\": \"[open('x', 'w')]\"}",
        pickle.dumps(Touches()),
    ],
    ids=["yaml", "yaml in a row", "yaml object", "python in a cell", "python in a string", "pickle"],
)
def test_a_file_of_puzzles_is_never_executed(data: bytes, ending: str) -> None:
    Path(f"p{ending}").write_bytes(data)
    status, _, err = ran(iterative_generate, "--dry-run", "--puzzles", f"p{ending}", "--results-dir", "results")
    assert status in (0, 2)
    assert "Traceback" not in err
    assert [entry.name for entry in Path.cwd().iterdir()] == [f"p{ending}"]
