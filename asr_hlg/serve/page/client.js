// The server: live speech by Vosk's protocol, recordings by OpenAI's API, details of a line.

const REASONS = {
  1001: "the server is stopping",
  1006: "the connection was lost",
  1009: "a message was too large",
};

function headers() {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// Message of an error in OpenAI's format.
function messageOf(text, status) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `the server answered with status ${status}`;
  }
}

export async function fetchGraphs() {
  const answer = await fetch("v1/models", { headers: headers() });
  if (!answer.ok) {
    const error = new Error(messageOf(await answer.text(), answer.status));
    error.needsKey = answer.status === 401;
    throw error;
  }
  return (await answer.json()).data.map((model) => model.id);
}

// A live stream. Calls onPartial(text), onResult(result) and, once, onEnd(error message or "").
export class Live {
  constructor(config, { onPartial, onResult, onEnd }) {
    this.isDone = false;
    const address = new URL(".", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.waiting = [];
    this.send = (message) => {
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
      else if (this.socket.readyState === WebSocket.CONNECTING) this.waiting.push(message);
    };
    this.configure(config);
    this.socket.onopen = () => this.waiting.splice(0).forEach((message) => this.send(message));
    this.socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data);
      if ("partial" in answer) onPartial(answer.partial);
      else if (answer.text) onResult(answer);
    };
    this.socket.onclose = ({ code, reason }) => {
      const isExpected = code === 1000 && this.isDone;
      onEnd(isExpected ? "" : reason || REASONS[code] || `the connection ended (${code})`);
    };
  }

  configure(config) {
    const key = sessionStorage.getItem("key");
    this.send(JSON.stringify({ config: key ? { ...config, api_key: key } : config }));
  }

  // Ends the segment; what was configured since then counts for the next one.
  reset() {
    this.send('{"reset": 1}');
  }

  finish() {
    this.isDone = true;
    this.send('{"eof": 1}');
  }

  // Seconds of sound that wait to be sent.
  backlog(rate) {
    return this.socket.bufferedAmount / (2 * rate);
  }
}

// Transcribes a file. Calls onPiece(event) for each piece, onProgress(share of the work done).
export function transcribe(file, { model, hotwords, onPiece, onProgress, signal }) {
  const form = new FormData();
  form.append("model", model ?? "");
  form.append("stream", "true");
  form.append("prompt", hotwords.join(", "));
  form.append("file", file);
  const request = new XMLHttpRequest();
  request.open("POST", "v1/audio/transcriptions");
  Object.entries(headers()).forEach(([name, value]) => request.setRequestHeader(name, value));
  signal.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    let read = 0;
    const readEvents = () => {
      if (request.status !== 200) return;
      const end = request.responseText.lastIndexOf("\n\n") + 2;
      if (end <= read) return;
      const events = request.responseText.slice(read, end).trim().split("\n\n");
      read = end;
      for (const event of events.map((line) => JSON.parse(line.replace(/^data: /, "")))) {
        if (event.type === "error") reject(new Error(event.error.message));
        if (event.type === "transcript.text.delta") {
          onProgress(0.1 + 0.9 * (event.end / event.duration));
          onPiece(event);
        }
      }
    };
    request.upload.onprogress = ({ loaded, total }) => onProgress(0.1 * (loaded / total));
    request.onprogress = readEvents;
    request.onload = () => {
      readEvents();
      if (request.status === 200) resolve();
      else reject(new Error(messageOf(request.responseText, request.status)));
    };
    request.onabort = () => reject(new Error("cancelled"));
    request.onerror = () => reject(new Error(REASONS[1006]));
    request.send(form);
  });
}

// Alternatives, alignment and lattice of a line; its sound is a WAV file.
export async function fetchDetails(sound, { text, model, hotwords }) {
  const form = new FormData();
  form.append("text", text);
  form.append("model", model ?? "");
  form.append("hotwords", hotwords.join(", "));
  form.append("file", sound, "line.wav");
  const answer = await fetch("lines", { method: "POST", body: form, headers: headers() });
  const body = await answer.text();
  if (!answer.ok) throw new Error(messageOf(body, answer.status));
  return JSON.parse(body);
}
