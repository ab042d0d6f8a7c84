// Wide formulas and tables scroll in their own box; this marks them, so that a reader sees that
// more follows. An inline formula wider than its line gets a line of its own.
function markWide() {
  document.querySelectorAll("span.math").forEach((formula) => {
    const line = formula.closest("p, li, dd, td, figcaption, div");
    const drawn = formula.querySelector("mjx-container");
    if (!line || !drawn) return;
    formula.classList.remove("wide");
    formula.classList.toggle("wide", drawn.getBoundingClientRect().width > line.clientWidth);
  });
  const boxes = "span.math.wide, div.math mjx-container, div.math, .cell_output pre, .pst-scrollable-table-container";
  document.querySelectorAll(boxes).forEach((box) => {
    const more = () => box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
    box.classList.toggle("scrolls", more());
    box.onscroll = () => box.classList.toggle("scrolls", more());
  });
}
window.addEventListener("load", () => {
  const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
  Promise.resolve(typeset).then(markWide);
  window.addEventListener("resize", markWide);
});
