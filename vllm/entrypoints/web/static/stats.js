// The figures at the side: asks for them once a second while the page is visible and draws the last minute.

const INTERVAL_MS = 1000;
const POINTS = 60;
const PERCENT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const byId = (id) => document.getElementById(id);

class Sparkline {
  constructor(id, ceiling) {
    this.svg = byId(id);
    this.ceiling = ceiling;
    this.values = new Array(POINTS).fill(0);
  }

  add(value) {
    this.values = [...this.values.slice(1), value];
    const top = this.ceiling ?? Math.max(...this.values, 1);
    const points = this.values.map((v, i) => `${i},${(19 - 18 * Math.min(1, v / top)).toFixed(2)}`);
    this.svg.querySelector("polyline").setAttribute("points", points.join(" "));
    this.svg.querySelector("polygon").setAttribute("points", `0,20 ${points.join(" ")} ${POINTS - 1},20`);
  }
}

export class Stats {
  constructor() {
    this.rates = new Sparkline("rate-line");
    this.cache = new Sparkline("cache-line", 1);
    this.last = null;
    this.timer = null;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.start()));
  }

  start() {
    this.pause();
    this.poll();
    this.timer = setInterval(() => this.poll(), INTERVAL_MS);
  }

  pause() {
    clearInterval(this.timer);
    this.last = null;
  }

  async poll() {
    let stats;
    try {
      const response = await fetch("web/stats", { signal: AbortSignal.timeout(5 * INTERVAL_MS) });
      stats = response.ok ? await response.json() : null;
    } catch {
      stats = null;
    }
    if (stats) this.show(stats);
    else this.last = null;
    this.badge(stats);
  }

  badge(stats) {
    const [text, kind] = !stats ? ["server unreachable", "bad"] : stats.engine_up ? ["ready", "good"] : ["engine restarting", "bad"];
    const badge = byId("engine");
    if (badge.textContent !== text) badge.textContent = text;
    badge.className = `badge ${kind}`;
  }

  show(stats) {
    const before = this.last;
    this.last = stats;
    const tokens = before ? stats.generation_tokens - before.generation_tokens : 0;
    const rate = before && tokens > 0 ? tokens / (stats.clock - before.clock) : 0;
    byId("rate").textContent = WHOLE.format(rate);
    byId("running").textContent = WHOLE.format(stats.running);
    byId("waiting").textContent = WHOLE.format(stats.waiting);
    byId("cache").textContent = `${PERCENT.format(100 * stats.kv_cache_usage)} %`;
    byId("generated").textContent = WHOLE.format(stats.generation_tokens);
    byId("prompted").textContent = WHOLE.format(stats.prompt_tokens);
    this.rates.add(rate);
    this.cache.add(stats.kv_cache_usage);
  }
}
