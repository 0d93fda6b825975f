const search = document.getElementById("search");
const found = document.getElementById("found");
const cards = [...document.querySelectorAll("[data-answer]")];
const said = new Map(cards.map((card) => [
  card,
  [...card.querySelectorAll("h3, .said")].map((part) => part.textContent).join("\n").toLocaleLowerCase(),
]));
const chips = [...document.querySelectorAll("[data-only]")];
let only = "";
function show() {
  const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const card of cards) {
    const fits = words.every((word) => said.get(card).includes(word)) && (!only || card.dataset.answer.split(" ").includes(only));
    card.hidden = !fits;
    count += fits;
  }
  found.textContent = `${count} / ${cards.length}`;
}
search.addEventListener("input", show);
for (const chip of chips) {
  chip.addEventListener("click", () => {
    only = only === chip.dataset.only ? "" : chip.dataset.only;
    for (const other of chips) other.setAttribute("aria-pressed", String(other.dataset.only === only));
    show();
  });
}
document.getElementById("finder").hidden = false;
show();

const withoutNotes = document.getElementById("without-notes");
withoutNotes?.addEventListener("change", () => {
  for (const part of document.querySelectorAll("[data-without-notes]")) part.hidden = !withoutNotes.checked;
});
