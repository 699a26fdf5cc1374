// Where a picture comes from: the pad, a file, the clipboard, a sample.

import { $, h, sharp } from "./dom.js";
import { Pad } from "./pad.js";
import { Trouble } from "./server.js";
import { count } from "./words.js";

/** What stands in the well. `changed(settled)`: there is another picture, or none; `failed(trouble)`: one was refused. */
export class Source {
  picture = null;
  limit = Infinity;
  #changed;
  #failed;
  #pad = new Pad($("pad"), (state) => this.#drawn(state));
  #url = "";
  #kept = null;
  #turn = 0;

  constructor(changed, failed) {
    this.#changed = changed;
    this.#failed = failed;
    sharp($("shown"));
    $("undo").onclick = () => this.#redraw(this.#pad.strokes.slice(0, -1));
    $("clear").onclick = () => this.#redraw([]);
    $("open").onclick = () => $("file").click();
    $("well").onclick = () => void (this.#pad.enabled || $("file").click());
    $("file").onchange = () => {
      const [file] = $("file").files;
      $("file").value = ""; // the same file may be chosen again
      if (file) this.take(file, file.name);
    };
    document.onpaste = (event) => this.#handed(event, event.clipboardData);
    document.ondrop = (event) => this.#handed(event, event.dataTransfer);
    document.ondragover = document.ondragleave = (event) => {
      event.preventDefault();
      $("well").classList.toggle("over", event.type === "dragover");
    };
  }

  /** A bundle that reads digits takes a drawing; any other photo is framed as that bundle sees it. */
  fit({ resize, width, height }) {
    const draws = (this.#pad.enabled = resize === "digit");
    $("well").classList.toggle("drawable", draws);
    $("well").style.aspectRatio = `${width} / ${height}`;
    $("shown").style.objectFit = { digit: "contain", center_crop: "cover", stretch: "fill" }[resize];
    $("hint").textContent = draws ? "Draw a digit" : "Drop, paste or pick a picture";
    $("pad").hidden = !draws && !this.#pad.strokes.length;
    $("undo").hidden = !draws;
  }

  /** Take a picture. One that no browser can show, or that is too large, is refused, and what there was is kept. */
  async take(blob, name) {
    if (blob.size > this.limit) {
      const sizes = `${name}: expected at most ${count(this.limit)} bytes, got ${count(blob.size)}.`;
      return this.#failed(new Trouble("body_too_large", sizes));
    }
    const url = URL.createObjectURL(blob), turn = ++this.#turn, image = h("img", { src: url });
    try {
      await image.decode();
    } catch {
      URL.revokeObjectURL(url);
      return this.#failed(new Trouble("not_an_image", `${name}: expected a PNG, JPEG, WebP, GIF or BMP.`));
    }
    if (turn !== this.#turn) return URL.revokeObjectURL(url); // something newer was faster
    this.#kept = { strokes: this.#pad.strokes, picture: this.picture, name: $("shown").title };
    this.#pad.show([]);
    this.#show(blob, url, name, [image.naturalWidth, image.naturalHeight]);
    return this.#changed(true);
  }

  accepted() {
    this.#kept = null;
  }

  /** The server has refused the picture: back to the one before, if there is one to go back to. */
  async restore() {
    if (!this.#kept) return false;
    const { strokes, picture, name } = this.#kept;
    await (name ? this.take(picture, name) : this.#redraw(strokes));
    this.#kept = null;
    return true;
  }

  #drawn(state) {
    if (state !== "begun") return this.#redraw(this.#pad.strokes, state === "done");
    this.#kept = null;
    if (this.#url) this.#show(null);
    return this.#changed(false);
  }

  async #redraw(strokes, settled = true) {
    const turn = ++this.#turn;
    this.#pad.show(strokes);
    const picture = strokes.length ? await this.#pad.picture() : null;
    if (turn !== this.#turn) return undefined;
    this.#show(picture);
    return this.#changed(settled);
  }

  #show(picture, url = "", name = "", size = []) {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = url;
    this.picture = picture;
    const image = $("shown"), { length } = this.#pad.strokes;
    image.hidden = !url;
    if (url) image.src = url;
    else image.removeAttribute("src");
    image.title = name;
    image.alt = `The picture to classify: ${name}`;
    $("name").textContent = name && `${name} · ${size.join(" × ")}`;
    $("undo").disabled = !length;
    $("clear").disabled = !picture;
    $("well").classList.toggle("filled", picture || length);
  }

  #handed(event, data) {
    const [file] = data?.files ?? [], dropped = event.type === "drop";
    if (file || dropped) event.preventDefault();
    $("well").classList.remove("over");
    if (file) this.take(file, file.name || "pasted picture");
    else if (dropped) this.#failed(new Trouble("not_an_image", "Expected a picture file, got something else."));
  }
}

export function showSamples(samples, taken) {
  $("samples").replaceChildren(...samples.map((sample) => {
    const image = h("img", { src: sample.url, alt: `Sample: ${sample.name}` });
    return h("button", { onclick: () => taken(sample) }, image);
  }));
}
