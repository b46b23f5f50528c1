// The transcript: lines with times, words coloured by confidence, what is known about them.

import { fetchDetails } from "./client.js";
import { drawAlignment } from "./alignment.js";
import { wav } from "./sound.js";

const AROUND = 0.3; // seconds of sound before and after a line

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class Lines {
  constructor(list, dialog, showError) {
    this.list = list;
    this.dialog = dialog;
    this.showError = showError;
    this.lines = [];
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  clear() {
    this.lines = [];
    this.list.replaceChildren();
  }

  // line: words [{word, start, end, confidence}], model, hotwords, and tape(), a Tape or a promise
  add(line) {
    this.lines.push(line);
    line.start = line.words[0].start;
    line.end = line.words.at(-1).end;
    const words = element("span", { className: "words" });
    line.words.forEach((word, index) => words.append(this.button(line, word, index), " "));
    words.addEventListener("keydown", (event) => this.move(event));
    const more = element("button", { type: "button", className: "more", textContent: "Details" });
    more.setAttribute("aria-expanded", "false");
    more.addEventListener("click", () => this.toggle(line, more));
    const times = `${clock(line.start)}–${clock(line.end)}`;
    const head = element("div", { className: "head" }, element("time", {}, times), words, more);
    line.item = element("li", {}, head);
    this.list.append(line.item);
    line.item.scrollIntoView({ block: "nearest" });
  }

  button(line, word, index) {
    const button = element("button", { type: "button", className: "word" }, word.word);
    if (word.confidence < 0.5) button.classList.add("unsure");
    else if (word.confidence < 0.8) button.classList.add("fair");
    button.title = `confidence ${word.confidence.toFixed(2)}, ${clock(word.start)}`;
    button.tabIndex = index === 0 ? 0 : -1; // arrows move within the line
    button.addEventListener("click", () => this.choose(line, index, button));
    return button;
  }

  move(event) {
    const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    const next = step && event.target[step];
    if (next) {
      next.focus();
      event.preventDefault();
    }
  }

  details(line) {
    line.details ??= (async () => {
      const tape = await line.tape();
      line.sound ??= tape.slice(line.start - AROUND, line.end + AROUND);
      if (!line.sound.samples.length) throw new Error("the sound of this line is no longer kept");
      return fetchDetails(wav(line.sound), {
        text: line.words.map((word) => word.spoken ?? word.word).join(" "),
        model: line.model,
        hotwords: line.hotwords,
      });
    })();
    line.details.catch(() => { line.details = undefined; });
    return line.details;
  }

  async choose(line, index, button) {
    try {
      const { words } = await this.details(line);
      const word = line.words[index];
      const rows = words[index].alternatives.map((other) => {
        const name = other.word || "(no word)";
        const share = `${(100 * other.posterior).toFixed(1)} %`;
        const row = element("button", { type: "button" }, element("span", {}, name), share);
        row.setAttribute("aria-current", String(other.word === word.word));
        row.addEventListener("click", () => {
          word.spoken ??= word.word;
          word.word = other.word;
          button.textContent = other.word || "∅";
          button.classList.toggle("changed", word.word !== word.spoken);
          this.dialog.close();
          button.focus();
        });
        return row;
      });
      this.dialog.replaceChildren(...rows);
      this.dialog.showModal();
    } catch (error) {
      this.showError(error.message);
    }
  }

  async toggle(line, more) {
    const about = line.item.querySelector(".about");
    more.setAttribute("aria-expanded", String(!about));
    if (about) {
      about.remove();
      return;
    }
    const box = element("div", { className: "about" }, "…");
    line.item.append(box);
    try {
      const found = await this.details(line);
      const play = element("button", { type: "button", textContent: "Play" });
      play.addEventListener("click", () => this.play(line));
      const alignment = element("div", { className: "scroll" }, drawAlignment(line.sound, found));
      const lattice = element("div", { className: "scroll lattice" });
      if (found.lattice) {
        const src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(found.lattice)}`;
        const alt = "Lattice: the most probable word sequences as one graph";
        lattice.append(element("img", { src, alt }));
      } else {
        lattice.append(found.lattice_error);
      }
      const title = (text) => element("h3", {}, text);
      box.replaceChildren(
        title("Words and phones over the waveform"), alignment, play,
        title("Lattice: the most probable word sequences"), lattice,
      );
    } catch (error) {
      box.remove();
      more.setAttribute("aria-expanded", "false");
      this.showError(error.message);
    }
  }

  play(line) {
    const address = URL.createObjectURL(wav(line.sound));
    const audio = new Audio(address);
    audio.onended = () => URL.revokeObjectURL(address);
    audio.play().catch((error) => this.showError(error.message));
  }
}
