"""OpenAI's HTTP interface over AsyncLLM."""
