"""What a channel with some groups holds, and which of it stands for a requirement."""

from __future__ import annotations

from collections.abc import Iterable

from standin import plan
from standin.group_plan import group_packages
from standin.groups import HOST, Group
from standin.plan import Planned


def planned(groups: Iterable[Group] = ()) -> dict[str, Planned]:
    """Everything in the channel that holds the default packages and `groups`, by id."""
    default = [Planned(name) for name in plan.package_names()]
    return {package.id: package for package in [*default, *(p for group in groups for p in group_packages(group))]}


def provider(name: str, platform: str, group: str, known: dict[str, Planned]) -> list[str]:
    """The ids that stand for a requirement `name` on `platform` of a unit of `group`.

    Its own group goes before the default packages, which every platform's environments may take when they are noarch,
    and these before other groups.
    """
    named = [package for package in known.values() if package.name == name]
    for suits in (
        [p for p in named if p.group == group and p.platform in (platform, HOST)],
        [p for p in named if not p.group],
        named,
    ):
        exact = [p.id for p in suits if p.platform == platform]
        if suits:
            return exact or [p.id for p in suits]
    return []
