// The page: what its buttons do.

import { fetchGraphs, Live, transcribe } from "./client.js";
import { download } from "./download.js";
import { Lines } from "./lines.js";
import { decoded, level, Microphone, Tape, toInt16 } from "./sound.js";

const MAX_BACKLOG = 10; // seconds of sound that may wait for the server

const $ = (id) => document.getElementById(id);
const lines = new Lines($("lines"), $("alternatives"), showError);
let live = null; // what runs while the microphone is open

function showError(message) {
  $("error").textContent = message ? `Error: ${message}` : "";
  $("error").hidden = !message;
}

function showStatus(text) {
  $("status").textContent = text;
}

function hotwords() {
  return $("hotwords").value.split(/[,;\n]/).map((phrase) => phrase.trim()).filter(Boolean);
}

// Without a choice of graphs the model is undefined: the server's default.
function settings() {
  return { model: $("graph").value || undefined, hotwords: hotwords() };
}

function asWords(result) {
  return result.map(({ word, start, end, conf }) => ({ word, start, end, confidence: conf }));
}

async function startRecording() {
  showError("");
  const microphone = new Microphone();
  const run = { microphone, settings: settings() };
  live = run;
  $("record").setAttribute("aria-pressed", "true");
  showStatus("Waiting for the microphone…");
  const before = [];
  let take = (block) => before.push(block);
  try {
    await microphone.start((block) => {
      $("level").value = level(block);
      take(toInt16(block));
    });
  } catch (error) {
    await endRecording(run, error.message);
    return;
  }
  const tape = new Tape(microphone.rate);
  run.live = new Live({ sample_rate: microphone.rate, words: true, ...run.settings }, {
    onPartial: (text) => { $("partial").textContent = text; },
    onResult: (answer) => {
      $("partial").textContent = "";
      lines.add({ words: asWords(answer.result), ...run.settings, tape: () => tape });
      const line = lines.lines.at(-1);
      line.sound = tape.slice(line.start - 0.3, line.end + 0.3); // the tape forgets
    },
    onEnd: (message) => endRecording(run, message),
  });
  take = (block) => {
    tape.add(block);
    run.live.send(block.buffer);
    if (run.live.backlog(microphone.rate) > MAX_BACKLOG) {
      endRecording(run, "the server does not keep up with the speech");
    }
  };
  before.forEach(take);
  showStatus("Speak. The microphone is open.");
}

async function stopRecording(run) {
  showStatus("Finishing…");
  await run.microphone.stop();
  if (run.live) run.live.finish();
  else await endRecording(run, "");
}

async function endRecording(run, message) {
  if (live !== run) return;
  live = null;
  $("record").setAttribute("aria-pressed", "false");
  $("level").value = 0;
  $("partial").textContent = "";
  showStatus(message ? "The microphone is closed." : "Done. Words can be clicked.");
  if (message) showError(message);
  await run.microphone.stop();
  run.live?.socket.close();
}

function toggleRecording() {
  if (live) stopRecording(live);
  else startRecording();
}

function settingsChanged() {
  if (!live?.live) return;
  live.settings = settings();
  live.live.configure(live.settings);
  live.live.reset();
}

async function transcribeFiles(files) {
  showError("");
  for (const file of files) {
    const abort = new AbortController();
    $("cancel").onclick = () => abort.abort();
    $("progress-label").textContent = file.name;
    $("progress").value = 0;
    $("progress-box").hidden = false;
    let tape;
    const given = settings();
    try {
      await transcribe(file, {
        ...given,
        signal: abort.signal,
        onProgress: (share) => { $("progress").value = share; },
        onPiece: ({ words }) => {
          if (words.length) lines.add({ words, ...given, tape: () => (tape ??= decoded(file)) });
        },
      });
      showStatus(`${file.name} is done. Words can be clicked.`);
    } catch (error) {
      showError(`${file.name}: ${error.message}`);
    }
    $("progress-box").hidden = true;
  }
}

function acceptDrops(target) {
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("dropping");
  });
  target.addEventListener("dragleave", () => target.classList.remove("dropping"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("dropping");
    transcribeFiles([...event.dataTransfer.files]);
  });
}

async function showGraphs() {
  try {
    const names = await fetchGraphs();
    $("graph").replaceChildren(...names.map((name) => new Option(name, name)));
    $("graphs").hidden = names.length < 2;
    if (!$("key-box").hidden) showError(""); // that a key is needed
  } catch (error) {
    $("key-box").hidden = !error.needsKey;
    showError(error.message);
  }
}

$("record").addEventListener("click", toggleRecording);
$("files").addEventListener("change", async ({ target }) => {
  await transcribeFiles([...target.files]);
  target.value = "";
});
$("clear").addEventListener("click", () => lines.clear());
$("hotwords").addEventListener("change", settingsChanged);
$("graph").addEventListener("change", settingsChanged);
$("key").addEventListener("change", ({ target }) => {
  sessionStorage.setItem("key", target.value);
  showGraphs();
});
document.querySelectorAll(".download").forEach((button) => {
  button.addEventListener("click", () => download(lines.lines, button.dataset.format));
});
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key.toLowerCase() === "m" && isPlain && !isTyping) toggleRecording();
});
acceptDrops(document.body);
showGraphs();
