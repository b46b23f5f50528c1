"""H∘L∘G over the tokens of other toolkits' models: from a folder to words."""

from __future__ import annotations

import io

import pytest
import soundfile

from asr_hlg import Transcriber
from asr_hlg.cli import main
from asr_hlg.errors import GraphError, LexiconError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.build import Report, build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.rescore.pronunciations import Pronouncer
from tests.acoustic.test_exported import KINDS
from tests.support import exported_models as made_by
from tests.support.tone_networks import WORDS

ARPA = """\\data\\
ngram 1=5

\\1-grams:
-0.7 <s>
-0.7 </s>
-0.7 cat
-0.7 hat
-0.7 and
{more}
\\end\\
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lm.arpa").write_text(ARPA.format(more=""))
    (tmp_path / "graphs").mkdir()
    return tmp_path


def sound_of(made, path, sentence: str, seed: int = 3) -> str:
    soundfile.write(path, made.say(sentence, seed), 16000)
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_one_command_from_a_folder_to_a_graph_and_one_to_words(here, capsys, kind):
    made = KINDS[kind](here / "model")
    path = sound_of(made, here / "talk.wav", "cat and hat")
    assert main(["graph", "talks", "--model", "model", "--lm", "lm.arpa"]) == 0
    assert main(["transcribe", "--model", "model", "--graph", "talks", path, "--workers", "1"]) == 0
    assert capsys.readouterr().out == "talk cat and hat\n"


def test_the_recipe_names_model_tokens_and_case(here, capsys):
    made_by.hugging_face(here / "hub")
    (here / "g.txt").write_text("(cat | hat)*\n")
    assert main(["graph", "g", "--model", "hub", "--grammar", "g.txt", "--segmentations", "2"]) == 0
    assert (here / "graphs/g.toml").read_text() == (
        'acoustic_model = "../hub"\n\n[lexicon]\ntokens = "../hub/vocab.json"\ncase = "upper"\n'
        'segmentations = 2\n\n[grammar]\nfile = "../g.txt"\n'
    )
    assert "words are spelled in upper case" in capsys.readouterr().err
    assert main(["graph", "g", "--model", "hub", "--grammar", "g.txt"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["graph", "h", "--model", "hub"]) == 1
    assert "--lm or --grammar" in capsys.readouterr().err


def compiled(here, text: str) -> tuple[list[str], object]:
    """Notes of a compilation, and its folder."""
    path = here / "graphs/g.toml"
    path.write_text(text)
    notes: list[str] = []
    return notes, build(Recipe.read(path), report=Report(note=notes.append))


def test_case_is_never_changed_silently(here):
    made_by.hugging_face(here / "hub")
    recipe = (
        'acoustic_model = "../hub"\n[lexicon]\ntokens = "../hub"\n{}[lm]\nfile = "../lm.arpa"\n'
    )
    with pytest.raises(LexiconError, match=r"'a' \(3\).*write case = \"upper\""):
        compiled(here, recipe.format(""))
    notes, folder = compiled(here, recipe.format('case = "upper"\n'))
    assert any("in upper case" in note for note in notes)
    assert "cat 2" in (folder / "words.txt").read_text()


def test_characters_that_the_tokens_lack_are_named(here):
    made_by.icefall(here / "model")
    (here / "lm.arpa").write_text(ARPA.format(more="-0.7 café\n").replace("1=5", "1=6"))
    text = '[lexicon]\ntokens = "../model/tokens.txt"\n[lm]\nfile = "../lm.arpa"\n'
    notes, _ = compiled(here, text)
    assert any("'é' (1)" in note and "café" in note for note in notes)


def test_a_lang_folder_of_icefall_is_named_whole(here):
    made = made_by.icefall(here / "model")
    lang = here / "lang_bpe"
    lang.mkdir()
    (here / "model/tokens.txt").rename(lang / "tokens.txt")
    made_by.icefall(here / "model")
    lines = [f"{word} {' '.join(pieces)}\n" for word, pieces in WORDS.items()]
    (lang / "lexicon.txt").write_text("<UNK> <unk>\n" + "".join(lines))
    text = (
        'acoustic_model = "../model"\n[lexicon]\nlang = "../lang_bpe"\n[lm]\nfile = "../lm.arpa"\n'
    )
    _, folder = compiled(here, text)
    [transcript] = Transcriber.from_graph(folder).transcribe(
        [sound_of(made, here / "a.wav", "hat cat")]
    )
    assert transcript.text == "hat cat"


def test_several_ways_to_split_a_word(here):
    """The model has the pieces ▁c and a, of which a sentencepiece model would make ▁ca."""
    sentencepiece = pytest.importorskip("sentencepiece")
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["cat hat and"] * 50),
        model_writer=writer,
        vocab_size=14,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    made = made_by.icefall(here / "model")
    (here / "model/bpe.model").write_bytes(writer.getvalue())
    text = (
        'acoustic_model = "../model"\n[lexicon]\ntokens = "../model"\nbpe = "../model/bpe.model"\n'
        'segmentations = 2\n[lm]\nfile = "../lm.arpa"\n'
    )
    _, folder = compiled(here, text)
    [transcript] = Transcriber.from_graph(folder).transcribe(
        [sound_of(made, here / "a.wav", "cat hat")]
    )
    assert transcript.text == "cat hat"


def test_new_words_are_spelled_in_the_tokens(here, capsys):
    made = made_by.hugging_face(here / "hub")
    assert main(["graph", "g", "--model", "hub", "--lm", "lm.arpa"]) == 0
    (here / "hot.txt").write_text("tan\n")
    capsys.readouterr()
    path = sound_of(made, here / "a.wav", "tan hat")
    assert main(["transcribe", "--graph", "g", "--hotwords", "hot.txt", path]) == 0
    output = capsys.readouterr()
    assert output.out == "a tan hat\n"
    assert "tan  T A N" in output.err
    graph = DecodingGraph.load(here / "graphs/g")
    pronouncer = Pronouncer(graph, graph.columns)  # for the words of a second pass
    assert pronouncer.of("dan") == [tuple(graph.columns.index(letter) for letter in "DAN")]
    assert pronouncer.of("zen") == []
    assert graph.columns[pronouncer.silence] == "|"


def test_words_are_needed(here):
    made_by.icefall(here / "model")
    with pytest.raises(GraphError, match=r"neither a language model nor a grammar.*words"):
        compiled(here, '[lexicon]\ntokens = "../model"\n')
    (here / "words.txt").write_text("<eps> 0\ncat 1\nhat 2\n#0 3\n")
    _, folder = compiled(here, '[lexicon]\ntokens = "../model"\nwords = "../words.txt"\n')
    assert "hat 2" in (folder / "words.txt").read_text()


def test_files_that_are_missing_are_named(here):
    with pytest.raises(GraphError, match=r"'\.\./lang', which is not a folder"):
        compiled(here, '[lexicon]\nlang = "../lang"\n')
    (here / "model").mkdir()
    with pytest.raises(GraphError, match=r"a folder without tokens\.txt, vocab"):
        compiled(here, '[lexicon]\ntokens = "../model"\nwords = "w"\n')


def test_a_lang_folder_of_kaldi_is_named_whole(here):
    phones = here / "lang/phones"
    phones.mkdir(parents=True)
    (phones / "align_lexicon.txt").write_text(
        "<eps> <eps> SIL\n<unk> <unk> SPN_S\ncat cat K_B AE_I T_E\nhat hat HH_B AE_I T_E\n"
    )
    (phones / "optional_silence.txt").write_text("SIL\n")
    names = ["<eps>", "SIL", "SPN_S", "AE_I", "HH_B", "K_B", "T_E", "#0", "#1"]
    (here / "lang/phones.txt").write_text("".join(f"{n} {k}\n" for k, n in enumerate(names)))
    notes, folder = compiled(here, '[lexicon]\nlang = "../lang"\n[lm]\nfile = "../lm.arpa"\n')
    tokens = (folder / "tokens.txt").read_text().split()[::2]
    assert tokens[:7] == ["<blk>", *names[1:7]]
    assert any("and" in note for note in notes)  # the word that this lexicon lacks
    assert Recipe.read(here / "graphs/g.toml").lexicon_files == ["../lang/phones/align_lexicon.txt"]


def test_arguments_that_need_others(here, capsys):
    assert main(["graph", "g", "--lm", "lm.arpa"]) == 1
    assert "--model" in capsys.readouterr().err
    assert main(["graph", "g", "--model", "absent", "--lm", "lm.arpa"]) == 1
    assert "there is no such model" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["streaming zipformer", "icefall"])
def test_words_of_a_stream(here, kind):
    """By the chunks of a streaming model, and by windows for another."""
    made = KINDS[kind](here / "model")
    assert main(["graph", "g", "--model", "model", "--lm", "lm.arpa"]) == 0
    stream = Transcriber.from_graph(here / "graphs/g").stream(16000)
    samples = made.say("cat and hat", 2)
    finished = []
    for begin in range(0, len(samples), 1600):
        finished += stream.accept(samples[begin : begin + 1600])
    finished.append(stream.final())
    assert " ".join(transcript.text for transcript in finished).split() == ["cat", "and", "hat"]
