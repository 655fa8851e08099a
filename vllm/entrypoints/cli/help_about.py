"""`--help=PART`: all flags, the groups that there are, one group, or the flags with a word in their name."""

import argparse


def help_about(parser: argparse.ArgumentParser, part: str) -> str:
    """The text that a help flag asks for: `all`, `page` (the same), `listgroup`, a group, or a part of flags' names.

    A group is named by its title or as upstream's class of these settings is: model, ModelConfig.
    """
    wanted = part.lower().replace("_", "-")
    if wanted in ("all", "page"):
        return parser.format_help()
    groups = [group for group in parser._action_groups if group._group_actions]
    if wanted == "listgroup":
        return "groups:\n" + "\n".join(f"  {group.title}" for group in groups)
    for group in groups:
        if group.title.lower().endswith(wanted.removesuffix("config")):
            return _section(parser, group.title, group._group_actions)
    flags = [
        action
        for group in groups
        for action in group._group_actions
        if any(wanted in flag.lower() for flag in action.option_strings) and action.help != argparse.SUPPRESS
    ]
    if not flags:
        return f"no group is called {part!r} and no flag has that in its name; see {parser.prog} --help=listgroup"
    return _section(parser, f"flags with {wanted} in their name", flags)


def _section(parser: argparse.ArgumentParser, title: str, actions: list[argparse.Action]) -> str:
    formatter = parser._get_formatter()
    formatter.start_section(title)
    formatter.add_arguments(actions)
    formatter.end_section()
    return formatter.format_help()
