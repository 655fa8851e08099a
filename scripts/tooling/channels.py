"""The channel that toolchains and dependencies come from: conda-forge where it answers, else the stand-in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tooling.errors import UserError
from tooling.layout import Layout
from tooling.progress import Progress

ANSWER_TIMEOUT_S = 10.0
CONDA_FORGE = "conda-forge"


def base_channel(layout: Layout, progress: Progress, packages: Iterable[str] = ()) -> str:
    """The base channel's name or URL. `packages` are match specs that a stand-in should hold if it can be made to."""
    preferred = preferred_channel()
    if os.environ.get("VLLM_RECIPES_CHANNEL") or _answers(preferred, progress):
        return preferred
    from standin import ensure_channel

    return ensure_channel(layout.cache, progress, packages).absolute().as_uri()


def preferred_channel() -> str:
    """The base channel if it answers, which is not asked for: the one that the environment names, else conda-forge."""
    chosen = os.environ.get("VLLM_RECIPES_CHANNEL")
    return through_mirror(_named_channel(chosen) if chosen else CONDA_FORGE)


def through_mirror(channel: str) -> str:
    """`channel`, or the address of the mirror that rattler's configuration files name for it.

    Building takes no configuration, so solving and installing take none either: all of them get this address.
    """
    from rattler import Channel, Config

    mirrors = Config.load_from_default_locations("rattler").mirrors
    url = Channel(channel).base_url.rstrip("/") + "/" if mirrors else ""
    fitting = [origin for origin in mirrors if url.startswith(origin.rstrip("/") + "/")]
    for origin in sorted(fitting, key=len, reverse=True):
        for mirror in mirrors[origin]:
            if mirror.startswith(("http://", "https://", "file://")):
                return f"{mirror.rstrip('/')}/{url[len(origin.rstrip('/')) + 1 :]}".rstrip("/")
    return channel


@cache
def _answers(conda_forge: str, progress: Progress) -> bool:
    """Whether conda-forge, or its mirror, does. Asked once a run; says so when it does not."""
    with progress.step("Asking for conda-forge"):
        problem = asyncio.run(_why_unreachable(conda_forge))
    if problem is not None:
        progress.say(
            f"conda-forge does not answer ({problem}): using a stand-in channel made from pip's and apt's packages"
        )
    return problem is None


def describe_choice() -> str:
    """What `base_channel` would do, for --dry-run."""
    chosen = os.environ.get("VLLM_RECIPES_CHANNEL")
    if chosen:
        return f"take {_named_channel(chosen)} (VLLM_RECIPES_CHANNEL)"
    return "take conda-forge if it answers, else build the stand-in channel from pip's and apt's packages"


def _named_channel(chosen: str) -> str:
    if "://" in chosen or not ("/" in chosen or Path(chosen).is_dir()):
        return chosen
    folder = Path(chosen).expanduser().absolute()
    if not any(folder.glob("*/repodata.json*")):
        raise UserError(
            f"VLLM_RECIPES_CHANNEL names {folder}, which holds no <platform>/repodata.json; "
            "give a channel's name, URL or folder, or unset it to let one be chosen"
        )
    return folder.as_uri()


async def _why_unreachable(channel: str) -> str | None:
    """None when `channel` answers; else the reason on one line."""
    from rattler import Gateway
    from rattler.exceptions import GatewayError

    try:
        query = Gateway().query([channel], ["noarch"], ["tzdata"], recursive=False)
        await asyncio.wait_for(query, ANSWER_TIMEOUT_S)
    except asyncio.TimeoutError:
        return f"no answer in {ANSWER_TIMEOUT_S:.0f} s"
    except GatewayError as error:
        return str(error).strip().splitlines()[-1].removeprefix("Caused by: ")
    return None
