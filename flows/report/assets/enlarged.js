// One photograph, enlarged: the arrow keys change photograph and column, Escape closes, a tap names a region.

const dialog = document.getElementById("enlarged");
const large = document.getElementById("large");
const caption = document.getElementById("what");
const enlarged = { places: [], at: 0, kind: "regions" };

function placeEnlarged() {
  return enlarged.places[enlarged.at];
}

function drawEnlarged() {
  const place = placeEnlarged();
  const { id, width, height } = report.photographs[place];
  document.getElementById("enlarged-id").textContent = id;
  document.getElementById("enlarged-count").textContent = `${enlarged.at + 1} of ${enlarged.places.length}`;
  caption.textContent = "Point at a region, or tap it.";
  large.style.setProperty("--shape", width / height);
  show(large, enlarged.kind, place);
  document.getElementById("earlier").disabled = enlarged.at === 0;
  document.getElementById("later").disabled = enlarged.at === enlarged.places.length - 1;
  for (const button of document.querySelectorAll("#kinds button")) {
    button.setAttribute("aria-pressed", String(button.dataset.kind === enlarged.kind));
  }
}

/** Open a photograph among those that the filter shows. */
function enlarge(place, kind) {
  const places = filter.refused ? [] : passing();
  const shown = places.includes(place) ? places : [...report.photographs.keys()];
  Object.assign(enlarged, { places: shown, at: shown.indexOf(place), kind });
  hideHint();
  drawEnlarged();
  if (dialog.open) return;
  dialog.showModal();
  dialog.focus(); // not a button, so that the arrow keys are what a person tries
}

function moveEnlarged(step) {
  const at = enlarged.at + step;
  if (at < 0 || at >= enlarged.places.length) return;
  enlarged.at = at;
  drawEnlarged();
}

function changeKind(step) {
  const kinds = report.columns.map(({ kind }) => kind);
  const next = kinds.indexOf(enlarged.kind) + step;
  enlarged.kind = kinds[(next + kinds.length) % kinds.length];
  drawEnlarged();
}

const STEPS = {
  ArrowLeft: () => moveEnlarged(-1),
  ArrowRight: () => moveEnlarged(1),
  ArrowUp: () => changeKind(-1),
  ArrowDown: () => changeKind(1),
};

async function nameEnlarged(event) {
  const text = await describeAt(large, enlarged.kind, placeEnlarged(), event);
  if (text) caption.textContent = text;
}

function startEnlarged() {
  const buttons = report.columns.map(({ kind, title }) => {
    const button = make("button", { type: "button" }, title);
    button.dataset.kind = kind;
    button.addEventListener("click", () => {
      enlarged.kind = kind;
      drawEnlarged();
    });
    return button;
  });
  document.getElementById("kinds").append(...buttons);
  list.addEventListener("click", async (event) => {
    const picture = event.target.closest(".picture");
    if (!picture) return;
    const { kind, place } = picture.dataset;
    const text = event.detail ? await describeAt(picture, kind, Number(place), event) : ""; // 0: by the keyboard
    enlarge(Number(place), kind);
    if (text) caption.textContent = text;
  });
  for (const button of document.querySelectorAll(".crop[data-place]")) {
    button.addEventListener("click", () => enlarge(Number(button.dataset.place), "classes"));
  }
  listen("earlier", "click", () => moveEnlarged(-1));
  listen("later", "click", () => moveEnlarged(1));
  listen("close", "click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (!STEPS[event.key] || event.target.matches("input")) return; // the slider needs its arrows
    event.preventDefault();
    STEPS[event.key]();
  });
  large.addEventListener("pointermove", nameEnlarged);
  large.addEventListener("pointerdown", nameEnlarged);
}
