"""Ways in: the command line, the OpenAI-compatible server, and the `LLM` class."""
