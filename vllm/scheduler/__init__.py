"""Which requests run in a step."""
