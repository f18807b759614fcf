"""`--push-to-hub`: the one act that reaches the hub to write, and all that keeps it from doing so."""

import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import httpx2
import huggingface_hub
import pyarrow.parquet
import pytest
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError

import collate
from connections_env import splits
from connections_env.card_head import boundary_of
from connections_env.hub import hub_id
from tests.rollouts import boards, results_file
from tests.test_collate import good

HfApi = huggingface_hub.HfApi
TOKEN = "hf_secretsecretsecret"


def answer(status):
    request = httpx2.Request("POST", "https://huggingface.co/api/x", headers={"authorization": f"Bearer {TOKEN}"})
    return httpx2.Response(status, request=request)


class Hub:
    """The hub's client: records what is asked of it; `there` are the datasets it has, `broken` what it raises."""

    there: tuple[str, ...] = ()
    card: str | None = "---\ntest_split:\n  size: 0.0\n  below: 0.0\n---\n"
    broken: Exception | None = None
    unseen: Exception | None = None  # raised when the dataset is looked at

    def __init__(self):
        self.asked = []

    def __call__(self):  # in the place of the class HfApi
        return self

    def repo_info(self, repo, repo_type):
        if self.unseen:
            raise self.unseen
        if (repo_type, repo) not in [("dataset", name) for name in self.there]:
            raise RepositoryNotFoundError("no", response=answer(404))
        return SimpleNamespace(sha="c0ffee")

    def hf_hub_download(self, repo, name, repo_type, revision, local_dir):
        assert (name, repo_type, revision) == ("README.md", "dataset", "c0ffee")
        if self.card is None:
            raise RemoteEntryNotFoundError("no", response=answer(404))
        path = Path(local_dir) / name
        path.write_text(self.card, encoding="utf-8")
        return str(path)

    def create_repo(self, repo, repo_type, private):
        self.asked.append(("create", repo_type, repo, private))

    def upload_folder(self, *, repo_id, folder_path, repo_type, commit_message, delete_patterns, parent_commit):
        assert parent_commit == ("c0ffee" if repo_id in self.there else None)
        if self.broken:
            raise self.broken
        names = sorted(str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file())
        self.asked.append(("upload", repo_type, repo_id, names, delete_patterns))


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", made)
    return made


def push(*flags, to="me/games"):
    results_file(Path("good.jsonl"), [good(puzzle) for puzzle in boards(3)])
    argv = ["good.jsonl", "--no-default-exclude", "--format", "hf", "--license", "mit", "--test-size", "0"]
    return collate.main([*argv, "--push-to-hub", to, *flags])


def at_a_terminal(monkeypatch, answer):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)


def names():
    return sorted(str(path.relative_to("sft_dataset")) for path in Path("sft_dataset").rglob("*") if path.is_file())


def test_a_new_dataset_is_private_and_exactly_the_folder(hub, capsys):
    assert push() == 0
    assert hub.asked == [
        ("create", "dataset", "me/games", True),
        ("upload", "dataset", "me/games", names(), ["*"]),
    ]
    assert "README.md" in names()
    assert capsys.readouterr().out.endswith("\nsent to https://huggingface.co/datasets/me/games\n")


class Server(BaseHTTPRequestHandler):
    """As much of the hub's HTTP as a push needs; `there` are the files of the dataset it has, `card` its verdict."""

    there: ClassVar[list[str]] = []
    card: ClassVar[list[str]] = []
    done: ClassVar[list[tuple[str, str]]] = []
    parents: ClassVar[list[str]] = []
    readme = b"---\ntest_split:\n  size: 0.0\n  below: 0.0\n---\n"

    def log_message(self, *_):
        pass

    def answer(self, status, content, **headers):
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if "/resolve/" in self.path:
            self.send_response(200)
            for name, value in {
                "Content-Length": str(len(self.readme)),
                "ETag": '"1"',
                "X-Repo-Commit": "0" * 40,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(self.readme)
        elif not self.there and not self.done:
            self.answer(404, {"error": "no"}, **{"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in self.path:
            self.answer(200, [{"type": "file", "path": name, "oid": "0" * 40, "size": 1} for name in self.there])
        else:
            self.answer(200, {"id": "me/games", "sha": "0" * 40, "private": True, "tags": [], "siblings": []})

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        where = f"http://127.0.0.1:{self.server.server_port}/datasets/me/games"
        if "/validate-yaml" in self.path:
            errors = [{"message": told} for told in self.card]
            self.answer(400 if errors else 200, {"errors": errors, "warnings": []})
        elif "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(data)["files"]]
            self.answer(200, {"files": [file | {"shouldIgnore": False} for file in files]})
        elif "/commit/" in self.path:
            for line in data.splitlines():
                what = json.loads(line)
                self.parents.extend([what["value"]["parentCommit"]] if what["value"].get("parentCommit") else [])
                self.done.append((what["key"], what["value"].get("path", "")))
            self.answer(200, {"commitUrl": f"{where}/commit/{'0' * 40}", "commitOid": "0" * 40, "hookOutput": ""})
        else:
            self.done.append(("create", json.loads(data)["visibility"]))
            self.answer(200, {"url": where})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", HfApi)
    monkeypatch.setattr(Server, "readme", Server.readme)  # back to it afterwards
    for name in ("there", "card", "done", "parents"):
        monkeypatch.setattr(Server, name, [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        files = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        yield Server
        running.shutdown()


def test_the_real_client_makes_a_private_dataset_of_all_files(server):
    assert push() == 0
    assert server.done == [("create", "private"), ("header", ""), *(("file", name) for name in names())]


def test_the_real_client_takes_away_what_an_earlier_dataset_left(server):
    server.there = [".gitattributes", "README.md", "trl/train-00000-of-00002.parquet"]
    assert push("--yes") == 0
    assert [name for key, name in server.done if key == "deletedFile"] == ["trl/train-00000-of-00002.parquet"]
    assert [name for key, name in server.done if key == "file"] == names()


def test_a_card_that_the_hub_does_not_take_is_one_line(server, capsys):
    server.card = ['"license" must be one of these']
    assert push() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the hub did not take sft_dataset as me/games: Invalid metadata in README.md.")
    assert '"license" must be one of these' in error
    assert error.count("\n") == 1


def test_a_dataset_that_exists_is_replaced_with_yes(hub):
    hub.there = ("me/games",)
    assert push("--yes") == 0
    assert [what for what, *_ in hub.asked] == ["upload"]


def test_a_dataset_that_exists_is_left_where_nobody_can_be_asked(hub, capsys):
    hub.there = ("me/games",)
    assert push() == 2
    told = "me/games exists on the hub and was left as it is; --yes replaces what is in it"
    assert capsys.readouterr().err == f"error: {told}\n"
    assert hub.asked == []
    assert names() == []  # it is known before any work


def test_a_report_is_written_whatever_becomes_of_the_sending(hub, monkeypatch, capsys):
    hub.there = ("me/games",)
    at_a_terminal(monkeypatch, "n\n")
    assert push("--report", "report.html") == 2
    out, err = capsys.readouterr()
    assert out.endswith("Report of 3 games -> report.html\n")
    assert "me/games was left as it is" in err
    assert Path("report.html").is_file()


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("Yes\n", 0), ("n\n", 2), ("\n", 2), ("", 2), ("yep\n", 2)])
def test_whoever_sits_at_the_terminal_is_asked(hub, monkeypatch, capsys, answer, status):
    hub.there = ("me/games",)
    at_a_terminal(monkeypatch, answer)
    assert push() == status
    assert len(hub.asked) == (status == 0)
    shown = capsys.readouterr()
    question = "me/games exists on the hub. Replace all that is in it with sft_dataset? [y/N] "
    assert question in shown.out
    if status:
        assert shown.err == "error: me/games was left as it is; sft_dataset is written\n"


def test_a_new_dataset_asks_nobody(hub, monkeypatch):
    at_a_terminal(monkeypatch, "n\n")
    assert push() == 0


def test_without_a_login_nothing_is_read_or_written(hub, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert push() == 2
    told = "not logged in to the hub, so nothing could be sent; log in with: hf auth login"
    assert capsys.readouterr().err == f"error: {told}\n"
    assert not Path("sft_dataset").exists()


def test_a_client_that_may_not_go_out_is_known_beforehand(hub, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert push() == 2
    assert capsys.readouterr().err.startswith("error: HF_HUB_OFFLINE keeps the hub's client from sending anything;")
    assert not Path("sft_dataset").exists()


def refused(status):
    return HfHubHTTPError(f"no {TOKEN}", response=answer(status))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused(401), "the hub did not take sft_dataset as me/games: the login is not valid (status 401)"),
        (refused(403), "the hub did not take sft_dataset as me/games: the login may not write there (status 403)"),
        (refused(500), "the hub did not take sft_dataset as me/games: HfHubHTTPError (status 500)"),
        (httpx2.ConnectError(TOKEN), "the hub could not be reached (ConnectError); sft_dataset is written"),
        (ConnectionResetError(TOKEN), "the hub could not be reached (ConnectionResetError); sft_dataset is written"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_hub_does_not_take_is_one_line_without_the_token(hub, capsys, error, told):
    hub.broken = error
    assert push() == 1
    assert capsys.readouterr().err == f"error: {told}\n"
    assert names()


def test_nothing_is_sent_where_no_dataset_was_written(hub):
    results_file(Path("good.jsonl"), ['{"kind": "good"}', *(good(puzzle) for puzzle in boards(2))])
    argv = ["good.jsonl", "--no-default-exclude", "--format", "hf", "--license", "mit", "--strict"]
    assert collate.main([*argv, "--push-to-hub", "me/games"]) == 1
    assert hub.asked == []


# What is on the hub already


def test_a_dataset_that_was_split_otherwise_is_left_and_nothing_is_written(hub, capsys):
    hub.there = ("me/games",)
    hub.card = "---\nlicense: mit\ntest_split:\n  size: 0.1\n  below: 0.1\n---\n# Games"
    assert push("--yes") == 2
    told = (
        "me/games on the hub was split with --test-size 0.1, and --test-size 0 would move puzzles from one side to the "
        "other; give the same size, or another dataset"
    )
    assert capsys.readouterr().err == f"error: {told}\n"
    assert hub.asked == []
    assert not Path("sft_dataset").exists()


def test_a_number_of_puzzles_is_the_cut_that_it_is_on_the_hub(hub):
    puzzles = boards(3)
    highest = max(splits.place(puzzle.key) for puzzle in puzzles)
    hub.there = ("me/games",)
    hub.card = f"---\ntest_split:\n  size: 1.0\n  below: {highest}\n---\n"
    assert push("--yes", "--test-size", "1") == 0
    assert boundary_of(Path("sft_dataset/README.md").read_text()) == splits.Boundary(1, highest)
    assert len(pyarrow.parquet.read_table("sft_dataset/trl/test-00000-of-00001.parquet")) == 2


@pytest.mark.parametrize(("size", "status"), [("12", 0), ("0.123456789", 0), ("0.1234568", 2), ("11", 2)])
def test_a_number_may_be_given_as_the_share_that_it_is_on_the_hub(hub, capsys, size, status):
    hub.there = ("me/games",)
    hub.card = "---\ntest_split:\n  size: 12.0\n  below: 0.123456789\n---\n"
    assert push("--yes", "--test-size", size) == status
    assert (f"with --test-size 12, and --test-size {size} would move" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize("card", [None, "", "# Theirs", "---\na: [\n---\n"])
def test_a_dataset_that_does_not_tell_how_it_was_split_is_replaced_with_a_word_of_it(hub, capsys, card):
    hub.there, hub.card = ("me/games",), card
    assert push("--yes") == 0
    told = "me/games on the hub does not tell how it was split, so its puzzles may change sides\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused(401), "the hub did not tell whether it has me/games: the login is not valid (status 401)"),
        (refused(500), "the hub did not tell whether it has me/games: HfHubHTTPError (status 500)"),
        (httpx2.ConnectError(TOKEN), "the hub could not be reached (ConnectError); nothing was written"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_hub_that_does_not_answer_is_known_before_anything_is_written(hub, capsys, error, told):
    hub.unseen = error
    assert push() == 1
    assert capsys.readouterr().err == f"error: {told}\n"
    assert [path.name for path in Path().iterdir()] == ["good.jsonl"]


@pytest.mark.parametrize("status", [409, 412])
def test_a_dataset_that_others_change_meanwhile_is_left(hub, capsys, status):
    hub.there, hub.broken = ("me/games",), refused(status)
    assert push("--yes") == 1
    told = f"it was made or changed there meanwhile; run the same command again (status {status})"
    assert capsys.readouterr().err == f"error: the hub did not take sft_dataset as me/games: {told}\n"
    assert names()


def test_the_real_client_replaces_what_it_looked_at_and_nothing_later(server):
    server.there = ["README.md"]
    assert push("--yes") == 0
    assert server.parents == ["0" * 40]


def test_the_real_client_reads_the_split_from_the_card(server, capsys):
    server.there, server.readme = ["README.md"], b"---\ntest_split:\n  size: 0.3\n  below: 0.3\n---\n"
    assert push("--yes") == 2
    assert capsys.readouterr().err.startswith("error: me/games on the hub was split with --test-size 0.3, and ")
    assert server.done == []


def test_ctrl_c_at_the_question_sends_nothing_and_leaves_the_folder_whole(hub, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    hub.there = ("me/games",)
    at_a_terminal(monkeypatch, "")
    monkeypatch.setattr("builtins.input", interrupted)
    assert push() == 130
    assert hub.asked == []
    assert len(names()) == 9  # three configurations, the card, the template, dataset_info.json, three plots


@pytest.mark.parametrize("name", ["me/games", "an-org/games_2.1", "_/_"])
def test_the_id_of_a_dataset(name):
    assert hub_id(name) == name


@pytest.mark.parametrize(
    "name",
    ["games", "me/games/more", "me /games", "", "me/", "/games", "me/a--b", "me/a..b", "me/x.git", "-me/x", "me/ä"],
)
def test_what_is_no_id_of_a_dataset_is_one_line(capsys, name):
    with pytest.raises(SystemExit) as end:
        push(to=name) if not name.startswith("-") else collate.main(["--format", "hf", f"--push-to-hub={name}"])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"error: argument --push-to-hub: {name!r} is no dataset id like your-name/connections-sft; "
        f"see {Path(sys.argv[0]).name} --help\n"
    )


def test_yes_goes_with_a_push_alone(capsys):
    results_file(Path("good.jsonl"), [good(boards(1)[0])])
    assert collate.main(["good.jsonl", "--format", "hf", "--license", "mit", "--yes"]) == 2
    assert capsys.readouterr().err == "error: --yes goes with --push-to-hub alone\n"
