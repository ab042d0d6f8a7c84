// Formulas in a closed fold or hint are drawn when it opens: a page holds hundreds of them, and drawing
// all at once keeps a phone busy for seconds. The titles of folds are always seen.
const CLOSED =
  "details:not([open]) > :not(summary), .toggle-hidden > :not(.admonition-title), " +
  ".admonition.dropdown:not(.toggle) > :not(.admonition-title)"; // before sphinx-togglebutton was there
function undrawn() {
  return [...document.querySelectorAll(".math")].filter((node) => !node.querySelector("mjx-container"));
}
async function draw() {
  const formulas = undrawn().filter((formula) => !formula.closest(CLOSED));
  if (formulas.length) await MathJax.typesetPromise(formulas);
  markWide();
}
// Fulfilled when all that is open is drawn. One drawing waits for the other; what opens before MathJax
// is there is drawn with the page. A hundred folds that open together are drawn and measured once: each
// measurement lays out the whole page, and a phone would be busy for minutes.
let drawing = Promise.resolve();
let isAsked = false;
function drawOpened() {
  if (!window.MathJax?.typesetPromise || isAsked) return drawing;
  isAsked = true;
  drawing = drawing
    .then(() => new Promise((resolve) => setTimeout(resolve))) // after the folds' other events
    .then(() => {
      isAsked = false;
      return draw();
    });
  return drawing;
}
// So far only the settings that MathJax will read stand here.
if (window.MathJax) window.MathJax.startup = { pageReady: drawOpened };
window.addEventListener("load", drawOpened);
document.addEventListener("toggle", drawOpened, true);

// A formula wider than its line shrinks, to seven tenths at most, until it fits. What is wider still
// scrolls in its own box, as tables do; this marks them, so that a reader sees that more follows.
// An inline formula wider than its line gets a line of its own.
const SMALLEST = 0.7;
const LINES = "p, li, dd, td, figcaption, div";
// Writes to the page and readings of it are kept apart: the browser lays it out once for each change
// of turns, and not once for each formula.
function markWide() {
  const drawn = [...document.querySelectorAll(".math mjx-container")];
  drawn.forEach((container) => {
    // MathJax's own size fits its letters to those of the text around: shrink from there.
    container.dataset.size ??= container.style.fontSize;
    container.style.fontSize = container.dataset.size;
    container.closest("span.math")?.classList.remove("wide", "scrolls");
  });
  const sizes = drawn.map((container) => {
    const inline = container.closest("span.math");
    // What the number of the equation leaves, or the line of the text.
    const line = inline ? inline.closest(LINES) : container;
    const formula = container.querySelector("mjx-math");
    return {
      container,
      inline,
      room: line ? line.clientWidth : 0,
      width: formula ? formula.getBoundingClientRect().width : 0,
      font: parseFloat(getComputedStyle(container).fontSize),
    };
  });
  sizes.forEach(({ container, inline, room, width, font }) => {
    if (width <= room || room <= 0) return;
    const share = Math.max(SMALLEST, (0.98 * room) / width);
    container.style.fontSize = `${font * share}px`;
    inline?.classList.toggle("wide", share * width > room);
  });
  markScrolling();
}
function markScrolling() {
  const boxes = "span.math.wide, div.math mjx-container, div.math, .cell_input pre, .cell_output pre, .pst-scrollable-table-container";
  const more = (box) => box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
  const found = [...document.querySelectorAll(boxes)].map((box) => ({
    box,
    follows: more(box),
    wide: box.scrollWidth > box.clientWidth + 1,
  }));
  found.forEach(({ box, follows, wide }) => {
    box.classList.toggle("scrolls", follows);
    // What scrolls can be reached by keyboard, also where it was folded when the page was loaded.
    if (box.matches("pre") && wide) box.tabIndex = 0;
    box.onscroll = () => box.classList.toggle("scrolls", more(box));
  });
}
// A full stop after a formula, or a bracket before it, stays with it: a line may else end between.
function keepPunctuation() {
  document.querySelectorAll("span.math").forEach((formula) => {
    const [before, after] = [formula.previousSibling, formula.nextSibling];
    const text = (node) => (node && node.nodeType === Node.TEXT_NODE ? node.data : "");
    const opening = /[(\[]*$/.exec(text(before))[0];
    const closing = /^[.,;:!?)\]]*/.exec(text(after))[0];
    if (!opening && !closing) return;
    if (opening) before.data = before.data.slice(0, -opening.length);
    if (closing) after.data = after.data.slice(closing.length);
    const together = document.createElement("span");
    together.className = "together";
    formula.replaceWith(together);
    together.append(opening, formula, closing);
  });
}
window.addEventListener("load", () => {
  keepPunctuation();
  nameColumns();
  window.addEventListener("resize", markWide);
  // What a click shows in a box, a hint perhaps, has its width from then on.
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".admonition")) setTimeout(drawOpened, 50);
  });
});
// On a phone a row is a card without the head of its table: its cells bring their column's name.
function nameColumns() {
  document.querySelectorAll("table.cards-on-phones").forEach((table) => {
    const names = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    table.querySelectorAll("tbody tr").forEach((row) =>
      [...row.cells].forEach((cell, k) => {
        const text = cell.textContent.trim();
        // The first cell is the card's title, unless it is a number without a meaning.
        if (names[k] && text && (k > 0 || /^[\d.,e+-]+$/.test(text))) cell.dataset.column = names[k];
      }),
    );
  });
}
// Each fold is called by what it holds, and opens when a link leads into it.
function nameFolds() {
  document.querySelectorAll("button.toggle-button").forEach((button) => {
    const box = button.closest(".toggle");
    const title = box && box.querySelector(".admonition-title");
    if (title) button.setAttribute("aria-label", `Show or hide: ${title.textContent.trim()}`);
  });
}
function openTarget() {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && document.getElementById(id);
  if (!target) return;
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
    // The button that sphinx-togglebutton put there keeps its own account of what is open.
    if (node.matches(".toggle-hidden")) node.querySelector(".toggle-button")?.click();
  }
  target.scrollIntoView();
  drawOpened().then(() => target.scrollIntoView());
}
window.addEventListener("load", () => {
  nameFolds();
  offerToOpenAll();
  openTarget();
});
window.addEventListener("hashchange", openTarget);

// Proofs, checks and asides open and close together: by a switch in the chapter's frame, or by "?".
// The choice is remembered. Answers to predictions stay folded.
const FOLDS = "details.ntp-fold:not(.ntp-answer)";
const CHOICE = "ntp-folds";
// A browser may refuse to keep anything.
function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {}
}
function setFolds(open) {
  document.querySelectorAll(FOLDS).forEach((fold) => (fold.open = open));
  const box = document.querySelector(".ntp-open-all input");
  if (box) box.checked = open;
}
function chooseFolds(open) {
  // What the reader looks at stays where it is on the screen.
  const blocks = document.querySelectorAll(".bd-article :is(p, h2, h3, figure, div.cell)");
  const seen = [...blocks].find((block) => {
    const top = block.getBoundingClientRect().top;
    return top > 60 && top < innerHeight && block.offsetParent && !block.closest(FOLDS);
  });
  const before = seen?.getBoundingClientRect().top;
  setFolds(open);
  remember(CHOICE, open ? "open" : "closed");
  const stay = () => scrollBy(0, seen.getBoundingClientRect().top - before);
  if (!seen) return;
  stay();
  drawOpened().then(stay); // drawn, a formula is higher than its source
}
function offerToOpenAll() {
  const folds = document.querySelectorAll(FOLDS);
  const frame = document.querySelector(".admonition.chapter-frame");
  if (!folds.length || !frame) return;
  const choices = document.createElement("div");
  choices.className = "ntp-choices";
  choices.innerHTML =
    '<label class="ntp-open-all"><input type="checkbox" role="switch"> Open all proofs, checks and asides' +
    ' <kbd>?</kbd></label><label class="ntp-hide-code"><input type="checkbox" role="switch"> Hide the code</label>';
  frame.append(choices);
  const [all, code] = choices.querySelectorAll("input");
  all.addEventListener("change", () => chooseFolds(all.checked));
  if (remembered(CHOICE) === "open") setFolds(true);
  const hide = (hidden) => {
    document.documentElement.dataset.code = hidden ? "hidden" : "shown";
    code.checked = hidden;
  };
  hide(remembered("ntp-code") === "hidden");
  code.addEventListener("change", () => {
    hide(code.checked);
    remember("ntp-code", code.checked ? "hidden" : "shown");
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), textarea, [contenteditable]");
    if (event.key !== "?" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    chooseFolds(!all.checked);
  });
}
// Who opens the answer to a prediction sees what its cells show, too.
document.addEventListener(
  "toggle",
  (event) => {
    const answer = event.target;
    if (!answer.matches?.(".predict details.ntp-answer") || !answer.open) return;
    const answers = [...document.querySelectorAll("details.ntp-answer")];
    for (const next of answers.slice(answers.indexOf(answer) + 1)) {
      if (next.closest(".predict")) break;
      next.open = true;
    }
  },
  true,
);
// On paper nothing can be opened: everything is.
let closedBeforePrint = [];
window.addEventListener("beforeprint", () => {
  closedBeforePrint = [...document.querySelectorAll(".bd-article details:not([open])")];
  closedBeforePrint.forEach((fold) => (fold.open = true));
  const formulas = undrawn();
  if (formulas.length && window.MathJax?.typeset) MathJax.typeset(formulas); // paper does not wait
  markWide();
});
window.addEventListener("afterprint", () => {
  closedBeforePrint.forEach((fold) => (fold.open = false));
  closedBeforePrint = [];
});
