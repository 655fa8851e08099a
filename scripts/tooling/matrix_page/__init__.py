"""Which build of vllm is for which machine: docs/matrix.md from the recipes, a page from a channel's repodata."""
