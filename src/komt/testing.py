"""A test kit for contributors: tiny tokenizers and tiny random models that behave as the real families do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FAMILIES = ("llama", "mistral", "qwen3", "gemma3")

_TEXT = (
    "다음 글을 읽고 물음에 답하세요. 세종은 1443년에 훈민정음을 만들었다.",
    "질문: 고양이는 왜 물을 싫어하나요? 답: 털이 젖으면 몸이 무거워지기 때문입니다.",
    "### instruction: 제목을 붙이세요.\n\n### Response:\n바다와 바람",
    "서울은 대한민국의 수도이며 한강이 도시를 가로지른다. 부산은 항구 도시이다.",
    "This is a small tokenizer for tests, and it has seen a little English too.",
)


def tiny_tokenizer(kind: str = "bytes", vocabulary: int = 600) -> Any:
    """A trained BPE tokenizer with <pad>, <eos>, <bos>, <unk> as ids 0 to 3.

    Args:
        kind: "bytes" (byte-level, as Qwen and GPT-2), or "metaspace" (SentencePiece-like, with the dummy
            prefix of Llama 2: a text's first word gets a leading space).
        vocabulary: number of tokens.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        specials += [f"<0x{byte:02X}>" for byte in range(256)]
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT * 3, trainer)
    # Byte tokens are plain vocabulary in real models; as special tokens decoding would leave them out.
    parts = json.loads(tokenizer.to_str())
    parts["added_tokens"] = [
        token for token in parts["added_tokens"] if not token["content"].startswith("<0x")
    ]
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


# Of a tiny model of any family.
TINY_SHAPE: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}


def tiny_model(family: str, vocabulary: int = 600, seed: int = 0) -> Any:
    """A random causal language model of a family in fp32: 3 layers, width 32, window 8 where it slides."""
    import torch
    import transformers

    shape = {**TINY_SHAPE, "vocab_size": vocabulary}
    names: dict[str, tuple[str, dict[str, Any]]] = {
        "llama": ("LlamaConfig", {}),
        "mistral": ("MistralConfig", {"sliding_window": 8}),
        "qwen3": ("Qwen3Config", {}),
        "gemma3": (
            "Gemma3TextConfig",
            {
                "sliding_window": 8,
                "query_pre_attn_scalar": 8,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
        ),
    }
    config_name, extra = names[family]
    config = getattr(transformers, config_name)(**shape, **extra)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return model.eval()


def tiny_model_folder(folder: Path, family: str = "gemma3", kind: str = "bytes", seed: int = 0) -> Path:
    """A model folder as hubs hold them, with komt's chat template: weights, tokenizer, configuration."""
    from komt.models.template import ensure_template

    tokenizer = tiny_tokenizer(kind)
    ensure_template(tokenizer)
    tiny_model(family, len(tokenizer), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_gguf(path: Path, family: str = "llama", kind: str = "bytes", seed: int = 0) -> Path:
    """A GGUF file (fp32, komt's chat template) of a tiny model whose answers vary; llama or qwen3."""
    from komt.models.template import ensure_template

    tokenizer = tiny_tokenizer(kind)
    ensure_template(tokenizer)
    write_gguf(path, lively(tiny_model(family, len(tokenizer), seed)), tokenizer)
    return path


def lively(model: Any) -> Any:
    """The model with larger weights: a random one repeats one token for ever, this one's answers vary."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.ndim > 1 else 1.0)
    return model


def write_gguf(path: Path, model: Any, tokenizer: Any) -> None:
    """Write a tiny llama or qwen3 model as llama.cpp's converter would (which knows no made-up tokenizer)."""
    import gguf

    config = model.config
    family = config.model_type
    writer = gguf.GGUFWriter(path, family)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, tokenizer)
    architecture = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[family]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        array = tensor.float().numpy()
        if family == "llama" and ("q_proj" in name or "k_proj" in name):  # llama.cpp rotates pairs of rows
            array = array.reshape(-1, 2, config.head_dim // 2, array.shape[1]).swapaxes(1, 2)
            array = array.reshape(-1, array.shape[-1])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, tokenizer: Any) -> None:
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = sorted(parts["model"]["vocab"], key=parts["model"]["vocab"].get)
    ranks = {"".join(pair): place for place, pair in enumerate(parts["model"]["merges"])}
    byte_level = parts["decoder"]["type"] == "ByteLevel"
    writer.add_tokenizer_model("gpt2" if byte_level else "llama")
    writer.add_tokenizer_pre("gpt-2" if byte_level else "default")
    writer.add_token_list(vocabulary)
    writer.add_token_types(
        [3 if i < 4 else 6 if t.startswith("<0x") else 1 for i, t in enumerate(vocabulary)]
    )
    if byte_level:
        writer.add_token_merges([" ".join(pair) for pair in parts["model"]["merges"]])
    else:
        writer.add_token_scores([-float(ranks.get(token, 1e6)) for token in vocabulary])
        writer.add_add_space_prefix(True)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)
