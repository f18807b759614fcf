"""From flags to an endpoint: what is refused before the first request, and what may be shown of a command line."""

import json
import resource
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import generate_rollouts
from connections_env.endpoint import Endpoint
from connections_env.masking import masked_command, without_secrets
from connections_env.session import open_endpoint

SECRET = "hunter2"
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr("connections_env.session.RESULTS", tmp_path / "default")


def opened(*argv: object) -> Endpoint:
    """The endpoint that step 1 would ask; nothing is asked of it."""
    return open_endpoint(generate_rollouts.parse_args([str(word) for word in argv]), [])


# The command line as it is shown

SHOWN = [
    ("https://user:hunter2@models.invalid:8443/v1", "https://models.invalid:8443/v1"),
    ("https://hunter2@models.invalid/v1", "https://models.invalid/v1"),
    ("https://us@er:hunt@hunter2@models.invalid/v1", "https://models.invalid/v1"),
    ("https://models.invalid/v1?api-key=hunter2&v=1", "https://models.invalid/v1"),
    ("https://models.invalid/v1#hunter2", "https://models.invalid/v1"),
    ("http://user:hunter2@[::1]:80/v1?hunter2", "http://[::1]:80/v1"),
    ("https://models.invalid/v1", "https://models.invalid/v1"),
]
SHOWN_JSON = [
    ({"api_key": SECRET}, {"api_key": "***"}),
    ({"max_tokens": 9, "Authorization": f"Bearer {SECRET}"}, {"max_tokens": 9, "Authorization": "***"}),
    (
        {"headers": [{"X-Auth-Token": SECRET}], "seed": 3, "stop": None},
        {"headers": [{"X-Auth-Token": "***"}], "seed": 3, "stop": None},
    ),
    ({"client_secret": {"deep": [SECRET]}}, {"client_secret": "***"}),
    ({"thinking": {"type": "enabled"}, "stop": ["é", 1.0]}, {"thinking": {"type": "enabled"}, "stop": ["é", 1.0]}),
]


@pytest.mark.parametrize(("url", "shown"), SHOWN)
def test_a_url_is_shown_without_its_user_password_and_query_in_either_form(url: str, shown: str) -> None:
    words = ["--loop", "5", "-b", url, f"--base-url={url}", "--export", "my file.jsonl"]
    expected = ["--loop", "5", "-b", shown, f"--base-url={shown}", "--export", "my file.jsonl"]
    assert shlex.split(masked_command(words)) == expected


@pytest.mark.parametrize(
    "word",
    [
        '-S{"api_key": "%s"}',
        '-S={"api_key": "%s"}',
        ' {"api_key": "%s"}',
        '{"url": "https://a/b", "api_key": "%s"}',
        '{"proxy": "http://user:%s@h/"}',
        "-bhttps://user:%s@h/v1",
        "-b=https://user:%s@h/v1",
        "file://[%s",
    ],
)
def test_a_secret_is_not_shown_however_it_is_glued_to_its_flag(word: str) -> None:
    assert SECRET not in masked_command(["--loop", "2", word % SECRET])


def test_json_without_secrets_is_shown_to_the_letter() -> None:
    assert shlex.split(masked_command(["-S", '{"a":1,"b":"é"}'])) == ["-S", '{"a":1,"b":"é"}']


@pytest.mark.parametrize(("given", "shown"), SHOWN_JSON)
def test_json_is_shown_without_its_secrets_in_either_form(given: Any, shown: Any) -> None:
    text = json.dumps(given)
    command = masked_command(["-S", text, "--sampling-args", text, f"--sampling-args={text}", "-n", "3"])
    first, one, second, two, both, *rest = shlex.split(command)
    assert (first, second, rest) == ("-S", "--sampling-args", ["-n", "3"])
    name, _, three = both.partition("=")
    assert name == "--sampling-args"
    assert [json.loads(one), json.loads(two), json.loads(three)] == [shown] * 3
    assert SECRET not in command


@pytest.mark.parametrize("text", ["{", '{"api_key": ', "{a}"])
def test_what_only_looks_like_json_is_shown_as_it_is(text: str) -> None:
    assert shlex.split(masked_command(["--puzzles", text])) == ["--puzzles", text]


@given(st.lists(st.text().filter(lambda word: "://" not in word and not word.partition("=")[2].startswith("{"))))
def test_all_else_of_a_command_is_shown_so_that_a_shell_reads_the_same_words(words: list[str]) -> None:
    words = [word for word in words if not word.startswith("{")]
    assert shlex.split(masked_command(words)) == words


# Secrets in JSON that goes into files


@pytest.mark.parametrize("name", ["apiKey", "API-KEY", "Proxy-Authorization", "bearer", "credentials", "session_token"])
def test_a_value_under_a_name_that_speaks_of_a_secret_is_masked_whatever_it_is(name: str) -> None:
    for value in (SECRET, 7, None, [SECRET], {"a": SECRET}):
        assert without_secrets({"a": [{name: value}, 1]}) == {"a": [{name: "***"}, 1]}


def test_what_is_no_secret_stays_as_it_is_and_the_original_is_not_touched() -> None:
    plain = {"max_tokens": 5, "tokens": [1, 2.5, None, True, "a"], "logit_bias": {"50256": -100}, "": {}}
    assert without_secrets(plain) == plain
    given = {"deep": [{"api_key": SECRET}]}
    without_secrets(given)
    assert given == {"deep": [{"api_key": SECRET}]}


# The key


@pytest.mark.parametrize("base_url", ["https://models.invalid/v1", "http://127.0.0.1:9/v1"])
@pytest.mark.parametrize(
    "given",
    [
        ("-k", KEY),
        (f"--api-key-var={KEY}",),
        (f"-k{KEY}",),
        ("-k", f"{KEY} "),
        ("-k", ""),
        ("-k", KEY.replace("-", "_")),
    ],
)
def test_a_key_given_itself_is_exit_2_and_is_shown_nowhere(
    base_url: str, given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--puzzles", "builtin", "-b", base_url, "--results-dir", str(tmp_path / "results"), *given]
    with pytest.raises(SystemExit) as exit_:
        generate_rollouts.main(argv)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        "error: argument -k/--api-key-var: takes the name of an environment variable, not the key itself; see "
    )
    assert given[-1].strip() == "" or KEY not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stray", ["\u200b", "é", "\x7f", "\t", "\u00a0"])
@pytest.mark.parametrize("base_url", ["https://models.invalid/v1", "http://127.0.0.1:9/v1"])
def test_a_key_with_stray_characters_is_exit_2_and_is_shown_nowhere(
    stray: str, base_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY[:9]}{stray}{KEY[9:]}")
    argv = ["--puzzles", "builtin", "-b", base_url, "--results-dir", str(tmp_path / "results"), "-k", "MY_KEY"]
    assert generate_rollouts.main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: MY_KEY holds characters that no key has; was it copied whole?\n")


def test_spaces_around_a_key_are_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\r\n")
    assert opened("-b", "https://models.invalid/v1", "-k", "MY_KEY").settings.api_key == KEY


@pytest.mark.parametrize("host", ["models.invalid", "10.0.0.7", "[fd00::7]"])
def test_a_key_that_travels_unencrypted_is_one_line_without_the_key_and_the_password(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    opened("-b", f"http://user:{SECRET}@{host}:8000/v1?{SECRET}")
    out, err = capsys.readouterr()
    name = host.strip("[]")
    expected = f"the key in DEEPSEEK_API_KEY goes to {name} unencrypted; use https if it can\n"
    assert (out, err) == ("", expected)


@pytest.mark.parametrize(
    "url", ["https://models.invalid/v1", "http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8000/v1"]
)
def test_a_key_that_travels_encrypted_or_stays_on_the_machine_is_no_line(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    assert opened("-b", url).settings.api_key == KEY
    assert capsys.readouterr() == ("", "")


# Open files


def test_too_few_open_files_names_what_is_needed_and_both_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("a hard limit is not raised"))
    argv = ["--puzzles", "builtin", "-b", "http://127.0.0.1:9/v1", "--results-dir", str(tmp_path), "-c", "961"]
    assert generate_rollouts.main(argv) == 2
    assert capsys.readouterr() == (
        "",
        "error: -c 961 needs 1025 open files, this machine allows 1024: lower -c or raise ulimit -n\n",
    )


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (256, 1024, [(1024, 1024)]),
        (256, resource.RLIM_INFINITY, [(1024, resource.RLIM_INFINITY)]),
        (1024, 1024, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ],
)
def test_the_soft_limit_of_open_files_is_raised_to_what_is_needed_and_no_further(
    soft: int, hard: int, raised: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append(pair))
    opened("-b", "http://127.0.0.1:9/v1", "-c", 960)
    assert limits == raised


def test_offline_asks_for_no_open_files_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (16, 16))
    assert opened("--offline", "-c", 2500).settings.api_key == ""
