// Keeps the points that are typed, and writes them as hand_grades.csv.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const state = document.getElementById("state");
const fields = [...document.querySelectorAll(".marks")].map((place) => ({
  submission: place.dataset.submission,
  question: place.dataset.question,
  version: place.dataset.version,
  markedVersion: place.dataset.marked,
  points: place.querySelector("input"),
  comment: place.querySelector("textarea"),
}));
let unsaved = false;

for (const field of fields) {
  field.points.addEventListener("input", () => {
    field.markedVersion = field.version; // the points are for the proof that is shown here
    changed();
  });
  field.comment.addEventListener("input", changed);
}

function changed() {
  unsaved = true;
  state.className = "";
  const marked = fields.filter((field) => field.points.value !== "").length;
  state.textContent = `${marked} of ${fields.length} marked, not saved yet`;
}

function cell(text) {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table() {
  const titles = ["submission"];
  for (const question of data.questions) {
    titles.push(`${question.id} (max ${question.most})`, `${question.id} comment`,
      `${question.id} version`);
  }
  titles.push("comment");
  const rows = [titles];
  for (const submission of data.submissions) {
    const row = [submission];
    for (const question of data.questions) {
      const field = fields.find((one) =>
        one.submission === submission && one.question === question.id);
      if (field === undefined) {
        row.push("", "", "");
      } else {
        const isFree = field.points.value === "" || field.markedVersion === "";
        const version = isFree ? field.version : field.markedVersion;
        row.push(field.points.value, field.comment.value, version);
      }
    }
    rows.push([...row, data.comments[submission] ?? ""]);
  }
  for (const kept of data.kept) { // rows of submissions that are gone or unreadable
    const value = (name) => kept[data.columns.indexOf(name)] ?? "";
    const names = titles.map((title) => title.split(" (max")[0]);
    rows.push(names.map(value));
  }
  return "\ufeff" + rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

document.getElementById("save").addEventListener("click", () => {
  const wrong = fields.filter((field) => !field.points.checkValidity());
  if (wrong.length > 0) {
    const { submission, question, points } = wrong[0];
    const others = wrong.length > 1 ? ` (and ${wrong.length - 1} more)` : "";
    state.textContent = `Not saved, and nothing is lost: the points of ${submission} in ` +
      `${question}${others} must be a number from 0 to ${points.max}.`;
    state.className = "bad";
    points.focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.download = "hand_grades.csv";
  link.click();
  unsaved = false;
  state.className = "";
  state.textContent = "saved; put the file into this folder and grade again";
});

window.addEventListener("beforeunload", (event) => {
  if (unsaved) {
    event.preventDefault();
  }
});
