"""Small models with random weights that write sentences of many lengths, shared by the tests of decoding."""

from dataclasses import replace

import torch

from sleuth.models.seq2seq import Seq2Seq, Seq2SeqConfig, build_seq2seq

CONFIG = Seq2SeqConfig(
    source_vocab=30,
    target_vocab=30,
    dim=16,
    num_heads=2,
    encoder_layers=2,
    decoder_layers=2,
    feedforward_dim=32,
    max_positions=64,
    tie="none",
    output_bias=True,
)


def writer(seed: int = 2, *, eos: float = 0.0, **numbers: object) -> Seq2Seq:
    """A model whose sentences end after a few words, sooner with a greater bias for EOS."""
    torch.manual_seed(seed)
    model = build_seq2seq(replace(CONFIG, **numbers))
    with torch.no_grad():
        model.head.weight.mul_(3)
        model.head.bias[model.config.eos_id] = eos
    return model.eval()


def some_sentences(count: int, seed: int = 1, longest: int = 12) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=draw).tolist()
    return [torch.randint(3, 30, (length,), generator=draw).tolist() for length in lengths]


def log_probs(model: Seq2Seq, sentence: list[int], words: list[int]) -> torch.Tensor:
    """Of the next word after each prefix of ``words``, without a cache: [words + 1, vocabulary]."""
    with torch.no_grad():
        read = torch.tensor([[model.config.bos_id, *words]])
        return model(torch.tensor([sentence]), read).logits[0].log_softmax(-1)


def next_log_probs(model: Seq2Seq, sentence: list[int], beginnings: list[tuple[int, ...]]) -> torch.Tensor:
    """Of the next word after each of some beginnings of one length: [beginnings, vocabulary]."""
    with torch.no_grad():
        read = torch.tensor([[model.config.bos_id, *words] for words in beginnings])
        source = torch.tensor([sentence]).expand(len(beginnings), -1)
        return model(source, read).logits[:, -1].log_softmax(-1)
