"""What `benchmarks/cpu_peers` is made of: the workloads, the engines that run them, and the report."""
