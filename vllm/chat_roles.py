"""Roles of chat messages, as templates know them."""

from typing import Any

from vllm.chat_content import joined_text


def in_known_roles(template: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`developer`, OpenAI's newer name for whose instructions stand first, is the system to templates without it.

    Those of developers may come later, and many templates take a system message as the first alone: all become one.
    """
    if all(message.get("role") != "developer" for message in messages):
        return messages
    if "'developer'" in template or '"developer"' in template:
        return messages
    instructions = [m for m in messages if m.get("role") in ("system", "developer")]
    if len(instructions) == 1 and instructions[0] is messages[0]:
        return [instructions[0] | {"role": "system"}, *messages[1:]]
    texts = [text for m in instructions if (text := joined_text(m.get("content")))]
    others = [m for m in messages if m.get("role") not in ("system", "developer")]
    return [{"role": "system", "content": "\n\n".join(texts)}, *others]
