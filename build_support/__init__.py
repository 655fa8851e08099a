"""What builds vllm: the commands of setup.py, and the launcher that CMake starts compilers through. Never installed."""
