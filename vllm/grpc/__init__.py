"""The engine over gRPC: vllm_engine.proto, and the stubs that building the package makes of it with grpcio-tools."""
