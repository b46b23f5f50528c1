"""Command lines in which an option stands before an input."""

from __future__ import annotations

import argparse
import importlib

import pytest

from asr_hlg.cli import parser as cli_parser
from asr_hlg.cli.commands import COMMANDS


def parser_of(command: str) -> cli_parser.Parser:
    parser = cli_parser.Parser()
    importlib.import_module(f"asr_hlg.cli.{command}").add_arguments(parser)
    return parser


def parsers() -> list[cli_parser.Parser]:
    """Parsers of all commands and of their actions."""
    found = [parser_of(command) for command in COMMANDS]
    for parser in list(found):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += action.choices.values()
    return found


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("--whisper talk.wav", "tiny.en"),
        ("talk.wav --whisper", "tiny.en"),
        ("--whisper=models/small talk.wav", "models/small"),
        ("--whisper -- talk.wav", "tiny.en"),
        ("--whisper=tiny.en --nbest 3 talk.wav", "tiny.en"),
        ("talk.wav", None),
    ],
)
def test_an_optional_value_follows_an_equals_sign(line, model):
    options = parser_of("transcribe").parse_args(line.split())
    assert (options.inputs, options.whisper) == (["talk.wav"], model)


@pytest.mark.parametrize(
    "line",
    [
        "--beam 8 10 LJ --ref r --part search graphs --min-active 0 30 more",
        "LJ more --beam 8 10 --ref r --part search graphs --min-active 0 30",
        "--ref r --beam 8 10 --part search graphs --min-active 0 30 -- LJ more",
    ],
)
def test_several_values_end_before_an_input(line):
    options = parser_of("bench").parse_args(line.split())
    assert options.inputs == ["LJ", "more"]
    assert options.beam == [8, 10]
    assert options.part == ["search", "graphs"]
    assert options.min_active == [0, 30]


def test_inputs_stand_between_options_and_may_be_a_dash():
    line = "a.wav --nbest 3 - --channel -1 --quiet b.wav -- --odd.wav"
    options = parser_of("transcribe").parse_args(line.split())
    assert options.inputs == ["a.wav", "-", "b.wav", "--odd.wav"]
    assert (options.nbest, options.channel, options.quiet) == (3, -1, True)


def test_several_values_of_an_action_end_before_an_input():
    line = "mix --weights 0.7 0.3 a.arpa b.arpa --output c.arpa"
    options = parser_of("lm").parse_args(line.split())
    assert (options.weights, options.models) == ([0.7, 0.3], ["a.arpa", "b.arpa"])


@pytest.mark.parametrize(
    "line", ["LJ --ref r --beam wide", "LJ --ref r --beam", "LJ --re r", "LJ --ref"]
)
def test_wrong_values_and_abbreviations_are_errors(line, capsys):
    with pytest.raises(SystemExit):
        parser_of("bench").parse_args(line.split())
    message = capsys.readouterr().err.splitlines()[-1]
    assert "--beam" in message or "--ref" in message


def test_options_of_several_values_refuse_file_names():
    takes_inputs = lambda parser: any(not action.option_strings for action in parser._actions)  # noqa: E731
    for parser in filter(takes_inputs, parsers()):
        for action in parser._actions:
            if action.option_strings and action.nargs not in (None, 0, "?"):
                assert action.nargs == "+"
                assert not cli_parser._is_value(action, "talk.wav"), action.option_strings


def test_the_help_shows_the_equals_sign():
    text = parser_of("transcribe").format_help()
    assert "--whisper[=MODEL]" in text
    assert "--whisper [MODEL]" not in text
