"""The words of `sleuth translate`. The work is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from sleuth.cli.options import DeviceName


def translate(
    file: Annotated[
        Path | None, typer.Argument(help="A text file, a sentence a line; standard input if left out.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A translation model's file, run folder or folder, or one of the hub.")
    ] = "numbers",
    out: Annotated[Path | None, typer.Option(help="Write to this file rather than to standard output.")] = None,
    beam: Annotated[
        int | None, typer.Option(help="Beams of the search; 1 is greedy. By default the model's own.")
    ] = None,
    n_best: Annotated[int, typer.Option(help="Translations of each line, each with its score.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line: tokens and scores too.")] = False,
    align: Annotated[bool, typer.Option("--align", help="Say which word came from which, by attention.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Folder for pictures of this: of the best translation of the first 10 lines.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write each word as soon as it is there.")] = False,
    score: Annotated[
        Path | None, typer.Option(help="Do not translate: the log-probability of these translations, a line each.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Put before each line, such as '>>fra<<'.")] = None,
    begin: Annotated[str | None, typer.Option(help="What every translation must begin with.")] = None,
    long: Annotated[
        str, typer.Option(help="Lines longer than the model's positions: refuse, or split into pieces.")
    ] = "refuse",
    length_penalty: Annotated[float | None, typer.Option(help="Above 0 favours long translations in a beam.")] = None,
    min_length: Annotated[int | None, typer.Option(help="The fewest tokens of a translation.")] = None,
    max_length: Annotated[int | None, typer.Option(help="The most tokens of a translation.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw words rather than take the best.")] = False,
    temperature: Annotated[float, typer.Option(help="Of drawing: below 1 bolder, above 1 wilder.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k best words.")] = None,
    top_p: Annotated[float, typer.Option(help="Draw from the fewest words that are this probable together.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of drawing.")] = 0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 makes words that are there less likely.")] = 1.0,
    no_repeat_ngram: Annotated[int, typer.Option(help="No run of so many words twice.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Most lines in one run of the model.")] = 64,
    runtime: Annotated[
        str, typer.Option(help="What runs the model: torch, or ctranslate2 if that package is installed.")
    ] = "torch",
    device: DeviceName = "auto",
) -> None:
    """Translate text, line for line.

    From a file or standard input to standard output or --out; an empty line stays empty. The bundled model, numbers,
    writes numbers out: '>>eng<< 42' in English, '>>zho<< 42' in Chinese, and '>>num<< forty-two' back in digits.
    With --n-best, each line of the result is a translation, a tab and its score; --align adds a tab and links of words
    as source-target, counted from 0.
    """
    from sleuth.cli.translate import TranslateWords, run_translate

    run_translate(
        TranslateWords(
            file=file,
            model=model,
            out=out,
            beam=beam,
            n_best=n_best,
            json=json,
            align=align,
            plot=plot,
            stream=stream,
            score=score,
            prefix=prefix,
            begin=begin,
            long=long,
            length_penalty=length_penalty,
            min_length=min_length,
            max_length=max_length,
            sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            repetition_penalty=repetition_penalty,
            no_repeat_ngram=no_repeat_ngram,
            batch_size=batch_size,
            runtime=runtime,
            device=device,
        )
    )
