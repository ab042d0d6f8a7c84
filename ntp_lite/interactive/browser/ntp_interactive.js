// Interactive figures of the book: one file for all kinds of figure and for every place where a
// cell's output is shown (site, Jupyter, Colab). It reads the JSON that Python wrote into the figure,
// draws with D3 (window.ntpD3) and fetches nothing. `ntpInteractive.mountAll()` may be called again
// and again: each figure is mounted once.
(() => {
  "use strict";
  if (window.ntpInteractive) {
    window.ntpInteractive.mountAll(); // a notebook brings this file once for each of its outputs
    return;
  }
  const { drag, format, line, scaleLinear, scaleLog, select } = window.ntpD3;

  // --- Numbers ------------------------------------------------------------------------------

  const MINUS = "\u2212";
  const three = format(".3~g");
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const superscript = (n) =>
    (n < 0 ? "⁻" : "") + [...String(Math.abs(n))].map((digit) => SUPERSCRIPTS[digit]).join("");

  // Three significant digits; powers of ten where zeros would have to be counted.
  function show(value) {
    if (value === null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
      const [mantissa, exponent] = value.toExponential(1).split("e");
      return `${mantissa.replace("-", MINUS)}·10${superscript(Number(exponent))}`;
    }
    return three(value);
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  // --- Computations of the handle figures (the same in Python: ntp_lite/interactive) ----------

  function softmax(logits) {
    const highest = Math.max(...logits);
    const weights = logits.map((value) => Math.exp(value - highest));
    const total = sum(weights);
    return weights.map((weight) => weight / total);
  }
  // 0 ln 0 = 0
  const entropy = (P) => -sum(P.map((p) => (p > 0 ? p * Math.log(p) : 0)));
  const distance = (P, Q) => Math.hypot(...P.map((p, i) => p - Q[i]));
  const mean = (values) => sum(values) / values.length;

  function crossEntropy(P, logits) {
    const highest = Math.max(...logits);
    const total = highest + Math.log(sum(logits.map((value) => Math.exp(value - highest))));
    return total - sum(P.map((p, i) => p * logits[i]));
  }

  function centredLogs(Q) {
    const logs = Q.map(Math.log);
    const middle = mean(logs);
    return logs.map((value) => value - middle);
  }

  const COMPUTATIONS = {
    // Loss of the logits of one context: floor and excess, in nats.
    loss({ P, logits }) {
      const floor = entropy(P);
      const loss = crossEntropy(P, logits);
      return { Q: softmax(logits), floor, loss, excess: loss - floor };
    },
    // Q = (1 - e) P + e / V with e = 10^-steps comes towards a P on a face; its logits must grow.
    simplex({ P, steps }) {
      const epsilon = 10 ** -steps;
      const Q = P.map((p) => (1 - epsilon) * p + epsilon / P.length);
      const logits = centredLogs(Q);
      // ln(Q/P) by log1p: near the face the two agree in all but the last digits.
      const excess = -sum(
        P.map((p) => (p > 0 ? p * Math.log1p(epsilon * (1 / (P.length * p) - 1)) : 0)),
      );
      return { Q, excess, largest: Math.max(...logits.map(Math.abs)) };
    },
    // One column: `share` orders the two words of the support, `height` lifts both over the others.
    column({ P, share, height, off }) {
      const V = 2 + off;
      const half = (Math.log(share) - Math.log(1 - share)) / 2;
      const up = (height * off) / V;
      const down = (-height * 2) / V;
      const logits = [half + up, -half + up, ...Array(off).fill(down)];
      const Q = softmax(logits);
      const onSupport = Q[0] + Q[1];
      const shares = P[0] * Math.log(P[0] / share) + P[1] * Math.log(P[1] / (1 - share));
      const leak = sum(Q.slice(2));
      return { logits, Q, leak, shares, height: -Math.log1p(-leak), onSupport };
    },
    // Ridge problem of one context of three words. `guess` is any prediction: its logits bound the
    // optimum from above, its nearest point in the disc around P from below.
    certificate({ P, guess, ridge }) {
      const floor = entropy(P);
      const logits = centredLogs(guess);
      const norm = Math.hypot(...logits);
      const primal = crossEntropy(P, logits) + ridge * norm - floor;
      const theta = Math.min(1, ridge / Math.max(distance(P, guess), 1e-300));
      const inDisc = P.map((p, i) => p + theta * (guess[i] - p));
      const dual = Math.max(0, entropy(inDisc) - floor); // P itself is dual feasible: the floor
      const Q = mostUndecided(P, ridge);
      const least = entropy(Q) - floor; // the minimum: by strong duality the largest entropy
      return { primal, dual, gap: primal - dual, least, inDisc, Q };
    },
  };

  // The point of highest entropy among the predictions within `radius` of P (three words): the
  // middle if it is that near, else on the rim. Entropy is concave, so along the arc of the rim that
  // lies in the triangle the best of a grid brackets the maximum, and thirds close in on it.
  function mostUndecided(P, radius) {
    const middle = [1 / 3, 1 / 3, 1 / 3];
    if (distance(P, middle) <= radius) return middle;
    const at = (angle) => {
      const way = wayOf(angle);
      return P.map((p, i) => p + radius * way[i]);
    };
    const value = (angle) => {
      const Q = at(angle);
      return Math.min(...Q) < 0 ? -Infinity : entropy(Q);
    };
    const GRID = 720;
    let best = 0;
    for (let i = 1; i < GRID; i += 1) {
      if (value((2 * Math.PI * i) / GRID) > value((2 * Math.PI * best) / GRID)) best = i;
    }
    let low = (2 * Math.PI * (best - 1)) / GRID;
    let high = (2 * Math.PI * (best + 1)) / GRID;
    for (let i = 0; i < 80; i += 1) {
      const [a, b] = [low + (high - low) / 3, high - (high - low) / 3];
      if (value(a) < value(b)) low = a;
      else high = b;
    }
    return at((low + high) / 2);
  }

  // --- Text to counts (the same in Python: ntp_lite.tokenize, SoftLabels.from_tokens) ----------

  function tokenize(text) {
    const found = text.toLowerCase().match(/[\p{L}\p{N}_]+(?:['’][\p{L}\p{N}_]+)*|[^\p{L}\p{N}_\s]/gu);
    return found || [];
  }

  // N as a map of maps, contexts and words with the commonest first, ties in reading order.
  function countText(text, contextLength) {
    const tokens = tokenize(text);
    const contexts = new Map();
    const words = new Map();
    for (let i = contextLength; i < tokens.length; i += 1) {
      const context = tokens.slice(i - contextLength, i).join(" ");
      const word = tokens[i];
      if (!contexts.has(context)) contexts.set(context, { total: 0, next: new Map() });
      const column = contexts.get(context);
      column.total += 1;
      column.next.set(word, (column.next.get(word) || 0) + 1);
      words.set(word, (words.get(word) || 0) + 1);
    }
    const n = Math.max(0, tokens.length - contextLength);
    let floor = 0;
    contexts.forEach(({ total, next }) => {
      next.forEach((count) => {
        floor -= (count / n) * Math.log(count / total);
      });
    });
    const commonest = (map, size) => [...map].sort((a, b) => size(b[1]) - size(a[1]));
    return {
      n,
      V: new Set(tokens).size,
      m: contexts.size,
      floor: Math.abs(floor),
      contexts: commonest(contexts, (column) => column.total),
      words: commonest(words, (count) => count).map(([word]) => word),
    };
  }

  // --- Small tools for the page -----------------------------------------------------------------

  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.append(...children);
    return node;
  }

  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const COLOURS = {
    word: "var(--ntp-word)",
    context: "var(--ntp-context)",
    support: "var(--ntp-support)",
    off: "var(--ntp-off)",
    ink: "currentColor",
    "series-4": "var(--ntp-series-4)",
    "series-5": "var(--ntp-series-5)",
    "series-6": "var(--ntp-series-6)",
  };
  const SERIES = ["word", "context", "support", "series-4", "series-5", "series-6"];
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4"];
  const colourOf = (role, index = 0) =>
    COLOURS[role] || `var(--ntp-${SERIES[index % SERIES.length]})`;
  const shapeOf = (role) => (role === "context" ? "square" : "circle");

  function markPath(shape, radius) {
    if (shape === "diamond") return `M0,${-radius}L${radius},0L0,${radius}L${-radius},0Z`;
    if (shape === "square") {
      const side = radius * 0.9;
      return `M${-side},${-side}h${2 * side}v${2 * side}h${-2 * side}Z`;
    }
    return `M${-radius},0a${radius},${radius} 0 1,0 ${2 * radius},0a${radius},${radius} 0 1,0 ${-2 * radius},0`;
  }

  // --- States: frames along one or two sliders ------------------------------------------------

  // The picture between the computed states is a straight blend, shown only while it moves.
  function blend(frames, sizes, position) {
    if (frames.length === 1) return frames[0];
    let corners = [[0, 1]];
    sizes.forEach((size, axis) => {
      const low = Math.min(Math.floor(position[axis]), size - 1);
      const part = position[axis] - low;
      corners = corners.flatMap(([index, weight]) =>
        [
          [index * size + low, weight * (1 - part)],
          [index * size + Math.min(low + 1, size - 1), weight * part],
        ].filter(([, w]) => w > 0),
      );
    });
    if (corners.length === 1) return frames[corners[0][0]];
    const first = frames[corners[0][0]];
    return first.map((_, k) => {
      let total = 0;
      for (const [index, weight] of corners) {
        if (frames[index][k] === null) return null;
        total += weight * frames[index][k];
      }
      return total;
    });
  }

  function extent(frames, includeZero) {
    let [low, high] = includeZero ? [0, 0] : [Infinity, -Infinity];
    frames.forEach((frame) =>
      frame.forEach((value) => {
        if (value === null) return;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }),
    );
    if (!(low < high)) return [low - 1, high + 1];
    return [low, high];
  }

  // --- Axes ---------------------------------------------------------------------------------------

  function decades([from, to], room) {
    const [low, high] = [Math.min(from, to), Math.max(from, to)];
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const step = Math.max(1, Math.ceil((last - first) / Math.max(1, room)));
    const ticks = [];
    for (let k = first; k <= last; k += 1) if (k % step === 0) ticks.push(10 ** k);
    return ticks;
  }
  const tickText = (log) => (value) =>
    log ? `10${superscript(Math.round(Math.log10(value)))}` : show(value);

  // Draws both axes as hairlines with numbers and returns the scales.
  function axes(svg, box, spec) {
    const make = (domain, log, range) => (log ? scaleLog(domain, range) : scaleLinear(domain, range));
    const x = make(spec.x, spec.logx, [box.left, box.right]);
    const y = make(spec.y, spec.logy, [box.bottom, box.top]);
    const roomX = Math.max(2, Math.floor((box.right - box.left) / 52));
    const roomY = Math.max(2, Math.floor((box.bottom - box.top) / 38));
    const xTicks = spec.xTicks || (spec.logx ? decades(spec.x, roomX) : x.ticks(Math.min(6, roomX)));
    const yTicks = spec.logy ? decades(spec.y, roomY) : y.ticks(Math.min(5, roomY));
    const layer = svg.append("g").attr("aria-hidden", "true");
    yTicks.forEach((tick) => {
      layer.append("path").attr("class", "hairline").attr("d", `M${box.left},${y(tick)}H${box.right}`);
      layer.append("text").attr("class", "quiet").attr("x", box.left - 6).attr("y", y(tick))
        .attr("dy", "0.34em").attr("text-anchor", "end").text(tickText(spec.logy)(tick));
    });
    xTicks.forEach((tick) => {
      const atTheEnd = x(tick) > box.right - 4; // in the middle under its tick it would be cut off
      layer.append("text").attr("class", "quiet").attr("y", box.bottom + 15)
        .attr("x", atTheEnd ? box.right + 6 : x(tick))
        .attr("text-anchor", atTheEnd ? "end" : "middle").text(spec.xText ? spec.xText(tick) : tickText(spec.logx)(tick));
    });
    if (spec.xlabel) {
      layer.append("text").attr("class", "quiet").attr("x", (box.left + box.right) / 2)
        .attr("y", box.bottom + 31).attr("text-anchor", "middle").text(spec.xlabel);
    }
    if (spec.ylabel) {
      layer.append("text").attr("class", "quiet").attr("x", 0).attr("y", 10).text(spec.ylabel);
    }
    return { x, y };
  }

  function plotBox(width, height, spec) {
    return {
      left: 44,
      right: width - 14,
      top: spec.ylabel ? 24 : 10,
      bottom: height - (spec.xlabel ? 38 : 22),
    };
  }

  // Moves labels that would overlap apart, from top to bottom, by as little as is needed.
  function spread(labels, height) {
    const LINE = 13;
    const sorted = labels.filter((label) => label.text).sort((a, b) => a.y - b.y);
    sorted.forEach((label, i) => {
      for (let k = 0; k < i; k += 1) {
        const other = sorted[k];
        const apart = Math.abs(label.from - other.from) > (label.width + other.width) / 2;
        if (!apart && label.y - other.y < LINE) label.y = Math.min(height - 4, other.y + LINE);
      }
    });
  }

  // Names of arrows beyond their tips, turned aside where one would cover another name or an arrow.
  function labelsOfArrows([fromX, fromY], marks, width, height) {
    const TURNS = [0, 0.6, -0.6, 1.2, -1.2, 1.9, -1.9, 2.6, -2.6];
    const around = (x, y, size) => ({ left: x - size, right: x + size, top: y - size, bottom: y + size });
    const taken = marks.flatMap(({ x, y }) => [
      around(x, y, 6), // a tip, and its shaft as a row of small boxes
      ...[0.3, 0.45, 0.6, 0.75, 0.88].map((part) =>
        around(fromX + part * (x - fromX), fromY + part * (y - fromY), 2.5)),
    ]);
    const shared = (a, b) =>
      Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left))
      * Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
    const outside = (box) => Math.max(0, -box.left, box.right - width, -box.top, box.bottom - height);
    return marks.map(({ x, y, key }) => {
      const wide = 6.8 * key.length;
      const start = Math.atan2(y - fromY, x - fromX);
      let best = null;
      TURNS.forEach((turn, rank) => {
        const [c, s] = [Math.cos(start + turn), Math.sin(start + turn)];
        const [at, base] = [x + 10 * c, y + 12 * s + 4];
        const left = at - wide * (0.5 - 0.5 * clamp(2 * c, -1, 1));
        const box = { left, right: left + wide, top: base - 11, bottom: base + 3 };
        const cost = sum(taken.map((other) => shared(box, other))) + 60 * outside(box) + 4 * rank;
        if (!best || cost < best.cost) best = { cost, box, x: left, y: base, anchor: "start" };
      });
      taken.push(best.box);
      return best;
    });
  }

  // --- Panels. Each returns update(position, focus), pick(x, y) and table(position) ---------------

  function nearest(marks, x, y) {
    let [best, found] = [26, null]; // pixels; about a finger
    marks.forEach((mark) => {
      const away = Math.hypot(mark.x - x, mark.y - y);
      if (away < best) [best, found] = [away, mark];
    });
    return found;
  }

  // The outline of a vector: a shaft and, with its tip at the exact end, a head. Short vectors are
  // all head, and one without a length is a dot.
  function arrowPath(x0, y0, x1, y1, width) {
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length < 1) return `M${x0 - 2.5},${y0}a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0`;
    const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
    const head = Math.min(length, 7 + 2 * width);
    const neck = length - head;
    const at = (along, across) => `${x0 + ux * along - uy * across},${y0 + uy * along + ux * across}`;
    const [shaft, wing] = [Math.min(width / 2, 0.42 * head), 0.42 * head];
    return `M${at(0, shaft)}L${at(neck, shaft)}L${at(neck, wing)}L${at(length, 0)}`
      + `L${at(neck, -wing)}L${at(neck, -shaft)}L${at(0, -shaft)}Z`;
  }

  // Words and contexts as points or arrows in a plane.
  function pointsPanel(svg, width, height, data, sizes) {
    const n = data.names.length;
    const isLarge = (k) => (data.large || []).includes(k);
    const even = data.frames.map((frame) => frame.filter((_, k) => k % 2 === 0));
    const odd = data.frames.map((frame) => frame.filter((_, k) => k % 2 === 1));
    let [xs, ys] = [extent(even, data.arrows), extent(odd, data.arrows)];
    const side = data.labels ? 62 : 14;
    const box = { left: side, right: width - side, top: 16, bottom: height - 16 };
    // One unit is as long to the right as it is upwards: angles are what the reader looks at.
    const scale = Math.min(
      (box.right - box.left) / (xs[1] - xs[0]),
      (box.bottom - box.top) / (ys[1] - ys[0]),
    );
    const middle = [(xs[0] + xs[1]) / 2, (ys[0] + ys[1]) / 2];
    const x = (value) => width / 2 + scale * (value - middle[0]);
    const y = (value) => height / 2 - scale * (value - middle[1]);
    const origin = [x(0), y(0)];
    if (data.arrows) {
      svg.append("path").attr("class", "hairline")
        .attr("d", `M${origin[0] - 5},${origin[1]}h10M${origin[0]},${origin[1] - 5}v10`);
    }
    const edges = svg.selectAll("path.edge").data(data.edges).join("path").attr("class", "edge");
    const items = svg.selectAll("g.item").data(data.names).join("g").attr("class", "item");
    const colour = (_, k) => colourOf(data.roles[k], data.groups[k]);
    items.append("path").attr("class", "mark").attr("fill", colour)
      .attr("d", (_, k) => {
        if (data.arrows) return "";
        if (isLarge(k)) return markPath("diamond", 10);
        return markPath(shapeOf(data.roles[k]), n > 16 ? 4 : 5);
      });
    // A large mark stands out from the small ones around it.
    items.filter((_, k) => isLarge(k)).raise().select("path")
      .attr("stroke", "var(--pst-color-background, var(--ntp-page, transparent))").attr("stroke-width", 1.5);
    // A word's arrow is wider and lies below, so that it can be seen under a context's.
    const arrowWidth = (k) => (data.roles[k] === "word" ? 3.5 : 2);
    if (data.arrows) items.filter((_, k) => data.roles[k] !== "word").raise();
    items.append("text").attr("class", "halo").text((d) => (data.labels ? d : ""))
      .style("fill", (name, k) => (data.arrows ? colour(name, k) : null));
    let marks = [];
    const drawArrows = () => {
      items.select("path").attr("d", (_, k) =>
        arrowPath(origin[0], origin[1], marks[k].x, marks[k].y, arrowWidth(k)));
      if (!data.labels) return;
      const places = labelsOfArrows(origin, marks, width, height);
      items.select("text").attr("x", (_, k) => places[k].x).attr("y", (_, k) => places[k].y)
        .attr("text-anchor", (_, k) => places[k].anchor);
    };
    return {
      update(position, focus) {
        const now = blend(data.frames, sizes, position);
        marks = data.names.map((name, k) => ({
          x: x(now[2 * k]), y: y(now[2 * k + 1]), key: name,
          text: () => `${name}${data.details[k] ? `\n${data.details[k]}` : ""}`,
        }));
        items.classed("dimmed", (name) => focus && focus !== name);
        edges.attr("d", ([a, b]) => `M${marks[a].x},${marks[a].y}L${marks[b].x},${marks[b].y}`);
        if (data.arrows) {
          drawArrows();
          return;
        }
        const labels = marks.map((mark, k) => {
          const leftward = mark.x > width - 90;
          const wide = 7 * data.names[k].length;
          return {
            text: data.labels, leftward, width: wide, y: mark.y + 4,
            from: mark.x + (leftward ? -9 - wide / 2 : 9 + wide / 2),
          };
        });
        spread(labels, height);
        items.select("path").attr("transform", (_, k) => `translate(${marks[k].x},${marks[k].y})`);
        items.select("text").attr("x", (_, k) => marks[k].x + (labels[k].leftward ? -9 : 9))
          .attr("y", (_, k) => labels[k].y)
          .attr("text-anchor", (_, k) => (labels[k].leftward ? "end" : "start"));
      },
      pick: (px, py) => nearest(marks, px, py),
      table(position) {
        const now = blend(data.frames, sizes, position);
        const rows = data.names.map((name, k) => [name, show(now[2 * k]), show(now[2 * k + 1])]);
        return { head: ["", "first", "second"], rows: rows.slice(0, n) };
      },
    };
  }

  // Pixels for a length of one, the same for all pairs and states: the longest vector fits in height,
  // the widest fan in its column.
  function fanScale(data, halfWidth, height) {
    let scale = Infinity;
    data.frames.forEach((frame) => data.names.forEach((_, k) => {
      const half = Math.acos(clamp(frame[3 * k + 2], -1, 1)) / 2;
      const length = Math.max(frame[3 * k], frame[3 * k + 1]);
      if (length > 0) scale = Math.min(scale, height / length, halfWidth / (length * Math.sin(half) + 1e-12));
    }));
    return Number.isFinite(scale) ? scale : 1;
  }

  // Pairs of vectors, each pair in the plane that it spans: lengths and angle are exact.
  function pairsPanel(svg, width, height, data, sizes) {
    const n = data.names.length;
    const columns = width < 560 && n > 2 ? Math.ceil(n / 2) : n;
    const rows = Math.ceil(n / columns);
    const [cellWidth, cellHeight] = [width / columns, height / rows];
    const FOOT = 60; // three lines of text below the tails
    const scale = fanScale(data, cellWidth / 2 - 12, cellHeight - FOOT - 12);
    const cells = svg.selectAll("g.item").data(data.names).join("g").attr("class", "item");
    const tail = (k) => [
      ((k % columns) + 0.5) * cellWidth,
      (Math.floor(k / columns) + 1) * cellHeight - FOOT,
    ];
    cells.append("path").attr("class", "fan").attr("fill", "var(--ntp-tint)").attr("stroke", "none");
    ["left", "right"].forEach((side, which) => {
      const colour = (_, k) => colourOf(data.roles[k]);
      cells.append("path").attr("class", `vector ${side}`).attr("fill", colour);
    });
    cells.append("text").attr("class", "name").attr("text-anchor", "middle").text((names) => names.join(" | "));
    cells.append("text").attr("class", "cosine").attr("text-anchor", "middle").attr("font-weight", 650);
    cells.append("text").attr("class", "quiet note").attr("text-anchor", "middle")
      .text((_, k) => data.notes[k]);
    cells.each(function place(_, k) {
      const [x, y] = tail(k);
      [".name", ".cosine", ".note"].forEach((what, row) => {
        select(this).select(what).attr("x", x).attr("y", y + [19, 36, 52][row]);
      });
    });
    let marks = [];
    const said = (now, k) => (now[3 * k] * now[3 * k + 1] > 0 ? now[3 * k + 2].toFixed(2) : "–");
    return {
      update(position, focus) {
        const now = blend(data.frames, sizes, position);
        marks = [];
        cells.each(function draw(names, k) {
          const [x, y] = tail(k);
          const half = Math.acos(clamp(now[3 * k + 2], -1, 1)) / 2;
          const cell = select(this);
          const ends = [-1, 1].map((sign, which) => {
            const length = scale * now[3 * k + which];
            return [x + sign * length * Math.sin(half), y - length * Math.cos(half)];
          });
          cell.select(".fan").attr("d", `M${x},${y}L${ends[0]}L${ends[1]}Z`);
          ["left", "right"].forEach((side, which) => {
            const [ex, ey] = ends[which];
            cell.select(`path.${side}`).attr("d", arrowPath(x, y, ex, ey, 2.5));
            marks.push({
              x: ex, y: ey, key: names[which],
              text: () => `${names[which]}: length ${show(now[3 * k + which])}\ncosine with ${names[1 - which]}: ${said(now, k)}`,
            });
          });
          cell.select(".cosine").text(`cosine ${said(now, k).replace("-", MINUS)}`);
          cell.classed("dimmed", focus && !names.includes(focus));
        });
      },
      pick: (px, py) => nearest(marks, px, py),
      table(position) {
        const now = blend(data.frames, sizes, position);
        const rowsOf = data.names.map((names, k) => [
          names.join(" / "), show(now[3 * k]), show(now[3 * k + 1]), said(now, k),
        ]);
        return { head: ["pair", "length", "length", "cosine"], rows: rowsOf };
      },
    };
  }

  // Curves over a common axis; with `follow` a marker walks along them with the slider.
  function linesPanel(svg, width, height, data, sizes) {
    const box = plotBox(width, height, data);
    const all = [...data.series, ...data.references];
    const positive = (frame) => frame.filter((value) => !data.logy || value > 0);
    const ys = data.ylim || extent(all.flatMap((s) => s.frames.map(positive)), false);
    const margin = data.logy || data.ylim ? 0 : 0.04 * (ys[1] - ys[0]);
    const named = data.xnames.length > 0;
    const { x, y } = axes(svg, box, {
      ...data, x: [data.x[0], data.x[data.x.length - 1]], y: [ys[0] - margin, ys[1] + margin],
      xTicks: named ? data.x : null,
      xText: named ? (tick) => data.xnames[data.x.indexOf(tick)] : null,
    });
    const placeOf = (k) => (named ? data.xnames[k] : show(data.x[k]));
    const drawn = line()
      .defined(([, value]) => value !== null && (!data.logy || value > 0))
      .x(([at]) => x(at)).y(([, value]) => y(value));
    svg.selectAll("path.reference").data(data.references).join("path").attr("class", "reference")
      .attr("fill", "none").attr("stroke", "var(--ntp-off)").attr("stroke-width", 1.5)
      .attr("stroke-dasharray", "3 3").attr("d", (s) => drawn(s.frames[0].map((v, k) => [data.x[k], v])));
    const cursor = svg.append("path").attr("class", "hairline");
    const paths = svg.selectAll("path.series").data(data.series).join("path").attr("class", "series")
      .attr("fill", "none").attr("stroke-width", 2).attr("stroke-linejoin", "round")
      .attr("stroke", (s, i) => colourOf(s.role, i))
      .attr("stroke-dasharray", (_, i) => DASHES[i % DASHES.length]);
    const walkers = svg.selectAll("path.walker").data(data.follow ? data.series : []).join("path")
      .attr("class", "walker").attr("fill", (s, i) => colourOf(s.role, i))
      .attr("d", (s, i) => markPath(i % 2 ? "square" : "circle", 5.5))
      .attr("stroke", "var(--pst-color-background, var(--ntp-page, transparent))").attr("stroke-width", 1.5);
    let marks = [];
    const curvesMove = data.trail || data.series.some((s) => s.frames.length > 1);
    // With `trail` a curve ends where its marker is.
    function upTo(values, place) {
      const points = values.map((value, k) => [data.x[k], value]);
      if (!data.trail) return points;
      const end = [between(data.x, place, data.logx), between(values, place, data.logy)];
      return [...points.slice(0, Math.floor(place) + 1), end];
    }
    function trace(now, place) {
      paths.attr("d", (_, i) => drawn(upTo(now[i], place)));
      marks = now.flatMap((values, i) => values.map((value, k) => ({ value, k, name: data.series[i].name })))
        .filter(({ k }) => !data.trail || k <= place)
        .filter(({ value }) => value !== null && (!data.logy || value > 0))
        .map(({ value, k, name }) => ({
          x: x(data.x[k]), y: y(value), key: name,
          text: () => `${name || data.ylabel || data.title}: ${show(value)}\n${data.xlabel} ${placeOf(k)}`,
        }));
    }
    function walk(now, place) {
      const at = x(between(data.x, place, data.logx));
      cursor.attr("d", `M${at},${box.top}V${box.bottom}`);
      walkers.attr("transform", (_, i) => {
        const value = between(now[i], place, data.logy);
        const visible = Number.isFinite(value) && (!data.logy || value > 0);
        return visible ? `translate(${at},${y(value)})` : "translate(-99,-99)";
      });
    }
    const between = (values, place, log) => {
      const low = Math.min(Math.floor(place), values.length - 1);
      const [a, b] = [values[low], values[Math.min(low + 1, values.length - 1)]];
      if (b === null) return a; // a curve that is drawn up to here
      if (log && a > 0 && b > 0) return a * (b / a) ** (place - low);
      return a + (b - a) * (place - low);
    };
    return {
      update(position, focus) {
        const now = data.series.map((s) => blend(s.frames, sizes, position));
        const place = position[data.follow - 1]; // undefined where nothing follows
        if (curvesMove || !marks.length) trace(now, place);
        paths.classed("dimmed", (s) => focus && data.series.some((t) => t.name === focus) && s.name !== focus);
        if (data.follow) walk(now, place);
      },
      pick: (px, py) => nearest(marks, px, py),
      table(position) {
        const now = data.series.map((s) => blend(s.frames, sizes, position));
        return {
          head: [data.xlabel, ...data.series.map((s) => s.name || data.ylabel || data.title)],
          rows: data.x.map((_, k) => [placeOf(k), ...now.map((values) => show(values[k]))])
            .filter((_, k) => !data.trail || k <= position[data.follow - 1]),
        };
      },
    };
  }

  // Values beside each other: bars with names, or the dots of a spectrum.
  function barsPanel(svg, width, height, data, sizes) {
    const n = data.names.length;
    const count = data.series.length;
    const narrow = (width - 54) / n < 7 * Math.max(...data.names.map((name) => name.length));
    const turned = narrow && !data.dots && n <= 24;
    const box = plotBox(width, height, data);
    if (turned) box.bottom = height - 12 - 6.2 * Math.min(14, Math.max(...data.names.map((d) => d.length)));
    const values = data.series.flatMap((s) => s.frames);
    const refs = data.levels.map((level) => [level.value]);
    const crosses = data.references.flatMap((s) => s.frames);
    const [lowest, highest] = extent([...values, ...refs, ...crosses], true);
    const ys = data.ylim || [lowest, highest + 0.04 * (highest - lowest)];
    const ticks = data.dots ? [1, ...[5, 10, 15, 20, 30, 40, 50].filter((k) => k <= n)] : [];
    const { x, y } = axes(svg, box, { ...data, x: [0.4, n + 0.6], y: ys, xTicks: ticks });
    const step = (box.right - box.left) / (n + 0.2);
    const wide = clamp((0.72 * step) / count, 1, 46);
    const offset = (i) => (i - (count - 1) / 2) * wide;
    if (!data.dots) {
      svg.selectAll("text.tick").data(data.names).join("text").attr("class", "quiet tick")
        .attr("text-anchor", turned ? "end" : "middle")
        .attr("transform", (_, k) =>
          `translate(${x(k + 1)},${box.bottom + (turned ? 8 : 15)})${turned ? "rotate(-50)" : ""}`)
        .text((name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name));
    }
    svg.selectAll("path.level").data(data.levels).join("path").attr("class", "level")
      .attr("stroke", "currentColor").attr("stroke-dasharray", "4 3").attr("stroke-width", 1.25)
      .attr("d", (level) => `M${box.left},${y(level.value)}H${box.right}`);
    svg.selectAll("text.level").data(data.levels).join("text").attr("class", "level quiet halo")
      .attr("x", box.right).attr("text-anchor", "end").attr("y", (level) => y(level.value) - 5)
      .text((level) => level.name);
    const groups = svg.selectAll("g.series").data(data.series).join("g").attr("class", "series")
      .attr("fill", (s, i) => colourOf(s.role, i)).attr("stroke", (s, i) => colourOf(s.role, i));
    const shape = data.dots ? "path" : "rect";
    groups.each(function draw(s, i) {
      select(this).selectAll(shape).data(s.frames[0]).join(shape)
        .attr("class", "mark").attr("stroke-width", data.dots ? 1.5 : 0)
        .attr("fill", data.dots && i ? "none" : null)
        .attr("d", data.dots ? markPath(i % 2 ? "square" : "circle", 4) : null);
    });
    svg.selectAll("g.cross").data(data.references).join("g").attr("class", "cross").each(function draw(s) {
      select(this).selectAll("path").data(s.frames[0]).join("path").attr("stroke", "currentColor")
        .attr("stroke-width", 1.5).attr("fill", "none")
        .attr("d", (value, k) => `M${x(k + 1) - 4},${y(value) - 4}l8,8m0,-8l-8,8`);
    });
    let marks = [];
    return {
      update(position, focus) {
        marks = [];
        const now = data.series.map((s) => blend(s.frames, sizes, position));
        groups.each(function draw(s, i) {
          const each = select(this).selectAll(".mark").data(now[i]);
          const at = (k) => x(k + 1) + offset(i);
          if (data.dots) each.attr("transform", (value, k) => `translate(${x(k + 1)},${y(value)})`);
          else {
            each.attr("x", (_, k) => at(k) - wide / 2).attr("width", wide - 1)
              .attr("y", (value) => Math.min(y(value), y(0)))
              .attr("height", (value) => Math.abs(y(value) - y(0)));
          }
          each.classed("dimmed", (_, k) => data.names.includes(focus) && data.names[k] !== focus);
          now[i].forEach((value, k) => marks.push({
            x: data.dots ? x(k + 1) : at(k), y: y(value), key: data.names[k],
            text: () => `${data.names[k]}\n${s.name || data.title}: ${show(value)}`,
          }));
        });
      },
      pick: (px, py) => nearest(marks, px, py),
      table(position) {
        const now = data.series.map((s) => blend(s.frames, sizes, position));
        return {
          head: ["", ...data.series.map((s) => s.name || data.title)],
          rows: data.names.map((name, k) => [name, ...now.map((v) => show(v[k]))]),
        };
      },
    };
  }

  // Names with their widths in pixels, shortened where they are wider than the room.
  function fitted(svg, names, room) {
    const probe = svg.append("text").attr("class", "row quiet");
    const widthOf = (text) => probe.text(text).node().getComputedTextLength();
    const found = names.map((name) => {
      let text = name;
      for (let kept = name.length - 1; kept > 0 && widthOf(text) > room; kept -= 1) {
        text = `${name.slice(0, kept).trimEnd()}…`;
      }
      return { text, width: widthOf(text) };
    });
    probe.remove();
    return found;
  }

  // A matrix: red above zero, blue below, nothing at zero, so that it reads on every ground.
  function heatPanel(svg, width, height, data, sizes) {
    const [rows, columns] = [data.rows.length, data.columns.length];
    const named = rows <= 30 && height / rows > 10;
    const longest = (names) => Math.max(...names.map((name) => Math.min(16, name.length)));
    // Names are as wide as the browser draws them: letters differ, so their number says little.
    const room = width * 0.42 - 13;
    const rowNames = named ? fitted(svg, data.rows, room) : [];
    const left = named ? 13 + Math.max(...rowNames.map((name) => name.width)) : 8;
    const cellWidth = (width - left - 8) / columns;
    const titled = columns <= 30 && cellWidth > 9;
    const upright = cellWidth < 16; // slanted names would run into each other
    const bottom = titled ? 10 + (upright ? 6.4 : 5) * longest(data.columns) : 8;
    const cell = Math.min(cellWidth, (height - 8 - bottom) / rows) > 0 && data.square
      ? Math.min(cellWidth, (height - 8 - bottom) / rows) : null;
    const [w, h] = [cell || cellWidth, cell || (height - 8 - bottom) / rows];
    const short = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);
    if (named) {
      svg.selectAll("text.row").data(data.rows).join("text").attr("class", "row quiet").attr("x", left - 5)
        .attr("y", (_, i) => 4 + (i + 0.5) * h).attr("dy", "0.34em").attr("text-anchor", "end").text((_, i) => rowNames[i].text);
    }
    if (titled) {
      svg.selectAll("text.column").data(data.columns).join("text").attr("class", "column quiet")
        .attr("text-anchor", "end")
        .attr("transform", (_, j) =>
          `translate(${left + (j + 0.5) * w + 3},${4 + rows * h + (upright ? 6 : 10)})rotate(${upright ? -90 : -48})`)
        .text(short);
    }
    const cells = svg.append("g").selectAll("rect").data(data.frames[0]).join("rect")
      .attr("x", (_, k) => left + (k % columns) * w).attr("y", (_, k) => 4 + Math.floor(k / columns) * h)
      .attr("width", w - (w > 6 ? 1 : 0)).attr("height", h - (h > 6 ? 1 : 0));
    svg.append("rect").attr("class", "hairline").attr("x", left - 0.5).attr("y", 3.5)
      .attr("width", columns * w + 1).attr("height", rows * h + 1);
    let now = data.frames[0];
    return {
      update(position, focus) {
        now = blend(data.frames, sizes, position);
        const focused = data.rows.includes(focus) || data.columns.includes(focus);
        cells.data(now).attr("fill", (value) => (value < 0 ? "var(--ntp-minus)" : "var(--ntp-plus)"))
          .attr("fill-opacity", (value) => clamp(Math.abs(value || 0) / data.limit, 0, 1))
          .classed("dimmed", (_, k) => focused && data.rows[Math.floor(k / columns)] !== focus
            && data.columns[k % columns] !== focus);
      },
      pick(px, py) {
        const [i, j] = [Math.floor((py - 4) / h), Math.floor((px - left) / w)];
        if (i < 0 || j < 0 || i >= rows || j >= columns) return null;
        const k = i * columns + j;
        const detail = data.details.length ? `\n${data.details[k]}` : "";
        return {
          x: left + (j + 0.5) * w, y: 4 + i * h, key: data.columns[j],
          text: () => `${data.rows[i]} · ${data.columns[j]}: ${show(now[k])}${detail}`,
        };
      },
      table(position) {
        const values = blend(data.frames, sizes, position);
        return {
          head: ["", ...data.columns],
          rows: data.rows.map((name, i) => [
            name, ...data.columns.map((_, j) => show(values[i * columns + j])),
          ]),
        };
      },
    };
  }

  // Points and edges in space, seen from far away; it turns by drag or by its two sliders.
  function solidPanel(svg, width, height, data, sizes, view) {
    const reach = Math.max(...data.frames.flatMap((frame) => {
      const lengths = [];
      for (let k = 0; k < frame.length; k += 3) lengths.push(Math.hypot(...frame.slice(k, k + 3)));
      return lengths;
    }), 1e-9);
    const scale = (Math.min(width - 90, height - 40) / 2) / reach;
    const faces = svg.selectAll("path.face").data(data.faces).join("path").attr("class", "face")
      .attr("fill", "var(--ntp-word)").attr("fill-opacity", 0.07).attr("stroke", "none");
    const edges = svg.selectAll("line.edge").data(data.edges).join("line").attr("class", "edge")
      .attr("stroke", "currentColor").attr("stroke-width", 1.25);
    const items = svg.selectAll("g.item").data(data.names.map((name, k) => ({ name, k }))).join("g")
      .attr("class", "item");
    items.append("path").attr("fill", ({ k }) => colourOf(data.roles[k], 0));
    items.append("text").attr("class", "halo").attr("dy", "0.34em").text(({ name }) => name);
    let marks = [];
    svg.call(drag().on("drag", (event) => view.turn(event.dx * 0.6, event.dy * 0.5)));
    return {
      update(position, focus) {
        const now = blend(data.frames, sizes, position);
        const [yaw, pitch] = [view.yaw, view.pitch].map((degrees) => (degrees * Math.PI) / 180);
        const turned = data.names.map((_, k) => {
          const [a, b, c] = now.slice(3 * k, 3 * k + 3);
          const [u, v] = [a * Math.cos(yaw) - b * Math.sin(yaw), a * Math.sin(yaw) + b * Math.cos(yaw)];
          const up = c * Math.cos(pitch) - v * Math.sin(pitch);
          return { x: width / 2 + scale * u, y: height / 2 - scale * up, depth: v * Math.cos(pitch) + c * Math.sin(pitch) };
        });
        // Nearer is darker; `depth` points away from the reader.
        const near = (depth) => 0.5 - 0.5 * clamp(depth / reach, -1, 1);
        faces.attr("d", (face) => `M${face.map((k) => `${turned[k].x},${turned[k].y}`).join("L")}Z`);
        edges.attr("x1", ([a]) => turned[a].x).attr("y1", ([a]) => turned[a].y)
          .attr("x2", ([, b]) => turned[b].x).attr("y2", ([, b]) => turned[b].y)
          .attr("stroke-opacity", ([a, b]) => 0.2 + 0.55 * near((turned[a].depth + turned[b].depth) / 2));
        marks = data.names.map((name, k) => ({
          x: turned[k].x, y: turned[k].y, key: name,
          text: () => `${name}${data.details[k] ? `\n${data.details[k]}` : ""}`,
        }));
        items.sort((a, b) => turned[b.k].depth - turned[a.k].depth)
          .classed("dimmed", ({ name }) => focus && focus !== name)
          .attr("transform", ({ k }) => `translate(${turned[k].x},${turned[k].y})`);
        items.select("path")
          .attr("d", ({ k }) => markPath(shapeOf(data.roles[k]), 4.5 + 3 * near(turned[k].depth)))
          .attr("fill-opacity", ({ k }) => 0.55 + 0.45 * near(turned[k].depth));
        // Labels stand outside, unless the edge of the picture would cut them.
        const inside = ({ name, k }) => {
          const wide = 14 + 6.6 * name.length;
          return turned[k].x < width / 2 ? turned[k].x > wide : turned[k].x + wide > width;
        };
        items.select("text").attr("x", (item) => (inside(item) ? -12 : 12))
          .attr("text-anchor", (item) => (inside(item) ? "end" : "start"));
      },
      pick: (px, py) => nearest(marks, px, py),
      table(position) {
        const now = blend(data.frames, sizes, position);
        const rows = data.names.map((name, k) => [name, ...now.slice(3 * k, 3 * k + 3).map(show)]);
        return { head: ["", "x", "y", "z"], rows };
      },
    };
  }

  const PANELS = {
    points: pointsPanel, pairs: pairsPanel, lines: linesPanel, bars: barsPanel,
    heat: heatPanel, solid: solidPanel,
  };

  // --- What all figures share -----------------------------------------------------------------

  // Ink and ground are the page's. Is its ground dark? Asked of the ink, which every page has.
  function adaptToGround(root) {
    const [r, g, b] = getComputedStyle(root).color.match(/[\d.]+/g).map(Number);
    root.dataset.ground = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "dark" : "light";
    let node = root;
    let page = "transparent";
    while (node && /^(transparent|rgba\(.*, 0\))$/.test(page)) {
      page = getComputedStyle(node).backgroundColor;
      node = node.parentElement;
    }
    root.style.setProperty("--ntp-page", page);
  }

  function range(name, { min, max, step, value, ends = null, text }) {
    const input = element("input", { type: "range", min, max, step, value, "aria-label": name });
    const output = element("span", { class: "ntp-value" });
    const label = element("label", {},
      element("span", { class: "ntp-name" }, element("span", {}, name), output), input);
    if (ends) label.append(element("span", { class: "ntp-ends", "aria-hidden": "true" },
      element("span", {}, ends[0]), element("span", {}, ends[1])));
    const tell = () => {
      output.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    tell();
    return { control: element("div", { class: "ntp-control" }, label), input, tell };
  }

  // The sentence that a screen reader speaks: at once for the eye, not at every pixel of a drag.
  function speaker(root) {
    const node = root.querySelector(".ntp-says");
    let waiting = 0;
    return (sentence) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        if (node.textContent !== sentence) node.textContent = sentence;
      }, 120);
    };
  }

  // The box of an element in the pixels in which it is drawn. Where the page enlarges it by the style
  // `zoom`, as slides do, the browser gives the pixels of the screen.
  function boxOf(node) {
    const zoom = node.currentCSSZoom ?? 1;
    const { left, top, width, height } = node.getBoundingClientRect();
    return { zoom, left: left / zoom, top: top / zoom, width: width / zoom, height: height / zoom };
  }

  function tooltip(root) {
    const box = element("div", { class: "ntp-tip", "aria-hidden": "true", hidden: "" });
    root.append(box);
    return {
      hide: () => { box.hidden = true; },
      show(drawing, mark) {
        box.textContent = mark.text().replace(/-(?=\d)/g, MINUS);
        box.hidden = false;
        const [outer, inner] = [boxOf(root), boxOf(drawing)];
        const room = outer.width - box.offsetWidth;
        const left = clamp(inner.left - outer.left + mark.x - box.offsetWidth / 2, 0, Math.max(0, room));
        const top = inner.top - outer.top + mark.y - box.offsetHeight - 12;
        box.style.left = `${left}px`;
        box.style.top = `${Math.max(-8, top)}px`;
      },
    };
  }

  // An empty drawing in place of the still picture, as large as its box; `build` fills it.
  function canvasOf(box, label, build) {
    const svg = select(box).html("").append("svg").attr("role", "img").attr("aria-label", label);
    let [wide, high] = [0, 0];
    const fit = () => {
      const { width, height } = boxOf(box);
      if (width < 1 || (Math.abs(width - wide) < 0.5 && Math.abs(height - high) < 0.5)) return;
      [wide, high] = [width, height];
      svg.selectAll("*").remove();
      svg.attr("viewBox", `0 0 ${width} ${height}`);
      build(svg, width, height);
    };
    fit();
    new ResizeObserver(fit).observe(box);
  }

  function numbers(root, tables) {
    const box = root.querySelector(".ntp-numbers div");
    const details = root.querySelector(".ntp-numbers");
    const write = () => {
      if (!details.open) return;
      box.replaceChildren(...tables().map(({ title, head, rows }) => {
        const row = (cells, tag) => element("tr", {}, ...cells.map((cell, k) =>
          element(tag || (k ? "td" : "th"), tag || !k ? { scope: tag ? "col" : "row" } : {}, cell || "\u00a0")));
        // An empty corner is no heading.
        const first = row(head, "th");
        if (!head[0]) first.firstChild.replaceWith(element("td"));
        return element("div", { class: "ntp-scroll", tabindex: "0", role: "region", "aria-label": `${title}, numbers` },
          element("table", {}, element("caption", {}, title), element("thead", {}, first),
            element("tbody", {}, ...rows.map((cells) => row(cells)))));
      }));
    };
    details.addEventListener("toggle", write);
    return write;
  }

  // --- Figures: frames along sliders -------------------------------------------------------------

  function mountFrames(root, data) {
    const sizes = data.sliders.map((slider) => slider.labels.length);
    const target = data.sliders.map((slider) => slider.start);
    const position = [...target];
    const say = speaker(root);
    const tip = tooltip(root);
    const panels = [];
    let focus = null;

    const draw = () => panels.forEach((panel) => panel.live && panel.live.update(position, focus));
    const state = () => target.reduce((index, at, axis) => index * sizes[axis] + at, 0);
    const writeNumbers = numbers(root, () => panels.filter((panel) => panel.live)
      .map((panel) => ({ title: panel.title, ...panel.live.table(target) })));

    root.querySelectorAll(".ntp-drawing").forEach((box, i) => {
      const spec = data.panels[i];
      const panel = { title: spec.title, live: null };
      const label = box.querySelector("img").alt;
      panels.push(panel);
      const view = { yaw: spec.yaw, pitch: spec.pitch, turn: () => {} };
      if (spec.kind === "solid") turnable(box, view, draw, spec.title);
      canvasOf(box, label, (svg, width, height) => {
        panel.live = PANELS[spec.kind](svg, width, height, spec, sizes, view);
        panel.live.update(position, focus);
      });
      const point = (event) => {
        const { left, top, zoom } = boxOf(box);
        const mark = panel.live.pick(event.clientX / zoom - left, event.clientY / zoom - top);
        if (mark) tip.show(box, mark);
        else tip.hide();
        const key = mark && mark.key;
        if (key !== focus) {
          focus = key;
          draw();
        }
      };
      box.addEventListener("pointermove", point);
      box.addEventListener("pointerdown", point);
      box.addEventListener("pointerleave", () => {
        tip.hide();
        focus = null;
        draw();
      });
    });

    // The picture eases to the state that the slider names; with reduced motion it is there at once.
    let [moving, before] = [0, 0];
    const step = (time) => {
      // A frame may carry a time before the one at which it was asked for.
      const passed = clamp(time - before, 0, 64);
      const part = still.matches ? 1 : 1 - Math.exp(-passed / 90);
      before = time;
      let settled = true;
      position.forEach((at, axis) => {
        position[axis] = at + (target[axis] - at) * part;
        if (Math.abs(target[axis] - position[axis]) < 0.004) position[axis] = target[axis];
        else settled = false;
      });
      draw();
      moving = settled ? 0 : requestAnimationFrame(step);
    };
    const move = () => {
      say(data.says[state()]);
      writeNumbers();
      if (still.matches) {
        position.splice(0, position.length, ...target);
        draw();
      } else if (!moving) {
        before = performance.now();
        moving = requestAnimationFrame(step);
      }
    };

    const controls = root.querySelector(":scope > .ntp-controls");
    controls.querySelectorAll("input[type=range]").forEach((input, axis) => {
      const output = input.closest("label").querySelector(".ntp-value");
      const slider = data.sliders[axis];
      input.tell = () => {
        output.textContent = slider.labels[target[axis]];
        input.setAttribute("aria-valuetext", `${slider.labels[target[axis]]}`);
      };
      input.addEventListener("input", () => {
        target[axis] = Number(input.value);
        input.tell();
        move();
      });
      input.disabled = false;
      input.value = String(target[axis]); // a browser may remember another one
      input.tell();
    });
    const button = controls.querySelector("button");
    if (button) playable(button, controls.querySelector("input[type=range]"), sizes[0], target, move);
    draw();
  }

  // Play walks the first slider from where it is, or from its start when it is at the end.
  function playable(button, input, size, target, move) {
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    };
    const go = (to) => {
      target[0] = to;
      input.value = String(to);
      input.tell();
      move();
    };
    button.disabled = false;
    button.addEventListener("click", () => {
      if (timer) {
        stop();
        return;
      }
      button.textContent = "Pause";
      if (target[0] === size - 1) go(0);
      timer = setInterval(() => {
        if (!button.isConnected || target[0] >= size - 1) stop();
        else go(target[0] + 1);
      }, still.matches ? 900 : Math.max(120, Math.min(420, 7000 / size)));
    });
    input.addEventListener("input", stop);
  }

  // Two sliders below a solid do what a finger does on it.
  function turnable(box, view, draw, title) {
    const degrees = (value) => `${Math.round(value)}°`.replace("-", MINUS);
    const yaw = range("Turn", { min: -180, max: 180, step: 5, value: view.yaw, text: degrees });
    const pitch = range("Tilt", { min: -90, max: 90, step: 5, value: view.pitch, text: degrees });
    yaw.input.setAttribute("aria-label", `Turn: ${title}`);
    const set = () => {
      view.yaw = Number(yaw.input.value);
      view.pitch = Number(pitch.input.value);
      yaw.tell();
      pitch.tell();
      draw();
    };
    [yaw, pitch].forEach(({ input }) => input.addEventListener("input", set));
    view.turn = (right, down) => {
      view.yaw = ((((view.yaw + right + 180) % 360) + 360) % 360) - 180;
      view.pitch = clamp(view.pitch + down, -90, 90);
      yaw.input.value = String(view.yaw);
      pitch.input.value = String(view.pitch);
      yaw.tell();
      pitch.tell();
      draw();
    };
    box.classList.add("ntp-turns");
    box.after(element("div", { class: "ntp-controls" }, yaw.control, pitch.control));
  }

  // --- Figures: handles ---------------------------------------------------------------------------

  // Predictions of three words as points of a triangle, word 0 bottom left, 1 bottom right, 2 on top.
  function triangle(width, height) {
    const side = Math.min(width - 28, (height - 60) / (Math.sqrt(3) / 2));
    const tall = (side * Math.sqrt(3)) / 2;
    const [left, base] = [(width - side) / 2, (height + tall) / 2 - 2];
    const corners = [[left, base], [left + side, base], [left + side / 2, base - tall]];
    return {
      corners, side,
      // A distance of 1 between predictions, in pixels: two corners are sqrt(2) apart.
      unit: side / Math.SQRT2,
      at: (P) => [0, 1].map((axis) => sum(P.map((p, k) => p * corners[k][axis]))),
      read([x, y]) {
        const top = (base - y) / tall;
        const right = (x - left) / side - top / 2;
        return [1 - right - top, right, top];
      },
    };
  }

  function drawTriangle(svg, place, names) {
    svg.append("path").attr("fill", "var(--ntp-tint)").attr("stroke", "currentColor")
      .attr("stroke-width", 1.25).attr("d", `M${place.corners.join("L")}Z`);
    const corners = svg.selectAll("g.corner").data(place.corners).join("g").attr("class", "corner")
      .attr("transform", (at) => `translate(${at})`);
    corners.append("path").attr("d", markPath("circle", 5)).attr("fill", "var(--ntp-word)");
    corners.append("text").attr("text-anchor", (_, k) => ["start", "end", "middle"][k])
      .attr("x", (_, k) => [-6, 6, 0][k]).attr("y", (_, k) => [20, 20, -11][k]).text((_, k) => names[k]);
  }

  function grip(svg, name, shape, colour, moved) {
    const handle = svg.append("g").attr("class", "handle");
    handle.append("circle").attr("class", "reach").attr("r", 22);
    handle.append("path").attr("class", "grip").attr("fill", colour).attr("d", markPath(shape, 8));
    handle.append("text").attr("class", "halo").attr("x", 13).attr("y", -9).attr("font-weight", 650).text(name);
    handle.call(drag().on("drag", (event) => moved(event.x, event.y)));
    return handle;
  }

  // A handle that the arrow keys move, too: by eight pixels, or with shift by two.
  function keyed(handle, label, moved) {
    const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    handle.attr("tabindex", 0).attr("role", "button").attr("aria-label", label).on("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      const { x, y } = handle.datum();
      const size = event.shiftKey ? 2 : 8;
      moved(x + size * step[0], y + size * step[1]);
    });
  }

  // A step of length one among the predictions of three words, in the direction of an angle, and how
  // far it is from P to the edge of the triangle that way.
  function wayOf(angle) {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return [c * Math.SQRT1_2 + s / Math.sqrt(6), -c * Math.SQRT1_2 + s / Math.sqrt(6), (-2 * s) / Math.sqrt(6)];
  }
  const toTheEdge = (P, way) => Math.min(...way.map((w, i) => (w < 0 ? P[i] / -w : Infinity)));

  // The part of the disc around P that lies in the triangle, as a polygon.
  function discInTriangle({ P, ridge }) {
    return Array.from({ length: 720 }, (_, k) => {
      const way = wayOf((2 * Math.PI * k) / 720);
      const length = Math.min(ridge, toTheEdge(P, way));
      return P.map((p, i) => p + length * way[i]);
    });
  }

  // Lines of equal entropy in the triangle. Entropy is concave and largest in the middle, so each ray
  // from there meets a line once, or leaves the triangle before.
  function drawLevels(svg, place) {
    const RAYS = 180;
    const middle = [1 / 3, 1 / 3, 1 / 3];
    const levels = [1.05, 0.95, 0.8, 0.6, 0.4, 0.2];
    const point = (angle, level) => {
      const way = wayOf(angle);
      const edge = toTheEdge(middle, way);
      const at = (length) => middle.map((p, i) => Math.max(0, p + length * way[i]));
      if (entropy(at(edge)) > level) return null;
      let [low, high] = [0, edge];
      for (let i = 0; i < 40; i += 1) {
        const half = (low + high) / 2;
        if (entropy(at(half)) > level) low = half;
        else high = half;
      }
      return place.at(at(low));
    };
    levels.forEach((level) => {
      const found = Array.from({ length: RAYS + 1 }, (_, i) => point((2 * Math.PI * i) / RAYS, level));
      svg.append("path").attr("class", "entropy").attr("fill", "none").attr("stroke", "var(--ntp-off)")
        .attr("stroke-width", 1).attr("stroke-opacity", 0.75)
        .attr("d", found.map((at, i) => (at ? `${i && found[i - 1] ? "L" : "M"}${at}` : "")).join(""));
    });
    // Their values on the way from the middle to the word on top.
    [1.05, 0.8, 0.6, 0.4].forEach((level) => {
      const [x, y] = point(-Math.PI / 2, level);
      svg.append("text").attr("class", "quiet halo").attr("x", x).attr("y", y).attr("dy", "0.34em")
        .attr("text-anchor", "middle").attr("aria-hidden", "true").text(level);
    });
  }

  // The optima of all ridges, from the middle to P: computed anew only when P moves.
  let lastOptima = { of: "", radii: [], points: [] };
  function optima(P) {
    const of = P.join();
    if (lastOptima.of !== of) {
      const far = distance(P, [1 / 3, 1 / 3, 1 / 3]);
      const radii = Array.from({ length: 33 }, (_, k) => far * (1 - k / 32));
      lastOptima = { of, radii, points: radii.map((radius) => (radius > 0 ? mostUndecided(P, radius) : P)) };
    }
    return lastOptima;
  }

  // Those of the ridges that a reader has come to, so that the rest of the way can be guessed first.
  const visited = new WeakMap();
  function optimaSoFar(state) {
    const { P, ridge } = state;
    const [least, most] = visited.get(state) || [ridge, ridge];
    const [low, high] = [Math.min(least, ridge), Math.max(most, ridge)];
    visited.set(state, [low, high]);
    const { radii, points } = optima(P);
    const between = points.filter((_, k) => low < radii[k] && radii[k] < high);
    return [mostUndecided(P, high), ...between, mostUndecided(P, low)];
  }

  // Upper bound, minimum and lower bound on one axis, so that the gap is seen to close.
  function drawBounds(svg, width, height, state) {
    const { primal, dual, gap, least } = COMPUTATIONS.certificate(state);
    const MOST = 1.25;
    const box = { left: 34, right: width - 4, top: 14, bottom: height - 12 };
    const y = scaleLinear([0, MOST], [box.bottom, box.top]);
    y.ticks(5).forEach((tick) => {
      svg.append("path").attr("class", "hairline").attr("d", `M${box.left},${y(tick)}H${box.right}`);
      svg.append("text").attr("class", "quiet").attr("x", box.left - 6).attr("y", y(tick))
        .attr("dy", "0.34em").attr("text-anchor", "end").text(show(tick));
    });
    const middle = box.left + 0.24 * (box.right - box.left);
    const [top, low, best] = [primal, dual, least].map((value) => y(Math.min(value, MOST)));
    svg.append("rect").attr("class", "part-gap").attr("x", middle - 15).attr("width", 30).attr("y", top)
      .attr("height", Math.max(0, low - top)).attr("fill", "var(--ntp-plus)").attr("fill-opacity", 0.35);
    svg.append("path").attr("class", "least").attr("stroke", "currentColor").attr("stroke-dasharray", "5 3")
      .attr("stroke-width", 1.5).attr("d", `M${middle - 34},${best}H${middle + 34}`);
    const marks = [
      { at: top, shape: "square", colour: "var(--ntp-context)", text: `upper bound: ${show(primal)}${primal > MOST ? " \u2191" : ""}` },
      { at: best, shape: "diamond", colour: "currentColor", text: `minimum: ${show(least)}` },
      { at: low, shape: "circle", colour: "var(--ntp-support)", text: `lower bound: ${show(dual)}` },
    ];
    const lines = marks.map(({ at }) => at + 4); // from top to bottom, and 15 pixels apart
    for (let k = 1; k < 3; k += 1) lines[k] = Math.max(lines[k], lines[k - 1] + 15);
    lines[2] = Math.min(lines[2], height - 4);
    for (let k = 1; k >= 0; k -= 1) lines[k] = Math.min(lines[k], lines[k + 1] - 15);
    marks.forEach(({ at, shape, colour, text }, k) => {
      svg.append("path").attr("class", shape).attr("d", markPath(shape, 7)).attr("fill", colour)
        .attr("transform", `translate(${middle},${at})`);
      svg.append("text").attr("class", "halo").attr("x", middle + 40).attr("y", lines[k]).text(text);
    });
    svg.append("text").attr("class", "halo").attr("x", box.right - 4).attr("y", box.top + 4)
      .attr("text-anchor", "end").attr("font-weight", 650).style("fill", "var(--ntp-plus)")
      .text(`gap ${show(Math.max(0, gap))}`);
  }

  function dot(svg, name, shape, colour, above) {
    const mark = svg.append("g");
    mark.append("path").attr("d", markPath(shape, 5)).attr("fill", colour);
    mark.append("text").attr("class", "halo quiet").attr("x", above ? -6 : 8).attr("y", above ? -9 : 16)
      .attr("text-anchor", above ? "end" : "start").text(name);
    return mark;
  }

  // Shares stay at least `least` and sum to one.
  function normalise(P, least) {
    const raised = P.map((p) => Math.max(p, least));
    const total = sum(raised);
    return raised.map((p) => p / total);
  }

  // Horizontal bars that stack up to a total: [{name, value, colour}], on a common scale.
  function stack(svg, width, top, title, parts, most) {
    const HIGH = 22;
    const x = scaleLinear([0, most], [2, width - 4]);
    const group = svg.append("g");
    group.append("text").attr("y", top).attr("x", 2).text(title);
    let from = 0;
    parts.forEach(({ value, colour, name }) => {
      const [a, b] = [x(clamp(from, 0, most)), x(clamp(from + Math.max(0, value), 0, most))];
      group.append("rect").attr("x", a).attr("y", top + 7).attr("height", HIGH)
        .attr("width", Math.max(0, b - a)).attr("fill", colour).attr("class", `part-${name}`);
      from += Math.max(0, value);
    });
    if (from > most) {
      group.append("text").attr("x", width - 6).attr("y", top + 7 + HIGH / 2).attr("dy", "0.34em")
        .attr("text-anchor", "end").attr("class", "halo").text("→");
    }
  }

  // Vertical bars, P outlined behind Q; `grips` adds a handle to the first bars.
  function columnBars(svg, box, names, spec) {
    const y = scaleLinear(spec.domain, [box.bottom, box.top]);
    const step = (box.right - box.left) / names.length;
    const wide = Math.min(46, step * 0.62);
    const at = (k) => box.left + (k + 0.5) * step;
    y.ticks(4).forEach((tick) => {
      svg.append("path").attr("class", "hairline").attr("d", `M${box.left},${y(tick)}H${box.right}`);
      svg.append("text").attr("class", "quiet").attr("x", box.left - 6).attr("y", y(tick))
        .attr("dy", "0.34em").attr("text-anchor", "end").text(show(tick));
    });
    names.forEach((name, k) => {
      svg.append("text").attr("class", "quiet").attr("x", at(k)).attr("y", box.bottom + 16)
        .attr("text-anchor", "middle").text(name);
      const rect = (value, cls) => svg.append("rect").attr("class", cls).attr("x", at(k) - wide / 2)
        .attr("width", wide).attr("y", Math.min(y(value), y(0))).attr("height", Math.abs(y(value) - y(0)));
      rect(spec.values[k], "bar").attr("fill", spec.colour(k)).attr("fill-opacity", 0.85);
      if (spec.outline) {
        rect(spec.outline[k], "outline").attr("fill", "none").attr("stroke", "currentColor")
          .attr("stroke-width", 1.75).attr("stroke-dasharray", "4 3");
      }
    });
    return { y, at };
  }

  const nats = (value) => `${show(value)} nats`;
  const percent = (value) => (value < 0.001 && value > 0 ? show(value) : `${format(".1f")(100 * value)}%`);

  // Each: ranges (native, the keyboard's way), draw (one function for each panel), sentence.
  const HANDLES = {
    loss: {
      ranges: (state, names) => names.map((name, k) => ({
        name: `logit of ${name}`, min: -6, max: 6, step: 0.1, text: (v) => show(v),
        get: () => state.logits[k], set: (v) => { state.logits[k] = v; },
      })),
      draw: [
        (svg, width, height, state, names, changed) => {
          const box = { left: 36, right: width - 8, top: 14, bottom: height - 24 };
          const { y, at } = columnBars(svg, box, names, {
            domain: [-6, 6], values: state.logits, colour: () => "var(--ntp-context)",
          });
          names.forEach((name, k) => {
            grip(svg, "", "square", "var(--ntp-context)", (_, py) => {
              state.logits[k] = clamp(Math.round(y.invert(py) * 10) / 10, -6, 6);
              changed();
            }).attr("transform", `translate(${at(k)},${y(state.logits[k])})`).datum({ x: at(k), y: y(state.logits[k]) });
          });
        },
        (svg, width, height, state, names) => {
          const { Q } = COMPUTATIONS.loss(state);
          columnBars(svg, { left: 36, right: width - 8, top: 14, bottom: height - 24 }, names, {
            domain: [0, 1], values: Q, outline: state.P,
            colour: (k) => (state.P[k] > 0 ? "var(--ntp-support)" : "var(--ntp-off)"),
          });
        },
        (svg, width, height, state) => {
          const { floor, excess, loss } = COMPUTATIONS.loss(state);
          stack(svg, width, 18, `loss ${nats(loss)} = floor + excess`, [
            { name: "floor", value: floor, colour: "var(--ntp-off)" },
            { name: "excess", value: excess, colour: "var(--ntp-plus)" },
          ], 2.5);
          stack(svg, width, 74, `floor ${nats(floor)}`, [{ name: "floor", value: floor, colour: "var(--ntp-off)" }], 2.5);
          stack(svg, width, 130, `excess ${nats(excess)}`, [{ name: "excess", value: excess, colour: "var(--ntp-plus)" }], 2.5);
        },
      ],
      say(state, names) {
        const { Q, floor, excess, loss } = COMPUTATIONS.loss(state);
        const shares = names.map((name, k) => `${name} ${percent(Q[k])}`).join(", ");
        return `Prediction: ${shares}. Loss ${nats(loss)}, of which ${nats(floor)} are the floor and ${nats(excess)} excess.`;
      },
    },
    simplex: {
      ranges: (state, names) => [
        {
          name: `share of ${names[0]} in P`, min: 0.02, max: 0.98, step: 0.01, text: percent,
          get: () => state.P[0], set: (v) => { state.P = [v, 1 - v, 0]; },
        },
        {
          name: "way left from Q to P", min: 0, max: 8, step: 0.05,
          text: (v) => show(10 ** -v),
          get: () => state.steps, set: (v) => { state.steps = v; },
        },
      ],
      draw: [
        (svg, width, height, state, names, changed) => {
          const place = triangle(width, height);
          drawTriangle(svg, place, names);
          const { Q } = COMPUTATIONS.simplex(state);
          const [P, middle] = [place.at(state.P), place.at([1 / 3, 1 / 3, 1 / 3])];
          svg.append("path").attr("stroke", "var(--ntp-context)").attr("stroke-dasharray", "3 3").attr("fill", "none")
            .attr("d", `M${middle}L${P}`);
          grip(svg, "P", "circle", "var(--ntp-support)", (px, py) => {
            const share = clamp(place.read([px, py])[0] + place.read([px, py])[2] / 2, 0.02, 0.98);
            state.P = [share, 1 - share, 0];
            changed();
          }).attr("transform", `translate(${P})`).datum({ x: P[0], y: P[1] }).select("text").attr("y", 24);
          const at = place.at(Q);
          grip(svg, "Q", "square", "var(--ntp-context)", (px, py) => {
            const away = clamp(place.read([px, py])[2] * 3, 1e-8, 1);
            state.steps = -Math.log10(away);
            changed();
          }).attr("transform", `translate(${at})`).datum({ x: at[0], y: at[1] });
        },
        (svg, width, height, state) => {
          const { excess, largest } = COMPUTATIONS.simplex(state);
          stack(svg, width, 18, `excess loss ${nats(excess)}`, [{ name: "excess", value: excess, colour: "var(--ntp-plus)" }], 0.8);
          stack(svg, width, 84, `largest logit, max|L| = ${show(largest)}`, [{ name: "largest", value: largest, colour: "var(--ntp-context)" }], 14);
        },
      ],
      say(state, names) {
        const { Q, excess, largest } = COMPUTATIONS.simplex(state);
        return `P lies on the edge between ${names[0]} and ${names[1]}. Q gives ${names[2]} ${percent(Q[2])}; excess loss ${nats(excess)}, largest logit ${show(largest)}.`;
      },
    },
    column: {
      ranges: (state, names) => [
        {
          name: `shares: ${names[0]} among the two`, min: 0.02, max: 0.98, step: 0.01, text: percent,
          get: () => state.share, set: (v) => { state.share = v; },
        },
        {
          name: "height over the other words", min: 0, max: 16, step: 0.1, text: (v) => show(v),
          get: () => state.height, set: (v) => { state.height = v; },
        },
      ],
      draw: [
        (svg, width, height, state, names, changed) => {
          const { logits } = COMPUTATIONS.column(state);
          const box = { left: 36, right: width - 8, top: 14, bottom: height - 24 };
          const { y, at } = columnBars(svg, box, names, {
            domain: [-8, 12], values: logits, colour: (k) => (k < 2 ? "var(--ntp-support)" : "var(--ntp-off)"),
          });
          grip(svg, "shares", "circle", "var(--ntp-support)", (_, py) => {
            // The difference of the two logits is ln(share / (1 - share)); their mean stays.
            const [first, second] = COMPUTATIONS.column(state).logits;
            const half = clamp(y.invert(py) - (first + second) / 2, -1.94, 1.94);
            state.share = clamp(Math.round(100 / (1 + Math.exp(-2 * half))) / 100, 0.02, 0.98);
            changed();
          }).attr("transform", `translate(${at(0)},${y(logits[0])})`).datum({ x: at(0), y: y(logits[0]) })
            .select("text").attr("x", 0).attr("y", -14).attr("text-anchor", "middle");
          const middle = (logits[0] + logits[1]) / 2;
          const last = names.length - 1;
          svg.append("path").attr("stroke", "var(--ntp-support)").attr("stroke-dasharray", "4 3")
            .attr("d", `M${at(0)},${y(middle)}H${at(last)}`);
          grip(svg, "height", "square", "var(--ntp-support)", (_, py) => {
            const V = logits.length;
            state.height = clamp(Math.round((y.invert(py) * V * 10) / state.off) / 10, 0, 16);
            changed();
          }).attr("transform", `translate(${at(last)},${y(middle)})`).datum({ x: at(last), y: y(middle) })
            .select("text").attr("x", 8).attr("y", -14).attr("text-anchor", "end");
        },
        (svg, width, height, state, names) => {
          const { Q } = COMPUTATIONS.column(state);
          const P = [...state.P, ...Array(state.off).fill(0)];
          columnBars(svg, { left: 36, right: width - 8, top: 14, bottom: height - 24 }, names, {
            domain: [0, 1], values: Q, outline: P, colour: (k) => (k < 2 ? "var(--ntp-support)" : "var(--ntp-off)"),
          });
        },
        (svg, width, height, state) => {
          const { shares, height: lift } = COMPUTATIONS.column(state);
          stack(svg, width, 18, `excess ${nats(shares + lift)}`, [
            { name: "shares", value: shares, colour: "var(--ntp-support)" },
            { name: "height", value: lift, colour: "var(--ntp-off)" },
          ], 1.5);
          stack(svg, width, 74, `how often: ${nats(shares)}`, [{ name: "shares", value: shares, colour: "var(--ntp-support)" }], 1.5);
          stack(svg, width, 130, `which: ${nats(lift)}`, [{ name: "height", value: lift, colour: "var(--ntp-off)" }], 1.5);
        },
      ],
      say(state, names) {
        const { leak, shares, height } = COMPUTATIONS.column(state);
        return `Excess ${nats(shares + height)}: ${nats(shares)} for wrong shares of ${names[0]} and ${names[1]}, ${nats(height)} for the probability ${percent(leak)} of words that never follow.`;
      },
    },
    certificate: {
      ranges: (state) => [{
        name: "ridge, the radius of the disc", wide: true, min: 0.01, max: 0.6, step: 0.01, text: (v) => show(v),
        get: () => state.ridge, set: (v) => { state.ridge = v; },
      }],
      draw: [
        (svg, width, height, state, names, changed) => {
          const place = triangle(width, height);
          const { Q, inDisc } = COMPUTATIONS.certificate(state);
          drawTriangle(svg, place, names);
          drawLevels(svg, place);
          const [P, best, dual, guess] = [state.P, Q, inDisc, state.guess].map(place.at);
          svg.append("path").attr("class", "disc").attr("d", `M${discInTriangle(state).map(place.at).join("L")}Z`)
            .attr("fill", "var(--ntp-support)").attr("fill-opacity", 0.12).attr("stroke", "var(--ntp-support)")
            .attr("stroke-width", 1.5);
          svg.append("path").attr("class", "path").attr("stroke", "currentColor").attr("stroke-width", 1.5)
            .attr("stroke-dasharray", "5 3").attr("fill", "none").attr("d", `M${optimaSoFar(state).map(place.at).join("L")}`);
          svg.append("path").attr("stroke", "var(--ntp-off)").attr("stroke-dasharray", "2 3").attr("fill", "none")
            .attr("d", `M${guess}L${P}`);
          dot(svg, "", "diamond", "currentColor", true).attr("transform", `translate(${best})`);
          dot(svg, "", "circle", "var(--ntp-support)", false).attr("transform", `translate(${dual})`);
          const move = { P: (at) => { state.P = normalise(at, 0); }, guess: (at) => { state.guess = normalise(at, 0.005); } };
          const handle = (name, shape, colour, at) => {
            const moved = (px, py) => {
              move[name](place.read([px, py]));
              changed();
            };
            const made = grip(svg, name, shape, colour, moved).attr("transform", `translate(${at})`)
              .datum({ x: at[0], y: at[1] });
            keyed(made, `${name}; move it with the arrow keys`, moved);
            return made;
          };
          handle("P", "circle", "var(--ntp-page, transparent)", P).select("text")
            .attr("x", -10).attr("y", 22).attr("text-anchor", "end");
          handle("guess", "square", "var(--ntp-context)", guess);
        },
        drawBounds,
      ],
      say(state, names) {
        const { primal, dual, gap, Q } = COMPUTATIONS.certificate(state);
        const best = names.map((name, k) => `${name} ${percent(Q[k])}`).join(", ");
        return `The optimum predicts ${best}. Its value lies between ${nats(dual)} and ${nats(primal)} above the floor; the gap of the guess is ${nats(Math.max(0, gap))}.`;
      },
    },
  };

  function mountHandles(root, data) {
    const kind = HANDLES[data.computation];
    const state = JSON.parse(JSON.stringify(data.state));
    const say = speaker(root);
    const redraws = [];
    const controls = root.querySelector(":scope > .ntp-controls");
    const specs = kind.ranges(state, data.names);
    controls.classList.toggle("ntp-many", specs.length > 3);
    const ranges = specs.map((spec) => {
      const made = range(spec.name, { ...spec, value: spec.get() });
      made.input.addEventListener("input", () => {
        spec.set(Number(made.input.value));
        changed();
      });
      made.control.classList.toggle("ntp-wide", Boolean(spec.wide));
      controls.append(made.control);
      return { ...made, spec };
    });
    function changed() {
      ranges.forEach(({ input, spec, tell }) => {
        if (Number(input.value) !== spec.get()) input.value = String(spec.get());
        tell();
      });
      redraws.forEach((redraw) => redraw());
      say(kind.say(state, data.names));
      writeNumbers();
    }
    const writeNumbers = numbers(root, () => [{
      title: "Values", head: ["", "value"],
      rows: Object.entries({ ...state, ...COMPUTATIONS[data.computation](state) }).map(([name, value]) =>
        [name, [].concat(value).map(show).join(", ")]),
    }]);
    root.querySelectorAll(".ntp-drawing").forEach((box, i) => {
      const label = box.querySelector("img").alt;
      canvasOf(box, label, (svg, width, height) => {
        // A drag holds on to the handle's node, so the rest is redrawn around it.
        const redraw = () => repaint(svg, (canvas) => kind.draw[i](canvas, width, height, state, data.names, changed));
        redraws[i] = redraw; // in place of the one for another size
        redraw();
      });
    });
    say(kind.say(state, data.names));
  }

  // Draws anew off-screen and swaps: handles keep their nodes, since the browser follows a drag by its node.
  function repaint(svg, paint) {
    const fresh = select(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    paint(fresh);
    // What a picture (role img) holds, nobody can reach; a group may hold buttons.
    if (!fresh.select("[role=button]").empty()) svg.attr("role", "group");
    const held = svg.selectAll("g.handle").nodes();
    const made = fresh.selectAll("g.handle").nodes();
    svg.node().querySelectorAll(":scope > :not(g.handle)").forEach((node) => node.remove());
    const first = held[0] || null;
    [...fresh.node().childNodes].forEach((node) => {
      if (!made.includes(node)) svg.node().insertBefore(node, first);
      else if (!held.length) svg.node().append(node);
    });
    held.forEach((node, k) => {
      node.setAttribute("transform", made[k].getAttribute("transform"));
      select(node).datum(select(made[k]).datum()); // where the next drag starts
    });
  }

  // --- Figures: a text and its counts ---------------------------------------------------------------

  const SHOWN = { words: 18, contexts: 10 };

  function mountText(root, data) {
    const area = root.querySelector("textarea");
    const say = speaker(root);
    const box = root.querySelector(".ntp-counts");
    const chosen = (name) => root.querySelector(`input[data-choice=${name}]:checked`).value;
    const group = `ntp-${Math.random().toString(36).slice(2)}`;
    root.querySelectorAll("input[type=radio]").forEach((input) => {
      input.name = `${group}-${input.dataset.choice}`; // two such figures may stand on one page
      input.disabled = false;
    });
    const write = () => {
      const counts = countText(area.value, Number(chosen("length")));
      box.replaceChildren(...(counts.n ? countsTable(counts, chosen("matrix")) : []));
      say(countsSentence(counts));
    };
    root.querySelectorAll("input[type=radio][data-choice]").forEach((input) => {
      input.checked = input.value === String(data[input.dataset.choice]);
      input.addEventListener("change", write);
    });
    area.disabled = false;
    area.value = data.text;
    area.addEventListener("input", write);
    write();
  }

  function countsSentence({ n, V, m, floor, contexts }) {
    if (!n) return "Write a few words more: there must be one that follows a context.";
    const open = contexts.filter(([, { next }]) => next.size > 1).length;
    return `${n} positions, ${V} different words, ${m} different contexts, of which ${open} ${open === 1 ? "has" : "have"} more than one next word. No model that sees such contexts has a loss below ${nats(floor)} on this text.`;
  }

  // What contexts share is what matters: those that share most next words stand side by side, the
  // closest pair first.
  function sideBySide(contexts) {
    const rest = [...contexts];
    const placed = [];
    const shared = (a, b) => [...a[1].next.keys()].filter((word) => b[1].next.has(word)).length;
    const mostShared = (context) => {
      const others = placed.length ? placed.slice(-1) : rest.filter((other) => other !== context);
      return Math.max(0, ...others.map((other) => shared(context, other)));
    };
    while (rest.length) {
      const shares = rest.map(mostShared);
      placed.push(...rest.splice(shares.indexOf(Math.max(...shares)), 1));
    }
    return placed;
  }

  function countsTable({ words, contexts }, matrix) {
    const columns = sideBySide(contexts.slice(0, SHOWN.contexts));
    const sharedBy = (word) => columns.filter(([, { next }]) => next.has(word)).length;
    const following = words.filter((word) => sharedBy(word) > 0);
    const shown = following.sort((a, b) => sharedBy(b) - sharedBy(a)).slice(0, SHOWN.words);
    // Each word where its first context has it: they form blocks.
    const byCount = (next) => [...next].sort((a, b) => b[1] - a[1]).map(([word]) => word);
    const blocks = new Set(columns.flatMap(([, { next }]) => byCount(next)));
    const rows = [...blocks].filter((word) => shown.includes(word));
    const cell = ({ total, next }, word) => {
      const count = next.get(word) || 0;
      const value = { N: count, P: count ? format(".2f")(count / total) : 0, S: count ? 1 : 0 }[matrix];
      const share = matrix === "S" ? Number(count > 0) : count / total;
      return element("td", { class: count ? "on" : "off", style: `--share:${format(".3f")(share)}` }, String(value));
    };
    const head = element("tr", {}, element("td"), ...columns.map(([name]) => element("th", { scope: "col" }, name)));
    const body = rows.map((word) => element("tr", {}, element("th", { scope: "row" }, word),
      ...columns.map(([, column]) => cell(column, word))));
    const hiddenRows = words.length - rows.length;
    const hidden = contexts.length - columns.length;
    const more = hidden || hiddenRows
      ? ` (the ${columns.length} commonest contexts of ${contexts.length})` : "";
    const title = { N: "Counts N", P: "Frequencies P", S: "Support S" }[matrix];
    const line = element("p", { class: "ntp-panel-title" }, `${title}: rows are next words, columns contexts${more}`);
    const table = element("table", { "aria-label": title }, element("thead", {}, head), element("tbody", {}, ...body));
    return [line, element("div", { class: "ntp-scroll", tabindex: "0", role: "region", "aria-label": title }, table)];
  }

  // --- Mounting -------------------------------------------------------------------------------------

  const KINDS = { frames: mountFrames, handles: mountHandles, text: mountText };

  function mountAll() {
    document.querySelectorAll(".ntp-interactive:not([data-ready])").forEach((root) => {
      const source = root.querySelector("script[type='application/json']");
      if (!source) return;
      root.dataset.ready = "";
      adaptToGround(root);
      const data = JSON.parse(source.textContent);
      KINDS[data.kind](root, data);
    });
    // Colab shows an output in a frame of its own, which must be told when it grows.
    const colab = window.google && window.google.colab && window.google.colab.output;
    if (colab && colab.resizeIframeToContent) colab.resizeIframeToContent();
  }

  const readapt = () => document.querySelectorAll(".ntp-interactive[data-ready]").forEach(adaptToGround);
  const themes = { attributes: true, attributeFilter: ["class", "data-theme", "theme", "data-jp-theme-light"] };
  new MutationObserver(readapt).observe(document.documentElement, themes);
  if (document.body) new MutationObserver(readapt).observe(document.body, themes);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readapt);

  window.ntpInteractive = { mountAll, computations: COMPUTATIONS, tokenize, countText };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
})();
