"""The `vllm` command. Importing it loads neither torch nor a web framework."""
