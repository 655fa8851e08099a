"""What scripts/serve, run, build, test and lint share: a private tool environment, channels, builds, environments."""
