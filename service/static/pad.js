// Drawing by mouse, pen or finger. Strokes are kept as lines, so they can be drawn again as MNIST has them.

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
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
  }

  show(strokes) {
    this.strokes = strokes;
    this.#paint();
  }

  #paint() {
    const size = this.#canvas.width, context = this.#canvas.getContext("2d"), place = (value) => value * size;
    context.clearRect(0, 0, size, size);
    trace(context, this.strokes, place, place, WIDTH * size);
  }

  /** The drawing as a PNG: white on black, as large as MNIST's box whatever its size on the pad, by the same pen. */
  picture() {
    const points = this.strokes.flat(), xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
    const scale = (BOX - PEN) / Math.max(width, height, 0.02);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SENT;
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, SENT, SENT);
    const place = (low, length) => (value) => SENT / 2 + (value - low - length / 2) * scale;
    trace(context, this.strokes, place(left, width), place(top, height), PEN);
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
    this.#paint();
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

function trace(context, strokes, x, y, width) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(x(stroke[0][0]), y(stroke[0][1]));
    for (const point of stroke) context.lineTo(x(point[0]), y(point[1]));
    context.stroke();
  }
}
