"""The parser that programs of upstream import."""

import argparse
import json

import pytest

from vllm.utils.argparse_utils import FlexibleArgumentParser


@pytest.fixture
def parser() -> FlexibleArgumentParser:
    """Of a whole command line, without subcommands."""
    parser = FlexibleArgumentParser(exit_on_error=False)
    parser.add_argument("command")
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--port", type=parser.check_port)
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--optimization-level", type=int)
    parser.add_argument("-cc", "--compilation-config", type=json.loads)
    parser.add_argument("--quiet", action=argparse.BooleanOptionalAction)
    return parser


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("port: 2000\nnames: [a, 1]\nquiet: false\nloud: false\ncompilation_config: {mode: {deep: true}}\n")
    return str(path)


def test_a_file_gives_words(parser, file):
    words = ["--port", "2000", "--names", "a", "1", "--no-quiet", "--compilation-config", '{"mode": {"deep": true}}']
    assert parser.load_config_file(file) == words
    args = parser.parse_args(["serve", "m", "--config", file, "--port=3000"])
    assert (args.model_tag, args.port, args.names, args.quiet) == ("m", 3000, ["a", "1"], False)
    assert args.compilation_config == {"mode": {"deep": True}}
    assert parser.parse_args(["chat", f"--config={file}"]).port == 2000


def test_a_file_may_name_the_model(parser, file):
    with open(file, "a") as more:
        more.write("model: of-file\n")
    assert parser.parse_args(["serve", "--config", file]).model == "of-file"
    assert parser.parse_args(["serve", "given", "--config", file]).model_tag == "given"


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--config", "/nowhere/config.yaml"], FileNotFoundError, "No such file"),
        (["--config", "/nowhere/config.json"], ValueError, "called .yaml or .yml"),
        (["--config"], ValueError, "names no file"),
        (["--config", "FILE"], ValueError, "No model specified!"),
    ],
)
def test_mistakes_with_files_are_raised(parser, file, words, error, said):
    with pytest.raises(error, match=said):
        parser.parse_args(["serve", *(file if word == "FILE" else word for word in words)])


@pytest.mark.parametrize("words", [["--model", "m"], ["--model=m"]], ids=" ".join)
def test_the_model_after_serve_takes_its_place(parser, words):
    args = parser.parse_args(["serve", "--port", "2000", *words])
    assert (args.model_tag, args.model, args.port) == ("m", None, 2000)


@pytest.mark.parametrize("words", [["-O3"], ["-O=3"], ["-O", "3"]], ids=" ".join)
def test_levels(parser, words):
    assert parser.parse_args(["serve", *words, "-cc.mode=1"]).optimization_level == 3


def test_ports_that_need_rights_are_refused(parser):
    with pytest.raises(argparse.ArgumentError, match="from 1024 to 65535"):
        parser.parse_args(["serve", "--port", "80"])


@pytest.mark.parametrize(
    ("word", "value"), [("--enable-x", True), ("-x", True), ("--disable-x", False), ("--no-enable-x", False)]
)
def test_subcommands(word, value):
    parser = FlexibleArgumentParser()
    serve = parser.add_subparsers().add_parser("serve")
    serve.add_argument("--enable-x", "-x", action=argparse.BooleanOptionalAction)
    serve.add_argument("--options", type=json.loads)
    args = parser.parse_args(["serve", word, "--options.key_1", "5"])
    assert (args.enable_x, args.options) == (value, {"key_1": 5})
    assert "[--enable-x | -x | --disable-x]" in serve.format_usage()
