"use strict";
// Chooses as a solver would: what the machine can run, not taken by name only, newest, highest build number.
(() => {
  const { builds, devices, platforms } = JSON.parse(document.getElementById("data").textContent);
  const channel = new URL(".", location).href.replace(/\/$/, "");
  const form = document.getElementById("choices");
  const NOARCH = "noarch", OLDER = "0";

  const numbers = (version) => version.split(".").map(Number);
  const compare = (a, b) => {
    const [x, y] = [numbers(a), numbers(b)];
    for (let i = 0; i < Math.max(x.length, y.length); i++) {
      if ((x[i] || 0) !== (y[i] || 0)) return (x[i] || 0) - (y[i] || 0);
    }
    return 0;
  };
  const preferred = (a, b) =>
    a.by_name - b.by_name || compare(b.version, a.version) || b.number - a.number || compare(b.cuda || "0", a.cuda || "0");
  const runsOn = (build, platform) => build.platform === platform || build.platform === NOARCH;
  const unique = (values) => [...new Set(values)];

  // The questions, in order. Each is asked where there is more than one answer; what was chosen before narrows it.
  const questions = {
    platform: {
      title: "Platform",
      answers: () => Object.entries(platforms).filter(([key]) => builds.some((b) => b.platform === key)),
    },
    device: {
      title: "Accelerator",
      answers: (chosen) => Object.entries(devices)
        .filter(([key]) => builds.some((b) => b.device === key && runsOn(b, chosen.platform))),
    },
    driver: {
      title: "CUDA version of the driver (nvidia-smi shows it)",
      answers: (chosen) => {
        if (chosen.device !== "cuda") return [];
        const floors = unique(builds.filter((b) => b.cuda && runsOn(b, chosen.platform)).map((b) => b.cuda));
        floors.sort((a, b) => compare(b, a));
        const named = floors.map((f, i) => [f, i ? `${f} or newer, before ${floors[i - 1]}` : `${f} or newer`]);
        return [...named, [OLDER, `before ${floors.at(-1)}`]];
      },
    },
    level: {
      title: "CPUs that it runs on",
      answers: (chosen) => {
        if (chosen.device !== "cpu") return [];
        const levels = unique(builds.filter((b) => b.device === "cpu" && runsOn(b, chosen.platform)).map((b) => b.level));
        const names = { "": "every one", 3: "with AVX2 (slim)", 4: "with AVX-512 (slim)" };
        return levels.length > 1 ? levels.sort().map((l) => [l, names[l] || `x86-64-v${l} (slim)`]) : [];
      },
    },
  };

  function find(chosen) {
    return builds.filter((b) => runsOn(b, chosen.platform) && b.device === chosen.device
      && b.level === (chosen.level || "")
      && (!b.cuda || compare(b.cuda, chosen.driver || "0") <= 0)).sort(preferred)[0];
  }

  function lines(build) {
    const spec = build.by_name ? `"${build.spec}"` : "vllm";
    const pixi = [`pixi init --channel ${channel} --channel conda-forge`];
    if (build.cuda) pixi.push(`pixi workspace system-requirements add cuda ${build.cuda}`);
    if (build.level) pixi.push(`pixi workspace platform add --archspec x86-64-v${build.level} ${build.platform}`);
    return {
      conda: `conda install -c ${channel} -c conda-forge ${spec}`,
      mamba: `mamba install -c ${channel} -c conda-forge ${spec}`,
      pixi: [...pixi, `pixi add ${spec}`].join("\n"),
    };
  }

  function about(build, chosen) {
    const parts = [];
    if (chosen.device === "cuda" && build.device !== "cuda") {
      parts.push("This driver is older than every CUDA build here: solvers take the CPU build.");
    }
    const needs = [build.cuda && `a driver for CUDA ${build.cuda}`, build.level && `x86-64-v${build.level}`,
      build.glibc && `glibc ${build.glibc}`, build.macos && `macOS ${build.macos}`].filter(Boolean);
    if (needs.length) parts.push(`Needs ${needs.join(", ")} or newer.`);
    if (build.by_name) parts.push("Solvers take it only where it is named.");
    const rivals = builds.some((b) => b.device === "cuda" && runsOn(b, chosen.platform));
    if (chosen.device === "cpu" && !build.by_name && rivals) {
      parts.push(`On a machine with an NVIDIA driver, name it: ${build.spec}`);
    }
    if (build.size) parts.push(`${(build.size / 1e6).toFixed(2)} MB.`);
    return parts.join(" ");
  }

  function element(tag, attributes = {}, ...children) {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  }

  function ask(name, question, chosen, wanted) {
    const answers = question.answers(chosen);
    chosen[name] = answers.some(([key]) => key === wanted[name]) ? wanted[name] : answers[0]?.[0];
    if (!answers.length) return;
    const options = answers.map(([key, text]) => element("label", {},
      element("input", { type: "radio", name, value: key, checked: key === chosen[name] }), element("span", {}, text)));
    form.append(element("fieldset", {}, element("legend", {}, question.title),
      element("div", { className: "options" }, ...options)));
  }

  function show() {
    const wanted = Object.fromEntries(new FormData(form)), focused = document.activeElement;
    const chosen = {};
    form.replaceChildren();
    for (const [name, question] of Object.entries(questions)) ask(name, question, chosen, wanted);
    if (focused?.name) form.querySelector(`[name="${focused.name}"][value="${focused.value}"]`)?.focus();
    const build = find(chosen) || find({ ...chosen, device: "cpu" }) || find({ ...chosen, device: "empty" });
    document.getElementById("package").textContent = build ? `vllm ${build.version} ${build.build}` : "none";
    document.getElementById("about").textContent = build ? about(build, chosen) : "No build here is for this machine.";
    document.getElementById("lines").replaceChildren(...Object.entries(build ? lines(build) : {}).map(([client, text]) => {
      const copy = element("button", { type: "button", textContent: "Copy", ariaLabel: `Copy the lines for ${client}` });
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      });
      return element("div", { className: "line" }, element("h3", {}, client), element("pre", { id: client }, text), copy);
    }));
  }

  if (!builds.length) return;
  form.addEventListener("change", show);
  form.hidden = document.getElementById("answer").hidden = false;
  show();
})();
