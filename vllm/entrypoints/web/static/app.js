// The chat: keeps the conversation, sends it, and shows the answer as it streams in.

import { ApiError, servedModel, streamChat } from "./api.js";
import { render } from "./markdown.js";
import { Stats } from "./stats.js";

const KEY_NAME = "vllm-api-key";
const byId = (id) => document.getElementById(id);
const list = byId("messages");
const prompt = byId("prompt");

const chat = {
  model: null,
  key: sessionStorage.getItem(KEY_NAME) ?? "",
  turns: [], // {role, content}
  running: null, // AbortController of the answer being streamed
};

function addMessage(role, text = "") {
  byId("welcome").hidden = true;
  const message = document.createElement("article");
  message.className = `message ${role}`;
  message.setAttribute("aria-label", role === "user" ? "You" : "Model");
  const body = document.createElement("div");
  body.className = "body";
  body.textContent = text;
  message.append(body);
  list.append(message);
  list.scrollTop = list.scrollHeight;
  return message;
}

function addNote(message, text) {
  const note = document.createElement("p");
  note.className = "note";
  note.textContent = text;
  message.append(note);
}

function addError(message, text) {
  const box = document.createElement("div");
  box.className = "error";
  box.setAttribute("role", "alert");
  const words = document.createElement("span");
  words.textContent = text;
  const retry = document.createElement("button");
  retry.type = "button";
  retry.textContent = "Try again";
  retry.addEventListener("click", () => {
    message.remove();
    answer();
  });
  box.append(words, retry);
  message.append(box);
  if (!message.querySelector(".body").hasChildNodes()) message.querySelector(".body").remove();
}

/** Draw the answer so far, at most once a frame, and follow it unless the reader has scrolled up. */
function painter(message) {
  const body = message.querySelector(".body");
  let text = "";
  let frame = 0;
  const paint = () => {
    frame = 0;
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    body.replaceChildren(render(text));
    if (follows) list.scrollTop = list.scrollHeight;
  };
  return {
    append(piece) {
      text += piece;
      frame ||= requestAnimationFrame(paint);
    },
    finish() {
      cancelAnimationFrame(frame);
      paint();
      return text;
    },
  };
}

function requestBody() {
  const system = byId("system").value.trim();
  const messages = [...(system ? [{ role: "system", content: system }] : []), ...chat.turns];
  const body = { model: chat.model, messages };
  if (byId("temperature").value) body.temperature = Number(byId("temperature").value);
  if (byId("max-tokens").value) body.max_tokens = Number(byId("max-tokens").value);
  return body;
}

/** Return what a finished answer says about itself: its tokens, their rate from the question on, and the wait for the first. */
function describe({ tokens, started, first, finish }) {
  const parts = [];
  if (tokens) parts.push(`${tokens} token${tokens === 1 ? "" : "s"}`);
  if (tokens) parts.push(`${Math.round((1000 * tokens) / (performance.now() - started))} tokens/s`);
  if (first) parts.push(`first after ${Math.round(first - started)} ms`);
  if (finish === "length") parts.push("cut off at the token limit");
  if (finish === "stopped") parts.push("stopped");
  return parts.join(" · ");
}

async function stream(message, paint) {
  const told = { tokens: 0, started: performance.now(), first: 0, finish: null };
  try {
    for await (const event of streamChat(requestBody(), chat.key, chat.running.signal)) {
      if (event.text) {
        told.first ||= performance.now();
        paint.append(event.text);
      }
      if (event.usage) told.tokens = event.usage.completion_tokens;
      told.finish = event.finish ?? told.finish;
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    told.finish = "stopped";
  }
  addNote(message, describe(told));
}

async function answer() {
  const message = addMessage("assistant");
  const paint = painter(message);
  const controller = new AbortController();
  chat.running = controller;
  setBusy(message, true);
  let failure = null;
  try {
    if (!chat.model) await connect();
    await stream(message, paint);
  } catch (error) {
    failure = error instanceof ApiError ? error : new ApiError(`The page failed: ${error.message}`);
  }
  const text = paint.finish();
  if (chat.running !== controller) return; // a new chat has begun
  chat.running = null;
  setBusy(message, false);
  if (failure) showFailure(message, failure);
  else {
    chat.turns.push({ role: "assistant", content: text });
    byId("announce").textContent = text;
  }
  list.scrollTop = list.scrollHeight;
}

function showFailure(message, failure) {
  addError(message, failure.message);
  if (failure.status === 401) askForKey();
}

function setBusy(message, busy) {
  message.classList.toggle("busy", busy);
  message.setAttribute("aria-busy", String(busy));
  byId("send").hidden = busy;
  byId("stop").hidden = !busy;
}

function send(text) {
  if (!text.trim() || chat.running) return;
  addMessage("user", text.trim());
  // A question whose answer failed is still last: the new one takes its place, as roles have to alternate.
  if (chat.turns.at(-1)?.role === "user") chat.turns.pop();
  chat.turns.push({ role: "user", content: text.trim() });
  for (const button of list.querySelectorAll(".error button")) button.remove();
  prompt.value = "";
  fitPrompt();
  answer();
}

function stop() {
  chat.running?.abort();
}

function newChat() {
  stop();
  chat.running = null;
  chat.turns = [];
  for (const message of list.querySelectorAll(".message")) message.remove();
  byId("welcome").hidden = false;
  byId("send").hidden = false;
  byId("stop").hidden = true;
  prompt.focus();
}

function fitPrompt() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function askForKey() {
  byId("key-form").hidden = false;
  byId("api-key").focus();
}

/** Learn the model's name; raises ApiError. */
async function connect() {
  const model = await servedModel(chat.key);
  chat.model = model.id;
  byId("model").textContent = `${model.id} · ${model.max_model_len} tokens of context`;
  byId("key-form").hidden = true;
  document.title = `${model.id} · vllm`;
}

async function tryToConnect() {
  try {
    await connect();
  } catch (error) {
    byId("model").textContent = error.status === 401 ? "needs an API key" : error.message;
    if (error.status === 401) askForKey();
  }
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send(prompt.value);
});
/** Whether the key belongs to an input method. Safari ends a composition before the key that ends it: 229 marks that. */
function composes(event) {
  return event.isComposing || event.keyCode === 229;
}

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !composes(event)) {
    event.preventDefault();
    send(prompt.value);
  }
});
prompt.addEventListener("input", fitPrompt);
document.addEventListener("keydown", (event) => event.key === "Escape" && !composes(event) && stop());
byId("stop").addEventListener("click", stop);
byId("new-chat").addEventListener("click", newChat);
for (const button of document.querySelectorAll(".suggestions button")) {
  button.addEventListener("click", () => send(button.textContent));
}
byId("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  chat.key = byId("api-key").value.trim();
  sessionStorage.setItem(KEY_NAME, chat.key);
  byId("api-key").value = "";
  await tryToConnect();
  list.querySelector(".message:last-child .error button")?.click();
});

new Stats().start();
tryToConnect();
