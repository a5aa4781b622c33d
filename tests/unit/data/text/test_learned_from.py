"""A small model learns a few sentences by heart from the stream: ids, shifts, masks and loss belong together."""

import torch

from sleuth.data.text.numbers import PREFIXES, NumberPairs
from sleuth.data.text.samples import TextPairs
from sleuth.data.text.stream import TextStream
from sleuth.models.seq2seq import Seq2SeqConfig, build_seq2seq
from sleuth.tasks.tokenizer_training import train_tokenizer
from sleuth.tasks.translation import TranslationLoss, TranslationLossConfig


def test_a_few_numbers_by_heart():
    samples = [NumberPairs(most_digits=4).load(index) for index in range(16)]
    pairs = TextPairs([s.source for s in samples], [s.target for s in samples], range(16), "numbers")
    tokenizer = train_tokenizer([*pairs.sources, *pairs.targets], "words", prefixes=PREFIXES)
    size = tokenizer.vocabulary_size
    model = build_seq2seq(
        Seq2SeqConfig(
            source_vocab=size, target_vocab=size, dim=32, num_heads=2, encoder_layers=1, decoder_layers=1,
            feedforward_dim=64, dropout=0.0, tie="all", pad_id=tokenizer.pad_id, bos_id=tokenizer.start_id,
            eos_id=tokenizer.eos_id, max_positions=32,
        )
    )  # fmt: skip
    stream = TextStream(pairs, tokenizer, batch_tokens=96)
    loss = TranslationLoss(TranslationLossConfig(smoothing=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    told = []
    for epoch in range(60):
        for batch in stream.epoch(epoch):
            report = loss(model(batch.source, batch.target_in, batch.source_valid, batch.target_valid), batch)
            optimizer.zero_grad()
            report.total.backward()
            optimizer.step()
            told.append((float(report.parts["nll"]), float(report.parts["accuracy"])))
    assert told[0][0] > 2.0
    assert told[-1][0] < 0.1
    assert told[-1][1] == 1.0
    # All places, and those that count alone, tell the same.
    with torch.no_grad():
        every = loss(model(batch.source, batch.target_in, batch.source_valid), batch)
        asked = loss(model(batch.source, batch.target_in, batch.source_valid, batch.target_valid), batch)
    torch.testing.assert_close(every.total, asked.total)
