"""Argument types and flags that the benchmarks share."""

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vllm.engine.arg_types import add_dataclass_flags, default_of
from vllm.engine.arg_utils import EngineArgs
from vllm.entrypoints.cli.registry import UsageError

if TYPE_CHECKING:
    from vllm import LLM


def whole_number(least: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small: give {least} or more")
        return value

    return parse


def real_number(least: float, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """An argparse type: a number from `least` (or above it) to `most`; `inf` reads as infinity."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most or (above and value == least):
            bound = f"above {least:g}" if above else f"{least:g} or more"
            raise argparse.ArgumentTypeError(
                f"{text} is out of range: give {bound}" + ("" if most == math.inf else f", {most:g} or less")
            )
        return value

    return parse


def percentile_list(text: str) -> list[float]:
    """An argparse type: percentiles with commas between, such as 50,90,99."""
    parse = real_number(0, 100)
    return [parse(item.strip()) for item in text.split(",")]


def pairs_of(words: Sequence[str], flag: str, separator: str) -> dict[str, str]:
    """KEY=VALUE words as a dict. Raises UsageError for one that has no separator or no key."""
    pairs = [word.partition(separator) for word in words]
    for word, (name, found, _) in zip(words, pairs, strict=True):
        if not (name and found):
            raise UsageError(f"{flag} has {word!r}: give KEY{separator}VALUE")
    return {name: value for name, _, value in pairs}


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """--model and the engine's other flags, for benchmarks that load a model."""
    add_dataclass_flags(parser, EngineArgs)


def given_engine_args(args: argparse.Namespace) -> dict[str, Any]:
    """The command line's engine arguments that are not at their defaults, and `model`, as LLM's keywords."""
    defaults = {each.name: default_of(each) for each in dataclasses.fields(EngineArgs)}
    given = {name: value for name, value in vars(args).items() if name in defaults and value != defaults[name]}
    return {"model": args.model, **given}


def load_llm(args: argparse.Namespace) -> "LLM":
    """Loads the model. Raises UsageError where it cannot be read."""
    from vllm import LLM
    from vllm.exceptions import ModelError

    try:
        return LLM(**given_engine_args(args))
    except ModelError as error:
        raise UsageError(str(error)) from None


def check_engine_args(args: argparse.Namespace) -> None:
    """Finds the model and checks the engine's flags with it. Raises UsageError or VLLMValidationError."""
    from vllm.exceptions import ModelError

    try:
        EngineArgs(**given_engine_args(args)).create_engine_config()
    except ModelError as error:
        raise UsageError(str(error)) from None


def add_output_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-json", metavar="FILE", help="write the figures to this file")


def add_progress_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--disable-tqdm", action="store_true", help="show no progress")


def add_profile_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        nargs="?",
        const="vllm-profile.html",
        metavar="FILE",
        help="afterwards trace one prefill and one decode step into a page for a browser (default %(const)s)",
    )
