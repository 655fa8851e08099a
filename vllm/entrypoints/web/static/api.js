// Talks to this server's OpenAI-compatible routes. Addresses are relative, so the page works behind a path prefix.

/** A failure to show to the user; status 0 means that no answer came. */
export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const UNREACHABLE = "The server cannot be reached. Is it still running?";

async function request(path, key, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE);
  }
  if (!response.ok) throw new ApiError(await explain(response), response.status);
  return response;
}

async function explain(response) {
  try {
    const { error } = await response.json();
    return error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

/** Return the served model as /v1/models describes it. */
export async function servedModel(key) {
  const { data } = await (await request("v1/models", key)).json();
  return data[0];
}

/** Yield the JSON of each server-sent event until [DONE]. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      buffer += value;
      const blocks = buffer.split(/\r?\n\r?\n/);
      buffer = blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The connection was lost before the answer was complete.");
  } finally {
    reader.releaseLock();
  }
  throw new ApiError("The connection ended before the answer was complete.");
}

/** Stream a chat completion: yields {text}, {finish} and {usage} as they arrive. */
export async function* streamChat(body, key, signal) {
  const options = { stream: true, stream_options: { include_usage: true } };
  const response = await request("v1/chat/completions", key, { method: "POST", body: JSON.stringify({ ...body, ...options }), signal });
  for await (const event of events(response.body)) {
    if (event.error) throw new ApiError(event.error.message ?? "The engine failed.", 500);
    const choice = event.choices?.[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (event.usage) yield { usage: event.usage };
  }
}
