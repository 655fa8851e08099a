"""The load that a response tells balancers of, in the form that the request asks for (ORCA's endpoint load metrics)."""

import json

from starlette.requests import Request

from vllm.messages import EngineStats


def load_headers(request: Request, stats: EngineStats) -> dict[str, str]:
    """`endpoint-load-metrics`, as text or JSON; nothing where `endpoint-load-metrics-format` names neither."""
    metrics = {"kv_cache_usage_perc": stats.kv_cache_usage, "num_requests_waiting": float(stats.num_waiting)}
    match request.headers.get("endpoint-load-metrics-format", "").upper():
        case "TEXT":
            report = "TEXT " + ", ".join(f"named_metrics.{name}={value}" for name, value in metrics.items())
        case "JSON":
            report = "JSON " + json.dumps({"named_metrics": metrics})
        case _:
            return {}
    return {"endpoint-load-metrics": report}
