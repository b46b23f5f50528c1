// Sound: the microphone, 16-bit samples, a tape of what was sent, WAV files.

const RATE = 16000;

export function toInt16(floats) {
  return Int16Array.from(floats, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32767))));
}

// Level from 0 (-60 dB or less) to 1 (full scale).
export function level(floats) {
  let sum = 0;
  for (const x of floats) sum += x * x;
  const decibel = 10 * Math.log10(sum / floats.length + 1e-12);
  return Math.max(0, Math.min(1, 1 + decibel / 60));
}

export class Microphone {
  // Calls `onBlock` with a Float32Array for each tenth of a second, at `this.rate`.
  async start(onBlock) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("The browser gives a microphone only to pages of this machine and over https.");
    }
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false },
    });
    try {
      this.context = new AudioContext({ sampleRate: RATE });
      this.source = this.context.createMediaStreamSource(this.stream);
    } catch { // Firefox takes microphones at their own rate only; the server converts it
      this.context = new AudioContext();
      this.source = this.context.createMediaStreamSource(this.stream);
    }
    this.rate = this.context.sampleRate;
    await this.context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => onBlock(data);
    this.source.connect(this.node);
    await this.context.resume();
  }

  async stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.node) this.node.port.onmessage = null;
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}

// The last minutes of what was sent, so that a line can be looked at again.
export class Tape {
  constructor(rate, seconds = 120) {
    this.rate = rate;
    this.limit = rate * seconds;
    this.blocks = [];
    this.first = 0; // number of the first sample that is kept
    this.length = 0;
  }

  add(block) {
    this.blocks.push(block);
    this.length += block.length;
    while (this.length - this.first > this.limit) this.first += this.blocks.shift().length;
  }

  // Samples from `begin` to `end` seconds, with their start in seconds.
  slice(begin, end) {
    const from = Math.max(this.first, Math.floor(begin * this.rate));
    const to = Math.min(this.length, Math.ceil(end * this.rate));
    const samples = new Int16Array(Math.max(0, to - from));
    let at = this.first;
    for (const block of this.blocks) {
      const start = Math.max(from, at);
      const stop = Math.min(to, at + block.length);
      if (start < stop) samples.set(block.subarray(start - at, stop - at), start - from);
      at += block.length;
    }
    return { rate: this.rate, start: from / this.rate, samples };
  }
}

// One channel at 16 kHz of a file that the browser can read.
export async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const mean = new Float32Array(buffer.length);
  for (let c = 0; c < buffer.numberOfChannels; c += 1) {
    buffer.getChannelData(c).forEach((x, i) => { mean[i] += x / buffer.numberOfChannels; });
  }
  const tape = new Tape(RATE, Infinity);
  tape.add(toInt16(mean));
  return tape;
}

export function wav({ rate, samples }) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, x, true));
  return new Blob([view], { type: "audio/wav" });
}
