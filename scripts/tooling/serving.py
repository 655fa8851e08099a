"""The serving environment: the packages it holds, what they are built from, and how it comes to be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tooling.checks import GB, require_disk, require_writable
from tooling.installing import environments
from tooling.layout import Layout
from tooling.locks import exclusive
from tooling.planning.inputs import digest
from tooling.planning.lanes import default_lane
from tooling.planning.recipes import recipe_digest
from tooling.progress import Progress

RECIPES = ("vllm", "vllm-demo-model")
"""Recipes whose packages, under the same names, make the environment."""

NAME = "serve"

DISK_NEEDED = 5 * GB
"""Everything from nothing: the largest build's environments, the packages in the cache, what is installed."""


def key(layout: Layout) -> str:
    """Changes with anything that the environment depends on: recipes, sources, stand-in channel, overrides, its place.

    Its scripts name the folder that it was installed into, which is not there once a checkout has moved.
    """
    overrides = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("CONDA_OVERRIDE_"))
    lane = default_lane(layout.root)
    parts = [recipe_digest(layout.root, recipe, lane) for recipe in RECIPES]
    parts += [digest(layout.root, ["scripts/standin"]), os.environ.get("VLLM_RECIPES_CHANNEL", ""), *overrides]
    parts += [str(layout.environments)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


def ensure(layout: Layout, command: str) -> Path:
    """The serving environment's prefix; makes it, and the packages it needs, when something has changed."""
    present = environments.current(layout, NAME, key(layout))
    if present:
        return present
    progress = Progress(layout.new_log(command))
    require_writable(layout.home)
    with exclusive(layout.lock, progress):
        return ensure_locked(layout, progress)


def ensure_locked(layout: Layout, progress: Progress) -> Path:
    """As `ensure`, for a caller that holds the layout's lock."""
    from tooling.building import builder
    from tooling.channels import base_channel

    wanted = key(layout)
    present = environments.current(layout, NAME, wanted)
    if present:
        return present
    require_disk(layout.home, DISK_NEEDED, "building and installing vllm")
    base = base_channel(layout, progress)
    for recipe in RECIPES:
        job = builder.Job(recipe, default_lane(layout.root), base)
        if not builder.is_published(layout, job):
            builder.build(layout, job, progress)
    channels = builder.channel_urls(layout, base)
    prefix = environments.install(layout, NAME, wanted, channels, list(RECIPES), progress)
    environments.finish(layout, NAME, prefix)
    return prefix


def plan(layout: Layout) -> list[str]:
    """What `ensure` would do, one line a step, without asking the network."""
    from tooling.channels import describe_choice

    prefix = environments.current(layout, NAME, key(layout))
    if prefix:
        return [f"use the environment {prefix} (nothing has changed)"]
    lane = default_lane(layout.root)
    return [
        f"channel: {describe_choice()}",
        *(f"build: recipes/{recipe} in lane {lane}, unless its package is current" for recipe in RECIPES),
        f"publish: index {layout.channel}",
        f"install: {' '.join(RECIPES)} into {layout.environments / NAME}",
    ]
