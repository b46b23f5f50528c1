"""The commands of docs/kaldi.md run, on small random models with the files that it names."""

from __future__ import annotations

import re
import shlex
import subprocess

import numpy as np
import pytest
import soundfile

from asr_hlg.acoustic import nets
from asr_hlg.acoustic.kaldi.components import KINDS
from asr_hlg.cli import main
from asr_hlg.graph.kaldi_export import KaldiGraph
from asr_hlg.graph.recipe import Recipe
from tests.support import kaldi_gmm
from tests.support.kaldi_files import Writer, write_hclg, write_kaldi_folder, write_lookahead


@pytest.fixture
def page(root) -> str:
    return (root / "docs" / "kaldi.md").read_text(encoding="utf-8")


def write_triphones(folder):
    """Folders ``conf`` and ``exp/tri2b`` as Kaldi's recipes make them, of a random model."""
    random = np.random.default_rng(6)
    count = kaldi_gmm.STATES * len(kaldi_gmm.PHONES)
    mixtures = [(np.ones(1), random.normal(size=(1, 5)), np.ones((1, 5))) for _ in range(count)]
    model = folder / "exp" / "tri2b"
    kaldi_gmm.write_folder(model, mixtures, conf="--use-energy=false\n")
    (model / "conf").rename(folder / "conf")
    writer = Writer(True)
    writer.matrix(random.normal(size=(5, 7 * 13)))
    (model / "final.mat").write_bytes(writer.content)
    (model / "splice_opts").write_text("--left-context=3 --right-context=3\n")
    (model / "cmvn_opts").write_text("\n")


def write_chain_model(folder, recipe):
    """A TDNN of ours for the recipe of digits, as if trained."""
    columns = KaldiGraph.compile(Recipe.read(recipe)).columns
    folder.mkdir(parents=True)
    nets.create("tdnn", columns, dim=8, edges="repeat").save(folder / "model.npz")


def test_the_commands_run(page, root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_HLG_CACHE", str(tmp_path / "cache"))
    write_hclg(write_kaldi_folder(tmp_path / "vosk-model-small-ko-0.22"))
    write_lookahead(write_kaldi_folder(tmp_path / "vosk-model-small-de-0.15"))
    (tmp_path / "phrases.json").write_text('["b a", "a"]')
    write_triphones(tmp_path)
    write_chain_model(tmp_path / "exp" / "lf_mmi", root / "graphs" / "digits-chain.toml")
    samples = 0.2 * np.random.default_rng(0).normal(size=16000)
    soundfile.write(tmp_path / "talk.wav", samples, 16000)
    [copies] = re.findall(r"```\n(mkdir .*?)```", page, re.DOTALL)
    subprocess.run(["bash", "-ec", copies], check=True)
    commands = re.findall(r"^asr-hlg (.*)$", page, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
        expected = "exp/vosk" if command.startswith("graph export") else "talk"
        assert expected in capsys.readouterr().out


def test_the_page_lists_the_components_of_the_code(page):
    [listed] = re.findall(r"^Components: (.*)\.$", page, re.MULTILINE)
    assert {f"{name}Component" for name in listed.split(", ")} == KINDS
