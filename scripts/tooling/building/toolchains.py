"""Whether a lane can be built from a channel and tested on this machine, found out before anything is compiled."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tooling.errors import UserError
from tooling.planning.lanes import NOARCH, default_lane, host_platform
from tooling.planning.recipes import Output, target_platform


class MissingToolchain(UserError):
    """The channel cannot build a lane; one line says what it lacks."""

    status = 3
    """Its own, so that a build of every lane can go on without those that the channel is not ready for."""


def require(root: Path, lane: str, channels: list[str], outputs: list[Output]) -> None:
    """Refuse, on one line, a lane whose compilers or libraries the channels do not hold."""
    target = target_platform(root, lane)
    missing = []
    for section, platform in (("build", host_platform()), ("host", target)):
        specs = {spec for output in outputs for spec in output.requirements[section]}
        missing += [f"{spec} for {platform}" for spec in asyncio.run(absent(channels, platform, sorted(specs)))]
    if missing:
        raise MissingToolchain(
            f"lane {lane} cannot be built from {channels[-1]}: it has no {', no '.join(missing)}; build where "
            "conda-forge answers, or name a channel that has them in VLLM_RECIPES_CHANNEL"
        )


async def absent(channels: list[str], platform: str, specs: list[str]) -> list[str]:
    """Those of `specs` that no package of the channels meets; virtual packages are left out."""
    from rattler import Gateway, MatchSpec

    wanted = [spec for spec in specs if not spec.startswith("__")]
    if not wanted:
        return []
    names = [MatchSpec(spec.split()[0]) for spec in wanted]
    answers = await Gateway().query(channels, [platform, NOARCH], names, recursive=False)
    records = [record for records in answers for record in records]
    return [spec for spec in wanted if not any(MatchSpec(spec).matches(record) for record in records)]


def why_untestable(root: Path, lane: str, channels: list[str], outputs: list[Output]) -> str:
    """Why the packages of `lane` cannot be run here; nothing where they can.

    The default lane always can. Another is for other machines, or needs a device or a library that is not there.
    """
    target = target_platform(root, lane)
    if target != host_platform():
        return f"they are for {target}, and this is {host_platform()}"
    if lane == default_lane(root):
        return ""
    from rattler.exceptions import SolverError

    from tooling.failures import solver_reason
    from tooling.installing.environments import solve

    own = {output.name for output in outputs}
    needed = {spec for output in outputs for spec in output.requirements["run"] if spec.split()[0] not in own}
    try:
        asyncio.run(solve(channels, sorted(needed)))
    except SolverError as error:
        return solver_reason(error)
    return ""
