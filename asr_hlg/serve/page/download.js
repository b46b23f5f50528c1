// The transcript as a file: text, SRT, VTT or JSON.

const MAX_SECONDS = 7;
const MAX_CHARACTERS = 84; // two lines of subtitles

function stamp(seconds, mark) {
  const ms = Math.round(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${two(h)}:${two(m)}:${two(s)}${mark}${String(ms % 1000).padStart(3, "0")}`;
}

function spoken(line) {
  return line.words.filter((word) => word.word);
}

function textOf(words) {
  return words.map((word) => word.word).join(" ");
}

// Words of a line as cues that can be read.
function cues(line) {
  const found = [];
  let cue = [];
  for (const word of spoken(line)) {
    const isLong = cue.length && (word.end - cue[0].start > MAX_SECONDS
      || textOf([...cue, word]).length > MAX_CHARACTERS);
    if (isLong) {
      found.push(cue);
      cue = [];
    }
    cue.push(word);
  }
  return cue.length ? [...found, cue] : found;
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

const FORMATS = {
  txt: (lines) => lines.map((line) => `${textOf(spoken(line))}\n`).join(""),
  srt: (lines) => lines.flatMap(cues).map((cue, index) => {
    const times = `${stamp(cue[0].start, ",")} --> ${stamp(cue.at(-1).end, ",")}`;
    return `${index + 1}\n${times}\n${textOf(cue)}\n\n`;
  }).join(""),
  vtt: (lines) => `WEBVTT\n\n${lines.flatMap(cues).map((cue) => {
    const times = `${stamp(cue[0].start, ".")} --> ${stamp(cue.at(-1).end, ".")}`;
    return `${times}\n${escaped(textOf(cue))}\n\n`;
  }).join("")}`,
  json: (lines) => `${JSON.stringify(lines.map((line) => ({
    start: line.start,
    end: line.end,
    text: textOf(spoken(line)),
    words: spoken(line).map(({ word, start, end, confidence }) => ({ word, start, end, confidence })),
  })), null, 1)}\n`,
};

const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };

export function download(lines, format) {
  const content = FORMATS[format](lines);
  const address = URL.createObjectURL(new Blob([content], { type: TYPES[format] }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `transcript.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
