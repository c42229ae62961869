// The list of photographs: filters, pages, the legend, and the name of what is under the mouse.

const PER_PAGE = 24;
const filter = { text: "", regions: "", classIndex: null, refused: false, page: 0 };
const list = document.getElementById("list");
const hint = document.getElementById("hint");

/** Places of the photographs that pass the filter, or the refused files that do. */
function passing() {
  const text = filter.text.toLowerCase();
  if (filter.refused) return report.refused.filter(({ file }) => file.toLowerCase().includes(text));
  const places = [...report.photographs.keys()];
  return places.filter((place) => {
    const { id, regions } = report.photographs[place];
    return (
      id.toLowerCase().includes(text) &&
      (filter.regions === "" || regions.length === Number(filter.regions)) &&
      (filter.classIndex === null || regions.some(([, index]) => standIn(index) === filter.classIndex))
    );
  });
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function cell(kind, place) {
  const { id } = report.photographs[place];
  const picture = make("button", { type: "button", className: "picture" });
  picture.setAttribute("aria-label", `${columnTitle(kind)} of ${id}: enlarge`);
  Object.assign(picture.dataset, { kind, place });
  show(picture, kind, place);
  return make("div", { className: "cell" }, picture, make("span", { className: "head" }, columnTitle(kind)));
}

function row(place) {
  const { id, regions } = report.photographs[place];
  const cells = report.columns.map(({ kind }) => cell(kind, place));
  const text = make("p", { className: "id" }, `${id}: ${counted(regions.length, "region")}`);
  return make("article", { className: "photograph" }, ...cells, text);
}

function refusedRow({ file, reason }) {
  return make("p", { className: "refused" }, make("code", {}, file), ` ${reason}`);
}

function update() {
  const found = passing();
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  filter.page = Math.min(Math.max(filter.page, 0), pages - 1);
  const first = filter.page * PER_PAGE;
  const shown = found.slice(first, first + PER_PAGE);
  list.replaceChildren(...shown.map(filter.refused ? refusedRow : row));
  const what = filter.refused ? "refused file" : "photograph";
  const range = shown.length ? `${first + 1} to ${first + shown.length} of ` : "";
  document.getElementById("count").textContent = range + counted(found.length, what);
  document.getElementById("page").value = filter.page + 1;
  document.getElementById("page").max = pages;
  document.getElementById("pages").textContent = `of ${pages}`;
  document.getElementById("previous").disabled = filter.page === 0;
  document.getElementById("next").disabled = filter.page === pages - 1;
  document.getElementById("pager").hidden = pages === 1;
  document.getElementById("heads").hidden = filter.refused;
  document.getElementById("refused").checked = filter.refused;
  markLegend();
}

/** Press the button of the class that the filter has. */
function markLegend() {
  for (const button of document.querySelectorAll("#legend button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.class) === filter.classIndex));
  }
}

function setFilter(changes) {
  Object.assign(filter, { page: 0 }, changes);
  update();
}

function turnPage(page) {
  filter.page = page;
  update();
  document.getElementById("photographs").scrollIntoView();
}

/** In how many photographs each class was found. */
function countClasses() {
  const photographs = new Map();
  for (const { regions } of report.photographs) {
    for (const index of new Set(regions.map(([, classIndex]) => standIn(classIndex)))) {
      photographs.set(index, (photographs.get(index) || 0) + 1);
    }
  }
  return photographs;
}

/** A class in the legend. A click shows the photographs that have it; one that none has is only explained. */
function legendEntry(one, photographs) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = one.color || "transparent";
  const name = make("span", {}, nameOf(one));
  if (!photographs) return make("li", {}, make("span", {}, swatch, name));
  const button = make("button", { type: "button" }, swatch, name);
  button.append(make("span", { className: "number" }, String(photographs)));
  button.dataset.class = one.index;
  button.addEventListener("click", () =>
    setFilter({ classIndex: filter.classIndex === one.index ? null : one.index, refused: false }),
  );
  return make("li", {}, button);
}

function drawLegend() {
  const photographs = countClasses();
  const alone = report.classes.filter(({ index }) => standIn(index) === index);
  const entries = alone.map((one) => legendEntry(one, photographs.get(one.index)));
  document.getElementById("legend").replaceChildren(...entries);
  markLegend();
}

function fillFilters() {
  const numbers = [...new Set(report.photographs.map(({ regions }) => regions.length))].sort((a, b) => a - b);
  const choices = numbers.map((number) => make("option", { value: number }, String(number)));
  document.getElementById("regions").append(...choices);
  document.getElementById("heads").append(...report.columns.map(({ title }) => make("span", {}, title)));
  document.getElementById("refused-filter").hidden = report.refused.length === 0;
  document.body.style.setProperty("--columns", report.columns.length);
}

function setFade(percent) {
  document.body.style.setProperty("--fade", percent / 100);
  for (const slider of document.querySelectorAll(".fade")) slider.value = percent;
}

function hideHint() {
  hint.hidden = true;
}

/** Name the region under the mouse. A finger has no place where it only points; it enlarges. */
async function showHint(event) {
  const picture = event.target.closest(".picture");
  if (!picture || event.pointerType === "touch") return hideHint();
  const text = await describeAt(picture, picture.dataset.kind, Number(picture.dataset.place), event);
  if (!text) return hideHint();
  hint.textContent = text;
  hint.hidden = false;
  const right = window.innerWidth - hint.offsetWidth - 8;
  hint.style.left = `${Math.max(8, Math.min(event.clientX + 14, right))}px`;
  hint.style.top = `${event.clientY + 18}px`;
}

function listen(id, kind, listener) {
  document.getElementById(id).addEventListener(kind, listener);
}

function startPhotographs() {
  fillFilters();
  drawLegend();
  update();
  setFade(60);
  listen("text", "input", (event) => setFilter({ text: event.target.value }));
  listen("regions", "change", (event) => setFilter({ regions: event.target.value, refused: false }));
  listen("refused", "change", (event) => setFilter({ refused: event.target.checked, classIndex: null }));
  listen("previous", "click", () => turnPage(filter.page - 1));
  listen("next", "click", () => turnPage(filter.page + 1));
  listen("page", "change", (event) => turnPage(Number(event.target.value) - 1));
  for (const slider of document.querySelectorAll(".fade")) {
    slider.addEventListener("input", () => setFade(Number(slider.value)));
  }
  list.addEventListener("pointermove", showHint);
  list.addEventListener("pointerleave", hideHint);
}
