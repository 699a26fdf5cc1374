// Drawing by mouse, pen or finger. Strokes are kept as lines, so they can be drawn again as MNIST has them.

import { h } from "./dom.js";

const WIDTH = 0.075; // of the pad, as shown
const SENT = 224, BOX = 160, PEN = 21; // eight times MNIST's 28 x 28, its 20 x 20 box, and its usual pen
const LIVE_MS = 120;

export class Pad {
  strokes = [];
  enabled = true;
  #canvas;
  #changed;
  #drawing = null;
  #told = 0;

  /** `changed(finished)` is called while somebody draws, and at the end of each stroke. */
  constructor(canvas, changed) {
    this.#canvas = canvas;
    this.#changed = changed;
    canvas.onpointerdown = (event) => this.#down(event);
    canvas.onpointermove = (event) => this.#move(event);
    canvas.onpointerup = canvas.onpointercancel = (event) => this.#up(event);
  }

  show(strokes) {
    this.strokes = strokes;
    const size = this.#canvas.width, place = (value) => value * size;
    trace(this.#canvas, strokes, place, place, WIDTH * size);
  }

  /** The drawing as a PNG: white on black, as large as MNIST's box whatever its size on the pad, by the same pen. */
  picture() {
    const points = this.strokes.flat(), xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
    const ends = [xs, ys].map((values) => [Math.min(...values), Math.max(...values)]);
    const scale = (BOX - PEN) / Math.max(...ends.map(([low, high]) => high - low), 0.02);
    const [x, y] = ends.map(([low, high]) => (value) => SENT / 2 + (value - (low + high) / 2) * scale);
    const canvas = h("canvas", { width: SENT, height: SENT });
    trace(canvas, this.strokes, x, y, PEN);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  #down(event) {
    if (!this.enabled || event.button !== 0 || this.#drawing) return;
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#drawing = { id: event.pointerId, points: [this.#point(event)] };
    this.show([...this.strokes, this.#drawing.points]);
    this.#changed("begun");
  }

  #move(event) {
    if (this.#drawing?.id !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    this.#drawing.points.push(...(events.length ? events : [event]).map((each) => this.#point(each)));
    this.show(this.strokes);
    if (event.timeStamp - this.#told > LIVE_MS) {
      this.#told = event.timeStamp;
      this.#changed("drawing");
    }
  }

  #up(event) {
    if (this.#drawing?.id !== event.pointerId) return;
    this.#drawing = null;
    this.#changed("done");
  }

  #point(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }
}

function trace(canvas, strokes, x, y, width) {
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(x(stroke[0][0]) + 0.1, y(stroke[0][1])); // off the first point: a tap is a line too, so a dot
    for (const point of stroke) context.lineTo(x(point[0]), y(point[1]));
    context.stroke();
  }
}
