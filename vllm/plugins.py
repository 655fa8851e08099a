"""Plugins: functions that installed packages name as entry points and that are called before a model is loaded.

A plugin registers what it brings, such as a model class with ModelRegistry. Each process calls it once: the program's,
the engine core's, and those of a model's other ranks.
"""

import functools
import logging
from importlib import metadata

from vllm import envs

GENERAL = "vllm.general_plugins"
_NOT_OFFERED = (
    "vllm.platform_plugins",
    "vllm.logits_processors",
    "vllm.io_processor_plugins",
    "vllm.stat_logger_plugins",
    "vllm.endpoint_plugins",
)

logger = logging.getLogger(__name__)


@functools.cache
def load_general_plugins() -> None:
    """Calls the plugins that are installed, or of them those that VLLM_PLUGINS names.

    One that fails is left out with a warning, as are plugins of kinds that are not offered.
    """
    installed = metadata.entry_points()
    for plugin in installed.select(group=GENERAL):
        if not _is_wanted(plugin.name):
            continue
        try:
            plugin.load()()
        except Exception as error:
            logger.warning("plugin %s (%s) is left out: %s: %s", plugin.name, plugin.value, type(error).__name__, error)
    for group in _NOT_OFFERED:
        if names := {plugin.name for plugin in installed.select(group=group) if _is_wanted(plugin.name)}:
            logger.warning("plugins of %s are not offered, and without effect: %s", group, ", ".join(sorted(names)))


def _is_wanted(name: str) -> bool:
    return envs.VLLM_PLUGINS is None or name in envs.VLLM_PLUGINS
