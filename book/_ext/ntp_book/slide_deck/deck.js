// A slide's formulas are drawn when it is first shown (what is hidden has no size), and it shrinks until
// all of it is seen.
const SMALLEST = 0.4;
const drawn = new WeakSet();
const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
function isCut(slide) {
  const room = slide.getBoundingClientRect();
  const margin = parseFloat(getComputedStyle(slide).paddingRight);
  const tooWide = [...slide.querySelectorAll("mjx-math, table, pre, .ntp-panels")].some(
    (part) => part.getBoundingClientRect().right > room.right - margin + 1,
  );
  const inside = [...slide.children].filter((part) => !part.matches(".section"));
  const top = Math.min(...inside.map((part) => part.getBoundingClientRect().top));
  const bottom = Math.max(...inside.map((part) => part.getBoundingClientRect().bottom));
  const edge = parseFloat(getComputedStyle(slide).paddingBottom);
  return tooWide || top < room.top + edge || bottom > room.bottom - edge + 1;
}
// An interactive figure is made for letters of 16 pixels, and draws itself anew for a new width.
async function resize(slide, size) {
  const unit = Math.min(0.018 * innerWidth, 0.029 * innerHeight); // as in deck.css
  slide.style.setProperty("--fit", size);
  slide.style.setProperty("--zoom", (size * unit) / 16);
  await frame();
}
async function fit(section) {
  const slide = section?.querySelector(":scope > .slide");
  if (!slide) return;
  if (!drawn.has(slide)) {
    drawn.add(slide);
    await MathJax.startup.promise;
    await MathJax.typesetPromise([slide]);
  }
  await resize(slide, 1);
  for (let size = 0.94; size > SMALLEST && isCut(slide); size *= 0.94) await resize(slide, size);
  slide.dataset.fitted = isCut(slide) ? "cut" : "whole";
}
// Fulfilled when what is shown now fits.
let fitting = Promise.resolve();
function show(section) {
  fitting = fitting.then(() => fit(section));
  return fitting;
}
async function start() {
  await Reveal.initialize({
    width: "100%",
    height: "100%",
    margin: 0,
    minScale: 1,
    maxScale: 1,
    center: false,
    hash: true,
    slideNumber: true,
    transition: "none",
  });
  const sections = Reveal.isPrintView() ? document.querySelectorAll("section:has(> .slide)") : [];
  for (const section of sections) await show(section);
  await show(Reveal.getCurrentSlide());
  Reveal.on("slidechanged", (event) => show(event.currentSlide));
  Reveal.on("resize", () => show(Reveal.getCurrentSlide()));
}
const started = new Promise((done) => window.addEventListener("load", () => done(start())));
