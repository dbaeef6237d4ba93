// A small moving plot: one or more lines over the last minutes, in SVG.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 72;
const TOP = 4; // room for the width of a line

function svg(name, attributes) {
  const e = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}

// ceiling is the next round number at or above n, so that the scale does not move with every point.
export function ceiling(n, least, unit = 1) {
  const want = Math.max(n, least) / unit;
  const power = 10 ** Math.floor(Math.log10(want));
  for (const step of [1, 1.5, 2, 3, 5, 7.5, 10]) {
    if (step * power >= want * 0.999999) return step * power * unit;
  }
  return 10 * power * unit;
}

export class Plot {
  // lines are the names of the figures; least is the smallest top of the scale, which is a round number of units.
  constructor(lines, least, unit) {
    Object.assign(this, { lines, least, unit });
    this.element = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "plot", focusable: "false" });
    for (const part of [0.5, 1]) {
      const y = HEIGHT - part * (HEIGHT - TOP);
      this.element.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: "rule" }));
    }
    this.element.append(svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5, class: "rule base" }));
    this.area = lines.length === 1 ? svg("path", { class: "area" }) : null;
    if (this.area) this.element.append(this.area);
    this.paths = lines.map((_, i) => svg("path", { class: `stroke stroke-${i}` }));
    this.element.append(...this.paths);
    this.hair = svg("line", { y1: 0, y2: HEIGHT, class: "hair", visibility: "hidden" });
    this.element.append(this.hair);
  }

  // draw shows points {at, values} with values by name, of the last span milliseconds before now. It returns the top of the scale.
  draw(points, now, span) {
    let most = 0;
    for (const p of points) for (const name of this.lines) most = Math.max(most, p.values[name] ?? 0);
    const top = ceiling(most, this.least, this.unit);
    const x = (at) => (WIDTH * (1 - (now - at) / span)).toFixed(1);
    const y = (v) => (HEIGHT - (v / top) * (HEIGHT - TOP)).toFixed(1);
    this.lines.forEach((name, i) => {
      const runs = unbroken(points, name);
      this.paths[i].setAttribute("d", runs.map((run) => "M" + run.map((p) => `${x(p.at)} ${y(p.values[name])}`).join("L")).join(""));
      if (this.area) {
        this.area.setAttribute("d", runs.map((run) => `M${x(run[0].at)} ${HEIGHT}L` + run.map((p) => `${x(p.at)} ${y(p.values[name])}`).join("L") +
          `L${x(run.at(-1).at)} ${HEIGHT}Z`).join(""));
      }
    });
    return top;
  }

  // mark puts a hair line at a part of the width, 0 to 1; without one it goes.
  mark(part) {
    this.hair.setAttribute("visibility", part === undefined ? "hidden" : "visible");
    if (part !== undefined) {
      this.hair.setAttribute("x1", part * WIDTH);
      this.hair.setAttribute("x2", part * WIDTH);
    }
  }
}

// unbroken splits points where a value is unknown. A lone point becomes a dash that can be seen.
function unbroken(points, name) {
  const runs = [];
  let run = null;
  for (const p of points) {
    if (p.values[name] == null) {
      run = null;
      continue;
    }
    if (!run) runs.push((run = []));
    run.push(p);
  }
  return runs.map((r) => (r.length > 1 ? r : [{ ...r[0], at: r[0].at - 700 }, r[0]]));
}
