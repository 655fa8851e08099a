"""The ranks of a model: one in the engine's process, with tensor parallelism the others in processes of their own."""
