// A picture of a line: its waveform, with words and phones where the alignment has them.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const WAVE = 80; // height of the waveform; words are above it and phones below
const ABOVE = 20;
const BELOW = 18;

function shape(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.textContent = text;
  return made;
}

// Path through the lowest and the highest sample of each column.
function wave(samples) {
  const middle = ABOVE + WAVE / 2;
  const peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  let path = "";
  for (let x = 0; x < WIDTH; x += 1) {
    const from = Math.floor((x * samples.length) / WIDTH);
    const to = Math.max(from + 1, Math.floor(((x + 1) * samples.length) / WIDTH));
    let low = 0;
    let high = 0;
    for (let i = from; i < to; i += 1) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const y = (value) => (middle - (value / peak) * (WAVE / 2)).toFixed(1);
    path += `M${x} ${y(low)}L${x} ${y(high)}`;
  }
  return path;
}

// Times of `words` and `phones` are seconds from the start of the sound.
export function drawAlignment({ rate, samples }, { words, phones }) {
  const height = ABOVE + WAVE + BELOW;
  const picture = shape("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "alignment", role: "img" });
  picture.append(shape("title", {}, "Waveform with the times of words and phones"));
  const x = (seconds) => (WIDTH * seconds * rate) / samples.length;
  picture.append(shape("path", { d: wave(samples), class: "wave" }));
  for (const word of words) {
    for (const edge of [word.start, word.end]) {
      const line = { x1: x(edge), x2: x(edge), y1: 0, y2: height, class: "edge" };
      picture.append(shape("line", line));
    }
    picture.append(shape("text", { x: x((word.start + word.end) / 2), y: 14 }, word.word));
  }
  for (const phone of phones) {
    const middle = { x: x((phone.start + phone.end) / 2), y: height - 5, class: "phone" };
    picture.append(shape("text", middle, phone.word));
  }
  return picture;
}
